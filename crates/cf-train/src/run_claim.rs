//! Whether a directory is for a run: new, or of the same settings.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use toml::{Table, Value};

use crate::config::RunConfig;
use crate::error::{Error, Result};
use crate::run_dir;

/// Settings of which an error says how they differ.
const SHOWN: usize = 4;

/// FNV-1a of the settings that results depend on: whether two checkpoints are of the same run.
///
/// # Errors
/// As [`RunConfig::to_toml`].
pub(crate) fn config_hash(config: &RunConfig) -> Result<u64> {
    let toml = config.of_results().to_toml()?;
    Ok(toml
        .bytes()
        .fold(0xcbf2_9ce4_8422_2325, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)))
}

/// Refuses a directory that is not for this run. Where the data lie and what memory a step may use may change: whether the data
/// themselves did, their hashes tell.
///
/// # Errors
/// If `run` holds files and `resume` is false, holds no run to resume, or holds a run of other settings.
pub(crate) fn check_directory(run: &Path, config: &RunConfig, resume: bool) -> Result<()> {
    let existing = run.join(run_dir::CONFIG);
    if existing.is_file() {
        if !resume {
            return Err(Error::data(
                run,
                "holds a run already; continue it with --resume, or choose another --out",
            ));
        }
        let found = RunConfig::read(&existing, &[])?.of_results();
        let (before, now) = (settings(&found)?, settings(&config.of_results())?);
        let differing = differing_keys(&before, &now);
        if differing.is_empty() {
            return Ok(());
        }
        let said = |settings: &BTreeMap<String, Value>| {
            let texts = differing.iter().map(|key| match settings.get(*key) {
                Some(value) => format!("`{key} = {value}`"),
                None => format!("nothing of `{key}`"),
            });
            texts.collect::<Vec<_>>().join(", ")
        };
        return Err(Error::data(
            &existing,
            format!(
                "is of another run: it says {}, this one {}; choose another --out",
                said(&before),
                said(&now)
            ),
        ));
    }
    // A run that was killed before its first file was whole has left nothing else.
    let foreign = |entry: std::io::Result<std::fs::DirEntry>| {
        entry.is_ok_and(|entry| !run_dir::is_beside(&entry.path(), &existing))
    };
    let occupied = std::fs::read_dir(run).is_ok_and(|mut entries| entries.any(foreign));
    if occupied {
        return Err(Error::data(run, "is not empty and holds no run; choose another --out"));
    }
    if resume && !run.is_dir() {
        return Err(Error::data(run, "does not exist, expected a run to resume"));
    }
    Ok(())
}

/// Writes the settings of a run into its directory, unless they stand there.
///
/// # Errors
/// If they can't be written.
pub(crate) fn write_settings(run: &Path, config: &RunConfig) -> Result<()> {
    run_dir::create_dir(run)?;
    let (path, toml) = (run.join(run_dir::CONFIG), config.to_toml()?);
    if std::fs::read_to_string(&path).is_ok_and(|found| found == toml) {
        return Ok(());
    }
    run_dir::write(&path, toml.as_bytes())
}

/// Every setting by its key with its sections, such as `training.seed`.
fn settings(config: &RunConfig) -> Result<BTreeMap<String, Value>> {
    let toml = config.to_toml()?;
    let table: Table = toml
        .parse()
        .map_err(|error: toml::de::Error| Error::data(Path::new(run_dir::CONFIG), error.to_string()))?;
    let mut settings = BTreeMap::new();
    let mut tables = vec![(String::new(), table)];
    while let Some((prefix, table)) = tables.pop() {
        for (key, value) in table {
            let dotted = format!("{prefix}{key}");
            match value {
                Value::Table(inner) => tables.push((format!("{dotted}."), inner)),
                value => {
                    settings.insert(dotted, value);
                }
            }
        }
    }
    Ok(settings)
}

/// The first few keys of which two runs do not say the same.
fn differing_keys<'a>(
    before: &'a BTreeMap<String, Value>,
    now: &'a BTreeMap<String, Value>,
) -> Vec<&'a String> {
    let keys: BTreeSet<&String> = before.keys().chain(now.keys()).collect();
    keys.into_iter().filter(|key| before.get(*key) != now.get(*key)).take(SHOWN).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config(dir: &Path, more: &str) -> RunConfig {
        let file = dir.join("run.toml");
        let text = format!(
            "[cohort]\nname = \"one\"\nclinical = \"c.csv\"\npreset = \"mcat\"\nsplits = \"s\"\n\
             [features]\ndir = \"bags\"\nbackbone = \"conch\"\n[model]\nname = \"amil\"\n\
             [training]\nprotocol = \"paper\"\n{more}"
        );
        std::fs::write(&file, text).unwrap();
        RunConfig::read(&file, &[]).unwrap()
    }

    #[test]
    fn a_run_that_was_moved_or_has_other_memory_is_the_same_and_one_of_other_settings_is_not() {
        let dir = tempfile::tempdir().unwrap();
        let (run, moved) = (dir.path().join("run"), dir.path().join("moved"));
        run_dir::create_dir(&moved).unwrap();
        let claim = |config: &RunConfig, resume: bool| {
            check_directory(&run, config, resume).and_then(|()| write_settings(&run, config))
        };
        let begun = config(dir.path(), "");
        claim(&begun, false).unwrap();
        let same = config(&moved, "memory_budget = \"1 GiB\"\n");
        assert_ne!(begun.to_toml().unwrap(), same.to_toml().unwrap());
        assert_eq!(config_hash(&begun).unwrap(), config_hash(&same).unwrap());
        claim(&same, true).unwrap();
        assert_eq!(std::fs::read_to_string(run.join(run_dir::CONFIG)).unwrap(), same.to_toml().unwrap());

        let other = config(dir.path(), "seed = 8\nmemory_budget = \"1 GiB\"\n");
        assert_ne!(config_hash(&begun).unwrap(), config_hash(&other).unwrap());
        let error = claim(&other, true).unwrap_err().to_string();
        assert!(
            error
                .ends_with("it says `training.seed = 7`, this one `training.seed = 8`; choose another --out"),
            "{error}"
        );
        let mut other = begun.clone();
        other.features.layout = Some("native".to_owned());
        let error = claim(&other, true).unwrap_err().to_string();
        assert!(
            error.contains("it says nothing of `features.layout`, this one `features.layout = \"native\"`"),
            "{error}"
        );
    }
}
