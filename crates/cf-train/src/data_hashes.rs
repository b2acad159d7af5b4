//! What a fold is trained and validated on, as hashes: who goes on with it can tell whether that is still the same.

use std::collections::HashMap;
use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};

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
            Some("the slides of its fold, their outcomes or time bins")
        } else if self.bags != before.bags {
            Some("its bags")
        } else if self.initial_weights != before.initial_weights {
            Some("the weights that it starts from")
        } else {
            None
        }
    }

    /// Refuses to go on with a fold that was begun on other data. A fold that an earlier version began does not say on which.
    ///
    /// # Errors
    /// If it was, or its note can't be read.
    pub(crate) fn check_begun(&self, fold_dir: &Path) -> Result<()> {
        let note = fold_dir.join(fold_files::DATA);
        if !note.is_file() {
            return Ok(());
        }
        match self.change_since(&run_dir::read_json(&note)?) {
            None => Ok(()),
            Some(what) => Err(Error::data(
                fold_dir,
                format!(
                    "{what} are not those that it was begun with; put them back, or choose another --out"
                ),
            )),
        }
    }
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
            hash.update(format!("{id}\t{}\n", files.sampled(&path)?));
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

    /// Hash of a file's size and of its first, middle and last bytes.
    fn sampled(&mut self, path: &Path) -> Result<String> {
        self.known(path, |path| {
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
        })
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
