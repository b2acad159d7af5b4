//! `study.json`: the results of a study, unrounded.

use serde::{Deserialize, Serialize};

use super::file::Reference;
use super::plan::PlannedModel;
use crate::evaluate::is_zero;

/// Everything that was found so far.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct StudyResults {
    /// What the study is called.
    pub name: String,
    /// The version that ran it.
    pub cf_train: String,
    /// Protocols of its runs, with what was changed in them.
    pub protocols: Vec<String>,
    /// Labels of the cohorts.
    pub cohorts: Vec<String>,
    /// The models.
    pub models: Vec<PlannedModel>,
    /// Labels of the encoders.
    pub backbones: Vec<String>,
    /// Seeds.
    pub seeds: Vec<u64>,
    /// The model that the others are compared with.
    pub reference: Reference,
    /// Tasks of the plan.
    pub n_tasks: usize,
    /// Those whose results are in here.
    pub n_finished: usize,
    /// The others.
    pub unfinished: Vec<UnfinishedTask>,
    /// A cell for each cohort, model and encoder of the plan.
    pub cells: Vec<Cell>,
    /// Paired comparisons on the same patients.
    pub comparisons: Vec<Comparison>,
}

/// A task without results.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct UnfinishedTask {
    /// Its id.
    pub id: String,
    /// `failed`, `running`, `begun` or `waiting`.
    pub state: String,
    /// Why it failed, or who is at it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
}

/// One model on one cohort and one encoder's features, over folds and seeds.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Cell {
    /// Label of the cohort.
    pub cohort: String,
    /// Label of the model.
    pub model: String,
    /// Label of the encoder.
    pub backbone: String,
    /// Whether every planned fold of every seed is in it.
    pub is_complete: bool,
    /// Its protocol, with what was changed in it.
    pub protocol: String,
    /// What each fold gave, by seed and fold.
    pub folds: Vec<FoldResult>,
    /// C-index of slides, selected epoch: the tables' cells are these, rounded.
    pub c_index: Estimate,
    /// C-index of patients (mean risk of their slides), selected epoch.
    pub patient_c_index: Estimate,
    /// C-index of slides, last epoch.
    pub last_epoch_c_index: Estimate,
    /// Median split of the pooled slide risks, for each seed.
    pub log_rank: Vec<SeedLogRank>,
    /// `sound`: slides split at the median risk of their own fold's training slides, for each seed.
    #[serde(skip_serializing_if = "Vec::is_empty", default)]
    pub log_rank_learned_cut: Vec<SeedLogRank>,
    /// The same of patients.
    #[serde(skip_serializing_if = "Vec::is_empty", default)]
    pub patient_log_rank_learned_cut: Vec<SeedLogRank>,
    /// Validated slides of the finished folds.
    pub n_slides: usize,
    /// Their patients.
    pub n_patients: usize,
    /// Patients with an event.
    pub n_event_patients: usize,
    /// Patients whom several folds validate.
    #[serde(skip_serializing_if = "is_zero", default)]
    pub n_validated_twice: usize,
    /// Seconds of training and evaluation.
    pub wall_seconds: f64,
    /// The paper's value, where this cell is one of the paper's.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub published: Option<Published>,
}

/// One fold of one seed.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct FoldResult {
    /// Its seed.
    pub seed: u64,
    /// Its fold.
    pub fold: usize,
    /// Its task.
    pub task: String,
    /// Slides, selected epoch; null where no pair can be compared.
    pub c_index: Option<f64>,
    /// Patients, selected epoch.
    pub patient_c_index: Option<f64>,
    /// Slides, last epoch.
    pub last_epoch_c_index: Option<f64>,
    /// Best over the epochs that the protocol `paper` may select, in the protocol's unit: what choosing the epoch on the validation
    /// fold gives.
    pub best_epoch_c_index: Option<f64>,
    /// Last epoch, in the protocol's unit.
    pub final_epoch_c_index: Option<f64>,
}

/// A mean over folds and seeds.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Estimate {
    /// Mean over the folds that have a value.
    pub mean: Option<f64>,
    /// Population standard deviation over them; null of one.
    pub sd: Option<f64>,
    /// How many these are.
    pub n: usize,
    /// Percentile interval of the mean, patients resampled within folds (once for all folds that validate them), alike for all seeds; null
    /// where resampling says nothing of its certainty.
    pub ci95: Option<(f64, f64)>,
}

/// A log-rank test of one seed.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct SeedLogRank {
    /// The seed.
    pub seed: u64,
    /// Statistic, one degree of freedom; null where the test is undefined.
    pub chi_square: Option<f64>,
    /// Upper tail.
    pub p_value: Option<f64>,
}

/// A value of the paper beside ours.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Published {
    /// Mean of the paper.
    pub mean: f64,
    /// Its standard deviation.
    pub sd: f64,
    /// Our mean minus the paper's.
    pub difference: Option<f64>,
}

/// Two methods on the same patients.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Comparison {
    /// What is compared.
    pub of: ComparisonKind,
    /// Label of the cohort.
    pub cohort: String,
    /// Label of the encoder (models), or of the model (encoders), that both share.
    pub within: String,
    /// Label of the method.
    pub method: String,
    /// Label of the one that it is compared with.
    pub reference: String,
    /// What came out, or why nothing did.
    pub result: ComparisonResult,
}

/// What two compared methods differ in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ComparisonKind {
    /// Models on the same features.
    Models,
    /// Encoders under the same model.
    Backbones,
}

/// A comparison, or the reason why there is none.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ComparisonResult {
    /// Compared.
    Compared(PairedResult),
    /// Not compared, and why.
    Undefined(String),
}

/// Differences of patients' C-indices, method minus reference.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct PairedResult {
    /// Patients of both.
    pub n_patients: usize,
    /// Seeds of both.
    pub n_seeds: usize,
    /// Folds of both.
    pub n_folds: usize,
    /// Mean over folds and seeds of the difference.
    pub mean_difference: f64,
    /// Percentile interval of it: patients resampled within folds (once for all folds that validate them), alike for both methods and all
    /// seeds; null where resampling says nothing of its certainty.
    pub ci95: Option<(f64, f64)>,
    /// Difference of the C-indices over all pairs within folds, which weights folds by their pairs: what the test is of.
    pub difference: f64,
    /// Its standard error (infinitesimal jackknife over patients).
    pub standard_error: f64,
    /// Two-sided.
    pub p_value: f64,
    /// Holm's, over the comparisons of this kind in this cohort.
    pub p_holm: f64,
    /// Corrected resampled t-test over folds (Nadeau and Bengio), differences averaged over seeds; descriptive.
    pub corrected_t: Option<CorrectedT>,
}

/// A corrected resampled t-test.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct CorrectedT {
    /// Statistic.
    pub t: f64,
    /// Degrees of freedom.
    pub df: usize,
    /// Two-sided.
    pub p_value: f64,
}
