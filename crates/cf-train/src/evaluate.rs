//! The metrics of a finished run, from its prediction files alone.

mod learned_cut;
mod predictions;

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use survival_metrics::{
    BootstrapConfig, CvSummary, FoldRisks, Outcome, RiskTies, bootstrap_mean_c_indices, concordance_index,
};

use crate::config::RunConfig;
use crate::error::Result;
use crate::protocol;
use crate::resampling;
use crate::substitutes::{self, SubstituteRow};

pub use learned_cut::{LearnedCutSummary, prediction_rows, risk_cut};
pub use predictions::{FoldPredictions, Prediction, StatusName, read_predictions, unfinished_folds};
pub(crate) use predictions::{finished_folds, record_of, rows_of, unfinished_fold};

/// Outcomes and risks of slides, or of patients.
#[derive(Debug, Clone, Default)]
pub struct Risks {
    /// Months and status.
    pub outcomes: Vec<Outcome>,
    /// Risk scores; higher is worse.
    pub risk: Vec<f64>,
    /// Whose they are.
    pub patients: Vec<String>,
}

impl Risks {
    /// One entry per row.
    ///
    /// # Errors
    /// If a row has no valid outcome.
    pub fn of_slides(rows: &[Prediction]) -> Result<Self> {
        let mut risks = Self::default();
        for row in rows {
            risks.outcomes.push(row.outcome()?);
            risks.risk.push(row.risk);
            risks.patients.push(row.patient_id().to_owned());
        }
        Ok(risks)
    }

    /// One entry per patient: the mean risk of his slides.
    #[must_use]
    pub fn of_patients(&self) -> Self {
        let mut outcomes: BTreeMap<&str, Outcome> = BTreeMap::new();
        for (patient, outcome) in self.patients.iter().zip(&self.outcomes) {
            outcomes.entry(patient).or_insert(*outcome);
        }
        Self {
            patients: outcomes.keys().map(|&patient| patient.to_owned()).collect(),
            outcomes: outcomes.into_values().collect(),
            risk: patient_means(&self.patients, &self.risk).into_values().collect(),
        }
    }

    /// Harrell's C-index, or nothing where no pair can be compared (a fold without events).
    ///
    /// # Errors
    /// If a risk is NaN.
    pub fn c_index(&self) -> Result<Option<f64>> {
        match concordance_index(&self.outcomes, &self.risk, RiskTies::default()) {
            Ok(concordance) => Ok(Some(concordance.c_index())),
            Err(
                survival_metrics::Error::AllCensored { .. }
                | survival_metrics::Error::NoComparablePairs { .. },
            ) => Ok(None),
            Err(error) => Err(error.into()),
        }
    }
}

/// The mean over the slides of each patient, of a value of every slide; `patients` says whose each slide is.
pub(crate) fn patient_means<'a>(patients: &'a [String], values: &[f64]) -> BTreeMap<&'a str, f64> {
    let mut of_patient: BTreeMap<&str, Vec<f64>> = BTreeMap::new();
    for (patient, value) in patients.iter().zip(values) {
        of_patient.entry(patient).or_default().push(*value);
    }
    let mean = |slides: Vec<f64>| slides.iter().sum::<f64>() / slides.len() as f64;
    of_patient.into_iter().map(|(patient, slides)| (patient, mean(slides))).collect()
}

/// A C-index over folds.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct CIndex {
    /// Mean over the folds that have one.
    pub mean: Option<f64>,
    /// Population standard deviation over them (divided by n, as released); null of a single fold.
    pub sd: Option<f64>,
    /// Each fold's; null where no pair can be compared.
    pub folds: Vec<Option<f64>>,
    /// Percentile interval of the mean, patients resampled within folds, or once for all folds that validate them; null where resampling
    /// says nothing of its certainty.
    pub ci95: Option<(f64, f64)>,
    /// Why there is a mean and no interval of it.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub no_ci95: Option<String>,
}

