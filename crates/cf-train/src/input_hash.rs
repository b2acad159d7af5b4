//! Hashes of what a run read, so that a later one can tell whether it read the same.

use std::collections::BTreeSet;
use std::fs;
use std::io::ErrorKind;
use std::path::Path;

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::bags::BagSource;
use crate::cohort::{CohortConfig, table_files};
use crate::config::{FeaturesConfig, RunConfig};
use crate::error::{Error, Result};
use crate::plan::{FoldRecord, FoldsRecord};
use crate::run_dir;

/// How the records begin of what is not of one file.
const SETTINGS: &str = "resolved configuration";
const COHORT: &str = "cohort flow and folds";
const FEATURES: &str = "names and sizes of";

/// One input of a run.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct InputRecord {
    /// What it is.
    pub what: String,
    /// SHA-256, hexadecimal, as `sha256sum` prints it.
    pub sha256: String,
}

impl InputRecord {
    fn new(what: impl Into<String>, bytes: &[u8]) -> Self {
        Self { what: what.into(), sha256: hex(Sha256::new().chain_update(bytes)) }
    }

    /// Of a file that `setting` names, or of one below the folder that it is in.
    ///
    /// # Errors
    /// If the file can't be read.
    pub(crate) fn of_file(what: &str, path: &Path, setting: &Path) -> Result<Self> {
        let name = setting.parent().and_then(|home| path.strip_prefix(home).ok()).unwrap_or(path);
        let bytes = fs::read(path).map_err(Error::io("read", path))?;
        Ok(Self::new(format!("{what} {}", name.display()), &bytes))
    }
}

/// A finished hash as `sha256sum` prints it.
pub(crate) fn hex(hash: Sha256) -> String {
    hash.finalize().iter().map(|byte| format!("{byte:02x}")).collect()
}

/// The inputs of a run that are the same for all of its folds: resolved configuration and tables.
///
/// # Errors
/// If a file can't be read.
pub(crate) fn of_run(config: &RunConfig) -> Result<Vec<InputRecord>> {
    let mut inputs = vec![of_settings(run_dir::CONFIG, &config.to_toml()?)];
    inputs.extend(of_tables(&config.cohort)?);
    Ok(inputs)
}

/// A configuration with every default filled in, as it is written into the file `name`.
pub(crate) fn of_settings(name: &str, toml: &str) -> InputRecord {
    InputRecord::new(format!("{SETTINGS} {name}"), toml.as_bytes())
}

/// The tables of a cohort.
///
/// # Errors
/// If a file can't be read.
pub(crate) fn of_tables(cohort: &CohortConfig) -> Result<Vec<InputRecord>> {
    let mut inputs = Vec::new();
    for table in table_files(cohort)? {
        inputs.push(InputRecord::of_file("clinical table", &table, &cohort.clinical)?);
    }
    if let Some(slides) = &cohort.slides {
        inputs.push(InputRecord::of_file("table of slides", slides, slides)?);
    }
    Ok(inputs)
}

/// The folds, and the names and sizes of their feature files, whose contents would take as long to hash as to train on.
///
/// # Errors
/// If a file can't be read.
pub(crate) fn of_folds(
    config: &RunConfig,
    record: &FoldsRecord,
    bags: &BagSource,
) -> Result<[InputRecord; 2]> {
    let folds = of_record(record)?;
    let slides = record.folds.iter().flat_map(FoldRecord::slides).map(String::as_str).collect();
    Ok([folds, of_features(&config.features, &slides, bags)?])
}

fn of_record(record: &FoldsRecord) -> Result<InputRecord> {
    let folds = run_dir::json_text(Path::new(run_dir::FOLDS), record)?;
    Ok(InputRecord::new(format!("{COHORT} {}", run_dir::FOLDS), folds.as_bytes()))
}

/// The inputs of a run whose folds were trained as runs of their own: its settings and folds, and the tables and features that those read.
///
/// # Errors
/// If settings or folds can't be encoded.
pub(crate) fn joined(
    config: &RunConfig,
    record: &FoldsRecord,
    of_parts: impl Iterator<Item = InputRecord>,
) -> Result<Vec<InputRecord>> {
    let (mut tables, mut features): (Vec<InputRecord>, Vec<InputRecord>) = of_parts
        .filter(|input| !input.what.starts_with(SETTINGS) && !input.what.starts_with(COHORT))
        .partition(|input| !input.what.starts_with(FEATURES));
    for inputs in [&mut tables, &mut features] {
        let mut seen = BTreeSet::new();
        inputs.retain(|input| seen.insert((input.what.clone(), input.sha256.clone())));
    }
    let settings = of_settings(run_dir::CONFIG, &config.to_toml()?);
    Ok([vec![settings], tables, vec![of_record(record)?], features].concat())
}

/// A line of name and size for each file that holds one of the slides, sorted. Names start below the folder that the
/// configuration names, which may move. Those of folds that other sessions trained may be gone.
///
/// # Errors
/// If what is said of a file can't be read.
pub(crate) fn of_features(
    features: &FeaturesConfig,
    slides: &BTreeSet<&str>,
    bags: &BagSource,
) -> Result<InputRecord> {
    let mut lines = BTreeSet::new();
    for path in slides.iter().flat_map(|slide| bags.files_of(slide)).collect::<BTreeSet<_>>() {
        match fs::metadata(&path) {
            Ok(file) => {
                lines.insert(format!("{} {}\n", name_below_root(features, &path), file.len()));
            }
            Err(error) if error.kind() == ErrorKind::NotFound => {}
            Err(error) => return Err(Error::io("read", &path)(error)),
        }
    }
    let text: String = lines.iter().map(String::as_str).collect();
    Ok(InputRecord::new(format!("{FEATURES} {} feature files", lines.len()), text.as_bytes()))
}

fn name_below_root(features: &FeaturesConfig, path: &Path) -> String {
    let labels = ["", "x5/", "x10/", "x20/"];
    let below = |(label, root): (&str, Option<&Path>)| {
        Some(format!("{label}{}", path.strip_prefix(root?).ok()?.display()))
    };
    let known = labels.into_iter().zip(features.directories());
    known.filter_map(below).next().unwrap_or_else(|| path.display().to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_hash_is_that_of_sha256sum() {
        // printf abc | sha256sum
        let known = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
        assert_eq!(InputRecord::new("x", b"abc").sha256, known);
    }
}
