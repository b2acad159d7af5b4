//! Every feature of HDF5 files that users have, made by h5py (`fixtures/generate/hdf5_matrix.py`), through every
//! backend of this build: the right values or an error, as `cells.json` says, and never other values.

use std::path::{Path, PathBuf};

use serde_json::Value;

use crate::error::{Error, Result};

use super::backend::Attribute;
use super::reader::Reader;
use super::{BACKENDS, Backend};

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fixtures/reference/hdf5_matrix")
}

fn label(backend: Backend) -> &'static str {
    match backend {
        Backend::Pure => "pure",
        #[cfg(feature = "hdf5")]
        Backend::System => "system",
    }
}

/// What is at a place, as `cells.json` writes it; `None` for what is not there or of another kind.
fn read(backend: Backend, path: &Path, place: &str, kind: &str) -> Result<Option<Value>> {
    let reader = Reader::open_with(backend, path)?;
    let (home, name) = match place.rsplit_once('@').or_else(|| place.rsplit_once('/')) {
        Some((home, name)) => (home, name),
        None => ("", place),
    };
    match kind {
        "floats" | "integers" => {
            let Some(group) = reader.group(home)? else { return Ok(None) };
            if kind == "integers" {
                let rows = group.integer_rows::<2>(name)?;
                return Ok(Some(rows.as_flattened().to_vec().into()));
            }
            let features = group.features(&group.float_matrix(name)?)?;
            Ok(Some(features.as_slice().to_vec().into()))
        }
        kind => Ok(match (reader.source.attribute(home, name)?, kind) {
            (Some(Attribute::Text(text)), "text") => Some(text.into()),
            (Some(Attribute::Number(number)), "number") => Some(number.into()),
            _ => None,
        }),
    }
}

/// The error and all its sources.
fn whole_text(error: &Error) -> String {
    let mut text = error.to_string();
    let mut cause = std::error::Error::source(error);
    while let Some(inner) = cause {
        text += &format!(": {inner}");
        cause = inner.source();
    }
    text
}

#[test]
fn every_cell_is_read_right_or_refused() {
    let cells: Vec<Value> =
        serde_json::from_str(&std::fs::read_to_string(folder().join("cells.json")).unwrap()).unwrap();
    assert!(cells.len() > 300);
    let mut wrong = Vec::new();
    for cell in &cells {
        let text = |key: &str| cell[key].as_str().unwrap();
        let path = folder().join(text("file"));
        for backend in BACKENDS {
            let found = read(backend, &path, text("place"), text("read"));
            let says = match &found {
                Ok(Some(values)) if *values == cell["expect"] => "reads",
                Ok(Some(values)) => {
                    wrong.push(format!("SILENTLY WRONG {} {cell}: {values}", label(backend)));
                    continue;
                }
                Ok(None) => "refuses",
                Err(error) => {
                    assert!(!error.to_string().is_empty());
                    "refuses"
                }
            };
            // `either`: what the C library can depends on its version.
            if cell[label(backend)] != says && cell[label(backend)] != "either" {
                let why = found.err().map(|error| whole_text(&error));
                wrong.push(format!("{} {says} {}:{} {why:?}", label(backend), text("file"), text("place")));
            }
        }
    }
    assert!(wrong.is_empty(), "{} cells differ:\n{}", wrong.len(), wrong.join("\n"));
}

#[test]
fn an_attribute_that_was_set_to_nothing_is_absent() {
    for backend in BACKENDS {
        for file in ["attributes_v0.h5", "attributes_v2.h5", "attributes_v3.h5"] {
            let reader = Reader::open_with(backend, &folder().join(file)).unwrap();
            for home in ["", "group", "dataset"] {
                let found = reader.source.attribute(home, "nothing").unwrap();
                assert_eq!(found, None, "{} {file} {home}", label(backend));
            }
        }
    }
}

#[test]
fn damaged_files_are_refused_with_their_fault() {
    for backend in BACKENDS {
        for (file, wanted) in [
            ("promises_long.h5", "more than the limit"),
            ("promises_long_chunked.h5", "more than the limit"),
            ("only_signature.h5", "cannot open the file"),
        ] {
            let error = read(backend, &folder().join(file), "values", "floats").unwrap_err();
            assert!(whole_text(&error).contains(wanted), "{} {file}: {}", label(backend), whole_text(&error));
        }
    }
}
