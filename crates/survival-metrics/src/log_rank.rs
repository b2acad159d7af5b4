//! The log-rank test for two or more groups, with weights and strata.

mod clustered;
mod pairwise;

pub use clustered::clustered_log_rank_test;
pub use pairwise::{LogRankTrend, PairwiseLogRank, pairwise_log_rank_tests};

use crate::error::{Error, Result};
use crate::interval::normal_quantile;
use crate::log_rank_sums::{Row, Sums, quadratic_form};
use crate::outcome::{Outcome, check_length};
use crate::special_functions::{chi2_ln_sf, chi2_sf};

/// Weight of each event time `u`, where `n` subjects are at risk and `d` have events.
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub enum LogRankWeight {
    /// 1: the log-rank test (Mantel 1966).
    #[default]
    LogRank,
    /// `n` (Gehan 1965, Breslow 1970; lifelines `wilcoxon`).
    Gehan,
    /// `sqrt(n)` (Tarone & Ware 1977).
    TaroneWare,
    /// Product over `v <= u` of `1 - d(v) / (n(v) + 1)`, `u` included (Peto & Peto 1972 as modified by
    /// Andersen; lifelines `peto`).
    Peto,
    /// `S(u-)^rho (1 - S(u-))^gamma` with S the Kaplan-Meier estimate of the stratum
    /// (Fleming & Harrington 1991). `gamma = 0` is R's `survdiff(rho = )`.
    FlemingHarrington {
        /// Exponent of S: a positive value stresses early differences.
        rho: f64,
        /// Exponent of 1 - S: a positive value stresses late differences.
        gamma: f64,
    },
}

/// Observed and expected events of one group in a log-rank test.
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[derive(Debug, Clone, PartialEq)]
pub struct LogRankGroup<G> {
    /// The group's label.
    pub level: G,
    /// Number of subjects.
    pub n: u64,
    /// Events, weighted; without weights an integer.
    pub observed: f64,
    /// Events expected if all groups had the same hazard, weighted.
    pub expected: f64,
}

/// Result of a log-rank test.
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[derive(Debug, Clone, PartialEq)]
pub struct LogRank<G> {
    /// The groups in ascending order of their labels.
    pub groups: Vec<LogRankGroup<G>>,
    /// Covariance matrix of observed minus expected, in the order of the groups.
    pub variance: Vec<Vec<f64>>,
    /// The test statistic.
    pub chi_square: f64,
    /// Degrees of freedom: the rank of the variance. One less than the number of groups, unless a group
    /// is never at risk at an event time.
    pub df: usize,
    /// `P(chi-squared >= chi_square)`; 0 if it is below the range of f64.
    pub p_value: f64,
    /// Base-10 logarithm of the p-value, finite also where `p_value` is 0.
    pub log10_p: f64,
}

/// Peto's one-step estimate of a hazard ratio.
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct PetoHazardRatio {
    /// Hazard of the second group over that of the first.
    pub hazard_ratio: f64,
    /// Lower confidence limit.
    pub lower: f64,
    /// Upper confidence limit.
    pub upper: f64,
    /// The signed root of the test statistic: positive if the second group dies earlier.
    pub z: f64,
}

impl<G> LogRank<G> {
    /// Hazard ratio of the second of two groups over the first: `exp((O - E) / V)`, limits `exp((O - E -/+ z sqrt V) / V)`.
    ///
    /// Close to a Cox model's for ratios near 1 and groups of similar size; for others it is pulled to 1.
    ///
    /// Source: Yusuf, Peto et al., Prog. Cardiovasc. Dis. 27 (1985) 335-371.
    ///
    /// # Errors
    /// [`Error::OutOfRange`] unless there are two groups and `0 < level < 1`.
    pub fn peto_hazard_ratio(&self, level: f64) -> Result<PetoHazardRatio> {
        let quantile = normal_quantile(level)?;
        let ([_, second], [_, row]) = (self.groups.as_slice(), self.variance.as_slice()) else {
            let value = self.groups.len() as f64;
            return Err(Error::OutOfRange { what: "number of groups", value, expected: "2" });
        };
        let variance = row.get(1).copied().filter(|v| *v > 0.0).ok_or(Error::ZeroVariance)?;
        let excess = second.observed - second.expected;
        let width = quantile * variance.sqrt();
        Ok(PetoHazardRatio {
            hazard_ratio: (excess / variance).exp(),
            lower: ((excess - width) / variance).exp(),
            upper: ((excess + width) / variance).exp(),
            z: excess / variance.sqrt(),
        })
    }
}

