//! The numbers of the sections "Over time" and "Calibration", for programs.

use serde::Serialize;
use survival_metrics::ScoreOverTime;

use crate::analysis::Analysis;
use crate::calibration::{Calibration, Horizon};
use crate::error::Result;
use crate::external::{ExternalAnalysis, ExternalReport};
use crate::report::CrossValidationReport;
use crate::time_scores::{BrierScores, FoldScores, IntegratedBrier, TimeScores};

/// How predicted risk and survival do over time, not rounded.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct OverTime {
    /// The months at which everything is scored; none where that is impossible.
    pub months: Vec<f64>,
    /// Of each fold that could be scored, or of the tested cohort, which is fold 0.
    pub folds: Vec<FoldOverTime>,
    /// Means over the folds.
    pub mean: Option<MeanOverTime>,
    /// Why nothing, or one of the folds, is scored, in sentences.
    pub left_out: Vec<String>,
    /// That patients of an external test were followed for longer than survival is predicted, if so, in sentences.
    pub reach: Option<String>,
    /// Of all patients together; `None` without predicted survival.
    pub calibration: Option<CalibrationNumbers>,
}

/// The scores of one fold.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct FoldOverTime {
    /// The fold.
    pub fold: usize,
    /// AUC(t) at each month.
    pub auc: Vec<f64>,
    /// Standard error of each.
    pub auc_standard_error: Vec<f64>,
    /// Brier score at each month; `None` where no survival is predicted, or the training patients are not known.
    pub brier: Option<Vec<f64>>,
    /// That of the Kaplan-Meier curve of the training patients.
    pub kaplan_meier_brier: Option<Vec<f64>>,
    /// Over all months.
    #[serde(flatten)]
    pub whole: MeanOverTime,
}

/// Scores over all months, of one fold, or of several: their means, but for the accuracy, which is that of the mean errors.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct MeanOverTime {
    /// Uno's C-index of the pairs up to the last month; `None` where no pair of a fold is comparable.
    pub uno_c_index: Option<f64>,
    /// AUC(t), weighted by the fall of the Kaplan-Meier curve.
    pub mean_auc: f64,
    /// Brier score, integrated by trapezoids and divided by the length of time; `None` as at single months.
    pub integrated_brier: Option<f64>,
    /// That of the Kaplan-Meier curve of the training patients.
    pub integrated_kaplan_meier_brier: Option<f64>,
    /// 1 - model / Kaplan-Meier: the index of prediction accuracy; `None` where Kaplan-Meier makes no error.
    pub accuracy: Option<f64>,
}

/// Predicted against observed risk.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct CalibrationNumbers {
    /// Patients, each once.
    pub n_patients: usize,
    /// At stated times.
    pub horizons: Vec<HorizonNumbers>,
    /// D-calibration: patients in each bin of predicted survival at their own time, the bin next to 1 first.
    pub d_bins: Vec<f64>,
    /// Its statistic.
    pub d_chi_square: f64,
    /// Its degrees of freedom.
    pub d_df: usize,
    /// Its p-value; small means not calibrated.
    pub d_p_value: f64,
}

/// Risk of an event by one time.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct HorizonNumbers {
    /// The time.
    pub months: f64,
    /// Mean predicted probability of an event by then.
    pub predicted: f64,
    /// Observed share, by Kaplan-Meier.
    pub observed: f64,
    /// Its 95 % log-log limits.
    pub ci95: Option<(f64, f64)>,
}

/// The numbers over time of a cross-validation.
///
/// # Errors
/// As [`render_html`](crate::render_html).
pub fn over_time(report: &CrossValidationReport) -> Result<OverTime> {
    let analysis = Analysis::of(report)?;
    Ok(OverTime::new(&analysis.time_scores, None, analysis.calibration.as_ref()))
}

/// The numbers over time of an external test.
///
/// # Errors
/// As [`render_external_html`](crate::render_external_html).
pub fn external_over_time(report: &ExternalReport) -> Result<OverTime> {
    let analysis = ExternalAnalysis::of(report)?;
    Ok(OverTime::new(&analysis.time_scores, analysis.reach.as_ref(), analysis.calibration.as_ref()))
}

impl OverTime {
    fn new(
        scores: &std::result::Result<TimeScores, String>,
        reach: Option<&String>,
        calibration: Option<&Calibration>,
    ) -> Self {
        let calibration = calibration.map(CalibrationNumbers::of);
        let reach = reach.cloned();
        match scores {
            Ok(scores) => Self {
                months: scores.times.clone(),
                folds: scores.folds.iter().map(FoldOverTime::of).collect(),
                mean: Some(MeanOverTime::of_all(scores)),
                left_out: scores.left_out.clone(),
                reach,
                calibration,
            },
            Err(reason) => Self {
                months: Vec::new(),
                folds: Vec::new(),
                mean: None,
                left_out: vec![reason.clone()],
                reach,
                calibration,
            },
        }
    }
}

impl FoldOverTime {
    fn of(scores: &FoldScores) -> Self {
        let values = |of: fn(&BrierScores) -> &ScoreOverTime| {
            scores.brier.as_ref().map(|brier| of(brier).scores.clone())
        };
        Self {
            fold: scores.fold,
            auc: scores.auc.auc.clone(),
            auc_standard_error: scores.auc.standard_error.clone(),
            brier: values(|brier| &brier.model),
            kaplan_meier_brier: values(|brier| &brier.reference),
            whole: MeanOverTime::of_fold(scores),
        }
    }
}

impl MeanOverTime {
    pub(crate) fn of_fold(scores: &FoldScores) -> Self {
        let brier = scores.brier.as_ref().map(BrierScores::integrated);
        Self::new((scores.uno_c, scores.auc.mean), brier)
    }

    pub(crate) fn of_all(scores: &TimeScores) -> Self {
        let mean_auc = scores.mean_of(|fold| fold.auc.mean);
        Self::new((scores.mean_uno_c(), mean_auc), scores.integrated_brier())
    }

    fn new((uno_c_index, mean_auc): (Option<f64>, f64), brier: Option<IntegratedBrier>) -> Self {
        Self {
            uno_c_index,
            mean_auc,
            integrated_brier: brier.map(|brier| brier.model),
            integrated_kaplan_meier_brier: brier.map(|brier| brier.reference),
            accuracy: brier.and_then(IntegratedBrier::accuracy),
        }
    }
}

impl CalibrationNumbers {
    fn of(calibration: &Calibration) -> Self {
        let Calibration { n_patients, horizons, d, .. } = calibration;
        Self {
            n_patients: *n_patients,
            horizons: horizons.iter().map(HorizonNumbers::of).collect(),
            d_bins: d.bins.clone(),
            d_chi_square: d.chi_square,
            d_df: d.df,
            d_p_value: d.p_value,
        }
    }
}

impl HorizonNumbers {
    fn of(horizon: &Horizon) -> Self {
        let &Horizon { months, predicted, observed, limits, .. } = horizon;
        Self { months, predicted, observed, ci95: limits }
    }
}
