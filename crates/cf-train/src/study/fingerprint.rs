//! What a task is made of, as a hash: its settings, the data of its fold, the program's version.

use std::path::{Path, PathBuf};

use sha2::{Digest, Sha256};

use crate::config::RunConfig;
use crate::data_hashes::DataHashes;
use crate::error::{Error, Result};
use crate::input_hash::hex;

/// Hex digits of a hash in a task's id.
const ID_DIGITS: usize = 12;

/// The version that results depend on.
pub(super) const CODE_VERSION: &str = env!("CARGO_PKG_VERSION");

/// The hash part of a task's id.
///
/// Where the data lie does not enter, nor what changes no number, such as the memory budget: a study that is moved keeps its ids.
///
/// # Errors
/// If the settings can't be written as text.
pub(super) fn task_hash(
    config: &RunConfig,
    labels: [&str; 3],
    fold: usize,
    data: &DataHashes,
) -> Result<String> {
    let mut settings = config.clone();
    settings.cohort.clinical = PathBuf::new();
    settings.cohort.splits = PathBuf::new();
    settings.cohort.slides = None;
    settings.features.dir = None;
    settings.features.roots = None;
    settings.training.initial_weights = None;
    settings.training.memory_budget = None;
    let ingredients = (CODE_VERSION, settings.to_toml()?, labels, fold, data);
    let text = serde_json::to_string(&ingredients)
        .map_err(|error| Error::data(Path::new("task"), format!("cannot be written as JSON: {error}")))?;
    let mut hash = hex(Sha256::new().chain_update(text));
    hash.truncate(ID_DIGITS);
    Ok(hash)
}
