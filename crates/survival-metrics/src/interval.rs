//! Confidence intervals from an estimate and its standard error.

use crate::error::{Error, Result};
use crate::special_functions::normal_isf;

/// On which scale an interval for a probability is symmetric.
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum IntervalScale {
    /// The scale of the estimate; limits are clipped to [0, 1].
    Plain,
    /// The log odds, which keeps limits inside (0, 1). An estimate of 0 or 1 gives an interval of that value alone.
    #[default]
    Logit,
}

/// Normal interval of `level` coverage for a probability with standard error `se`, as (lower, upper).
///
/// # Errors
/// [`Error::OutOfRange`] unless `0 < level < 1`.
///
/// ```
/// use survival_metrics::{IntervalScale, probability_interval};
///
/// let (lower, upper) = probability_interval(0.65, 0.03, 0.95, IntervalScale::Plain)?;
/// assert!((lower - 0.5912).abs() < 1e-4 && (upper - 0.7088).abs() < 1e-4);
/// assert_eq!(probability_interval(0.99, 0.02, 0.95, IntervalScale::Plain)?.1, 1.0);
/// # Ok::<(), survival_metrics::Error>(())
/// ```
pub fn probability_interval(estimate: f64, se: f64, level: f64, scale: IntervalScale) -> Result<(f64, f64)> {
    let z = normal_quantile(level)?;
    Ok(match scale {
        IntervalScale::Plain => ((estimate - z * se).max(0.0), (estimate + z * se).min(1.0)),
        IntervalScale::Logit if estimate <= 0.0 || estimate >= 1.0 => (estimate, estimate),
        IntervalScale::Logit => {
            let logit = (estimate / (1.0 - estimate)).ln();
            let width = z * se / (estimate * (1.0 - estimate));
            let logistic = |x: f64| 1.0 / (1.0 + (-x).exp());
            (logistic(logit - width), logistic(logit + width))
        }
    })
}

/// The normal quantile of a two-sided interval.
pub(crate) fn normal_quantile(level: f64) -> Result<f64> {
    if !(level > 0.0 && level < 1.0) {
        return Err(Error::OutOfRange {
            what: "confidence level",
            value: level,
            expected: "a number between 0 and 1",
        });
    }
    Ok(normal_isf((1.0 - level) / 2.0))
}
