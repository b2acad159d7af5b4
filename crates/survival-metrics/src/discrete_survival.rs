//! The risk score of a discrete-time survival model.

use crate::error::{Error, Result};

/// Risk score `-(S_1 + ... + S_K)` of the survival probabilities at the ends of K time bins; higher = worse.
///
/// Up to bin widths, the sum is the expected survival time, so the risk orders subjects by it. In `[-K, 0]`.
/// The CrossFusion reference sums in f32 before widening; a caller that wants its very ties does the same.
///
/// Source: Zadeh & Schmid, IEEE TPAMI 43 (2021) 3126-3137 (the loss of these models); risk as in MCAT and CrossFusion.
///
/// # Errors
/// [`Error::Empty`] without bins; [`Error::OutOfRange`] for a value that is NaN or outside [0, 1].
///
/// ```
/// use survival_metrics::risk_from_discrete_survival;
///
/// assert_eq!(risk_from_discrete_survival(&[1.0, 0.75, 0.5, 0.25])?, -2.5);
/// # Ok::<(), survival_metrics::Error>(())
/// ```
pub fn risk_from_discrete_survival(survival: &[f64]) -> Result<f64> {
    if survival.is_empty() {
        return Err(Error::Empty { what: "survival" });
    }
    match survival.iter().find(|s| !(0.0..=1.0).contains(*s)) {
        Some(&value) => {
            Err(Error::OutOfRange { what: "survival", value, expected: "a probability between 0 and 1" })
        }
        None => Ok(-survival.iter().sum::<f64>()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_that_are_no_probabilities_are_refused() {
        assert!(risk_from_discrete_survival(&[]).is_err());
        assert!(risk_from_discrete_survival(&[0.5, 1.5]).is_err());
        assert!(risk_from_discrete_survival(&[f64::NAN]).is_err());
    }
}
