//! Room for a run on the disk.
//!
//! Of every fold the best and the last weights stay, `2 P s` for `P` parameters of `s` bytes. While a fold trains, its state
//! holds parameters, gradients and two moments, `4 P s`, and the one before it until the new one is whole: `8 P s`. Tables and
//! the report take 64 MiB.

use std::path::{Path, PathBuf};

use serde::Serialize;

/// Predictions, figures and the report.
const TABLES_BYTES: u64 = 64 << 20;

/// The room that a run takes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct DiskForecast {
    /// The nearest directory of the output that exists.
    pub directory: PathBuf,
    /// At the worst moment.
    pub needed_bytes: u64,
    /// Free for this user; `None` where the system does not tell.
    pub free_bytes: Option<u64>,
}

impl DiskForecast {
    /// The room for `n_folds` folds of a model in numbers of `number_bytes`, against what is free at `out`.
    pub fn new(out: &Path, n_parameters: usize, number_bytes: usize, n_folds: usize) -> Self {
        let weights = (n_parameters as u64).saturating_mul(number_bytes as u64);
        let n_copies = 2 * n_folds as u64 + 8;
        let directory = nearest_existing(out);
        Self {
            free_bytes: free_bytes(&directory),
            directory,
            needed_bytes: weights.saturating_mul(n_copies).saturating_add(TABLES_BYTES),
        }
    }
}

fn nearest_existing(out: &Path) -> PathBuf {
    let absolute = std::path::absolute(out).unwrap_or_else(|_| out.to_owned());
    let existing = absolute.ancestors().find(|directory| directory.is_dir());
    existing.map_or_else(|| PathBuf::from("."), Path::to_owned)
}

fn free_bytes(directory: &Path) -> Option<u64> {
    let system = rustix::fs::statvfs(directory).ok()?;
    Some(system.f_bavail.saturating_mul(system.f_frsize))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_fold_adds_its_two_checkpoints() {
        let need = |n_folds| DiskForecast::new(Path::new("."), 1000, 4, n_folds).needed_bytes;
        assert_eq!(need(5) - need(0), 5 * 2 * 4000);
        assert_eq!(need(0), 8 * 4000 + TABLES_BYTES);
    }

    #[test]
    fn the_disk_of_a_directory_to_come_is_looked_at() {
        let dir = tempfile::tempdir().unwrap();
        let forecast = DiskForecast::new(&dir.path().join("runs/first"), 1, 4, 1);
        assert_eq!(forecast.directory, dir.path());
        assert!(forecast.free_bytes.is_some_and(|bytes| bytes > 0), "{forecast:?}");
    }
}
