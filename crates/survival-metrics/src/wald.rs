//! Wald statistics of estimates whose covariance is the sum of products of influences.

use crate::error::{Error, Result};

/// Share of an influence up to which what is left of it beside others is rounding.
const GONE: f64 = 1e-9;
/// Standard errors beyond which an estimate is no matter of chance: of 40, the p-value is 1e-350.
const CERTAIN: f64 = 40.0;

/// A number that is 0 under the hypothesis, and what each subject, or cluster, does to it.
#[derive(Debug, Clone)]
pub(crate) struct Contrast {
    pub(crate) estimate: f64,
    /// Its sum of squares is the variance.
    pub(crate) influence: Vec<f64>,
    /// What the estimate and its standard error may be off by rounding.
    pub(crate) rounding: f64,
}

/// `z' V^- z` of the contrasts and the rank of their covariance `V`.
///
/// Influences are made orthogonal one after the other, largest first (modified Gram-Schmidt with pivots): what is left of one up to rounding adds
/// no rank. Done on influences and not on their products, whose rounding is as large as the square root of theirs.
///
/// # Errors
/// [`Error::ZeroVariance`] if a combination of contrasts differs from 0 and nobody changes it, so that the statistic is infinite.
pub(crate) fn wald(mut contrasts: Vec<Contrast>) -> Result<(f64, usize)> {
    for contrast in &mut contrasts {
        contrast.rounding = contrast.rounding.max(GONE * norm(&contrast.influence));
    }
    let (mut chi_square, mut basis) = (0.0, Vec::<Contrast>::new());
    while let Some(at) = (0..contrasts.len())
        .max_by(|&a, &b| norm(&contrasts[a].influence).total_cmp(&norm(&contrasts[b].influence)))
    {
        let mut pivot = contrasts.swap_remove(at);
        // Once more, as the first time left the rounding of what was larger.
        basis.iter().for_each(|unit| pivot.remove(unit));
        let length = norm(&pivot.influence);
        if length <= pivot.rounding {
            if pivot.estimate.abs() > CERTAIN * pivot.rounding {
                return Err(Error::ZeroVariance);
            }
            continue;
        }
        pivot.influence.iter_mut().for_each(|x| *x /= length);
        pivot.estimate /= length;
        chi_square += pivot.estimate * pivot.estimate;
        contrasts.iter_mut().for_each(|contrast| contrast.remove(&pivot));
        basis.push(pivot);
    }
    Ok((chi_square, basis.len()))
}

impl Contrast {
    /// Takes away what it shares with a contrast of unit variance.
    fn remove(&mut self, unit: &Self) {
        let shared: f64 = self.influence.iter().zip(&unit.influence).map(|(x, u)| x * u).sum();
        self.influence.iter_mut().zip(&unit.influence).for_each(|(x, u)| *x -= shared * u);
        self.estimate -= shared * unit.estimate;
    }
}

fn norm(influence: &[f64]) -> f64 {
    influence.iter().map(|x| x * x).sum::<f64>().sqrt()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn contrast(estimate: f64, influence: &[f64]) -> Contrast {
        Contrast { estimate, influence: influence.to_vec(), rounding: 1e-14 }
    }

    #[test]
    fn the_statistic_is_that_of_the_inverse_covariance() {
        // V = [[2, 1], [1, 5]], V^-1 = [[5, -1], [-1, 2]] / 9, z = (1, 2): (5 - 4 + 8) / 9.
        let two = [contrast(1.0, &[1.0, 1.0, 0.0]), contrast(2.0, &[0.0, 1.0, 2.0])];
        let (chi_square, rank) = wald(two.to_vec()).unwrap();
        assert!((chi_square - 1.0).abs() < 1e-14 && rank == 2, "{chi_square}");
        // A sum of both adds nothing, whatever its scale, and neither does nothing.
        let sum = contrast(3e-7, &[1e-7, 2e-7, 2e-7]);
        let nothing = contrast(1e-17, &[0.0, 1e-16, 0.0]);
        let (with_sum, rank) = wald([&two[..], &[sum, nothing]].concat()).unwrap();
        assert!((with_sum - chi_square).abs() < 1e-12 && rank == 2, "{with_sum}");
    }

    #[test]
    fn what_differs_without_variance_has_no_statistic() {
        let two = [contrast(1.0, &[1.0, 1.0, 0.0]), contrast(2.0, &[0.0, 1.0, 2.0])];
        let off = contrast(3.1, &[1.0, 2.0, 2.0]);
        assert_eq!(wald([&two[..], &[off]].concat()), Err(Error::ZeroVariance));
        assert_eq!(wald(vec![contrast(0.1, &[0.0; 3])]), Err(Error::ZeroVariance));
        assert_eq!(wald(vec![contrast(0.0, &[0.0; 3])]), Ok((0.0, 0)));
    }

    #[test]
    fn contrasts_that_are_alike_but_not_the_same_keep_their_ranks() {
        // They differ by one ten-thousandth of one subject's influence; with that left out, the statistic is 1e8 times as far off.
        let a = contrast(1.0, &[1.0, 0.0, 0.0]);
        let b = contrast(1.0 + 3e-6, &[1.0, 1e-6, 0.0]);
        let (chi_square, rank) = wald(vec![a, b]).unwrap();
        assert!((chi_square - 10.0).abs() < 1e-6 && rank == 2, "{chi_square}");
    }
}
