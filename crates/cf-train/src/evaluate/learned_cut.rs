//! Where the risk groups of a run are cut, and what its cut makes of the validation part.

use cf_report::{Level, PredictionRow, RiskCut, RiskSplit, TrainingCut, risk_split};
use serde::{Deserialize, Serialize};
use survival_metrics::median_risk;

use super::{FoldPredictions, LogRankSummary, Prediction, Risks};
use crate::error::Result;
use crate::protocol::Protocol;

/// Groups at high and at low risk, cut at the median risk of each fold's training part. Runs of earlier versions have the test
/// alone.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct LearnedCutSummary {
    /// Statistic of the log-rank test, one degree of freedom; null where the test is undefined.
    pub chi_square: Option<f64>,
    /// Upper tail; 0 below 1e-308.
    pub p_value: Option<f64>,
    /// Hazard of high over low risk; null where it has no finite estimate.
    #[serde(default)]
    pub hazard_ratio: Option<f64>,
    /// Its 95 % interval.
    #[serde(default)]
    pub hazard_ratio_ci95: Option<(f64, f64)>,
    /// Subjects at high risk: at least the cut of their fold.
    #[serde(default)]
    pub n_high: Option<usize>,
    /// Subjects at low risk.
    #[serde(default)]
    pub n_low: Option<usize>,
    /// The cut of each fold, in the order of the folds of a C-index.
    #[serde(default)]
    pub cuts: Vec<f64>,
}

impl LearnedCutSummary {
    /// The test alone.
    pub fn test(&self) -> LogRankSummary {
        LogRankSummary { chi_square: self.chi_square, p_value: self.p_value }
    }
}

/// The cut of a protocol: `sound` learns it on the training part of each fold, `paper` takes the pooled median.
///
/// # Errors
/// If a fold has no training row.
pub fn risk_cut(protocol: Protocol, folds: &[FoldPredictions]) -> Result<RiskCut> {
    Ok(match protocol {
        Protocol::Paper => RiskCut::PooledMedian,
        Protocol::Sound => {
            let cut = |fold: &FoldPredictions| training_cut(fold.fold, &fold.train);
            RiskCut::Training(folds.iter().map(cut).collect::<Result<_>>()?)
        }
    })
}

/// Medians of what the fold's model, at the selected epoch, predicts of the slides that it was trained on.
fn training_cut(fold: usize, train: &[Prediction]) -> Result<TrainingCut> {
    let slides = Risks::of_slides(train)?;
    Ok(TrainingCut {
        fold,
        slides: median_risk(&slides.risk)?,
        patients: median_risk(&slides.of_patients().risk)?,
    })
}

/// The validation rows of the selected epochs, as a report takes them.
///
/// # Errors
/// If a row has no valid outcome.
pub fn prediction_rows(folds: &[FoldPredictions]) -> Result<Vec<PredictionRow>> {
    folds.iter().flat_map(|fold| &fold.selected).map(prediction_row).collect()
}

fn prediction_row(row: &Prediction) -> Result<PredictionRow> {
    Ok(PredictionRow {
        case_id: row.case_id.clone(),
        slide_id: row.slide_id.clone(),
        patient_id: row.patient_id().to_owned(),
        fold: row.fold,
        outcome: row.outcome()?,
        risk: row.risk,
        survival: vec![row.s1, row.s2, row.s3, row.s4],
    })
}

/// The test of slides split at the median of their risks, those of all folds together.
pub(super) fn pooled_log_rank(rows: &[PredictionRow]) -> Result<LogRankSummary> {
    let split = risk_split(Level::Slide, rows, &RiskCut::PooledMedian)?;
    Ok(LogRankSummary {
        chi_square: split.and_then(|split| split.chi_square),
        p_value: split.and_then(|split| split.p_value),
    })
}

/// The groups of slides and of patients; nothing where no cut is learned.
pub(super) fn summaries(
    protocol: Protocol,
    folds: &[FoldPredictions],
) -> Result<[Option<LearnedCutSummary>; 2]> {
    let cut = risk_cut(protocol, folds)?;
    let RiskCut::Training(cuts) = &cut else { return Ok([None, None]) };
    let rows = prediction_rows(folds)?;
    let summary = |level, cut_of: fn(&TrainingCut) -> f64| -> Result<Option<LearnedCutSummary>> {
        let split: Option<RiskSplit> = risk_split(level, &rows, &cut)?;
        Ok(split.map(|split| LearnedCutSummary {
            chi_square: split.chi_square,
            p_value: split.p_value,
            hazard_ratio: split.hazard_ratio,
            hazard_ratio_ci95: split.hazard_ratio_ci95,
            n_high: Some(split.n_high),
            n_low: Some(split.n_low),
            cuts: cuts.iter().map(cut_of).collect(),
        }))
    };
    Ok([summary(Level::Slide, |cut| cut.slides)?, summary(Level::Patient, |cut| cut.patients)?])
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::evaluate::StatusName;

    fn row(slide: usize, patient: usize, risk: f64) -> Prediction {
        Prediction {
            case_id: format!("patient {patient}"),
            slide_id: format!("slide {slide}"),
            fold: 0,
            event_time_months: (patient + 1) as f64,
            status: StatusName::Event,
            risk,
            s1: 0.9,
            s2: 0.7,
            s3: 0.5,
            s4: 0.3,
        }
    }

    #[test]
    fn a_fold_whose_lowest_training_risk_is_the_median_takes_part_in_the_test() {
        let rows = |risks: [f64; 4]| (0..).zip(risks).map(|(at, risk)| row(at, at, risk)).collect::<Vec<_>>();
        let cut = training_cut(0, &rows([0.5, 0.5, 0.5, 0.9])).unwrap();
        let rows: Vec<_> =
            rows([0.9, 0.5, 0.4, 0.1]).iter().map(|row| prediction_row(row).unwrap()).collect();
        // High, high, low, low: O = 2, E = 1/2 + 1/3, V = 1/4 + 2/9: chi-square 49/17.
        let split = risk_split(Level::Slide, &rows, &RiskCut::Training(vec![cut])).unwrap().unwrap();
        assert!((split.chi_square.unwrap() - 49.0 / 17.0).abs() < 1e-12, "{split:?}");
    }

    #[test]
    fn patients_are_cut_at_the_median_of_the_mean_risks_of_patients() {
        // Means of 0.3, 2 and 4; of the slides, 0.5 and 1 are in the middle.
        let train = [(0, 0.1), (0, 0.3), (0, 0.5), (1, 1.0), (1, 3.0), (2, 4.0)];
        let train: Vec<Prediction> =
            (0..).zip(train).map(|(slide, (patient, risk))| row(slide, patient, risk)).collect();
        let cut = training_cut(3, &train).unwrap();
        assert_eq!((cut.fold, cut.slides, cut.patients), (3, 0.75, 2.0));
    }
}
