//! High- and low-risk groups.

use crate::error::{Error, Result};

/// A subject's side of a threshold on the risk, where a higher risk is worse.
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum RiskGroup {
    /// Risk below the threshold.
    Low,
    /// Risk at or above the threshold.
    High,
}

impl RiskGroup {
    /// The side of a risk: high at or above the cut.
    #[must_use]
    pub fn of(risk: f64, cut: f64) -> Self {
        if risk >= cut { Self::High } else { Self::Low }
    }
}

/// Subjects split at the median of their risks.
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[derive(Debug, Clone, PartialEq)]
pub struct MedianSplit {
    /// The median: for an even number of subjects the mean of the two middle risks.
    pub threshold: f64,
    /// The group of each subject, in the order of the risks.
    pub groups: Vec<RiskGroup>,
}

/// Splits subjects at the median of `risk` (higher = worse): high is `risk >= median`, low is `risk < median`.
///
/// Neither group is empty. This is the rule of the CrossFusion protocol, with numpy's median; risks tied with the
/// median all count as high, so the groups may differ in size. O(n) time.
///
/// # Errors
/// [`Error::Empty`] without risks; [`Error::NonFinite`] for a risk that is NaN or infinite; [`Error::EmptyGroup`] if the low
/// group is empty because at least half of the risks equal the smallest one.
///
/// ```
/// use survival_metrics::{RiskGroup::{High, Low}, median_split};
///
/// let split = median_split(&[0.4, 0.1, 0.3, 0.2])?;
/// assert_eq!(split.threshold, 0.25);
/// assert_eq!(split.groups, [High, Low, High, Low]);
/// assert!(median_split(&[-4.0, -4.0, -4.0, -1.0]).is_err());
/// # Ok::<(), survival_metrics::Error>(())
/// ```
pub fn median_split(risk: &[f64]) -> Result<MedianSplit> {
    let threshold = median_risk(risk)?;
    let groups: Vec<RiskGroup> = risk.iter().map(|&risk| RiskGroup::of(risk, threshold)).collect();
    if !groups.contains(&RiskGroup::Low) {
        return Err(Error::EmptyGroup { group: "low-risk", rule: "below the median", threshold });
    }
    Ok(MedianSplit { threshold, groups })
}

/// The median of `risk`, as numpy computes it: a cut between [`RiskGroup`]s that other subjects are put to. O(n) time.
///
/// Unlike [`median_split`] it is defined where no risk is below it: it may cut other subjects all the same.
///
/// # Errors
/// [`Error::Empty`] without risks; [`Error::NonFinite`] for a risk that is NaN or infinite.
///
/// ```
/// use survival_metrics::{RiskGroup::{High, Low}, RiskGroup, median_risk};
///
/// let cut = median_risk(&[-4.0, -4.0, -4.0, -1.0])?;
/// assert_eq!(cut, -4.0);
/// assert_eq!([-4.5, -4.0].map(|risk| RiskGroup::of(risk, cut)), [Low, High]);
/// # Ok::<(), survival_metrics::Error>(())
/// ```
pub fn median_risk(risk: &[f64]) -> Result<f64> {
    if let Some((index, &value)) = risk.iter().enumerate().find(|(_, x)| !x.is_finite()) {
        return Err(Error::NonFinite { what: "risk", index, value });
    }
    median(risk).ok_or(Error::Empty { what: "risk" })
}

/// Median as numpy computes it, `None` without values.
fn median(values: &[f64]) -> Option<f64> {
    let mut values = values.to_vec();
    let middle = values.len().checked_sub(1)? / 2;
    let is_even = values.len().is_multiple_of(2);
    let (_, &mut lower, above) = values.select_nth_unstable_by(middle, f64::total_cmp);
    if !is_even {
        return Some(lower);
    }
    let upper = above.iter().copied().min_by(f64::total_cmp)?;
    // numpy sums first; halving first differs only where the sum would overflow.
    let sum = lower + upper;
    Some(if sum.is_finite() { sum / 2.0 } else { lower / 2.0 + upper / 2.0 })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_odd_number_of_risks_puts_the_median_itself_in_the_high_group() {
        let split = median_split(&[3.0, 1.0, 2.0]).expect("defined");
        assert_eq!(split.threshold, 2.0);
        assert_eq!(split.groups, [RiskGroup::High, RiskGroup::Low, RiskGroup::High]);
    }

    #[test]
    fn constant_risks_leave_the_low_group_empty() {
        let error = median_split(&[-4.0, -4.0]).expect_err("constant");
        assert_eq!(error.to_string(), "the low-risk group is empty: no subject is below the median -4");
    }

    #[test]
    fn a_nan_risk_is_named() {
        let error = median_split(&[0.0, f64::NAN]).expect_err("NaN");
        assert_eq!(error.to_string(), "`risk` 1 (counted from 0) is NaN, expected a finite number");
        assert_eq!(median_split(&[]), Err(Error::Empty { what: "risk" }));
    }

    #[test]
    fn the_median_of_the_largest_numbers_does_not_overflow() {
        assert_eq!(median(&[f64::MAX, f64::MAX]), Some(f64::MAX));
    }
}
