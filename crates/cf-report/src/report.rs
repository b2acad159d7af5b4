//! What a cross-validated run hands to the report: plain numbers and texts, no file and no computation.

use survival_metrics::Outcome;

use crate::error::{Error, Result};
use crate::risk_cut::RiskCut;

/// Everything the report shows about one cross-validated run of one model on one cohort.
///
/// Times are in months, risk is "higher is worse", folds keep the numbers of their split files.
#[derive(Debug, Clone)]
pub struct CrossValidationReport {
    /// Heading of the report.
    pub title: String,
    /// Name of the model, as `--model` takes it.
    pub model: String,
    /// Name of the cohort.
    pub cohort: String,
    /// Patch encoder whose features were used.
    pub backbone: String,
    /// Protocol with its changed settings, for example `paper (modified: training.max_epochs)`.
    pub protocol: String,
    /// Whole sentences: how the epoch was selected, what the bins were fitted on, how the confidence interval
    /// was computed, what is optimistic.
    pub protocol_notes: Vec<String>,
    /// Cohort flow, from everything found to what was scored.
    pub flow: Vec<FlowStep>,
    /// One entry per fold that was run, in the order to print.
    pub folds: Vec<FoldReport>,
    /// Folds of the splits; some may not have been run.
    pub n_planned_folds: usize,
    /// Slide-level C-index of the selected epochs.
    pub c_index: CIndexSummary,
    /// Patient-level C-index of the selected epochs; a patient's risk is the mean over the slides.
    pub patient_c_index: CIndexSummary,
    /// Slide-level C-index of the last epochs.
    pub last_epoch_c_index: CIndexSummary,
    /// Patient-level C-index of the last epochs.
    pub patient_last_epoch_c_index: CIndexSummary,
    /// Validation predictions of the selected epochs, pooled over folds, one row per slide.
    pub predictions: Vec<PredictionRow>,
    /// Where the predictions are cut into groups at high and at low risk.
    pub risk_cut: RiskCut,
    /// How the reported epochs were selected.
    pub selection: Selection,
    /// Versions, device, threads, seed and the like, in the order to print.
    pub environment: Vec<(String, String)>,
    /// Inputs and their hashes, in the order to print.
    pub inputs: Vec<InputHash>,
    /// Reference of the model, for the citation block.
    pub model_paper: String,
    /// Version of the software, for the citation block.
    pub software_version: String,
    /// Why the models predict no survival, as a sentence; their risks alone are then scored, and [`PredictionRow::survival`] is not read.
    pub no_survival: Option<String>,
    /// Heatmaps of slides, in the order to print; none unless they were drawn.
    pub heatmaps: Vec<Heatmap>,
    /// Resolved configuration, TOML text.
    pub config_toml: String,
    /// Duration of the whole run, seconds.
    pub wall_seconds: f64,
    /// Largest resident set of the process, bytes.
    pub peak_rss_bytes: u64,
}

/// The heatmaps of one slide.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Heatmap {
    /// The slide.
    pub slide_id: String,
    /// Why it is shown, such as `highest predicted risk, −0.41`.
    pub reason: String,
    /// The slide beside its maps, a PNG file.
    pub picture_png: Vec<u8>,
    /// Where all of its files are, from the directory of the report.
    pub folder: String,
}

impl CrossValidationReport {
    /// Refuses what no sentence of the report could mend.
    pub(crate) fn check(&self) -> Result<()> {
        let summaries = [
            ("c_index", &self.c_index),
            ("patient_c_index", &self.patient_c_index),
            ("last_epoch_c_index", &self.last_epoch_c_index),
            ("patient_last_epoch_c_index", &self.patient_last_epoch_c_index),
        ];
        for (field, summary) in summaries {
            let (found, expected) = (summary.folds.len(), self.folds.len());
            if found != expected {
                return Err(Error::FoldCount { field, found, expected });
            }
        }
        if let Some(row) = self.predictions.iter().find(|row| !row.risk.is_finite()) {
            return Err(Error::NonFiniteRisk { slide_id: row.slide_id.clone(), risk: row.risk });
        }
        for row in &self.predictions {
            let fold = self.folds.iter().find(|fold| fold.fold == row.fold);
            let expected = fold.map_or(0, |fold| fold.time_bin_edges_months.len().saturating_sub(1));
            if row.survival.len() != expected {
                let (slide_id, found) = (row.slide_id.clone(), row.survival.len());
                return Err(Error::SurvivalBins { slide_id, fold: row.fold, found, expected });
            }
        }
        Ok(())
    }
}

/// How the epoch was selected whose predictions are reported.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Selection {
    /// By its score on the very fold that is reported, which is optimistic.
    OnReportedFold,
    /// Without the fold that is reported: the last epoch, or one selected on a held-out part of the training data.
    WithoutReportedFold,
}

