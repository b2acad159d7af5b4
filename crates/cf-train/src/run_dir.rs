//! The layout of a run directory. Files are written beside their name and renamed, so none is ever half there.

use std::fs;
use std::path::{Path, PathBuf};

use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::error::{Error, Result};

/// Resolved configuration.
pub const CONFIG: &str = "config.toml";
/// Versions, device, threads.
pub const ENVIRONMENT: &str = "environment.json";
/// Cohort flow and the slides of every fold.
pub const FOLDS: &str = "folds.json";
/// Metrics over all folds.
pub const SUMMARY: &str = "summary.json";
/// The report; written last, so a directory that has one is complete.
pub const REPORT: &str = "report.html";

/// Files of a fold, in `fold_K/`.
pub mod fold_files {
    /// A row per epoch.
    pub const HISTORY: &str = "history.csv";
    /// Training slides with outcome and time bin.
    pub const TRAIN: &str = "train.csv";
    /// The slides of every epoch in the order in which they were trained on.
    pub const ORDER: &str = "order.csv";
    /// Validation rows of the selected epoch; written last, so a fold that has them is complete.
    pub const PREDICTIONS: &str = "predictions.csv";
    /// Validation rows of the last epoch.
    pub const PREDICTIONS_LAST: &str = "predictions_last.csv";
    /// Training rows of the selected epoch.
    pub const PREDICTIONS_TRAIN: &str = "predictions_train.csv";
    /// What stood in for what bags lack, where something did.
    pub const SUBSTITUTES: &str = "substitutes.csv";
    /// Weights of the selected epoch.
    pub const BEST: &str = "best.safetensors";
    /// Weights of the last epoch.
    pub const LAST: &str = "last.safetensors";
    /// What `--resume` continues from; removed once the fold is complete.
    pub const STATE: &str = "state";
}

/// The directory of one fold.
pub fn fold_dir(run: &Path, fold: usize) -> PathBuf {
    run.join(format!("fold_{fold}"))
}

/// Creates a directory and its parents.
pub(crate) fn create_dir(path: &Path) -> Result<()> {
    fs::create_dir_all(path).map_err(Error::io("create", path))
}

/// What a file is called until it is whole.
pub(crate) fn beside(path: &Path) -> PathBuf {
    let mut beside = path.as_os_str().to_owned();
    beside.push(".tmp");
    PathBuf::from(beside)
}

/// Writes `bytes` beside `path` and renames.
pub(crate) fn write(path: &Path, bytes: &[u8]) -> Result<()> {
    let beside = beside(path);
    let written = fs::write(&beside, bytes).map_err(Error::io("write", path));
    let renamed = written.and_then(|()| fs::rename(&beside, path).map_err(Error::io("rename to", path)));
    if renamed.is_err() {
        // The first error is the one to report; a leftover is only untidy.
        let _ = fs::remove_file(&beside);
    }
    renamed
}

/// Writes a value as indented JSON.
pub(crate) fn write_json(path: &Path, value: &impl Serialize) -> Result<()> {
    write(path, json_text(path, value)?.as_bytes())
}

/// The text that [`write_json`] puts into the file at `path`.
pub(crate) fn json_text(path: &Path, value: &impl Serialize) -> Result<String> {
    let mut text = serde_json::to_string_pretty(value)
        .map_err(|error| Error::data(path, format!("cannot be written as JSON: {error}")))?;
    text.push('\n');
    Ok(text)
}

/// Reads a JSON file.
pub(crate) fn read_json<T: DeserializeOwned>(path: &Path) -> Result<T> {
    let text = fs::read_to_string(path).map_err(Error::io("read", path))?;
    serde_json::from_str(&text).map_err(|error| Error::data(path, error.to_string()))
}

/// Writes rows as CSV; the fields of the row type are the columns.
pub(crate) fn write_csv<T: Serialize>(path: &Path, rows: impl IntoIterator<Item = T>) -> Result<()> {
    let fault = |error: csv::Error| Error::data(path, format!("cannot be written as CSV: {error}"));
    let mut writer = csv::Writer::from_writer(Vec::new());
    for row in rows {
        writer.serialize(row).map_err(fault)?;
    }
    let bytes = writer.into_inner().map_err(|error| Error::data(path, error.to_string()))?;
    write(path, &bytes)
}

/// Reads the rows of a CSV file.
pub(crate) fn read_csv<T: DeserializeOwned>(path: &Path) -> Result<Vec<T>> {
    let file = fs::File::open(path).map_err(Error::io("read", path))?;
    let rows: std::result::Result<Vec<T>, csv::Error> =
        csv::Reader::from_reader(file).deserialize().collect();
    rows.map_err(|error| Error::data(path, crate::delimited::csv_reason(&error)))
}
