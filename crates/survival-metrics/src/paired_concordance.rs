//! C-indices of several models on the same subjects, compared.

use crate::concordance_estimate::{ConcordanceConfig, ConcordanceEstimate, concordance};
use crate::error::{Error, Result};
use crate::interval::normal_quantile;
use crate::outcome::check_length;
use crate::risk::Risk;
use crate::special_functions::{chi2_ln_sf, chi2_sf, normal_ln_sf, normal_sf};
use crate::survival_data::SurvivalData;
use crate::wald::{Contrast, wald};

/// Several C-indices on one sample, with their joint distribution.
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[derive(Debug, Clone, PartialEq)]
pub struct ConcordanceComparison {
    /// One estimate per risk, in order.
    pub estimates: Vec<ConcordanceEstimate>,
    /// Covariance matrix of the C-indices (infinitesimal jackknife).
    pub covariance: Vec<Vec<f64>>,
}

/// A paired difference of two C-indices.
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct PairedDifference {
    /// First minus second.
    pub difference: f64,
    /// Standard error of the difference.
    pub standard_error: f64,
    /// The difference in standard errors.
    pub z: f64,
    /// Two-sided p-value of no difference.
    pub p_value: f64,
    /// Base-10 logarithm of the p-value.
    pub log10_p: f64,
}

/// Share of the largest possible variance up to which a variance is rounding. Influences are exact to some 1e-15 of the largest,
/// hence their squares to 1e-30; of n subjects, risks that differ in the order of a single pair have a share of 2 / n^3.
const ROUNDING: f64 = 1e-24;

/// What equal C-indices can differ by, up to some tens of times, through the rounding of their sums.
const C_ROUNDING: f64 = 1e-13;

/// Wald test that all C-indices are equal.
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct EqualityTest {
    /// The statistic.
    pub chi_square: f64,
    /// Degrees of freedom: one less than the number of risks that differ.
    pub df: usize,
    /// `P(chi-squared >= chi_square)`.
    pub p_value: f64,
    /// Base-10 logarithm of the p-value.
    pub log10_p: f64,
}

/// Compares the C-indices of several risks of the same subjects.
///
/// The covariance of two is the sum over subjects, or over clusters, of the products of their influences. Source: as
/// [`concordance`]. O(k n log n + k^2 n) for k risks.
///
/// # Errors
/// As [`concordance`] of any risk; [`Error::Empty`] without risks.
///
/// ```
/// use survival_metrics::{ConcordanceConfig, Outcome, Risk, SurvivalData, compare_concordance};
///
/// let outcomes = [1.0, 2.0, 3.0, 4.0, 5.0].map(|t| Outcome::event(t).expect("finite"));
/// let data = SurvivalData::new(&outcomes)?;
/// let risks = [Risk::new(&[5.0, 4.0, 3.0, 1.0, 2.0])?, Risk::new(&[1.0, 5.0, 2.0, 4.0, 3.0])?];
/// let both = compare_concordance(&data, &risks, &ConcordanceConfig::default())?;
/// let difference = both.difference(0, 1)?;
/// assert!((difference.difference - 0.5).abs() < 1e-15);
/// assert!((both.equality()?.chi_square - difference.z * difference.z).abs() < 1e-12);
/// # Ok::<(), survival_metrics::Error>(())
/// ```
pub fn compare_concordance(
    data: &SurvivalData,
    risks: &[Risk],
    config: &ConcordanceConfig<'_>,
) -> Result<ConcordanceComparison> {
    if risks.is_empty() {
        return Err(Error::Empty { what: "risks" });
    }
    let estimates: Vec<ConcordanceEstimate> =
        risks.iter().map(|risk| concordance(data, risk, config)).collect::<Result<_>>()?;
    let influences: Vec<Vec<f64>> = estimates.iter().map(ConcordanceEstimate::cluster_influence).collect();
    let product = |a: &[f64], b: &[f64]| a.iter().zip(b).map(|(x, y)| x * y).sum();
    let covariance = influences.iter().map(|a| influences.iter().map(|b| product(a, b)).collect()).collect();
    Ok(ConcordanceComparison { estimates, covariance })
}

impl ConcordanceComparison {
    /// The difference of the risks at two positions, tested.
    ///
    /// # Errors
    /// [`Error::OutOfRange`] for a position without a risk; [`Error::ZeroVariance`] if no subject changes the difference: the two
    /// order all pairs alike, or differ in all pairs alike, as a perfect risk does from a constant one.
    pub fn difference(&self, first: usize, second: usize) -> Result<PairedDifference> {
        let missing = |at: usize| Error::OutOfRange {
            what: "position",
            value: at as f64,
            expected: "the position of a compared risk",
        };
        let a = self.estimates.get(first).ok_or_else(|| missing(first))?;
        let b = self.estimates.get(second).ok_or_else(|| missing(second))?;
        let (x, y) = (a.cluster_influence(), b.cluster_influence());
        // Of the differences themselves: the sum var + var - 2 cov cancels for similar risks.
        let variance: f64 = x.iter().zip(&y).map(|(x, y)| (x - y) * (x - y)).sum();
        PairedDifference::new(a.c_index - b.c_index, variance, ROUNDING * a.variance_bound())
    }

