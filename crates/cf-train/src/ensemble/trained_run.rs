//! The run whose models are applied: its finished folds, their weights, and whom it has seen.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use candle_core::Device;
use cf_model::weights::METADATA_ROW_ORDER;

use crate::checkpoint::{METADATA_CONFIG_HASH, METADATA_EPOCH};
use crate::cohort::{heads_of, patient_of};
use crate::config::RunConfig;
use crate::error::{Error, Result};
use crate::evaluate::{Risks, finished_folds, record_of, rows_of, unfinished_fold};
use crate::input_hash::InputRecord;
use crate::plan::FoldsRecord;
use crate::predict::TrainedModel;
use crate::run_dir::{self, fold_files};

/// A run directory of `cf-train cv`, of which at least one fold is finished.
pub(crate) struct TrainedRun {
    /// Whether some patients chose an epoch and are known by their slides alone.
    has_unnamed_patients: bool,
    pub(crate) dir: PathBuf,
    pub(crate) config: RunConfig,
    /// Those whose models are applied, in order.
    pub(super) folds: Vec<TrainedFold>,
    /// Folds that the run began, or was to train, and has not finished.
    pub(super) unfinished: Vec<usize>,
    /// Patients whose slides the run trained or validated on, as far as it names them.
    patients: BTreeSet<String>,
    slides: BTreeSet<String>,
}

/// A finished fold.
pub(super) struct TrainedFold {
    pub(super) fold: usize,
    /// Where the weights of its selected epoch are.
    checkpoint: PathBuf,
    /// Risks of the slides trained on; `None` where the run does not say them.
    pub(super) train: Option<Risks>,
    /// A slide trained on.
    pub(super) example: Option<String>,
}

/// The model of a fold.
pub(crate) struct FoldModel {
    pub(super) fold: usize,
    pub(super) path: PathBuf,
    pub(super) model: TrainedModel,
    /// The weights' file, as a file of the run.
    pub(crate) input: InputRecord,
}

impl TrainedRun {
    /// Reads all but the weights. `asked` picks folds; all that are finished where it is empty.
    ///
    /// # Errors
    /// If no fold is finished, an asked one is not, or a file can't be read.
    pub(crate) fn read(dir: &Path, asked: &[usize]) -> Result<Self> {
        let config = RunConfig::read(&run_dir::config_of(dir)?, &[])?;
        let finished = finished_folds(dir)?;
        let numbers: Vec<usize> = finished.iter().map(|(fold, _)| *fold).collect();
        if let Some(fold) = asked.iter().find(|fold| !numbers.contains(fold)) {
            return Err(unfinished_fold(dir, (*fold, "was asked for"), &numbers));
        }
        let record: FoldsRecord = run_dir::read_json(&dir.join(run_dir::FOLDS))?;
        let planned = 0..record.n_planned_folds.unwrap_or(0);
        let begun: BTreeSet<usize> = record.folds.iter().map(|fold| fold.fold).chain(planned).collect();
        let slides: BTreeSet<String> = record.folds.iter().flat_map(|fold| fold.slides().cloned()).collect();
        let chose: Vec<&String> =
            record.folds.iter().flat_map(|fold| &fold.inner_validation_patients).collect();
        let mut run = Self {
            dir: dir.to_owned(),
            config,
            folds: Vec::new(),
            unfinished: begun.into_iter().filter(|fold| !numbers.contains(fold)).collect(),
            patients: slides
                .iter()
                .map(|slide| patient_of(slide).to_owned())
                .chain(chose.into_iter().cloned())
                .collect(),
            has_unnamed_patients: record
                .folds
                .iter()
                .any(|fold| !fold.inner_validation.is_empty() && fold.inner_validation_patients.is_empty()),
            slides,
        };
        for (fold, fold_dir) in finished {
            let of_fold = record_of(dir, &record, fold)?;
            let validated = rows_of(&fold_dir.join(fold_files::PREDICTIONS), &of_fold.validation)?;
            let train = fold_dir.join(fold_files::PREDICTIONS_TRAIN);
            let trained = train.is_file().then(|| rows_of(&train, &of_fold.train)).transpose()?;
            for row in validated.iter().chain(trained.iter().flatten()) {
                run.patients.insert(row.patient_id().to_owned());
                run.slides.insert(row.slide_id.clone());
            }
            if asked.is_empty() || asked.contains(&fold) {
                let example = trained.as_ref().and_then(|rows| rows.first()).map(|row| row.slide_id.clone());
                run.folds.push(TrainedFold {
                    fold,
                    checkpoint: fold_dir.join(fold_files::BEST),
                    train: trained
                        .filter(|rows| !rows.is_empty())
                        .map(|rows| Risks::of_slides(&rows))
                        .transpose()?,
                    example,
                });
            }
        }
        Ok(run)
    }

