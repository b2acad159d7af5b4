//! What the report of a study is made from.

use super::table::StudyTable;

/// Everything that the report of a study shows, as plain data.
#[derive(Debug, Clone, PartialEq)]
pub struct StudyReport {
    /// What the study is called.
    pub title: String,
    /// What was run, as pairs of a word and a value.
    pub facts: Vec<(String, String)>,
    /// Tables 1 and 2, with marks.
    pub tables: Vec<StudyTable>,
    /// A forest plot for each.
    pub cohorts: Vec<CohortEstimates>,
    /// Headings of cohorts with a method of whose finished folds none has a C-index.
    pub undefined: Vec<String>,
    /// Paired comparisons, those whose p-values were adjusted together next to each other.
    pub comparisons: Vec<StudyComparison>,
    /// Choosing the epoch on the validation fold, against the last epoch.
    pub epoch_choices: Vec<EpochChoice>,
    /// Values of the paper beside those of the study.
    pub published: Vec<PublishedValue>,
    /// Whether others are compared with the method that came out best, as none was named before.
    pub reference_is_best: bool,
    /// Tasks of the plan, and how many of them are finished.
    pub n_tasks: usize,
    /// Those that are not.
    pub unfinished: Vec<MissingTask>,
    /// Seeds.
    pub n_seeds: usize,
    /// Rows about versions and machine.
    pub environment: Vec<(String, String)>,
    /// Every run with its protocol and the hashes of what it read.
    pub runs: Vec<RunProvenance>,
    /// The study's file.
    pub study_toml: String,
}

/// The patient-level C-indices of one cohort on one encoder's features.
#[derive(Debug, Clone, PartialEq)]
pub struct CohortEstimates {
    /// Cohort, and the encoder where there are several.
    pub heading: String,
    /// Validated patients: the most of any method.
    pub n_patients: usize,
    /// Those with an event.
    pub n_event_patients: usize,
    /// Those whom several folds validate.
    pub n_validated_twice: usize,
    /// Rows from top to bottom.
    pub methods: Vec<MethodEstimate>,
}

impl CohortEstimates {
    /// Whether methods that have all folds were scored on different numbers of patients, so that their means are not of the same.
    pub(crate) fn complete_differ(&self) -> bool {
        let mut counts =
            self.methods.iter().filter(|method| method.is_complete).map(|method| method.n_patients);
        let first = counts.next();
        counts.any(|n| Some(n) != first)
    }
}

/// A method's patient-level C-index.
#[derive(Debug, Clone, PartialEq)]
pub struct MethodEstimate {
    /// Its name.
    pub label: String,
    /// Mean over folds and seeds.
    pub mean: f64,
    /// Patients that it was scored on.
    pub n_patients: usize,
    /// Bootstrap interval over patients.
    pub ci95: Option<(f64, f64)>,
    /// Whether all folds and seeds are in it.
    pub is_complete: bool,
}

/// Two methods on the same patients.
#[derive(Debug, Clone, PartialEq)]
pub struct StudyComparison {
    /// Cohort, and what both methods share where it can differ.
    pub heading: String,
    /// The method.
    pub method: String,
    /// What it is compared with.
    pub reference: String,
    /// The difference, or why there is none.
    pub result: Result<PairedNumbers, String>,
}

/// Differences of patient-level C-indices, method minus reference.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct PairedNumbers {
    /// Patients of both.
    pub n_patients: usize,
    /// Mean over folds and seeds.
    pub mean_difference: f64,
    /// Bootstrap interval of it.
    pub ci95: Option<(f64, f64)>,
    /// Two-sided, infinitesimal jackknife over patients.
    pub p_value: f64,
    /// Adjusted by Holm's method.
    pub p_holm: f64,
    /// Two-sided, corrected resampled t-test over folds.
    pub p_folds: Option<f64>,
}

/// What choosing the epoch on the validation fold gives, for one method on one cohort.
#[derive(Debug, Clone, PartialEq)]
pub struct EpochChoice {
    /// Cohort, and the encoder where there are several.
    pub heading: String,
    /// The method.
    pub method: String,
    /// Mean over folds and seeds of the best epoch's C-index.
    pub best: f64,
    /// The same of the last epoch.
    pub last: f64,
}

/// A value of the paper beside one of the study.
#[derive(Debug, Clone, PartialEq)]
pub struct PublishedValue {
    /// Cohort.
    pub cohort: String,
    /// Method, with its encoder where that is not the one of Table 1.
    pub method: String,
    /// Mean and deviation of the study, as its tables print them.
    pub ours: String,
    /// Those of the paper.
    pub paper: String,
    /// Difference of the means.
    pub difference: Option<f64>,
}

/// A task without results.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MissingTask {
    /// Its id.
    pub id: String,
    /// `failed`, `begun` or `waiting`.
    pub state: String,
    /// Why it failed.
    pub reason: Option<String>,
}

/// What a run was made from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RunProvenance {
    /// Its name.
    pub name: String,
    /// Its protocol, with what was changed in it.
    pub protocol: String,
    /// Ids of its tasks: each ends with a hash of settings, data and version.
    pub tasks: Vec<String>,
}