    /// A weighted sum of the C-indices, tested against 0: with weights 1/2, 1/2, -1/2, -1/2 the mean of two runs of one method
    /// minus the mean of two runs of another.
    ///
    /// The influence of a subject on the sum is the sum of its influences, so the runs' dependence enters the standard error.
    ///
    /// # Errors
    /// [`Error::LengthMismatch`] unless there is a weight for each risk; [`Error::NonFinite`]; [`Error::ZeroVariance`] if the sum
    /// does not depend on the subjects.
    ///
    /// ```
    /// use survival_metrics::{ConcordanceConfig, Outcome, Risk, SurvivalData, compare_concordance};
    ///
    /// let outcomes = [1.0, 2.0, 3.0, 4.0].map(|t| Outcome::event(t).expect("finite"));
    /// let data = SurvivalData::new(&outcomes)?;
    /// let risks = [[4.0, 3.0, 2.0, 1.0], [4.0, 3.0, 1.0, 2.0], [1.0, 4.0, 3.0, 2.0]];
    /// let risks = risks.map(|risk| Risk::new(&risk).expect("finite"));
    /// let all = compare_concordance(&data, &risks, &ConcordanceConfig::default())?;
    /// let contrast = all.contrast(&[0.5, 0.5, -1.0])?;
    /// assert!((contrast.difference - ((1.0 + 5.0 / 6.0) / 2.0 - 0.5)).abs() < 1e-15);
    /// assert_eq!(all.contrast(&[1.0, -1.0, 0.0])?, all.difference(0, 1)?);
    /// # Ok::<(), survival_metrics::Error>(())
    /// ```
    pub fn contrast(&self, weights: &[f64]) -> Result<PairedDifference> {
        check_length("weights", weights.len(), self.estimates.len())?;
        if let Some((index, &value)) = weights.iter().enumerate().find(|(_, w)| !w.is_finite()) {
            return Err(Error::NonFinite { what: "weights", index, value });
        }
        let mut influence: Vec<f64> = Vec::new();
        let (mut sum, mut rounding) = (0.0, 0.0_f64);
        for (estimate, weight) in self.estimates.iter().zip(weights) {
            sum += weight * estimate.c_index;
            let of_estimate = estimate.cluster_influence();
            influence.resize(of_estimate.len(), 0.0);
            influence.iter_mut().zip(&of_estimate).for_each(|(sum, x)| *sum += weight * x);
            rounding = rounding.max(ROUNDING * weight * weight * estimate.variance_bound());
        }
        PairedDifference::new(sum, influence.iter().map(|x| x * x).sum(), rounding)
    }

    /// Tests whether all C-indices are equal.
    ///
    /// # Errors
    /// [`Error::ZeroVariance`] if all order the pairs alike, there is only one, or a combination of them that is not 0 does not depend on the
    /// subjects, as the difference of a perfect risk and a constant one.
    pub fn equality(&self) -> Result<EqualityTest> {
        let [first, others @ ..] = self.estimates.as_slice() else { return Err(Error::ZeroVariance) };
        let of_first = first.cluster_influence();
        let rounding = (ROUNDING * first.variance_bound()).sqrt().max(C_ROUNDING);
        let contrast = |other: &ConcordanceEstimate| Contrast {
            estimate: other.c_index - first.c_index,
            influence: other.cluster_influence().iter().zip(&of_first).map(|(x, y)| x - y).collect(),
            rounding,
        };
        let (chi_square, df) = wald(others.iter().map(contrast).collect())?;
        if df == 0 {
            return Err(Error::ZeroVariance);
        }
        let log10_p = chi2_ln_sf(chi_square, df) / std::f64::consts::LN_10;
        Ok(EqualityTest { chi_square, df, p_value: chi2_sf(chi_square, df), log10_p })
    }
}

impl PairedDifference {
    /// A variance up to `rounding` is taken for 0.
    pub(crate) fn new(difference: f64, variance: f64, rounding: f64) -> Result<Self> {
        if variance <= rounding {
            return Err(Error::ZeroVariance);
        }
        let standard_error = variance.sqrt();
        let z = difference / standard_error;
        let ln_p = (normal_ln_sf(z.abs()) + std::f64::consts::LN_2).min(0.0);
        Ok(Self {
            difference,
            standard_error,
            z,
            p_value: (2.0 * normal_sf(z.abs())).min(1.0),
            log10_p: ln_p / std::f64::consts::LN_10,
        })
    }

    /// Normal confidence interval of the difference, as (lower, upper).
    ///
    /// # Errors
    /// [`Error::OutOfRange`] unless `0 < level < 1`.
    pub fn confidence_interval(&self, level: f64) -> Result<(f64, f64)> {
        let width = normal_quantile(level)? * self.standard_error;
        Ok((self.difference - width, self.difference + width))
    }
}
