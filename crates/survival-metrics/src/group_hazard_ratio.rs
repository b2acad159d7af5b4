//! The hazard of a high-risk group over that of a low-risk group.

use std::fmt;

use crate::cox::{CoxTies, CoxVariance, HazardRatio, cox_model};
use crate::error::{Error, Result};
use crate::outcome::Outcome;
use crate::risk_groups::RiskGroup;
use crate::survival_data::SurvivalData;

/// Hazard ratio of high over low risk in a Cox model of the group alone (Efron's ties), with an interval of coverage `level`.
///
/// - `patients`: whose each subject is. [`CoxVariance::Robust`] allows for slides of one patient (Lin & Wei 1989);
///   [`CoxVariance::Model`] takes every subject for a patient of its own and does not read them.
///
/// # Errors
/// [`Error::GroupHazardRatio`] where the ratio has no finite estimate; else as [`cox_model`].
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
    let model = cox_model(&data, &[&is_high], CoxTies::Efron).map_err(|error| match error {
        Error::Collinear { .. } | Error::Separation { .. } => {
            GroupFault::of(outcomes, groups).map_or(error, Error::GroupHazardRatio)
        }
        error => error,
    })?;
    model.hazard_ratio(0, level, variance)
}

/// Why the hazard ratio of two risk groups has no finite estimate: at no event has the model a choice between them, or always the same.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum GroupFault {
    /// One group is empty.
    Empty(RiskGroup),
    /// One group has no event, and the other has.
    WithoutEvent(RiskGroup),
    /// Every event of this group comes later than all times, censored ones among them, of the other.
    Later(RiskGroup),
    /// No event comes while both groups are at risk.
    NeverTogether,
}

impl GroupFault {
    /// What is at fault, if anything is.
    fn of(outcomes: &[Outcome], groups: &[RiskGroup]) -> Option<Self> {
        const SIDES: [RiskGroup; 2] = [RiskGroup::Low, RiskGroup::High];
        let times = |side: RiskGroup, only_events: bool| {
            let members = outcomes.iter().zip(groups).filter(move |(_, group)| **group == side);
            members
                .filter(move |(outcome, _)| !only_events || outcome.is_event())
                .map(|(outcome, _)| outcome.time())
        };
        let last = |side: RiskGroup| times(side, false).fold(f64::NEG_INFINITY, f64::max);
        let both_until = SIDES.into_iter().map(last).fold(f64::INFINITY, f64::min);
        if let Some(side) = SIDES.into_iter().find(|&side| times(side, false).next().is_none()) {
            return Some(Self::Empty(side));
        }
        let is_shared = |side: RiskGroup| times(side, true).any(|time| time <= both_until);
        match SIDES.map(is_shared) {
            [false, false] => Some(Self::NeverTogether),
            [true, true] => None,
            [low, _] => {
                let other = if low { RiskGroup::High } else { RiskGroup::Low };
                let has_events = times(other, true).next().is_some();
                Some(if has_events { Self::Later(other) } else { Self::WithoutEvent(other) })
            }
        }
    }
}

impl fmt::Display for GroupFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = |group: RiskGroup| match group {
            RiskGroup::Low => "low-risk",
            RiskGroup::High => "high-risk",
        };
        match *self {
            Self::Empty(group) => write!(f, "the {} group is empty", name(group)),
            Self::WithoutEvent(group) => write!(f, "the {} group has no event", name(group)),
            Self::Later(group) => {
                let other = if group == RiskGroup::Low { RiskGroup::High } else { RiskGroup::Low };
                write!(
                    f,
                    "all events of the {} group come after the last time of the {} group",
                    name(group),
                    name(other)
                )
            }
            Self::NeverTogether => f.write_str("no event comes while both groups are followed"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use RiskGroup::{High, Low};

    fn fault(rows: &[(f64, bool, RiskGroup)]) -> String {
        let outcome = |&(time, is_event, _): &(f64, bool, RiskGroup)| match is_event {
            true => Outcome::event(time).unwrap(),
            false => Outcome::censored(time).unwrap(),
        };
        let outcomes: Vec<Outcome> = rows.iter().map(outcome).collect();
        let groups: Vec<RiskGroup> = rows.iter().map(|row| row.2).collect();
        let patients: Vec<usize> = (0..rows.len()).collect();
        match group_hazard_ratio(&outcomes, &groups, &patients, CoxVariance::Model, 0.95) {
            Ok(ratio) => format!("{}", ratio.hazard_ratio.is_finite()),
            Err(error) => error.to_string(),
        }
    }

    #[test]
    fn a_ratio_without_a_finite_estimate_says_what_is_true_of_the_groups() {
        let (event, censored) = (true, false);
        let apart = [(1.0, event, High), (2.0, event, High), (3.0, event, Low), (4.0, event, Low)];
        assert_eq!(
            fault(&apart),
            "all events of the low-risk group come after the last time of the high-risk group"
        );
        let turned =
            apart.map(|(time, is_event, group)| (time, is_event, if group == High { Low } else { High }));
        assert_eq!(
            fault(&turned),
            "all events of the high-risk group come after the last time of the low-risk group"
        );
        // One who is followed for longer is enough for a choice.
        let with_one_left = [&apart[..], &[(5.0, censored, High)]].concat();
        assert_eq!(fault(&with_one_left), "true");
        let none = [(1.0, event, High), (2.0, event, High), (3.0, censored, Low), (4.0, censored, Low)];
        assert_eq!(fault(&none), "the low-risk group has no event");
        let empty = apart.map(|(time, is_event, _)| (time, is_event, Low));
        assert_eq!(fault(&empty), "the high-risk group is empty");
        let never = [(1.0, censored, High), (2.0, censored, High), (3.0, event, Low), (4.0, event, Low)];
        assert_eq!(fault(&never), "no event comes while both groups are followed");
        // Tied at the last time that both are followed.
        let tied = [(1.0, event, High), (2.0, event, High), (2.0, event, Low), (4.0, event, Low)];
        assert_eq!(fault(&tied), "true");
    }
}
