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
    let n = p_values.len();
    let mut order: Vec<usize> = (0..n).collect();
    order.sort_by(|&a, &b| p_values[a].total_cmp(&p_values[b]));
    let mut adjusted = p_values.to_vec();
    match method {
        PAdjust::None => {}
        PAdjust::Bonferroni => adjusted.iter_mut().for_each(|p| *p = (*p * n as f64).min(1.0)),
        PAdjust::Holm => {
            let mut largest = 0.0_f64;
            for (rank, &at) in order.iter().enumerate() {
                largest = largest.max(p_values[at] * (n - rank) as f64).min(1.0);
                adjusted[at] = largest;
            }
        }
        PAdjust::BenjaminiHochberg => {
            let mut smallest = 1.0_f64;
            for (rank, &at) in order.iter().enumerate().rev() {
                smallest = smallest.min(p_values[at] * n as f64 / (rank + 1) as f64);
                adjusted[at] = smallest;
            }
        }
    }
    Ok(adjusted)
}
