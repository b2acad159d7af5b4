//! Log-rank tests of all pairs of groups, and of a trend over ordered groups.

use super::{LogRank, LogRankWeight, weighted_log_rank_test};
use crate::error::{Error, Result};
use crate::multiple_testing::{PAdjust, adjust_log10_p_values, adjust_p_values};
use crate::outcome::{Outcome, check_length};
use crate::special_functions::{chi2_ln_sf, chi2_sf};

/// The log-rank test of one pair of groups among several.
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[derive(Debug, Clone, PartialEq)]
pub struct PairwiseLogRank<G> {
    /// The test; its two groups are the pair.
    pub test: LogRank<G>,
    /// The p-value adjusted for the number of pairs.
    pub adjusted_p: f64,
    /// Base-10 logarithm of the adjusted p-value, finite also where `adjusted_p` is 0.
    pub log10_adjusted_p: f64,
}

/// Log-rank tests of all pairs of groups, in ascending order of their labels.
///
/// A pair whose statistic has no variance, as that of two groups without events, has no test: it is left out, and the others are
/// adjusted for their own number.
///
/// # Errors
/// As [`weighted_log_rank_test`], but for [`Error::ZeroVariance`].
///
/// ```
/// use survival_metrics::{LogRankWeight, Outcome, PAdjust, pairwise_log_rank_tests};
///
/// let outcomes = [1.0, 4.0, 2.0, 5.0, 3.0, 6.0].map(|t| Outcome::event(t).expect("finite"));
/// let pairs = pairwise_log_rank_tests(&outcomes, &["a", "a", "b", "b", "c", "c"], LogRankWeight::LogRank, PAdjust::Holm)?;
/// assert_eq!(pairs.len(), 3);
/// assert!(pairs.iter().all(|pair| pair.adjusted_p >= pair.test.p_value));
/// # Ok::<(), survival_metrics::Error>(())
/// ```
pub fn pairwise_log_rank_tests<G: Ord + Clone>(
    outcomes: &[Outcome],
    groups: &[G],
    weight: LogRankWeight,
    adjust: PAdjust,
) -> Result<Vec<PairwiseLogRank<G>>> {
    check_length("groups", groups.len(), outcomes.len())?;
    let mut levels: Vec<&G> = groups.iter().collect();
    levels.sort();
    levels.dedup();
    if levels.len() < 2 {
        return Err(Error::SingleGroup);
    }
    let mut tests = Vec::new();
    for (at, first) in levels.iter().enumerate() {
        for second in levels.iter().skip(at + 1) {
            let members = outcomes.iter().zip(groups).filter(|(_, g)| g == first || g == second);
            let (outcomes, groups): (Vec<Outcome>, Vec<G>) = members.map(|(o, g)| (*o, g.clone())).unzip();
            match weighted_log_rank_test(&outcomes, &groups, weight) {
                Ok(test) => tests.push(test),
                Err(Error::ZeroVariance) => {}
                Err(other) => return Err(other),
            }
        }
    }
    let p_values: Vec<f64> = tests.iter().map(|test| test.p_value).collect();
    let log10_p: Vec<f64> = tests.iter().map(|test| test.log10_p).collect();
    let adjusted =
        adjust_p_values(&p_values, adjust)?.into_iter().zip(adjust_log10_p_values(&log10_p, adjust)?);
    Ok(tests
        .into_iter()
        .zip(adjusted)
        .map(|(test, (adjusted_p, log10_adjusted_p))| PairwiseLogRank { test, adjusted_p, log10_adjusted_p })
        .collect())
}

/// Test of a trend over ordered groups.
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct LogRankTrend {
    /// The sum of scores times (observed minus expected): positive if groups with higher scores die earlier.
    pub statistic: f64,
    /// Its variance.
    pub variance: f64,
    /// `statistic^2 / variance`, with one degree of freedom.
    pub chi_square: f64,
    /// `P(chi-squared >= chi_square)`.
    pub p_value: f64,
    /// Base-10 logarithm of the p-value.
    pub log10_p: f64,
}

impl<G> LogRank<G> {
    /// Tests whether hazards rise or fall with `scores`, one per group in the order of [`LogRank::groups`], such as 1, 2, 3.
    ///
    /// ```text
    /// chi^2 = (a' (O - E))^2 / (a' V a)
    /// ```
    ///
    /// Source: Tarone, Biometrika 62 (1975) 679-682.
    ///
    /// # Errors
    /// [`Error::LengthMismatch`]; [`Error::NonFinite`]; [`Error::ZeroVariance`], as with equal scores.
    ///
    /// ```
    /// use survival_metrics::{Outcome, log_rank_test};
    ///
    /// let outcomes = [1.0, 4.0, 2.0, 5.0, 3.0, 6.0].map(|t| Outcome::event(t).expect("finite"));
    /// let trend = log_rank_test(&outcomes, &[1, 1, 2, 2, 3, 3])?.trend(&[1.0, 2.0, 3.0])?;
    /// assert!(trend.statistic < 0.0 && trend.p_value > 0.05);
    /// # Ok::<(), survival_metrics::Error>(())
    /// ```
    pub fn trend(&self, scores: &[f64]) -> Result<LogRankTrend> {
        check_length("scores", scores.len(), self.groups.len())?;
        if let Some((index, &value)) = scores.iter().enumerate().find(|(_, a)| !a.is_finite()) {
            return Err(Error::NonFinite { what: "scores", index, value });
        }
        let statistic: f64 =
            scores.iter().zip(&self.groups).map(|(a, g)| a * (g.observed - g.expected)).sum();
        let row_products =
            self.variance.iter().map(|row| row.iter().zip(scores).map(|(v, b)| v * b).sum::<f64>());
        let variance: f64 = scores.iter().zip(row_products).map(|(a, vb)| a * vb).sum();
        let scale: f64 =
            scores.iter().zip(&self.variance).enumerate().map(|(g, (a, row))| a * a * row[g]).sum();
        if variance <= 1e-12 * scale || variance <= 0.0 {
            return Err(Error::ZeroVariance);
        }
        let chi_square = statistic * statistic / variance;
        Ok(LogRankTrend {
            statistic,
            variance,
            chi_square,
            p_value: chi2_sf(chi_square, 1),
            log10_p: chi2_ln_sf(chi_square, 1) / std::f64::consts::LN_10,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pair_without_variance_leaves_the_others_their_tests() {
        let outcomes = [(1.0, true), (2.0, true), (3.0, false), (4.0, false), (5.0, true)]
            .map(|(t, event)| if event { Outcome::event(t) } else { Outcome::censored(t) }.expect("finite"));
        let groups = ["a", "a", "b", "c", "a"];
        let pairs = pairwise_log_rank_tests(&outcomes, &groups, LogRankWeight::LogRank, PAdjust::Bonferroni)
            .expect("defined");
        let names: Vec<Vec<&str>> =
            pairs.iter().map(|pair| pair.test.groups.iter().map(|g| g.level).collect()).collect();
        assert_eq!(names, [["a", "b"], ["a", "c"]]);
        for pair in &pairs {
            assert_eq!(pair.adjusted_p, (2.0 * pair.test.p_value).min(1.0));
        }
    }
}
