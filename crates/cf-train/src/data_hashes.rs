//! What a fold is trained and validated on, as hashes: who goes on with it can tell whether that is still the same.

use std::collections::{BTreeSet, HashMap};
use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};

use rayon::prelude::*;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::bags::BagSource;
use crate::config::RunConfig;
use crate::error::{Error, Result};
use crate::fold_data::{FoldData, LabelledSlide};
use crate::input_hash::hex;
use crate::run_dir::{self, fold_files};

/// Bytes that are read at each of three places of a file of features: all of them would take as long as an epoch.
const SAMPLE_BYTES: u64 = 4096;

/// What may have changed, in words.
const SLIDES: &str = "the slides of its fold, their outcomes or time bins";
const WEIGHTS: &str = "the weights that it starts from";

/// Hashes (SHA-256, hexadecimal) of what a fold is trained and validated on.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DataHashes {
    /// The slides of the fold's parts, with patient, outcome and time bin of each.
    pub slides: String,
    /// The bags of these slides: name, size and three samples of every file.
    pub bags: String,
    /// The checkpoint that training starts from, if any.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub initial_weights: Option<String>,
}

/// Files that were hashed already; folds and runs share most of theirs.
#[derive(Debug, Default)]
pub(crate) struct FileHashes(HashMap<PathBuf, String>);

impl DataHashes {
    /// Hashes the data of one fold.
    ///
    /// # Errors
    /// If a file can't be read.
    pub(crate) fn of(
        config: &RunConfig,
        fold: &FoldData,
        bags: &BagSource,
        files: &mut FileHashes,
    ) -> Result<Self> {
        let weights = config.training.initial_weights.as_ref();
        Ok(Self {
            slides: slides(fold),
            bags: bag_files(fold, bags, files)?,
            initial_weights: weights.map(|path| files.whole(path)).transpose()?,
        })
    }

    /// What of a fold is not as it was, in words.
    pub(crate) fn change_since(&self, before: &Self) -> Option<&'static str> {
        if self.slides != before.slides {
            Some(SLIDES)
        } else if self.bags != before.bags {
            Some("its bags")
        } else if self.initial_weights != before.initial_weights {
            Some(WEIGHTS)
        } else {
            None
        }
    }

    /// Refuses to go on with a fold that was begun on other data. A fold that an earlier version began does not say on which.
    ///
    /// # Errors
    /// If it was, or its note can't be read.
    pub(crate) fn check_begun(&self, fold_dir: &Path) -> Result<()> {
        let Some(before) = noted(fold_dir)? else { return Ok(()) };
        let Some(what) = self.change_since(&before) else { return Ok(()) };
        let added = if self.slides == before.slides && self.bags != before.bags {
            // Their files are other ones then, too.
            format!(
                " (if features of another encoder were added to them and nothing else was changed, remove {})",
                fold_dir.join(fold_files::DATA).display()
            )
        } else {
            String::new()
        };
        Err(begun_with_others(fold_dir, what, &added))
    }
}

/// Refuses to join folds with one that was begun on other slides, outcomes, time bins or weights. `now` is its data, if there is such
/// a fold.
///
/// # Errors
/// If it was, or its note can't be read.
pub(crate) fn check_other(
    fold_dir: &Path,
    now: Option<&FoldData>,
    initial_weights: Option<&String>,
) -> Result<()> {
    let Some(before) = noted(fold_dir)? else { return Ok(()) };
    let what = if now.map(slides).as_ref() != Some(&before.slides) {
        SLIDES
    } else if before.initial_weights.as_ref() != initial_weights {
        WEIGHTS
    } else {
        return Ok(());
    };
    Err(begun_with_others(fold_dir, what, ": folds of one run share their data"))
}

/// What a fold was begun on; `None` where an earlier version began it, or nothing did.
fn noted(fold_dir: &Path) -> Result<Option<DataHashes>> {
    let note = fold_dir.join(fold_files::DATA);
    if note.is_file() { run_dir::read_json(&note).map(Some) } else { Ok(None) }
}

fn begun_with_others(fold_dir: &Path, what: &str, more: &str) -> Error {
    let reason =
        format!("{what} are not those that it was begun with{more}; put them back, or choose another --out");
    Error::data(fold_dir, reason)
}