/// Log-rank test of equal hazards in the groups named by `groups`, a label per outcome.
///
/// At each event time `u` with `n_g` of `n` subjects at risk in group `g`, of whom `d_g` of `d` have events,
///
/// ```text
/// O_g += w d_g,   E_g += w d n_g / n,   V_gh += w^2 d (n - d) / (n - 1) (n_g / n) (1(g = h) - n_h / n)
/// chi^2 = (O - E)' V^- (O - E)
/// ```
///
/// with `w = 1`. Subjects censored at `u` are at risk at `u`. Cost: O(n log n + D K^2) for D event times and K groups.
///
/// Source: Mantel, Cancer Chemother. Rep. 50 (1966) 163-170; variance: hypergeometric, as in R's `survdiff`.
///
/// # Errors
/// [`Error::LengthMismatch`]; [`Error::SingleGroup`] with fewer than two labels; [`Error::ZeroVariance`] if the statistic
/// cannot vary: no events, or at every event time all at risk die or are of one group.
///
/// ```
/// use survival_metrics::{Outcome, log_rank_test};
///
/// let outcomes = [1.0, 2.0, 3.0, 4.0].map(|t| Outcome::event(t).expect("finite"));
/// let test = log_rank_test(&outcomes, &["early", "early", "late", "late"])?;
/// assert_eq!((test.groups[0].level, test.groups[0].observed), ("early", 2.0));
/// assert!((test.groups[0].expected - 5.0 / 6.0).abs() < 1e-15);
/// assert!((test.chi_square - 49.0 / 17.0).abs() < 1e-14);
/// assert!((test.p_value - 0.089_555_074_413_642).abs() < 1e-14);
/// # Ok::<(), survival_metrics::Error>(())
/// ```
pub fn log_rank_test<G: Ord + Clone>(outcomes: &[Outcome], groups: &[G]) -> Result<LogRank<G>> {
    weighted_log_rank_test(outcomes, groups, LogRankWeight::LogRank)
}

/// Log-rank test with weighted event times.
///
/// # Errors
/// As [`log_rank_test`], and [`Error::OutOfRange`] if an exponent of [`LogRankWeight::FlemingHarrington`] is
/// negative or not finite.
///
/// ```
/// use survival_metrics::{LogRankWeight, Outcome, weighted_log_rank_test};
///
/// let outcomes = [1.0, 2.0, 3.0, 4.0].map(|t| Outcome::event(t).expect("finite"));
/// let test = weighted_log_rank_test(&outcomes, &[0, 0, 1, 1], LogRankWeight::Gehan)?;
/// assert_eq!((test.groups[0].observed, test.groups[0].expected), (7.0, 3.0));
/// assert!((test.chi_square - 8.0 / 3.0).abs() < 1e-14);
/// # Ok::<(), survival_metrics::Error>(())
/// ```
pub fn weighted_log_rank_test<G: Ord + Clone>(
    outcomes: &[Outcome],
    groups: &[G],
    weight: LogRankWeight,
) -> Result<LogRank<G>> {
    test(outcomes, groups, &vec![(); outcomes.len()], weight)
}

/// Log-rank test stratified by `strata`, a label per outcome.
///
/// O, E and V are summed over the strata, then tested once, so that only subjects of the same stratum are compared
/// with each other. For risks of cross-validation, where each fold has a model and a risk scale of its own, strata
/// are the folds.
///
/// # Errors
/// As [`log_rank_test`].
///
/// ```
/// use survival_metrics::{Outcome, stratified_log_rank_test};
///
/// let outcomes = [1.0, 2.0, 1.0, 2.0].map(|t| Outcome::event(t).expect("finite"));
/// let test = stratified_log_rank_test(&outcomes, &["a", "b", "a", "b"], &[0, 0, 1, 1])?;
/// // Per stratum: expected 1/2 of the first event, variance 1/4; the second event leaves no choice.
/// assert_eq!((test.groups[0].expected, test.variance[0][0]), (1.0, 0.5));
/// assert_eq!((test.chi_square, test.df), (2.0, 1));
/// # Ok::<(), survival_metrics::Error>(())
/// ```
pub fn stratified_log_rank_test<G: Ord + Clone, S: Ord>(
    outcomes: &[Outcome],
    groups: &[G],
    strata: &[S],
) -> Result<LogRank<G>> {
    test(outcomes, groups, strata, LogRankWeight::LogRank)
}