/// A log-rank test of two groups.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct LogRankSummary {
    /// Statistic, one degree of freedom; null where the test is undefined.
    pub chi_square: Option<f64>,
    /// Upper tail; 0 below 1e-308.
    pub p_value: Option<f64>,
}

/// `summary.json`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Summary {
    /// Model name.
    pub model: String,
    /// Cohort name.
    pub cohort: String,
    /// Encoder.
    pub backbone: String,
    /// Protocol, with what was changed in it.
    pub protocol: String,
    /// Slides, selected epoch.
    pub c_index: CIndex,
    /// Patients (mean risk of their slides), selected epoch.
    pub patient_c_index: CIndex,
    /// Slides, last epoch.
    pub last_epoch_c_index: CIndex,
    /// Median split of the pooled slide risks; of a slide that several folds validate, of the mean of its risks.
    pub log_rank: LogRankSummary,
    /// `sound`: slides split at the median risk of their own fold's training slides.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub log_rank_learned_cut: Option<LearnedCutSummary>,
    /// `sound`: patients, by their mean risk, split at the median risk of their own fold's training patients.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub patient_log_rank_learned_cut: Option<LearnedCutSummary>,
    /// Validated slides.
    pub n_slides: usize,
    /// Their patients.
    pub n_patients: usize,
    /// Slides with an event.
    pub n_events: usize,
    /// Patients with an event.
    pub n_event_patients: usize,
    /// Patients whom several folds validate.
    #[serde(skip_serializing_if = "is_zero", default)]
    pub n_validated_twice: usize,
    /// What stood in for what bags lack, over the folds' slides.
    #[serde(skip_serializing_if = "Vec::is_empty", default)]
    pub substitutes: Vec<SubstituteRow>,
    /// Training and evaluation, over all sessions of the run.
    pub wall_seconds: f64,
    /// Largest resident memory of the process.
    pub peak_rss_bytes: u64,
}

impl Summary {
    /// `7 of 17 patients are validated by several folds`; `None` where none is.
    pub fn validated_twice(&self) -> Option<String> {
        cf_report::validated_twice(self.n_validated_twice, self.n_patients)
    }

    /// The model's name, with a word where it ran without what it is named for.
    pub fn model_label(&self) -> String {
        substitutes::label(&self.model, &self.substitutes)
    }
}

/// What a run used.
#[derive(Debug, Clone, Copy)]
pub struct Cost {
    /// Seconds of training and evaluation.
    pub wall_seconds: f64,
    /// Largest resident memory.
    pub peak_rss_bytes: u64,
}

/// Computes the summary of a run.
///
/// # Errors
/// If a prediction row is not usable.
pub fn summarise(config: &RunConfig, folds: &[FoldPredictions], cost: Cost) -> Result<Summary> {
    let slides = |pick: fn(&FoldPredictions) -> &Vec<Prediction>| -> Result<Vec<Risks>> {
        folds.iter().map(|fold| Risks::of_slides(pick(fold))).collect()
    };
    let selected = slides(|fold| &fold.selected)?;
    let patients: Vec<Risks> = selected.iter().map(Risks::of_patients).collect();
    let last = slides(|fold| &fold.last)?;
    let [log_rank_learned_cut, patient_log_rank_learned_cut] =
        learned_cut::summaries(config.training.protocol, folds)?;
    let seed = config.training.seed;

    // Several folds may validate one of them: each counts once.
    let rows = prediction_rows(folds)?;
    let all_slides: BTreeMap<&str, bool> =
        rows.iter().map(|row| (row.slide_id.as_str(), row.outcome.is_event())).collect();
    let mut all_patients: BTreeMap<&str, (bool, usize)> = BTreeMap::new();
    for (patient, outcome) in patients.iter().flat_map(|fold| fold.patients.iter().zip(&fold.outcomes)) {
        all_patients.entry(patient).or_insert((outcome.is_event(), 0)).1 += 1;
    }
    let n_patients = |is_counted: fn(&(bool, usize)) -> bool| {
        all_patients.values().filter(|patient| is_counted(patient)).count()
    };
    Ok(Summary {
        model: config.model.name().to_string(),
        cohort: config.cohort.name.clone(),
        backbone: config.features.backbone.clone(),
        protocol: protocol::describe(config),
        c_index: c_index(&selected, seed)?,
        patient_c_index: c_index(&patients, seed)?,
        last_epoch_c_index: c_index(&last, seed)?,
        log_rank: learned_cut::pooled_log_rank(&rows)?,
        log_rank_learned_cut,
        patient_log_rank_learned_cut,
        n_slides: all_slides.len(),
        n_patients: all_patients.len(),
        n_events: all_slides.values().filter(|&&has_event| has_event).count(),
        n_event_patients: n_patients(|&(has_event, _)| has_event),
        n_validated_twice: n_patients(|&(_, n_folds)| n_folds > 1),
        substitutes: substitutes::merge(folds.iter().flat_map(|fold| &fold.substitutes)),
        wall_seconds: cost.wall_seconds,
        peak_rss_bytes: cost.peak_rss_bytes,
    })
}

