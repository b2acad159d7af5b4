//! The hazard of a high-risk group over that of a low-risk group.

use crate::cox::{CoxTies, CoxVariance, HazardRatio, cox_model};
use crate::error::Result;
use crate::outcome::Outcome;
use crate::risk_groups::RiskGroup;
use crate::survival_data::SurvivalData;

/// Hazard ratio of high over low risk in a Cox model of the group alone (Efron's ties), with an interval of coverage `level`.
///
/// - `patients`: whose each subject is. [`CoxVariance::Robust`] allows for slides of one patient (Lin & Wei 1989);
///   [`CoxVariance::Model`] takes every subject for a patient of its own and does not read them.
///
/// # Errors
/// As [`cox_model`]: [`Error::Collinear`](crate::Error::Collinear) where one group is empty,
/// [`Error::Separation`](crate::Error::Separation) where all events of one group come before all of the other.
///
/// ```
/// use survival_metrics::RiskGroup::{High, Low};
/// use survival_metrics::{CoxVariance, Outcome, group_hazard_ratio};
///
/// // The same table as in the example of `cox_model`.
/// let outcomes = [1.0, 2.0, 3.0, 4.0, 5.0, 6.0].map(|t| Outcome::event(t).expect("finite"));
/// let groups = [High, High, Low, High, Low, Low];
/// let ratio = group_hazard_ratio(&outcomes, &groups, &[1, 2, 3, 4, 5, 6], CoxVariance::Model, 0.95)?;
/// assert!(ratio.hazard_ratio > 1.0 && ratio.lower < 1.0 && ratio.p_value > 0.05);
/// # Ok::<(), survival_metrics::Error>(())
/// ```
pub fn group_hazard_ratio<C: Ord>(
    outcomes: &[Outcome],
    groups: &[RiskGroup],
    patients: &[C],
    variance: CoxVariance,
    level: f64,
) -> Result<HazardRatio> {
    let is_high: Vec<f64> =
        groups.iter().map(|&group| f64::from(u8::from(group == RiskGroup::High))).collect();
    let data = SurvivalData::new(outcomes)?;
    let data = match variance {
        CoxVariance::Robust => data.with_clusters(patients)?,
        CoxVariance::Model => data,
    };
    cox_model(&data, &[&is_high], CoxTies::Efron)?.hazard_ratio(0, level, variance)
}