    /// Whether a slide, or its patient, was in the run.
    pub(crate) fn has_seen(&self, slide_id: &str, patient_id: &str) -> bool {
        self.slides.contains(slide_id)
            || [patient_id, patient_of(slide_id)].into_iter().any(|patient| self.patients.contains(patient))
    }

    /// Whether a slide of which nothing but its name is known was in the run, or begins with the id of a patient who was.
    pub(crate) fn has_seen_name(&self, slide_id: &str) -> bool {
        self.has_seen(slide_id, slide_id) || heads_of(slide_id).any(|head| self.patients.contains(head))
    }

    /// Risks of the slides that each applied model was trained on; `None` where the run does not say them.
    pub(crate) fn train_risks(&self) -> Option<Vec<Risks>> {
        self.folds.iter().map(|fold| fold.train.clone()).collect()
    }

    /// That some patients of the run are not known, if so.
    pub(super) fn unnamed_in_words(&self) -> Option<String> {
        self.has_unnamed_patients.then(|| {
            "the run, of an earlier version, does not name the patients who chose its epochs: only their slides are known".to_owned()
        })
    }

    /// That folds have no models, if so.
    pub(super) fn unfinished_in_words(&self) -> Option<String> {
        (!self.unfinished.is_empty()).then(|| {
            format!(
                "the run has no models of {} of its folds ({})",
                self.unfinished.len(),
                cf_cli::listed(self.unfinished.iter().map(ToString::to_string))
            )
        })
    }

    /// Reads the weights of the selected epochs.
    ///
    /// # Errors
    /// If a fold has none, they are not of the run's model, or those of two folds are of different runs.
    pub(super) fn models(&self, device: &Device) -> Result<Vec<FoldModel>> {
        let mut models: Vec<FoldModel> = Vec::new();
        for fold in &self.folds {
            let path = &fold.checkpoint;
            if !path.is_file() {
                let reason = format!(
                    "is missing, expected the weights of the epoch that fold {} selected; put it back, or leave the fold out (--folds)",
                    fold.fold
                );
                return Err(Error::data(path, reason));
            }
            let input = InputRecord::of_file("checkpoint", path, &self.dir.join(run_dir::CONFIG))?;
            let model = TrainedModel::read(path, &self.config.model, device)?;
            if let Some(first) = models.first() {
                let said = |model: &TrainedModel| model.says(METADATA_CONFIG_HASH).map(str::to_owned);
                let differs =
                    said(&first.model) != said(&model) || first.model.backbone_dim != model.backbone_dim;
                if differs {
                    let reason = format!(
                        "is of another run than {}: its settings or the width of its features differ; take the folds of one run",
                        first.path.display()
                    );
                    return Err(Error::data(path, reason));
                }
            }
            models.push(FoldModel { fold: fold.fold, path: path.clone(), model, input });
        }
        Ok(models)
    }
}

impl FoldModel {
    /// The order of the patches that it was trained on, where it says so.
    pub(super) fn row_order(&self) -> Option<&str> {
        self.model.says(METADATA_ROW_ORDER)
    }

    /// The epoch that was selected, where it says so.
    pub(super) fn epoch(&self) -> Option<usize> {
        self.model.says(METADATA_EPOCH)?.parse().ok()
    }

    /// The hash of the settings that it was trained with, where it says so.
    pub(super) fn config_hash(&self) -> Option<&str> {
        self.model.says(METADATA_CONFIG_HASH)
    }
}
