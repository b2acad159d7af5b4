//! What a fold is trained and validated on, as hashes: who goes on with it can tell whether that is still the same.

use std::collections::{BTreeSet, HashMap};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};

use rayon::prelude::*;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use wsi_bags::Magnification;

use crate::bags::BagSource;
use crate::config::RunConfig;
use crate::error::{Error, Result};
use crate::fold_data::{FoldData, LabelledSlide};
use crate::input_hash::hex;
use crate::run_dir::{self, fold_files};

/// What may have changed, in words.
const SLIDES: &str = "the slides of its fold, their outcomes or time bins";
const WEIGHTS: &str = "the weights that it starts from";

/// Hashes (SHA-256, hexadecimal) of what a fold is trained and validated on.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DataHashes {
    /// The slides of the fold's parts, with patient, outcome and time bin of each.
    pub slides: String,
    /// The bags of these slides: name, and what [`BagStore::sample`](wsi_bags::BagStore::sample) takes of each magnification.
    pub bags: String,
    /// The checkpoint that training starts from, if any.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub initial_weights: Option<String>,
}

/// What was hashed already; folds and runs share most of theirs.
#[derive(Debug, Default)]
pub(crate) struct FileHashes(HashMap<Hashed, String>);

#[derive(Debug, PartialEq, Eq, Hash)]
enum Hashed {
    /// A whole file.
    File(PathBuf),
    /// A sample of a bag.
    Bag(BagPart),
}

/// The patches of a slide at one magnification, with features of one encoder.
#[derive(Debug, PartialEq, Eq, Hash)]
pub(crate) struct BagPart {
    pub(crate) file: PathBuf,
    pub(crate) backbone: String,
    pub(crate) magnification: Magnification,
}

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
            bags: bag_samples(fold, bags, files)?,
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
        let same = if self.slides == before.slides && self.bags != before.bags {
            // Earlier versions noted whole files, and other programs may have packed them anew.
            format!(
                " (if they hold the same features as then, remove {})",
                fold_dir.join(fold_files::DATA).display()
            )
        } else {
            String::new()
        };
        Err(begun_with_others(fold_dir, what, &same))
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

/// Refuses to join folds with one whose bags, which lie in another place than then, are not known to be the same. `now` is its data, if there
/// is such a fold.
///
/// # Errors
/// If they are not, or a file can't be read.
pub(crate) fn check_bags_of_other(
    fold_dir: &Path,
    now: Option<&FoldData>,
    bags: &BagSource,
    known: &mut FileHashes,
) -> Result<()> {
    let before = noted(fold_dir)?.map(|noted| noted.bags);
    let now = now.map(|fold| bag_samples(fold, bags, known)).transpose()?;
    if before.is_some() && before == now {
        return Ok(());
    }
    Err(begun_with_others(fold_dir, "its bags", ", or not known to be, and lie in another place"))
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

fn bag_samples(fold: &FoldData, bags: &BagSource, known: &mut FileHashes) -> Result<String> {
    let slides = fold.train.iter().chain(&fold.inner_validation).chain(&fold.validation);
    let mut ids: Vec<&str> = slides.map(|labelled| labelled.slide.slide_id.as_str()).collect();
    ids.sort_unstable();
    let mut hash = Sha256::new();
    for id in ids {
        let sample = |part: BagPart| {
            let magnification = part.magnification;
            known.known(Hashed::Bag(part), || sampled(bags, id, magnification))
        };
        let mut samples = bags.parts_of(id).map(sample).collect::<Result<Vec<_>>>()?;
        // Of a file that is sampled as a whole, whatever it holds.
        samples.dedup();
        samples.iter().for_each(|sample| hash.update(format!("{id}\t{sample}\n")));
    }
    Ok(hex(hash))
}

impl FileHashes {
    fn whole(&mut self, path: &Path) -> Result<String> {
        self.known(Hashed::File(path.to_owned()), || {
            let bytes = std::fs::read(path).map_err(Error::io("read", path))?;
            Ok(hex(Sha256::new().chain_update(bytes)))
        })
    }

    /// Samples the bags of slides that were not yet, several at a time; false if `stop` was set before the end.
    ///
    /// # Errors
    /// If a file can't be read.
    pub(crate) fn sample_all(
        &mut self,
        bags: &BagSource,
        slide_ids: BTreeSet<&str>,
        stop: &AtomicBool,
    ) -> Result<bool> {
        let is_stopped = || stop.load(Ordering::Relaxed);
        let hash = |id: &str| {
            let parts = bags.parts_of(id).map(|part| (part.magnification, Hashed::Bag(part)));
            let new = parts.filter(|(_, part)| !self.0.contains_key(part));
            let hashed = new.map(|(magnification, part)| Ok((part, sampled(bags, id, magnification)?)));
            if is_stopped() { Ok(Vec::new()) } else { hashed.collect::<Result<Vec<_>>>() }
        };
        let hashes = slide_ids.into_par_iter().map(hash).collect::<Result<Vec<_>>>()?;
        self.0.extend(hashes.into_iter().flatten());
        Ok(!is_stopped())
    }

    fn known(&mut self, what: Hashed, make: impl FnOnce() -> Result<String>) -> Result<String> {
        if let Some(hash) = self.0.get(&what) {
            return Ok(hash.clone());
        }
        let hash = make()?;
        self.0.insert(what, hash.clone());
        Ok(hash)
    }
}

fn sampled(bags: &BagSource, slide_id: &str, magnification: Magnification) -> Result<String> {
    Ok(hex(Sha256::new().chain_update(bags.sample(slide_id, magnification)?)))
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use candle_core::Device;
    use cf_model::{ModelConfig, ModelName};
    use wsi_bags::{Bag, BagStore, FeatureMatrix, PatchSet, SlideInfo, native};

    use super::*;
    use crate::config::Precision;

    #[test]
    fn hashing_ends_when_it_is_asked_to() {
        let dir = tempfile::tempdir().unwrap();
        let set = PatchSet::new(FeatureMatrix::new(vec![0.5; 8], 2, 4).unwrap());
        let set = set.with_coords(vec![[0, 0], [512, 0]]).unwrap();
        let bag = Bag::new("a", [(Magnification::X20, set)]).unwrap();
        native::write(&dir.path().join("a.h5"), &bag, "uni", &SlideInfo::default()).unwrap();
        let store = Arc::new(BagStore::open(dir.path(), None, "uni").unwrap());
        let model = ModelConfig::default_of(ModelName::Amil);
        let bags = BagSource::new(store, &model, (&Device::Cpu, Precision::F32), "a").unwrap();
        let sample = |stop| {
            let mut known = FileHashes::default();
            let is_done = known.sample_all(&bags, BTreeSet::from(["a"]), &AtomicBool::new(stop)).unwrap();
            (is_done, known.0.len())
        };
        assert_eq!(sample(true), (false, 0));
        assert_eq!(sample(false), (true, 1));
    }
}