fn slides(fold: &FoldData) -> String {
    let mut hash = Sha256::new();
    let edges = fold.bins.edges_months().map(|edge| edge.to_bits().to_string());
    hash.update(format!("fold {} bins {}\n", fold.fold, edges.join(" ")));
    for (part, slides) in
        [("train", &fold.train), ("inner", &fold.inner_validation), ("validation", &fold.validation)]
    {
        for LabelledSlide { slide, bin } in slides {
            let (months, is_event) = (slide.outcome.time().to_bits(), slide.outcome.is_event());
            let row = [&slide.slide_id, &slide.case_id, &slide.patient_id].map(String::as_str).join("\t");
            hash.update(format!("{part}\t{row}\t{months}\t{is_event}\t{bin}\n"));
        }
    }
    hex(hash)
}

fn bag_files(fold: &FoldData, bags: &BagSource, files: &mut FileHashes) -> Result<String> {
    let slides = fold.train.iter().chain(&fold.inner_validation).chain(&fold.validation);
    let mut ids: Vec<&str> = slides.map(|labelled| labelled.slide.slide_id.as_str()).collect();
    ids.sort_unstable();
    let mut hash = Sha256::new();
    for id in ids {
        for path in bags.files_of(id) {
            hash.update(format!("{id}\t{}\n", files.known(&path, sampled)?));
        }
    }
    Ok(hex(hash))
}

impl FileHashes {
    fn whole(&mut self, path: &Path) -> Result<String> {
        self.known(path, |path| {
            let bytes = std::fs::read(path).map_err(Error::io("read", path))?;
            Ok(hex(Sha256::new().chain_update(bytes)))
        })
    }

    /// Samples files that were not yet, several at a time; false if `stop` was set before the end.
    ///
    /// # Errors
    /// If a file can't be read.
    pub(crate) fn sample_all(&mut self, paths: BTreeSet<PathBuf>, stop: &AtomicBool) -> Result<bool> {
        let is_stopped = || stop.load(Ordering::Relaxed);
        let new = paths.into_par_iter().filter(|path| !self.0.contains_key(path));
        let hash = |path: PathBuf| {
            if is_stopped() { Ok(None) } else { sampled(&path).map(|hash| Some((path, hash))) }
        };
        let hashes = new.map(hash).collect::<Result<Vec<_>>>()?;
        self.0.extend(hashes.into_iter().flatten());
        Ok(!is_stopped())
    }

    fn known(&mut self, path: &Path, make: impl FnOnce(&Path) -> Result<String>) -> Result<String> {
        if let Some(hash) = self.0.get(path) {
            return Ok(hash.clone());
        }
        let hash = make(path)?;
        self.0.insert(path.to_owned(), hash.clone());
        Ok(hash)
    }
}

/// Hash of a file's size and of its first, middle and last bytes.
fn sampled(path: &Path) -> Result<String> {
    let mut file = File::open(path).map_err(Error::io("read", path))?;
    let n_bytes = file.metadata().map_err(Error::io("read", path))?.len();
    let mut hash = Sha256::new().chain_update(n_bytes.to_string());
    let last = n_bytes.saturating_sub(SAMPLE_BYTES);
    for start in [0, last / 2, last] {
        let mut sample = Vec::new();
        file.seek(SeekFrom::Start(start)).map_err(Error::io("read", path))?;
        let taken = (&mut file).take(SAMPLE_BYTES).read_to_end(&mut sample);
        taken.map_err(Error::io("read", path))?;
        hash.update(sample);
    }
    Ok(hex(hash))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hashing_ends_when_it_is_asked_to() {
        let dir = tempfile::tempdir().unwrap();
        let bag = dir.path().join("bag.h5");
        std::fs::write(&bag, "a bag").unwrap();
        let sample = |stop| {
            let mut files = FileHashes::default();
            let is_done = files.sample_all(BTreeSet::from([bag.clone()]), &AtomicBool::new(stop)).unwrap();
            (is_done, files.0.len())
        };
        assert_eq!(sample(true), (false, 0));
        assert_eq!(sample(false), (true, 1));
    }
}
