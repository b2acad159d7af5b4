//! Harrell's concordance index with all pair counts, in O(n log n).

use std::ops::{Add, AddAssign};

use crate::error::{Error, Result};
use crate::outcome::{Outcome, check_length};
use crate::pair_sweep::PairSweep;
use crate::risk::check_risk;

/// When two risks count as tied.
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum RiskTies {
    /// Only equal risks are tied (lifelines, R `survival`). -0.0 equals 0.0.
    Exact,
    /// Risks are tied if `|x_i - x_j| <= tolerance`, the difference as rounded to f64
    /// (scikit-survival's `tied_tol`). A tie wins over the order, and ties are not transitive: with
    /// tolerance 1e-8 the risks 0 and 0.8e-8 are tied, as are 0.8e-8 and 1.6e-8, but 0 and 1.6e-8 are not.
    AbsTol(f64),
}

impl Default for RiskTies {
    /// The absolute tolerance 1e-8 of scikit-survival, which the CrossFusion protocol uses.
    fn default() -> Self {
        Self::AbsTol(1e-8)
    }
}

/// Numbers of pairs by how time and risk order them.
///
/// A pair of subjects `i`, `j` is *comparable* if `i` has an event and `j` is known to have been free of it
/// for longer: `T_i < T_j`, or `T_i = T_j` and `j` is censored. The first three counts partition the
/// comparable pairs. Counts of disjoint strata add.
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct PairCounts {
    /// Comparable pairs in which the earlier event has the higher risk.
    pub concordant: u64,
    /// Comparable pairs in which the earlier event has the lower risk.
    pub discordant: u64,
    /// Comparable pairs with tied risks.
    pub tied_risk: u64,
    /// Pairs of an event and a censoring at the same time. They are comparable, so this counts them a
    /// second time (scikit-survival's `tied_time`).
    pub tied_time_event_censored: u64,
    /// Pairs of events at the same time whose risks differ; not comparable (R's `tied.y`).
    pub tied_time_event_event: u64,
    /// Pairs of events at the same time whose risks are tied; not comparable (R's `tied.xy`).
    pub tied_both: u64,
}

impl PairCounts {
    /// Number of comparable pairs.
    pub fn comparable(&self) -> u64 {
        self.concordant + self.discordant + self.tied_risk
    }

    /// The C-index of these counts, or `None` without comparable pairs.
    pub fn c_index(&self) -> Option<f64> {
        let comparable = self.comparable();
        // One rounding of an exact numerator: twice the concordance stays an integer.
        let twice = 2 * self.concordant + self.tied_risk;
        (comparable > 0).then(|| twice as f64 / (2 * comparable) as f64)
    }
}

impl Add for PairCounts {
    type Output = Self;

    fn add(self, other: Self) -> Self {
        Self {
            concordant: self.concordant + other.concordant,
            discordant: self.discordant + other.discordant,
            tied_risk: self.tied_risk + other.tied_risk,
            tied_time_event_censored: self.tied_time_event_censored + other.tied_time_event_censored,
            tied_time_event_event: self.tied_time_event_event + other.tied_time_event_event,
            tied_both: self.tied_both + other.tied_both,
        }
    }
}

impl AddAssign for PairCounts {
    fn add_assign(&mut self, other: Self) {
        *self = *self + other;
    }
}

/// A C-index with the pair counts it comes from; there is at least one comparable pair.
///
/// Adding the concordances of disjoint strata gives the pair-weighted C-index of the strata together,
/// as R's `concordance` with `strata`.
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Concordance {
    counts: PairCounts,
    c_index: f64,
}

impl Concordance {
    /// Harrell's C: `(concordant + tied_risk / 2) / comparable`, in [0, 1].
    pub fn c_index(&self) -> f64 {
        self.c_index
    }

    /// The pair counts.
    pub fn counts(&self) -> PairCounts {
        self.counts
    }

    fn from_counts(counts: PairCounts, outcomes: &[Outcome]) -> Result<Self> {
        let n = outcomes.len();
        match counts.c_index() {
            Some(c_index) => Ok(Self { counts, c_index }),
            None if n > 0 && !outcomes.iter().any(|o| o.is_event()) => Err(Error::AllCensored { n }),
            None => Err(Error::NoComparablePairs { n }),
        }
    }
}

impl Add for Concordance {
    type Output = Self;

    fn add(self, other: Self) -> Self {
        let counts = self.counts + other.counts;
        // Both sides have comparable pairs, so their sum has.
        Self { counts, c_index: counts.c_index().unwrap_or(self.c_index) }
    }
}

