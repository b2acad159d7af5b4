//! Whether predicted probabilities are those that come true.

use crate::error::{Error, Result};
use crate::kaplan_meier::KaplanMeier;
use crate::outcome::{Outcome, Status, check_length};
use crate::special_functions::{chi2_ln_sf, chi2_sf};

/// Result of a test of distributional calibration.
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[derive(Debug, Clone, PartialEq)]
pub struct DCalibration {
    /// Subjects per bin of predicted survival at their own time, the bin next to 1 first; censored subjects are spread.
    pub bins: Vec<f64>,
    /// The statistic.
    pub chi_square: f64,
    /// Degrees of freedom: one less than the bins.
    pub df: usize,
    /// `P(chi-squared >= chi_square)`; small means not calibrated.
    pub p_value: f64,
    /// Base-10 logarithm of the p-value.
    pub log10_p: f64,
}

/// Tests whether predicted survival at the subjects' own times, `S_i(T_i)`, is spread evenly over [0, 1].
///
/// An event counts in the bin of its value. A censored subject could still fall anywhere below its value `s`: it counts
/// `(s - lo) / s` in its own bin `[lo, hi)` and `1 / (B s)` in each lower one.
///
/// Source: Haider, Hoehn, Davis & Greiner, J. Mach. Learn. Res. 21 (2020) 85.
///
/// # Errors
/// [`Error::LengthMismatch`]; [`Error::Empty`]; [`Error::OutOfRange`] for a value that is no probability or fewer than 2 bins.
///
/// ```
/// use survival_metrics::{Outcome, d_calibration};
///
/// let outcomes = [1.0, 2.0, 3.0, 4.0].map(|t| Outcome::event(t).expect("finite"));
/// let even = d_calibration(&outcomes, &[0.9, 0.7, 0.4, 0.1], 4)?;
/// assert_eq!((even.bins, even.chi_square, even.p_value), (vec![1.0; 4], 0.0, 1.0));
/// # Ok::<(), survival_metrics::Error>(())
/// ```
pub fn d_calibration(
    outcomes: &[Outcome],
    survival_at_own_time: &[f64],
    n_bins: usize,
) -> Result<DCalibration> {
    check_length("survival_at_own_time", survival_at_own_time.len(), outcomes.len())?;
    if outcomes.is_empty() {
        return Err(Error::Empty { what: "outcomes" });
    }
    if n_bins < 2 {
        return Err(Error::OutOfRange { what: "n_bins", value: n_bins as f64, expected: "at least 2" });
    }
    let b = n_bins as f64;
    let mut bins = vec![0.0; n_bins];
    for (outcome, &s) in outcomes.iter().zip(survival_at_own_time) {
        if !(0.0..=1.0).contains(&s) {
            let expected = "a probability between 0 and 1";
            return Err(Error::OutOfRange { what: "survival_at_own_time", value: s, expected });
        }
        // Bins from 1 down; a value on an edge belongs to the bin above it, but 1 to the first.
        // The edge 3/10 is 0.3, whereas 1 - 7/10 is above it.
        let low = |from_top: usize| (n_bins - 1 - from_top) as f64 / b;
        let from_top = (0..n_bins).find(|&k| s >= low(k)).unwrap_or(n_bins - 1);
        match outcome.status() {
            Status::Event => bins[from_top] += 1.0,
            Status::Censored if s >= 1.0 => bins.iter_mut().for_each(|bin| *bin += 1.0 / b),
            Status::Censored if s <= 0.0 => bins[n_bins - 1] += 1.0,
            Status::Censored => {
                bins[from_top] += (s - low(from_top)) / s;
                bins.iter_mut().skip(from_top + 1).for_each(|bin| *bin += 1.0 / (b * s));
            }
        }
    }
    let expected = outcomes.len() as f64 / b;
    let chi_square: f64 = bins.iter().map(|n| (n - expected) * (n - expected) / expected).sum();
    let df = n_bins - 1;
    Ok(DCalibration {
        bins,
        chi_square,
        df,
        p_value: chi2_sf(chi_square, df),
        log10_p: chi2_ln_sf(chi_square, df) / std::f64::consts::LN_10,
    })
}

