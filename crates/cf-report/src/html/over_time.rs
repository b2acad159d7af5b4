//! What the page says of the scores over time and of calibration.

use crate::calibration::{Calibration, Horizon};
use crate::number::{counted, fixed, fixed_or_missing};
use crate::time_scores::{FoldScores, TimeScores};

/// The table of scores over time.
pub(super) struct TimeScoresView {
    pub(super) rows: Vec<TimeScoreRow>,
    /// `3 to 81 months`.
    pub(super) range: String,
    pub(super) left_out: Vec<String>,
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
    pub(super) fn new(scores: &TimeScores) -> Self {
        let percent = |accuracy: Option<f64>| {
            accuracy.map_or_else(
                || crate::number::MISSING.to_owned(),
                |share| format!("{} %", fixed(100.0 * share, 1)),
            )
        };
        let row = |fold: &FoldScores| {
            let (model, reference) = (fold.integrated_brier(), fold.integrated_reference());
            TimeScoreRow {
                label: format!("Fold {}", fold.fold),
                uno_c: fixed_or_missing(fold.uno_c, 3),
                mean_auc: fixed(fold.auc.mean, 3),
                brier: fixed(model, 3),
                reference: fixed(reference, 3),
                accuracy: percent((reference > 0.0).then(|| 1.0 - model / reference)),
            }
        };
        let mut rows: Vec<TimeScoreRow> = scores.folds.iter().map(row).collect();
        rows.push(TimeScoreRow {
            label: "Mean".to_owned(),
            uno_c: fixed_or_missing(scores.mean_uno_c(), 3),
            mean_auc: fixed(scores.mean_of(|fold| fold.auc.mean), 3),
            brier: fixed(scores.mean_of(FoldScores::integrated_brier), 3),
            reference: fixed(scores.mean_of(FoldScores::integrated_reference), 3),
            accuracy: percent(scores.accuracy()),
        });
        let end = |time: Option<&f64>| {
            time.map_or_else(String::new, |&time| fixed(time, if time.fract() == 0.0 { 0 } else { 2 }))
        };
        let range = format!("{} to {} months", end(scores.times.first()), end(scores.times.last()));
        Self { rows, range, left_out: scores.left_out.clone() }
    }
}

/// The table of calibration.
pub(super) struct CalibrationView<'a> {
    pub(super) n_patients: String,
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
    pub(super) fn new(calibration: &'a Calibration) -> Self {
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
            n_patients: counted(calibration.n_patients, "patient", "patients"),
            rows: calibration.horizons.iter().map(row).collect(),
            no_horizon: calibration.no_horizon.as_deref(),
            verdict: calibration.verdict(),
        }
    }
}
