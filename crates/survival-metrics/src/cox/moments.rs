//! Weights, means and covariances of covariates, whatever the sizes of the weights.

/// Subjects, or sets of subjects, each weighted by the `exp(eta)` of its members.
///
/// Their sum is kept as its logarithm: 2,000 subjects have 1e325 sets of 250, and a covariate with one value far from the others may
/// have an `eta` of 1e4 there. Means and covariances are kept rather than sums of products, whose differences are nothing but
/// rounding beside such a value.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Moments {
    pub(super) ln_sum: f64,
    pub(super) mean: Vec<f64>,
    pub(super) covariance: Vec<Vec<f64>>,
}

impl Moments {
    /// Nothing at all.
    pub(super) fn none(p: usize) -> Self {
        Self { ln_sum: f64::NEG_INFINITY, mean: vec![0.0; p], covariance: vec![vec![0.0; p]; p] }
    }

    /// The set without members, which has weight 1.
    pub(super) fn empty_set(p: usize) -> Self {
        Self { ln_sum: 0.0, ..Self::none(p) }
    }

    /// Adds `others`, each with a weight of `exp(eta)` times its own and with `z` added to its covariates.
    ///
    /// Returns the share that what was there has of the whole.
    pub(super) fn add(&mut self, others: &Self, eta: f64, z: &[f64]) -> f64 {
        if others.ln_sum == f64::NEG_INFINITY {
            return 1.0;
        }
        let added = others.ln_sum + eta;
        let lead = self.ln_sum - added;
        // Neither is 1 less the other: what is small of either would be lost.
        let (kept, share) = (1.0 / (1.0 + (-lead).exp()), 1.0 / (1.0 + lead.exp()));
        self.ln_sum = self.ln_sum.max(added) + (-lead.abs()).exp().ln_1p();
        let shift = |mean: &[f64], k: usize| others.mean[k] + z[k] - mean[k];
        for (k, row) in self.covariance.iter_mut().enumerate() {
            for (l, cell) in row.iter_mut().enumerate() {
                let between = kept * shift(&self.mean, k) * shift(&self.mean, l);
                *cell = kept * *cell + share * (others.covariance[k][l] + between);
            }
        }
        for (k, mean) in self.mean.iter_mut().enumerate() {
            *mean += share * (others.mean[k] + z[k] - *mean);
        }
        kept
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn moments_are_those_of_their_definition() {
        let (z, eta) = ([[1.0, -2.0], [0.5, 4.0], [3.0, 0.0], [-1.0, 1.0]], [0.3, -1.2, 2.0, 0.0]);
        let one = Moments::empty_set(2);
        let of = |members: &[usize]| {
            let mut all = Moments::none(2);
            for &i in members {
                all.add(&one, eta[i], &z[i]);
            }
            all
        };
        let mut joined = of(&[0, 2]);
        let kept = joined.add(&of(&[1, 3]), 0.0, &[0.0; 2]);
        let sum: f64 = eta.iter().map(|x| x.exp()).sum();
        let mean = |of: &dyn Fn(usize) -> f64| (0..4).map(|i| eta[i].exp() * of(i)).sum::<f64>() / sum;
        for all in [&joined, &of(&[0, 1, 2, 3])] {
            assert!((all.ln_sum - sum.ln()).abs() < 1e-14);
            for k in 0..2 {
                assert!((all.mean[k] - mean(&|i| z[i][k])).abs() < 1e-14);
                for l in 0..2 {
                    let covariance = mean(&|i| z[i][k] * z[i][l]) - mean(&|i| z[i][k]) * mean(&|i| z[i][l]);
                    assert!((all.covariance[k][l] - covariance).abs() < 1e-14);
                }
            }
        }
        assert!((kept - (eta[0].exp() + eta[2].exp()) / sum).abs() < 1e-15);
    }

    #[test]
    fn a_weight_beyond_f64_takes_all() {
        let one = Moments::empty_set(1);
        let mut all = Moments::none(1);
        all.add(&one, 1e4, &[7.0]);
        all.add(&one, 0.0, &[1.0]);
        assert_eq!((all.ln_sum, all.mean[0], all.covariance[0][0]), (1e4, 7.0, 0.0));
        assert_eq!(all.add(&one, 3e4, &[2.0]), 0.0);
        assert_eq!((all.ln_sum, all.mean[0]), (3e4, 2.0));
    }
}