/// A file, or a set of files, that the run read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InputHash {
    /// What it is, such as `clinical table`.
    pub what: String,
    /// SHA-256, hexadecimal.
    pub sha256: String,
}

/// One step of the cohort flow: what remains after it, and what it dropped.
#[derive(Debug, Clone)]
pub struct FlowStep {
    /// What the step requires, for example "with features at 5x, 10x and 20x".
    pub label: String,
    /// Slides that remain.
    pub n_slides: usize,
    /// Patients that remain.
    pub n_patients: usize,
    /// Slides that remain and whose patient had the event.
    pub n_events: usize,
    /// What this step removed, by reason.
    pub dropped: Vec<Dropped>,
}

/// Slides or unmatched ids that one step removed for one reason; all of them are listed.
#[derive(Debug, Clone)]
pub struct Dropped {
    /// Why, as a phrase: "no row in the clinical table".
    pub reason: String,
    /// Every id that was removed.
    pub ids: Vec<String>,
    /// Whether they are of slides that the step before counts; ids that no table knows are listed only.
    pub is_counted: bool,
}

/// One fold: its size, its time bins, its scores and its training history.
#[derive(Debug, Clone)]
pub struct FoldReport {
    /// Number of the fold, as in the split files.
    pub fold: usize,
    /// Outcomes of the patients trained on, one per patient: their censoring weights the scores over time, and their
    /// Kaplan-Meier curve is what the model is compared with.
    pub train_outcomes: Vec<Outcome>,
    /// Slides trained on.
    pub n_train_slides: usize,
    /// Slides trained on whose patient had the event.
    pub n_train_events: usize,
    /// Slides scored.
    pub n_validation_slides: usize,
    /// Patients scored.
    pub n_validation_patients: usize,
    /// Slides scored whose patient had the event.
    pub n_validation_events: usize,
    /// Edges of the discrete time bins, months, ascending; one more than there are bins.
    pub time_bin_edges_months: Vec<f64>,
    /// Hospitals of training and validation, where the ids tell.
    pub sites: Option<SiteOverlap>,
    /// Epoch whose weights made the predictions, numbered as in `history`.
    pub selected_epoch: usize,
    /// Slide-level C-index of the selected epoch; `None` where no pair is comparable.
    pub c_index: Option<f64>,
    /// Patient-level C-index of the selected epoch.
    pub patient_c_index: Option<f64>,
    /// Slide-level C-index of the last epoch.
    pub last_epoch_c_index: Option<f64>,
    /// Why a C-index is missing or weak, for example "no event in the fold".
    pub c_index_note: Option<String>,
    /// One row per epoch, ascending.
    pub history: Vec<EpochRow>,
}

/// Tissue source sites of a fold, as TCGA barcodes state them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SiteOverlap {
    /// Sites of the validation patients.
    pub n_validation: usize,
    /// Those of them that training patients come from, too; sorted.
    pub shared: Vec<String>,
    /// Validation patients of the shared sites.
    pub n_patients_of_shared: usize,
}

/// One epoch of training.
#[derive(Debug, Clone)]
pub struct EpochRow {
    /// Number of the epoch.
    pub epoch: usize,
    /// Learning rate at the end of the epoch.
    pub learning_rate: Option<f64>,
    /// Mean training loss per slide.
    pub train_loss: f64,
    /// Mean validation loss per slide.
    pub validation_loss: f64,
    /// Slide-level validation C-index; `None` where no pair is comparable.
    pub validation_c_index: Option<f64>,
    /// Duration of the epoch with its evaluation, seconds.
    pub seconds: f64,
}

/// A C-index over folds, unrounded.
#[derive(Debug, Clone)]
pub struct CIndexSummary {
    /// Mean over the folds that have a C-index.
    pub mean: Option<f64>,
    /// Population standard deviation over the same folds.
    pub sd: Option<f64>,
    /// One value per entry of [`CrossValidationReport::folds`], in the same order.
    pub folds: Vec<Option<f64>>,
    /// 95 % confidence interval of the mean; the protocol notes say how it was computed.
    pub ci95: Option<(f64, f64)>,
    /// Why there is a mean and no interval of it, as half a sentence: "every resample has the same value".
    pub no_ci95: Option<String>,
}

/// The prediction for one validation slide.
#[derive(Debug, Clone)]
pub struct PredictionRow {
    /// Case id of the clinical table.
    pub case_id: String,
    /// Slide id.
    pub slide_id: String,
    /// Patient: the unit of the patient-level results.
    pub patient_id: String,
    /// Fold that the slide was scored in.
    pub fold: usize,
    /// Event time in months, and status, of the patient.
    pub outcome: Outcome,
    /// Predicted risk, higher is worse.
    pub risk: f64,
    /// Predicted survival past the end of each time bin of the fold, each in [0, 1].
    pub survival: Vec<f64>,
}
