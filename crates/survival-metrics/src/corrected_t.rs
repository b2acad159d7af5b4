//! The corrected resampled t-test: differences between two methods over the folds of a cross-validation.

use statrs::function::beta::beta_reg;

use crate::error::{Error, Result};

/// A t-test of paired differences whose variance counts that the training sets overlap.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct CorrectedTTest {
    /// Mean difference over the folds.
    pub mean: f64,
    /// Its standard error, corrected.
    pub standard_error: f64,
    /// The mean in standard errors.
    pub t: f64,
    /// Degrees of freedom: one less than the number of folds.
    pub df: usize,
    /// Two-sided p-value of no difference.
    pub p_value: f64,
}

/// Tests whether the mean of paired differences over `k` folds is 0.
///
/// ```text
/// t = mean / sqrt((1/k + n_test/n_train) s^2),   s^2 with divisor k - 1,   k - 1 degrees of freedom
/// ```
///
/// `test_to_train` is `n_test / n_train`, 1/4 for five folds. The plain t-test has 0 in its place and finds differences too often,
/// since any two training sets share most of their subjects. With few folds this test has little power: it describes the spread
/// over folds and is no proof of equality.
///
/// Source: Nadeau & Bengio, Machine Learning 52 (2003) 239-281, the corrected resampled t-test.
///
/// # Errors
/// [`Error::OutOfRange`] for fewer than two folds or a negative ratio; [`Error::NonFinite`]; [`Error::ZeroVariance`] for equal
/// differences.
///
/// ```
/// use survival_metrics::corrected_resampled_t_test;
///
/// let test = corrected_resampled_t_test(&[0.02, 0.05, 0.01, 0.04, 0.03], 0.25)?;
/// // s^2 = 0.00025, so that t = 0.03 / sqrt((1/5 + 1/4) 0.00025).
/// assert!((test.t - 0.03 / 0.000_112_5_f64.sqrt()).abs() < 1e-12);
/// assert_eq!(format!("{} {:.4}", test.df, test.p_value), "4 0.0474");
/// # Ok::<(), survival_metrics::Error>(())
/// ```
pub fn corrected_resampled_t_test(differences: &[f64], test_to_train: f64) -> Result<CorrectedTTest> {
    if let Some((index, &value)) = differences.iter().enumerate().find(|(_, d)| !d.is_finite()) {
        return Err(Error::NonFinite { what: "differences", index, value });
    }
    let k = differences.len() as f64;
    if differences.len() < 2 {
        return Err(Error::OutOfRange { what: "number of folds", value: k, expected: "at least 2" });
    }
    if !(test_to_train.is_finite() && test_to_train >= 0.0) {
        let expected = "a ratio of at least 0";
        return Err(Error::OutOfRange { what: "test_to_train", value: test_to_train, expected });
    }
    let mean = differences.iter().sum::<f64>() / k;
    let variance = differences.iter().map(|d| (d - mean) * (d - mean)).sum::<f64>() / (k - 1.0);
    let standard_error = ((1.0 / k + test_to_train) * variance).sqrt();
    // Equal differences leave rounding noise.
    if standard_error <= 1e-14 * mean.abs() || standard_error == 0.0 {
        return Err(Error::ZeroVariance);
    }
    let t = mean / standard_error;
    let df = k - 1.0;
    // P(|T| >= t) is the regularised incomplete beta function, which is small where the p-value is.
    let p_value = beta_reg(df / 2.0, 0.5, df / (df + t * t));
    Ok(CorrectedTTest { mean, standard_error, t, df: differences.len() - 1, p_value })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Two-sided p-values of Student's t in closed form, for 1, 2 and 4 degrees of freedom.
    fn closed_form(t: f64, df: usize) -> f64 {
        match df {
            1 => 1.0 - 2.0 * t.abs().atan() / std::f64::consts::PI,
            2 => 1.0 - t.abs() / (2.0 + t * t).sqrt(),
            _ => {
                let x = t * t / (4.0 + t * t);
                1.0 - x.sqrt() * (1.5 - 0.5 * x)
            }
        }
    }

    #[test]
    fn p_values_are_those_of_student_s_distribution() {
        for differences in [
            &[0.01, 0.03][..],
            &[0.02, -0.01, 0.05],
            &[0.02, 0.05, 0.01, 0.04, 0.03],
            &[-0.02, -0.5, 0.01, -0.4, -0.3],
            &[0.1, 0.1001, 0.0999, 0.1, 0.1002],
        ] {
            for ratio in [0.0, 0.25, 1.0] {
                let test = corrected_resampled_t_test(differences, ratio).unwrap();
                let expected = closed_form(test.t, test.df);
                // The closed forms lose what they subtract from 1.
                assert!((test.p_value - expected).abs() < 1e-14, "{test:?}: {expected}");
            }
        }
    }

    #[test]
    fn the_plain_t_test_is_the_one_without_overlap() {
        // SciPy 1.17.1: ttest_1samp([1, 2, 3, 4, 6], 0) gives 3.7199244398022175 and 0.020475874420910672.
        let test = corrected_resampled_t_test(&[1.0, 2.0, 3.0, 4.0, 6.0], 0.0).unwrap();
        assert!((test.t - 3.719_924_439_802_217_5).abs() < 1e-14 && test.df == 4);
        assert!((test.p_value - 0.020_475_874_420_910_672).abs() < 1e-15);
    }

    #[test]
    fn what_has_no_spread_is_not_tested() {
        assert_eq!(corrected_resampled_t_test(&[0.1, 0.1, 0.1], 0.25), Err(Error::ZeroVariance));
        assert!(matches!(corrected_resampled_t_test(&[0.1], 0.25), Err(Error::OutOfRange { .. })));
        assert!(matches!(corrected_resampled_t_test(&[0.1, f64::NAN], 0.25), Err(Error::NonFinite { .. })));
        assert!(matches!(corrected_resampled_t_test(&[0.1, 0.2], -1.0), Err(Error::OutOfRange { .. })));
    }
}
