//! What the page says of the scores over time and of calibration.

use crate::calibration::{Calibration, Horizon};
use crate::number::{counted, fixed, fixed_or_missing};
use crate::over_time::MeanOverTime;
use crate::time_scores::TimeScores;

/// The table of scores over time.
pub(super) struct TimeScoresView {
    pub(super) rows: Vec<TimeScoreRow>,
    pub(super) left_out: Vec<String>,
    /// How they are computed.
    pub(super) note: String,
}

/// One fold, or the mean over folds.
pub(super) struct TimeScoreRow {
    pub(super) label: String,
    pub(super) uno_c: String,
    pub(super) mean_auc: String,
    pub(super) brier: String,
    pub(super) reference: String,
    pub(super) accuracy: String,
}

impl TimeScoresView {
    /// A row for each fold, and their mean. `shared` says that folds share patients, where they do.
    pub(super) fn of_folds(scores: &TimeScores, shared: Option<&str>) -> Self {
        let mut rows: Vec<TimeScoreRow> = scores
            .folds
            .iter()
            .map(|fold| TimeScoreRow::of(format!("Fold {}", fold.fold), MeanOverTime::of_fold(fold)))
            .collect();
        rows.push(TimeScoreRow::of("Mean".to_owned(), MeanOverTime::of_all(scores)));
        let band = shared.map_or_else(
            || "its band is of the mean over folds".to_owned(),
            |fact| format!("and has no band, as {fact}"),
        );
        let note = format!(
            "From {}: from when a tenth of the events of every fold was seen until a tenth of the patients of every fold is left. All are \
             weighted by the inverse probability of censoring, estimated on the training patients of each fold (G(T−) at events, G(t) at t). \
             The mean AUC is weighted by the fall of the Kaplan-Meier curve of the fold, {band}; Brier scores \
             are integrated by trapezoids. “Error less by” is 1 − model / Kaplan-Meier, the index of prediction accuracy.",
            range(scores)
        );
        Self { rows, left_out: scores.left_out.clone(), note }
    }

    /// One row, of a cohort that took no part in training; `outlived` says whether patients were followed for longer than survival is
    /// predicted.
    pub(super) fn of_cohort(scores: &TimeScores, outlived: bool) -> Self {
        let rows = scores
            .folds
            .iter()
            .map(|fold| TimeScoreRow::of("All".to_owned(), MeanOverTime::of_fold(fold)))
            .collect();
        let until = if outlived { "is left or predictions end" } else { "is left" };
        let note = format!(
            "From {}: from when a tenth of the events was seen until a tenth of the patients {until}. All are weighted by the inverse \
             probability of censoring, estimated on the patients of this cohort, whose follow-up may be another than in training (G(T−) at \
             events, G(t) at t). The mean AUC is weighted by the fall of their Kaplan-Meier curve; Brier scores are integrated by trapezoids. \
             “Error less by” is 1 − model / Kaplan-Meier, the index of prediction accuracy. The predicted survival is the mean over the \
             models, each straight between the ends of its time bins.",
            range(scores)
        );
        Self { rows, left_out: Vec::new(), note }
    }
}

impl TimeScoreRow {
    fn of(label: String, scores: MeanOverTime) -> Self {
        Self {
            label,
            uno_c: fixed_or_missing(scores.uno_c_index, 3),
            mean_auc: fixed(scores.mean_auc, 3),
            brier: fixed_or_missing(scores.integrated_brier, 3),
            reference: fixed_or_missing(scores.integrated_kaplan_meier_brier, 3),
            accuracy: percent_or_missing(scores.accuracy),
        }
    }
}

fn percent_or_missing(share: Option<f64>) -> String {
    share.map_or_else(|| crate::number::MISSING.to_owned(), |share| format!("{} %", fixed(100.0 * share, 1)))
}

/// `3 to 81 months`.
fn range(scores: &TimeScores) -> String {
    let end = |time: Option<&f64>| {
        time.map_or_else(String::new, |&time| fixed(time, if time.fract() == 0.0 { 0 } else { 2 }))
    };
    format!("{} to {} months", end(scores.times.first()), end(scores.times.last()))
}

/// The table of calibration.
pub(super) struct CalibrationView<'a> {
    /// `60 patients, each predicted by ..`.
    pub(super) patients: String,
    pub(super) rows: Vec<HorizonView>,
    pub(super) no_horizon: Option<&'a str>,
    pub(super) verdict: String,
}

/// One horizon.
pub(super) struct HorizonView {
    pub(super) months: String,
    pub(super) predicted: String,
    pub(super) observed: String,
    pub(super) interval: String,
}

impl<'a> CalibrationView<'a> {
    /// `predicted` says by what.
    pub(super) fn new(calibration: &'a Calibration, predicted: &str) -> Self {
        let percent = |share: f64| format!("{} %", fixed(100.0 * share, 1));
        let row = |horizon: &Horizon| HorizonView {
            months: fixed(horizon.months, 0),
            predicted: percent(horizon.predicted),
            observed: percent(horizon.observed),
            interval: horizon.limits.map_or_else(
                || crate::number::MISSING.to_owned(),
                |(low, high)| format!("{} to {}", percent(low), percent(high)),
            ),
        };
        Self {
            patients: format!(
                "{}, each predicted by {predicted}",
                counted(calibration.n_patients, "patient", "patients")
            ),
            rows: calibration.horizons.iter().map(row).collect(),
            no_horizon: calibration.no_horizon.as_deref(),
            verdict: calibration.verdict(),
        }
    }
}
