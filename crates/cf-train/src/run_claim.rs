//! Whether a directory is for a run: new, or of the same settings.

use std::path::Path;

use crate::config::RunConfig;
use crate::error::{Error, Result};
use crate::run_dir;

/// FNV-1a of the resolved configuration: whether two runs are the same run.
pub(crate) fn config_hash(toml: &str) -> u64 {
    toml.bytes()
        .fold(0xcbf2_9ce4_8422_2325, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3))
}

/// Refuses a directory that is not for this run.
///
/// # Errors
/// If `run` holds files and `resume` is false, holds no run to resume, or holds a run of another configuration.
pub(crate) fn check_directory(run: &Path, config_toml: &str, resume: bool) -> Result<()> {
    let existing = run.join(run_dir::CONFIG);
    if existing.is_file() {
        if !resume {
            return Err(Error::data(
                run,
                "holds a run already; continue it with --resume, or choose another --out",
            ));
        }
        let found = std::fs::read_to_string(&existing).map_err(Error::io("read", &existing))?;
        if found == config_toml {
            return Ok(());
        }
        // Another version may have written the same settings otherwise.
        let found = RunConfig::read(&existing, &[])?.to_toml()?;
        return match first_difference(&found, config_toml) {
            None => Ok(()),
            Some((before, now)) => Err(Error::data(
                &existing,
                format!("is of another run: it says `{before}`, this one `{now}`; choose another --out"),
            )),
        };
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

/// Prepares a directory for this run.
///
/// # Errors
/// If it is not for this run, as [`check_directory`], or can't be written.
pub(crate) fn claim_directory(run: &Path, config_toml: &str, resume: bool) -> Result<()> {
    check_directory(run, config_toml, resume)?;
    run_dir::create_dir(run)?;
    let config = run.join(run_dir::CONFIG);
    if std::fs::read_to_string(&config).is_ok_and(|found| found == config_toml) {
        return Ok(());
    }
    run_dir::write(&config, config_toml.as_bytes())
}

fn first_difference(a: &str, b: &str) -> Option<(String, String)> {
    if a == b {
        return None;
    }
    let mut pairs = a.lines().zip(b.lines());
    let (a, b) = pairs.find(|(a, b)| a != b).unwrap_or(("fewer settings", "more settings"));
    Some((a.to_owned(), b.to_owned()))
}
