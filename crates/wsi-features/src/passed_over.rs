//! What lies beside slides and is not taken.

use std::collections::BTreeSet;
use std::fmt;
use std::path::{Path, PathBuf};

use cf_cli::listed_up_to;

/// How many of a kind are named.
const MAX_NAMED: usize = 10;

/// What lies in the directories of a batch and is no slide of it.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct PassedOver {
    /// Folders that hold slides.
    pub folders: Vec<PathBuf>,
    /// Slides of kinds that are read one by one at most.
    pub others: Vec<PathBuf>,
    /// Pictures that are called as a slide beside them.
    pub pictures: Vec<PathBuf>,
}

impl PassedOver {
    /// Whether there is nothing.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.folders.is_empty() && self.others.is_empty() && self.pictures.is_empty()
    }

    /// Adds what another directory holds.
    pub(crate) fn append(&mut self, mut other: Self) {
        self.folders.append(&mut other.folders);
        self.others.append(&mut other.others);
        self.pictures.append(&mut other.pictures);
    }

    /// Sorted, each once, without what the batch is given by its name.
    pub(crate) fn without(mut self, places: &[PathBuf]) -> Self {
        for paths in [&mut self.folders, &mut self.others, &mut self.pictures] {
            let mut known: BTreeSet<PathBuf> = places.iter().map(|place| real(place)).collect();
            paths.sort_unstable();
            paths.retain(|path| known.insert(real(path)));
        }
        self
    }
}

impl fmt::Display for PassedOver {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kinds = [
            (
                &self.folders,
                "folders with slides",
                "name one to take its slides, or all (DIR/*/), or link the slides into one folder",
            ),
            (&self.others, "slides of other kinds", "name one to see why it is not read"),
            (
                &self.pictures,
                "pictures with the name of a slide beside them",
                "where they are the slides, move the others to another folder",
            ),
        ];
        let mut separator = "";
        for (paths, what, advice) in kinds.into_iter().filter(|(paths, ..)| !paths.is_empty()) {
            let names = paths.iter().map(|path| path.display().to_string());
            write!(f, "{separator}{what} ({}): {}; {advice}", paths.len(), listed_up_to(MAX_NAMED, names))?;
            separator = "; ";
        }
        Ok(())
    }
}

/// A path without links, by which two names of one place are told to be one. A link that leads nowhere stays as it is.
pub(crate) fn real(path: &Path) -> PathBuf {
    path.canonicalize().unwrap_or_else(|_| path.to_owned())
}
