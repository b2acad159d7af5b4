//! What a task is made of, as a hash: its settings, the data of its fold, the program's version.

use std::path::Path;

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
    let ingredients = (CODE_VERSION, config.of_results().to_toml()?, labels, fold, data);
    let text = serde_json::to_string(&ingredients)
        .map_err(|error| Error::data(Path::new("task"), format!("cannot be written as JSON: {error}")))?;
    let mut hash = hex(Sha256::new().chain_update(text));
    hash.truncate(ID_DIGITS);
    Ok(hash)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Finished tasks of a study are found by their names: a new setting that is left out must not change them.
    #[test]
    fn a_setting_that_an_earlier_version_did_not_have_changes_no_name() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("run.toml");
        let config = |settings: &str| {
            let text = format!(
                "[cohort]\nname = \"one\"\nclinical = \"c.csv\"\npreset = \"mcat\"\nsplits = \"s\"\n\
                 [features]\ndir = \"bags\"\nbackbone = \"conch\"\n\
                 [model]\nname = \"deepgraphsurv\"\n{settings}[training]\nprotocol = \"paper\"\n"
            );
            std::fs::write(&file, text).unwrap();
            RunConfig::read(&file, &[]).unwrap()
        };
        // As version 0.1.0 wrote them, before there was `final_dropout`.
        let written = "\n[model]\nname = \"deepgraphsurv\"\nform = \"gin\"\nedges = \"latent\"\nnum_neighbours = 8\n\
                       reverse_edges = false\nresample = 0.0\nmax_nodes = 1000\nmetric = \"as-published\"\n\
                       head = \"hazards\"\n\n[training]\n";
        let now = config("").to_toml().unwrap();
        assert!(now.contains(written), "{now}");

        let data = DataHashes { slides: "a".to_owned(), bags: "b".to_owned(), initial_weights: None };
        let hash = |settings: &str| {
            task_hash(&config(settings), ["one", "deepgraphsurv", "conch"], 0, &data).unwrap()
        };
        assert_eq!(hash("final_dropout = 0.0\n"), hash(""));
        assert_ne!(hash("final_dropout = 0.25\n"), hash(""));
    }
}
