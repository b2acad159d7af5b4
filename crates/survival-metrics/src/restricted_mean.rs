//! Restricted mean survival time: the area under a survival curve up to a horizon.

use crate::error::{Error, Result};
use crate::interval::normal_quantile;
use crate::kaplan_meier::KaplanMeier;
use crate::special_functions::{normal_ln_sf, normal_sf};

/// The mean survival time if follow-up ended at `tau`, with the standard error of its estimate.
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct RestrictedMean {
    /// The horizon, in the unit of the times.
    pub tau: f64,
    /// The area under the curve from 0 to `tau`, in the unit of the times.
    pub mean: f64,
    /// Standard error of the mean.
    pub standard_error: f64,
}

/// Restricted means of two groups compared.
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct RestrictedMeanDifference {
    /// First minus second.
    pub difference: f64,
    /// Standard error of the difference.
    pub standard_error: f64,
    /// Lower limit of the difference.
    pub lower: f64,
    /// Upper limit of the difference.
    pub upper: f64,
    /// Two-sided p-value of no difference.
    pub p_value: f64,
    /// Base-10 logarithm of the p-value.
    pub log10_p: f64,
}

/// Restricted mean survival time of a Kaplan-Meier curve.
///
/// ```text
/// mean = integral of S from 0 to tau,   Var = sum over event times u <= tau of (integral of S from u to tau)^2 d / (n (n - d))
/// ```
///
/// Source: Irwin 1949; variance as in R's `survfit` and survRM2.
///
/// # Errors
/// [`Error::OutOfRange`] unless `tau` is positive and at most the last observed time, beyond which S is not known. Where S
/// ends at 0 any later `tau`, infinity too, gives the whole mean.
///
/// ```
/// use survival_metrics::{KaplanMeier, Outcome, restricted_mean};
///
/// let km = KaplanMeier::fit(&[Outcome::event(1.0)?, Outcome::event(3.0)?, Outcome::censored(4.0)?])?;
/// let rmst = restricted_mean(&km, 4.0)?;
/// assert!((rmst.mean - (1.0 + 2.0 * 2.0 / 3.0 + 1.0 / 3.0)).abs() < 1e-15);
/// # Ok::<(), survival_metrics::Error>(())
/// ```
pub fn restricted_mean(km: &KaplanMeier, tau: f64) -> Result<RestrictedMean> {
    let last = km.times().last().copied().unwrap_or(0.0);
    if !(tau > 0.0 && (tau <= last || km.survival().last() == Some(&0.0))) {
        return Err(Error::OutOfRange {
            what: "tau",
            value: tau,
            expected: "a positive time, not after the last observed one",
        });
    }
    let used = km.times().partition_point(|&t| t <= tau);
    let times = km.times().get(..used).unwrap_or_default();
    let ends = times.iter().skip(1).copied().chain([tau]);
    // Area from each time to tau, from the end.
    let area = |((&start, end), &s): ((&f64, f64), &f64)| {
        // Without the test, infinity times 0 at an infinite tau.
        if s > 0.0 { s * (end - start) } else { 0.0 }
    };
    let areas: Vec<f64> = times.iter().zip(ends).zip(km.survival()).map(area).collect();
    let (mut area, mut variance) = (0.0, 0.0);
    for (step, &term) in areas.iter().zip(km.greenwood_terms()).rev() {
        area += step;
        // At S = 0 the term is infinite, and the area after it 0.
        if term > 0.0 && term.is_finite() {
            variance += area * area * term;
        }
    }
    let mean = area + times.first().copied().unwrap_or(tau).min(tau);
    Ok(RestrictedMean { tau, mean, standard_error: variance.sqrt() })
}

impl RestrictedMean {
    /// Interval of the mean, `mean ± z SE` as in survRM2.
    ///
    /// # Errors
    /// [`Error::OutOfRange`] for a level outside (0, 1).
    pub fn interval(&self, level: f64) -> Result<(f64, f64)> {
        let half = normal_quantile(level)? * self.standard_error;
        Ok((self.mean - half, self.mean + half))
    }

    /// Compares this mean with that of an independent group, at the same horizon.
    ///
    /// # Errors
    /// [`Error::OutOfRange`] for a level outside (0, 1) or for horizons that differ; [`Error::ZeroVariance`] if neither varies.
    pub fn compare(&self, other: &Self, level: f64) -> Result<RestrictedMeanDifference> {
        if self.tau != other.tau {
            return Err(Error::OutOfRange {
                what: "tau",
                value: other.tau,
                expected: "the horizon of the other group",
            });
        }
        let z = normal_quantile(level)?;
        let difference = self.mean - other.mean;
        let standard_error = self.standard_error.hypot(other.standard_error);
        if standard_error <= 0.0 {
            return Err(Error::ZeroVariance);
        }
        let statistic = (difference / standard_error).abs();
        Ok(RestrictedMeanDifference {
            difference,
            standard_error,
            lower: difference - z * standard_error,
            upper: difference + z * standard_error,
            p_value: (2.0 * normal_sf(statistic)).min(1.0),
            log10_p: (normal_ln_sf(statistic) + std::f64::consts::LN_2).min(0.0) / std::f64::consts::LN_10,
        })
    }
}
