//! Adjustment of p-values for the number of tests.

use crate::error::{Error, Result};

/// How p-values are adjusted.
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum PAdjust {
    /// Not at all.
    None,
    /// Times the number of tests.
    Bonferroni,
    /// Step-down Bonferroni (Holm 1979): as safe as Bonferroni and never less powerful.
    #[default]
    Holm,
    /// False discovery rate (Benjamini & Hochberg 1995).
    BenjaminiHochberg,
}

/// Adjusted p-values in the order of the given ones, as R's `p.adjust`.
///
/// # Errors
/// [`Error::OutOfRange`] for a value that is no probability.
///
/// ```
/// use survival_metrics::{PAdjust, adjust_p_values};
///
/// let p = [0.01, 0.04, 0.03];
/// assert_eq!(adjust_p_values(&p, PAdjust::Holm)?, [0.03, 0.06, 0.06]);
/// assert_eq!(adjust_p_values(&p, PAdjust::BenjaminiHochberg)?, [0.03, 0.04, 0.04]);
/// # Ok::<(), survival_metrics::Error>(())
/// ```
pub fn adjust_p_values(p_values: &[f64], method: PAdjust) -> Result<Vec<f64>> {
    if let Some(&value) = p_values.iter().find(|p| !(0.0..=1.0).contains(*p)) {
        return Err(Error::OutOfRange { what: "p-value", value, expected: "a probability between 0 and 1" });
    }
    Ok(adjust(p_values, method, 1.0, |p, times, over| p * times as f64 / over as f64))
}

/// [`adjust_p_values`] of base-10 logarithms, for p-values below the range of f64; the results are logarithms, too.
///
/// # Errors
/// [`Error::OutOfRange`] for a value that is NaN or above 0.
///
/// ```
/// use survival_metrics::{PAdjust, adjust_log10_p_values};
///
/// let log10_p = [-400.0, -0.25, -400.0];
/// let three_times = 3.0_f64.log10() - 400.0;
/// assert_eq!(adjust_log10_p_values(&log10_p, PAdjust::Holm)?, [three_times, -0.25, three_times]);
/// # Ok::<(), survival_metrics::Error>(())
/// ```
pub fn adjust_log10_p_values(log10_p: &[f64], method: PAdjust) -> Result<Vec<f64>> {
    if let Some(&value) = log10_p.iter().find(|p| p.is_nan() || **p > 0.0) {
        let expected = "the logarithm of a probability, at most 0";
        return Err(Error::OutOfRange { what: "log10 of a p-value", value, expected });
    }
    Ok(adjust(log10_p, method, 0.0, |p, times, over| p + (times as f64 / over as f64).log10()))
}

/// Adjusts values on the scale on which `one` is certainty and `scaled(p, times, over)` is `p * times / over`.
fn adjust(
    p_values: &[f64],
    method: PAdjust,
    one: f64,
    scaled: impl Fn(f64, usize, usize) -> f64,
) -> Vec<f64> {
    let n = p_values.len();
    let mut order: Vec<usize> = (0..n).collect();
    order.sort_by(|&a, &b| p_values[a].total_cmp(&p_values[b]));
    let mut adjusted = p_values.to_vec();
    match method {
        PAdjust::None => {}
        PAdjust::Bonferroni => adjusted.iter_mut().for_each(|p| *p = scaled(*p, n, 1).min(one)),
        PAdjust::Holm => {
            let mut largest = f64::NEG_INFINITY;
            for (rank, &at) in order.iter().enumerate() {
                largest = largest.max(scaled(p_values[at], n - rank, 1)).min(one);
                adjusted[at] = largest;
            }
        }
        PAdjust::BenjaminiHochberg => {
            let mut smallest = one;
            for (rank, &at) in order.iter().enumerate().rev() {
                smallest = smallest.min(scaled(p_values[at], n, rank + 1));
                adjusted[at] = smallest;
            }
        }
    }
    adjusted
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn logarithms_are_adjusted_as_their_p_values() {
        let p = [0.004, 0.9, 0.03, 0.03, 0.6, 1e-9, 1.0];
        let log10_p = p.map(f64::log10);
        for method in [PAdjust::None, PAdjust::Bonferroni, PAdjust::Holm, PAdjust::BenjaminiHochberg] {
            let plain = adjust_p_values(&p, method).expect("probabilities");
            let logs = adjust_log10_p_values(&log10_p, method).expect("logarithms");
            for (p, log10_p) in plain.iter().zip(&logs) {
                assert!(
                    (p.log10() - log10_p).abs() < 1e-14 && *log10_p <= 0.0,
                    "{method:?}: {plain:?} {logs:?}"
                );
            }
        }
        let message =
            |value| adjust_log10_p_values(&[-1.0, value], PAdjust::Holm).expect_err("refused").to_string();
        assert_eq!(
            message(0.5),
            "`log10 of a p-value` is 0.5, expected the logarithm of a probability, at most 0"
        );
        assert!(message(f64::NAN).contains("is NaN"));
    }
}