fn test<G: Ord + Clone, S: Ord>(
    outcomes: &[Outcome],
    groups: &[G],
    strata: &[S],
    weight: LogRankWeight,
) -> Result<LogRank<G>> {
    check_length("groups", groups.len(), outcomes.len())?;
    check_length("strata", strata.len(), outcomes.len())?;
    check_weight(weight)?;
    let levels = distinct(groups);
    if levels.len() < 2 {
        return Err(Error::SingleGroup);
    }
    let stratum_levels = distinct(strata);
    let mut rows_of_strata: Vec<Vec<Row>> = vec![Vec::new(); stratum_levels.len()];
    if let [rows] = rows_of_strata.as_mut_slice() {
        rows.reserve_exact(outcomes.len());
    }
    for ((&outcome, group), stratum) in outcomes.iter().zip(groups).zip(strata) {
        if let Some(rows) = rows_of_strata.get_mut(position(&stratum_levels, stratum)) {
            rows.push(Row::new(outcome, position(&levels, group)));
        }
    }
    let mut sums = Sums::new(levels.len());
    for rows in &mut rows_of_strata {
        sums.add_stratum(rows, weight);
    }
    let excess: Vec<f64> = sums.observed.iter().zip(&sums.expected).map(|(o, e)| o - e).collect();
    let (chi_square, df) = quadratic_form(&excess, &sums.variance);
    if df == 0 {
        return Err(Error::ZeroVariance);
    }
    let counts = sums.observed.iter().zip(&sums.expected).zip(&sums.n);
    Ok(LogRank {
        groups: levels
            .into_iter()
            .zip(counts)
            .map(|(level, ((&observed, &expected), &n))| LogRankGroup {
                level: level.clone(),
                n,
                observed,
                expected,
            })
            .collect(),
        variance: sums.variance,
        chi_square,
        df,
        p_value: chi2_sf(chi_square, df),
        log10_p: chi2_ln_sf(chi_square, df) / std::f64::consts::LN_10,
    })
}

/// The labels in ascending order, each once.
fn distinct<L: Ord>(labels: &[L]) -> Vec<&L> {
    let mut levels: Vec<&L> = labels.iter().collect();
    levels.sort_unstable();
    levels.dedup();
    levels
}

fn position<L: Ord>(levels: &[&L], label: &L) -> usize {
    levels.partition_point(|level| *level < label)
}

fn check_weight(weight: LogRankWeight) -> Result<()> {
    let LogRankWeight::FlemingHarrington { rho, gamma } = weight else {
        return Ok(());
    };
    for (what, value) in [("rho", rho), ("gamma", gamma)] {
        if !value.is_finite() || value < 0.0 {
            return Err(Error::OutOfRange { what, value, expected: "a finite number of at least 0" });
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn events(times: &[f64]) -> Vec<Outcome> {
        times.iter().map(|&t| Outcome::event(t).expect("valid time")).collect()
    }

    #[test]
    fn one_group_has_no_test() {
        assert_eq!(log_rank_test(&events(&[1.0, 2.0]), &[1, 1]), Err(Error::SingleGroup));
        assert_eq!(log_rank_test::<u8>(&[], &[]), Err(Error::SingleGroup));
    }

    #[test]
    fn groups_that_die_together_have_no_variance() {
        assert_eq!(log_rank_test(&events(&[3.0; 4]), &[0, 0, 1, 1]), Err(Error::ZeroVariance));
        let censored = [Outcome::censored(1.0).expect("valid"), Outcome::censored(2.0).expect("valid")];
        assert_eq!(log_rank_test(&censored, &[0, 1]), Err(Error::ZeroVariance));
    }

    #[test]
    fn a_group_constant_within_strata_has_no_variance() {
        let result =
            stratified_log_rank_test(&events(&[1.0, 2.0, 3.0, 4.0]), &[0, 0, 1, 1], &["a", "a", "b", "b"]);
        assert_eq!(result, Err(Error::ZeroVariance));
    }

    #[test]
    fn a_group_gone_before_the_first_event_adds_no_degree_of_freedom() {
        let mut outcomes = events(&[1.0, 2.0, 3.0, 4.0]);
        let two = log_rank_test(&outcomes, &[0, 1, 0, 1]).expect("defined");
        outcomes.push(Outcome::censored(0.5).expect("valid"));
        let three = log_rank_test(&outcomes, &[0, 1, 0, 1, 2]).expect("defined");
        assert_eq!((three.df, three.groups.len()), (1, 3));
        assert_eq!(three.chi_square, two.chi_square);
    }

    #[test]
    fn negative_exponents_are_refused() {
        let weight = LogRankWeight::FlemingHarrington { rho: -1.0, gamma: 0.0 };
        let error = weighted_log_rank_test(&events(&[1.0, 2.0]), &[0, 1], weight).expect_err("rho");
        assert_eq!(error.to_string(), "`rho` is -1, expected a finite number of at least 0");
    }
}
