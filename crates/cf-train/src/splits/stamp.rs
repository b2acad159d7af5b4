//! `splits.json` of STAMP: `{"splits": [{"train_patients": [..], "test_patients": [..]}, ..]}`.

use std::path::{Path, PathBuf};

use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize};

use super::{FoldEntries, Part, SplitEntry, SplitForm, SplitSet};
use crate::error::{Error, Result};
use crate::table_text::is_utf16;

pub(super) const FILE: &str = "splits.json";

/// The file as a whole; other keys are ignored.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct SplitsFile {
    pub(super) splits: Vec<PatientLists>,
}

/// One fold.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct PatientLists {
    #[serde(deserialize_with = "ids")]
    pub(super) train_patients: Vec<String>,
    #[serde(default, deserialize_with = "ids", skip_serializing_if = "Vec::is_empty")]
    pub(super) val_patients: Vec<String>,
    #[serde(deserialize_with = "ids")]
    pub(super) test_patients: Vec<String>,
}

/// Ids, of which those that are whole numbers may stand without quotes.
fn ids<'de, D: Deserializer<'de>>(deserializer: D) -> std::result::Result<Vec<String>, D::Error> {
    let id = |value| match value {
        serde_json::Value::String(id) => Ok(id),
        serde_json::Value::Number(id) if id.is_i64() || id.is_u64() => Ok(id.to_string()),
        other => Err(D::Error::custom(format!("found {other} as an id, expected a text"))),
    };
    Vec::deserialize(deserializer)?.into_iter().map(id).collect()
}

pub(super) fn read(path: &Path) -> Result<Option<SplitSet>> {
    let Some(file) = file_of(path) else { return Ok(None) };
    let text = std::fs::read(&file).map_err(Error::io("read", &file))?;
    if is_utf16(&text) {
        return Err(Error::data(&file, "is UTF-16, expected UTF-8; save it as UTF-8"));
    }
    let text = text.strip_prefix(&[0xef, 0xbb, 0xbf]).unwrap_or(&text);
    let found: SplitsFile = serde_json::from_slice(text).map_err(|error| {
        Error::data(
            &file,
            format!("{error}; expected {{\"splits\": [{{\"train_patients\": [..], \"test_patients\": [..]}}, ..]}}"),
        )
    })?;
    if found.splits.is_empty() {
        return Err(Error::data(&file, "has no splits, expected at least one"));
    }
    let fold = |(fold, lists): (usize, PatientLists)| {
        let parts = [
            (Part::Train, "train_patients", lists.train_patients),
            (Part::Val, "val_patients", lists.val_patients),
            (Part::Test, "test_patients", lists.test_patients),
        ];
        let entries = parts.into_iter().flat_map(|(part, key, ids)| {
            let entry = move |id| SplitEntry { id, part, place: format!("`{key}` of split {fold}") };
            ids.into_iter().map(entry)
        });
        FoldEntries { fold, path: file.clone(), entries: entries.collect() }
    };
    let folds = found.splits.into_iter().enumerate().map(fold).collect();
    Ok(Some(SplitSet { path: path.to_owned(), form: SplitForm::Stamp, folds }))
}

fn file_of(path: &Path) -> Option<PathBuf> {
    let is_json = path.extension().is_some_and(|extension| extension.eq_ignore_ascii_case("json"));
    let file = if is_json { path.to_owned() } else { path.join(FILE) };
    file.is_file().then_some(file)
}
