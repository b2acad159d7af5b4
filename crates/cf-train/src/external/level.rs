//! What an external test finds at one level, that of slides or of patients.

use serde::{Deserialize, Serialize};
use survival_metrics::{CoxVariance, RiskGroup, group_hazard_ratio, log_rank_test, median_risk};

use crate::ensemble::cut_of_training;
use crate::error::Result;
use crate::evaluate::{self, LogRankSummary, Risks};

/// Coverage of the interval of a hazard ratio.
const LEVEL: f64 = 0.95;

/// The C-index of a cohort that took no part in training.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ExternalCIndex {
    /// Of the risk averaged over the models; null where no pair can be compared.
    pub averaged: Option<f64>,
    /// Percentile interval of it, patients resampled; null where resampling says nothing of its certainty.
    pub ci95: Option<(f64, f64)>,
    /// Why there is a C-index and no interval of it.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub no_ci95: Option<String>,
    /// Of each model by itself, in the order of the run's folds.
    pub folds: Vec<Option<f64>>,
    /// Mean of `folds`.
    pub mean: Option<f64>,
    /// Population standard deviation of `folds`; null of a single one.
    pub sd: Option<f64>,
}

/// Where a cut comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum CutSource {
    /// The mean over the models of the median risk of what each was trained on.
    Training,
    /// The median risk of the cohort itself, as the run does not say the risks of its training.
    TestedCohort,
}

/// Two groups by a cut on the averaged risk, and what lies between them.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct RiskGroupSummary {
    /// High risk is at least this.
    pub cut: f64,
    /// Where it comes from.
    pub cut_from: CutSource,
    /// The group of high risk.
    pub high: GroupCounts,
    /// The group of low risk.
    pub low: GroupCounts,
    /// The test between them.
    pub log_rank: LogRankSummary,
    /// Why there is none.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub no_log_rank: Option<String>,
    /// Hazard of high over low risk.
    pub hazard_ratio: Option<GroupHazardRatio>,
    /// Why there is none.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub no_hazard_ratio: Option<String>,
}

/// How many are in a group.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct GroupCounts {
    /// Slides or patients.
    pub n: usize,
    /// Those with an event.
    pub n_events: usize,
}

/// A hazard ratio of a Cox model (Efron's ties).
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct GroupHazardRatio {
    /// High over low risk.
    pub value: f64,
    /// Interval; of slides, it allows for those of one patient.
    pub ci95: (f64, f64),
    /// Two-sided, of a ratio of 1.
    pub p_value: f64,
}

impl ExternalCIndex {
    /// Of the averaged risks and of each model's, with the interval drawn from `seed`.
    ///
    /// # Errors
    /// If a risk is NaN.
    pub(super) fn of(averaged: &Risks, by_model: &[Risks], seed: u64) -> Result<Self> {
        let evaluate::CIndex { mean: value, ci95, no_ci95, .. } =
            evaluate::c_index(std::slice::from_ref(averaged), seed)?;
        let folds: Vec<Option<f64>> = by_model.iter().map(Risks::c_index).collect::<Result<_>>()?;
        let (mean, sd) = evaluate::mean_and_sd(&folds)?;
        Ok(Self { averaged: value, ci95, no_ci95, folds, mean, sd })
    }
}

impl RiskGroupSummary {
    /// Cuts the averaged risks. `train` has the training risks of each model, at the same level; `None` where the run does not say them.
    ///
    /// # Errors
    /// If a risk is not finite.
    pub(super) fn of(averaged: &Risks, train: Option<&[Risks]>, variance: CoxVariance) -> Result<Self> {
        let (cut, cut_from) = match train {
            Some(train) => (cut_of_training(train)?, CutSource::Training),
            None => (median_risk(&averaged.risk)?, CutSource::TestedCohort),
        };
        let groups: Vec<RiskGroup> = averaged.risk.iter().map(|&risk| RiskGroup::of(risk, cut)).collect();
        let count = |wanted: RiskGroup| {
            let members = averaged.outcomes.iter().zip(&groups).filter(|(_, group)| **group == wanted);
            let (n, n_events) = members.fold((0, 0), |(n, n_events), (outcome, _)| {
                (n + 1, n_events + usize::from(outcome.is_event()))
            });
            GroupCounts { n, n_events }
        };
        let (log_rank, no_log_rank) = match log_rank_test(&averaged.outcomes, &groups) {
            Ok(test) => {
                (LogRankSummary { chi_square: Some(test.chi_square), p_value: Some(test.p_value) }, None)
            }
            Err(error) => (LogRankSummary { chi_square: None, p_value: None }, Some(error.to_string())),
        };
        let ratio = group_hazard_ratio(&averaged.outcomes, &groups, &averaged.patients, variance, LEVEL);
        let ratio = ratio.map(|ratio| GroupHazardRatio {
            value: ratio.hazard_ratio,
            ci95: (ratio.lower, ratio.upper),
            p_value: ratio.p_value,
        });
        Ok(Self {
            cut,
            cut_from,
            high: count(RiskGroup::High),
            low: count(RiskGroup::Low),
            log_rank,
            no_log_rank,
            hazard_ratio: ratio.as_ref().ok().copied(),
            no_hazard_ratio: ratio.err().map(|error| error.to_string()),
        })
    }
}

#[cfg(test)]
mod tests {
    use survival_metrics::Outcome;

    use super::*;

    fn risks(months_and_risks: &[(f64, f64)]) -> Risks {
        Risks {
            outcomes: months_and_risks.iter().map(|(months, _)| Outcome::event(*months).unwrap()).collect(),
            risk: months_and_risks.iter().map(|(_, risk)| *risk).collect(),
            patients: (0..months_and_risks.len()).map(|at| format!("patient {at}")).collect(),
        }
    }

    #[test]
    fn the_cut_is_the_mean_of_the_medians_in_training() {
        let tested = risks(&[(1.0, 4.0), (2.0, 3.0), (3.0, 2.0), (4.0, 1.0)]);
        let train = [risks(&[(1.0, 0.0), (2.0, 1.0), (3.0, 2.0)]), risks(&[(1.0, 3.0), (2.0, 5.0)])];
        let groups = RiskGroupSummary::of(&tested, Some(&train), CoxVariance::Model).unwrap();
        // Medians 1 and 4. High, high, low, low: O = 2, E = 1/2 + 1/3, V = 1/4 + 2/9: chi-square 49/17.
        assert_eq!((groups.cut, groups.cut_from), (2.5, CutSource::Training));
        assert_eq!(
            (groups.high, groups.low),
            (GroupCounts { n: 2, n_events: 2 }, GroupCounts { n: 2, n_events: 2 })
        );
        assert!((groups.log_rank.chi_square.unwrap() - 49.0 / 17.0).abs() < 1e-12, "{groups:?}");
        // All events of the high group come first.
        assert!(groups.hazard_ratio.is_none() && groups.no_hazard_ratio.is_some());

        let own = RiskGroupSummary::of(&tested, None, CoxVariance::Model).unwrap();
        assert_eq!((own.cut, own.cut_from), (2.5, CutSource::TestedCohort));
        let far = [risks(&[(1.0, 9.0)])];
        let empty = RiskGroupSummary::of(&tested, Some(&far), CoxVariance::Model).unwrap();
        assert_eq!((empty.high.n, empty.low.n), (0, 4));
        assert!(empty.no_log_rank.is_some() && empty.log_rank.p_value.is_none());
    }
}