/// Harrell's C-index of `risk`, where a higher risk means an earlier event.
///
/// - `risk`: one per outcome, higher = worse. Infinite values are allowed and tie with themselves.
/// - `ties`: which risks are tied; [`RiskTies::default`] is the tolerance of the CrossFusion protocol.
/// - Cost: O(n log n) time, O(n) memory.
///
/// ```text
/// C = sum over comparable (i, j) of [ 1(x_i > x_j) + 1(x_i ~ x_j) / 2 ]  /  number of comparable pairs
/// ```
///
/// Source: Harrell, Lee & Mark, Stat. Med. 15 (1996) 361-387; ties as in scikit-survival's
/// `concordance_index_censored`.
///
/// # Errors
/// [`Error::LengthMismatch`], [`Error::NanRisk`], [`Error::OutOfRange`] for a tolerance that is negative or
/// not finite, [`Error::AllCensored`], and [`Error::NoComparablePairs`] (also for no subjects at all).
///
/// ```
/// use survival_metrics::{Outcome, RiskTies, concordance_index};
///
/// let outcomes = [Outcome::event(2.0)?, Outcome::event(5.0)?, Outcome::censored(5.0)?, Outcome::censored(9.0)?];
/// let c = concordance_index(&outcomes, &[0.9, 0.1, 0.4, 0.1], RiskTies::default())?;
/// // Comparable: the first subject with the three others, the second with the third and the fourth.
/// assert_eq!(c.counts().comparable(), 5);
/// assert_eq!((c.counts().concordant, c.counts().discordant, c.counts().tied_risk), (3, 1, 1));
/// assert_eq!(c.c_index(), 0.7);
/// # Ok::<(), survival_metrics::Error>(())
/// ```
pub fn concordance_index(outcomes: &[Outcome], risk: &[f64], ties: RiskTies) -> Result<Concordance> {
    let counts = PairSweep::new(outcomes, risk, ties)?.counts();
    Concordance::from_counts(counts, outcomes)
}

/// Harrell's C-index over pairs within the same stratum.
///
/// Equal to the mean of the strata's C-indices weighted by their comparable pairs. A stratum without
/// comparable pairs adds nothing. `strata` holds a label per outcome.
///
/// # Errors
/// As [`concordance_index`], which gives the other arguments too; the undefined cases are errors only if
/// they hold for all strata.
///
/// ```
/// use survival_metrics::{Outcome, RiskTies, concordance_index_stratified};
///
/// let outcomes = [Outcome::event(1.0)?, Outcome::event(2.0)?, Outcome::event(1.0)?, Outcome::event(2.0)?];
/// let risk = [0.2, 0.1, 0.8, 0.9];
/// let c = concordance_index_stratified(&outcomes, &risk, &["a", "a", "b", "b"], RiskTies::Exact)?;
/// assert_eq!((c.counts().concordant, c.counts().discordant), (1, 1));
/// # Ok::<(), survival_metrics::Error>(())
/// ```
pub fn concordance_index_stratified<S: Ord>(
    outcomes: &[Outcome],
    risk: &[f64],
    strata: &[S],
    ties: RiskTies,
) -> Result<Concordance> {
    check_length("risk", risk.len(), outcomes.len())?;
    check_length("strata", strata.len(), outcomes.len())?;
    check_risk(risk)?;
    let mut rows: Vec<(&S, Outcome, f64)> =
        strata.iter().zip(outcomes).zip(risk).map(|((s, &o), &x)| (s, o, x)).collect();
    rows.sort_by(|a, b| a.0.cmp(b.0));
    let mut counts = PairCounts::default();
    for stratum in rows.chunk_by(|a, b| a.0 == b.0) {
        let (outcomes, risk): (Vec<_>, Vec<_>) = stratum.iter().map(|&(_, o, x)| (o, x)).unzip();
        counts += PairSweep::new(&outcomes, &risk, ties)?.counts();
    }
    Concordance::from_counts(counts, outcomes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn added_concordances_pool_their_pairs() {
        let outcomes = [Outcome::event(1.0).expect("valid"), Outcome::event(2.0).expect("valid")];
        let right = concordance_index(&outcomes, &[2.0, 1.0], RiskTies::Exact).expect("defined");
        let tied = concordance_index(&outcomes, &[1.0, 1.0], RiskTies::Exact).expect("defined");
        assert_eq!((right + tied).c_index(), 0.75);
    }
}