/// The C-index over folds, with its interval drawn from `seed`.
pub(crate) fn c_index(folds: &[Risks], seed: u64) -> Result<CIndex> {
    let values: Vec<Option<f64>> = folds.iter().map(Risks::c_index).collect::<Result<_>>()?;
    let (mean, sd) = mean_and_sd(&values)?;
    if mean.is_none() {
        return Ok(CIndex { mean, sd, folds: values, ci95: None, no_ci95: None });
    }
    let usable: Vec<FoldRisks<'_, String>> = folds
        .iter()
        .zip(&values)
        .filter(|(_, value)| value.is_some())
        .map(|(fold, _)| FoldRisks { outcomes: &fold.outcomes, risk: &fold.risk, clusters: &fold.patients })
        .collect();
    let config = BootstrapConfig { seed, ..BootstrapConfig::default() };
    let interval = resampling::interval(&bootstrap_mean_c_indices(&usable, config)?, config.level);
    Ok(CIndex { mean, sd, folds: values, ci95: interval.as_ref().ok().copied(), no_ci95: interval.err() })
}

/// Mean and population standard deviation of the values that are defined; of none there is neither, of one no deviation.
pub(crate) fn mean_and_sd(values: &[Option<f64>]) -> Result<(Option<f64>, Option<f64>)> {
    let defined: Vec<f64> = values.iter().flatten().copied().collect();
    if defined.is_empty() {
        return Ok((None, None));
    }
    let summary = CvSummary::new(&defined)?;
    Ok((Some(summary.mean()), (defined.len() > 1).then(|| summary.population_sd())))
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde calls it with a reference")]
pub(crate) fn is_zero(n: &usize) -> bool {
    *n == 0
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Patients in perfect order of risk.
    fn in_order(n: usize) -> Risks {
        Risks {
            patients: (0..n).map(|at| format!("patient {at}")).collect(),
            outcomes: (1..=n).map(|month| Outcome::event(month as f64).unwrap()).collect(),
            risk: (0..n).map(|at| -(at as f64)).collect(),
        }
    }

    #[test]
    fn what_resampling_cannot_tell_is_not_told() {
        let one = c_index(&[in_order(5)], 7).unwrap();
        assert_eq!((one.mean, one.sd, one.ci95), (Some(1.0), None, None));

        let mut disturbed = in_order(20);
        disturbed.risk.swap(3, 9);
        let two = c_index(&[in_order(5), disturbed], 7).unwrap();
        assert!(two.sd.unwrap() > 0.0);
        assert!(two.ci95.is_some_and(|(low, high)| low < high && high <= 1.0));

        // A fold of two patients: half of the resamples draw one of them twice.
        let mut disturbed = in_order(20);
        disturbed.risk.swap(3, 9);
        let small = c_index(&[in_order(2), disturbed], 7).unwrap();
        assert_eq!(small.ci95, None);
        assert!(
            small.no_ci95.is_some_and(|reason| reason.ends_with("a fold has no pair that can be compared"))
        );
    }
}