/// Predicted and observed risk of a group of subjects with similar predictions.
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct CalibrationGroup {
    /// Number of subjects.
    pub n: usize,
    /// Mean predicted probability of an event by the time.
    pub predicted: f64,
    /// Share with an event by the time: 1 minus the Kaplan-Meier estimate of the group.
    pub observed: f64,
    /// Greenwood's standard error of the observed share, `None` where it is undefined (nobody survives).
    pub standard_error: Option<f64>,
}

/// Predicted against observed risk at time `t`, in groups of equal size by predicted risk, highest first.
///
/// - `predicted`: probability of an event by `t`, one per subject.
///
/// Groups differ in size by at most one, the larger ones first. Points on the diagonal are calibrated.
///
/// Source: D'Agostino & Nam, Handbook of Statistics 23 (2003) 1-25.
///
/// # Errors
/// [`Error::LengthMismatch`]; [`Error::OutOfRange`] for a value that is no probability, or unless 2 <= `n_groups` <= n.
///
/// ```
/// use survival_metrics::{Outcome, calibration_groups};
///
/// let outcomes = [Outcome::event(1.0)?, Outcome::event(2.0)?, Outcome::censored(9.0)?, Outcome::event(8.0)?];
/// let groups = calibration_groups(&outcomes, &[0.9, 0.8, 0.1, 0.2], 5.0, 2)?;
/// assert_eq!(groups.iter().map(|g| g.observed).collect::<Vec<_>>(), [1.0, 0.0]);
/// # Ok::<(), survival_metrics::Error>(())
/// ```
pub fn calibration_groups(
    outcomes: &[Outcome],
    predicted: &[f64],
    t: f64,
    n_groups: usize,
) -> Result<Vec<CalibrationGroup>> {
    check_length("predicted", predicted.len(), outcomes.len())?;
    if n_groups < 2 || n_groups > outcomes.len() {
        let expected = "at least 2 and at most the number of subjects";
        return Err(Error::OutOfRange { what: "n_groups", value: n_groups as f64, expected });
    }
    if let Some(&value) = predicted.iter().find(|p| !(0.0..=1.0).contains(*p)) {
        return Err(Error::OutOfRange {
            what: "predicted",
            value,
            expected: "a probability between 0 and 1",
        });
    }
    let mut order: Vec<(f64, Outcome)> = predicted.iter().copied().zip(outcomes.iter().copied()).collect();
    order.sort_by(|a, b| b.0.total_cmp(&a.0));
    let (size, larger) = (order.len() / n_groups, order.len() % n_groups);
    let mut rest = order.as_slice();
    let mut groups = Vec::with_capacity(n_groups);
    for k in 0..n_groups {
        let (group, left) = rest.split_at(size + usize::from(k < larger));
        rest = left;
        let members: Vec<Outcome> = group.iter().map(|(_, o)| *o).collect();
        let km = KaplanMeier::fit(&members)?;
        let survival = km.survival_at(t);
        let standard_error = survival * km.greenwood_sum_at(t).sqrt();
        groups.push(CalibrationGroup {
            n: group.len(),
            predicted: group.iter().map(|(p, _)| p).sum::<f64>() / group.len() as f64,
            observed: 1.0 - survival,
            standard_error: standard_error.is_finite().then_some(standard_error),
        });
    }
    Ok(groups)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_on_an_edge_belongs_to_the_bin_above_it() {
        let event = [Outcome::event(1.0).expect("finite")];
        for tenths in 1..10 {
            // As written, 0.3 is a hair below 1 - 7/10.
            let s: f64 = format!("0.{tenths}").parse().expect("a number");
            let bins = d_calibration(&event, &[s], 10).expect("a probability").bins;
            assert_eq!(bins.iter().position(|&n| n == 1.0), Some(9 - tenths), "{s}");
        }
    }
}
