//! Bias-corrected and accelerated bootstrap intervals: which quantiles of the resamples are the ends.

use crate::error::{Error, Result};
use crate::special_functions::{normal_isf, normal_sf};

/// The two probabilities at which a BCa interval of `level` reads the quantiles of its replicates.
///
/// - `replicates`: statistics of the resamples, in any order. `estimate`: that of the data.
/// - `jackknife`: for each independent sample (fold), the statistic of all data without each of its units in turn.
///
/// Sources: Efron, JASA 82 (1987) 171-185; several samples: Efron & Tibshirani, An Introduction to the Bootstrap (1993),
/// equations 14.10, 14.15 and 22.36, as SciPy's `bootstrap`.
///
/// # Errors
/// [`Error::DegenerateBootstrap`] where all replicates are on one side of the estimate, or leaving out units changes nothing.
pub(crate) fn probabilities(
    replicates: &[f64],
    estimate: f64,
    jackknife: &[Vec<f64>],
    level: f64,
) -> Result<(f64, f64)> {
    let n_below = replicates.iter().filter(|&&r| r < estimate).count();
    let n_up_to = replicates.iter().filter(|&&r| r <= estimate).count();
    // Replicates that equal the estimate count half to each side.
    let share = (n_below + n_up_to) as f64 / (2.0 * replicates.len() as f64);
    if !(share > 0.0 && share < 1.0) {
        return Err(Error::DegenerateBootstrap { reason: "all resamples are on one side of the estimate" });
    }
    let bias = -normal_isf(share);
    let acceleration = acceleration(jackknife)?;
    let z = normal_isf((1.0 - level) / 2.0);
    let end = |z: f64| {
        let shifted = bias + z;
        normal_sf(-(bias + shifted / (1.0 - acceleration * shifted)))
    };
    Ok((end(-z), end(z)))
}

/// A sixth of the skewness of the influence of a unit.
fn acceleration(jackknife: &[Vec<f64>]) -> Result<f64> {
    let (mut cubes, mut squares) = (0.0, 0.0);
    for sample in jackknife {
        let n = sample.len() as f64;
        let centre = sample.iter().sum::<f64>() / n;
        for value in sample {
            let influence = (n - 1.0) * (centre - value) / n;
            cubes += influence.powi(3);
            squares += influence * influence;
        }
    }
    if squares > 0.0 {
        Ok(cubes / (6.0 * squares.powf(1.5)))
    } else {
        Err(Error::DegenerateBootstrap { reason: "the statistic is the same without any unit" })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn without_bias_and_skewness_the_ends_are_those_of_percentiles() {
        let replicates = [1.0, 2.0, 3.0, 4.0, 5.0];
        let (lower, upper) = probabilities(&replicates, 3.0, &[vec![1.0, 2.0, 3.0]], 0.9).expect("defined");
        assert!((lower - 0.05).abs() < 1e-14 && (upper - 0.95).abs() < 1e-14, "{lower} {upper}");
    }

    #[test]
    fn one_sided_resamples_and_a_constant_statistic_are_refused() {
        let varied = [vec![1.0, 2.0, 4.0]];
        assert!(probabilities(&[2.0, 3.0], 1.0, &varied, 0.95).is_err());
        assert!(probabilities(&[0.0, 2.0], 1.0, &[vec![1.0, 1.0]], 0.95).is_err());
        assert!(probabilities(&[0.0, 2.0], 1.0, &varied, 0.95).is_ok());
    }
}
