//! What a cross-validated run hands to the report: plain numbers and texts, no file and no computation.

use survival_metrics::Outcome;

use crate::error::{Error, Result};

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
    /// Slide-level C-index of the selected epochs.
    pub c_index: CIndexSummary,
    /// Patient-level C-index of the selected epochs; a patient's risk is the mean over the slides.
    pub patient_c_index: CIndexSummary,
    /// Slide-level C-index of the last epochs.
    pub last_epoch_c_index: CIndexSummary,
    /// Validation predictions of the selected epochs, pooled over folds, one row per slide.
    pub predictions: Vec<PredictionRow>,
    /// Versions, device, threads, seed and the like, in the order to print.
    pub environment: Vec<(String, String)>,
    /// Resolved configuration, TOML text.
    pub config_toml: String,
    /// Duration of the whole run, seconds.
    pub wall_seconds: f64,
    /// Largest resident set of the process, bytes.
    pub peak_rss_bytes: u64,
}

impl CrossValidationReport {
    /// Refuses what no sentence of the report could mend.
    pub(crate) fn check(&self) -> Result<()> {
        let summaries = [
            ("c_index", &self.c_index),
            ("patient_c_index", &self.patient_c_index),
            ("last_epoch_c_index", &self.last_epoch_c_index),
        ];
        for (field, summary) in summaries {
            let (found, expected) = (summary.folds.len(), self.folds.len());
            if found != expected {
                return Err(Error::FoldCount { field, found, expected });
            }
        }
        match self.predictions.iter().find(|row| !row.risk.is_finite()) {
            Some(row) => Err(Error::NonFiniteRisk { slide_id: row.slide_id.clone(), risk: row.risk }),
            None => Ok(()),
        }
    }
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
}

/// One fold: its size, its time bins, its scores and its training history.
#[derive(Debug, Clone)]
pub struct FoldReport {
    /// Number of the fold, as in the split files.
    pub fold: usize,
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

/// One epoch of training.
#[derive(Debug, Clone)]
pub struct EpochRow {
    /// Number of the epoch.
    pub epoch: usize,
    /// Learning rate at the end of the epoch.
    pub learning_rate: f64,
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
}
