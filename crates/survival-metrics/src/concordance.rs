//! Harrell's concordance index with all pair counts, in O(n log n).

use std::ops::{Add, AddAssign};

use crate::error::{Error, Result};
use crate::outcome::{Outcome, check_length};

/// When two risks count as tied.
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
        Self {
            counts,
            c_index: counts.c_index().unwrap_or(self.c_index),
        }
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
    let mut rows: Vec<(&S, Outcome, f64)> = strata
        .iter()
        .zip(outcomes)
        .zip(risk)
        .map(|((s, &o), &x)| (s, o, x))
        .collect();
    rows.sort_by(|a, b| a.0.cmp(b.0));
    let mut counts = PairCounts::default();
    for stratum in rows.chunk_by(|a, b| a.0 == b.0) {
        let (outcomes, risk): (Vec<_>, Vec<_>) = stratum.iter().map(|&(_, o, x)| (o, x)).unzip();
        counts += PairSweep::new(&outcomes, &risk, ties)?.counts();
    }
    Concordance::from_counts(counts, outcomes)
}

fn check_risk(risk: &[f64]) -> Result<()> {
    match risk.iter().position(|x| x.is_nan()) {
        Some(index) => Err(Error::NanRisk { index }),
        None => Ok(()),
    }
}

/// Subjects sorted once, so that pairs can be counted repeatedly under different multiplicities.
#[derive(Debug, Clone)]
pub(crate) struct PairSweep {
    /// By time, latest first; at equal times the censored ones first.
    subjects: Vec<SweepSubject>,
    /// For each distinct risk in ascending order, the ranks tied with it: first and one past the last.
    tied: Vec<(u32, u32)>,
}

#[derive(Debug, Clone, Copy)]
struct SweepSubject {
    time: f64,
    is_event: bool,
    /// Rank of the risk among the distinct risks.
    rank: u32,
    /// Position in the caller's slices.
    index: u32,
}

impl PairSweep {
    pub(crate) fn new(outcomes: &[Outcome], risk: &[f64], ties: RiskTies) -> Result<Self> {
        check_length("risk", risk.len(), outcomes.len())?;
        check_risk(risk)?;
        let tolerance = match ties {
            RiskTies::Exact => 0.0,
            RiskTies::AbsTol(tolerance) if tolerance.is_finite() && tolerance >= 0.0 => tolerance,
            RiskTies::AbsTol(value) => {
                return Err(Error::OutOfRange {
                    what: "risk tie tolerance",
                    value,
                    expected: "a finite number of at least 0",
                });
            }
        };
        if u32::try_from(outcomes.len()).is_err() {
            return Err(Error::OutOfRange {
                what: "number of subjects",
                value: outcomes.len() as f64,
                expected: "less than 2^32, so that pair counts fit 64 bits",
            });
        }

        let mut by_risk: Vec<(f64, u32)> = risk.iter().zip(0..).map(|(&x, i)| (x + 0.0, i)).collect();
        by_risk.sort_unstable_by(|a, b| a.0.total_cmp(&b.0));
        let mut distinct: Vec<f64> = Vec::new();
        let mut rank_of = vec![0_u32; risk.len()];
        for &(x, index) in &by_risk {
            if distinct.last() != Some(&x) {
                distinct.push(x);
            }
            if let Some(rank) = rank_of.get_mut(index as usize) {
                *rank = distinct.len() as u32 - 1;
            }
        }

        let mut subjects: Vec<SweepSubject> = outcomes
            .iter()
            .zip(&rank_of)
            .zip(0..)
            .map(|((o, &rank), index)| SweepSubject {
                time: o.time(),
                is_event: o.is_event(),
                rank,
                index,
            })
            .collect();
        subjects.sort_unstable_by(|a, b| b.time.total_cmp(&a.time).then(a.is_event.cmp(&b.is_event)));
        Ok(Self {
            subjects,
            tied: tied_ranks(&distinct, tolerance),
        })
    }

    /// Counts with every subject once.
    pub(crate) fn counts(&self) -> PairCounts {
        self.weighted_counts(|_| 1)
    }

    /// Counts with `multiplicity(index)` copies of each subject, where a pair counts the product of its
    /// multiplicities. Copies of one subject never pair with each other.
    pub(crate) fn weighted_counts(&self, multiplicity: impl Fn(usize) -> u64) -> PairCounts {
        let mut counts = PairCounts::default();
        let mut pool = RankPool::new(self.tied.len());
        let mut events: Vec<(u32, u64)> = Vec::new();
        for same_time in self.subjects.chunk_by(|a, b| a.time == b.time) {
            let n_censored = same_time.partition_point(|s| !s.is_event);
            let (censored, dying) = same_time.split_at(n_censored);
            let mut censored_weight = 0;
            for subject in censored {
                let weight = multiplicity(subject.index as usize);
                censored_weight += weight;
                pool.insert(subject.rank, weight);
            }
            events.clear();
            for subject in dying {
                let weight = multiplicity(subject.index as usize);
                if weight == 0 {
                    continue;
                }
                let (low, high) = self.tied_with(subject.rank);
                let below = pool.below(low);
                let up_to = pool.below(high);
                counts.concordant += weight * below;
                counts.tied_risk += weight * (up_to - below);
                counts.discordant += weight * (pool.total - up_to);
                counts.tied_time_event_censored += weight * censored_weight;
                events.push((subject.rank, weight));
            }
            for &(rank, weight) in &events {
                pool.insert(rank, weight);
            }
            if events.len() > 1 {
                let (tied_both, all) = self.pairs_of_events(&mut events);
                counts.tied_both += tied_both;
                counts.tied_time_event_event += all - tied_both;
            }
        }
        counts
    }

    fn tied_with(&self, rank: u32) -> (u32, u32) {
        self.tied.get(rank as usize).copied().unwrap_or((rank, rank + 1))
    }

    /// Among events at one time: pairs with tied risks, and all pairs.
    fn pairs_of_events(&self, events: &mut [(u32, u64)]) -> (u64, u64) {
        events.sort_unstable();
        let (mut tied_both, mut all) = (0, 0);
        // Walking up in rank, `window` are the earlier events still tied with the current one.
        let (mut window, mut earlier) = (0, 0);
        let mut tail = events.iter();
        for &(rank, weight) in events.iter() {
            let (low, _) = self.tied_with(rank);
            while let Some(&(tail_rank, tail_weight)) = tail.as_slice().first() {
                if tail_rank >= low {
                    break;
                }
                window -= tail_weight;
                tail.next();
            }
            tied_both += weight * window;
            all += weight * earlier;
            window += weight;
            earlier += weight;
        }
        (tied_both, all)
    }
}

/// For each of the ascending `distinct` risks, the range of ranks within `tolerance` of it.
///
/// Rounded subtraction is monotone in each operand, so the risks tied with one are contiguous and both ends
/// of the range only move up. The test is on the rounded difference itself: `x_j < x_i - tolerance` rounds
/// elsewhere and disagrees at the edge.
fn tied_ranks(distinct: &[f64], tolerance: f64) -> Vec<(u32, u32)> {
    let is_tied = |a: f64, b: f64| a == b || (a - b).abs() <= tolerance;
    let (mut low, mut high) = (0, 0);
    distinct
        .iter()
        .map(|&x| {
            low += distinct.iter().skip(low).take_while(|&&y| !is_tied(y, x)).count();
            high = high.max(low);
            high += distinct.iter().skip(high).take_while(|&&y| is_tied(y, x)).count();
            (low as u32, high as u32)
        })
        .collect()
}

/// How many subjects of each rank have been inserted: a Fenwick tree (Fenwick 1994).
struct RankPool {
    /// `tree[i]` is the sum over ranks `i + 1 - lowbit(i + 1) .. i + 1`.
    tree: Vec<u64>,
    total: u64,
}

impl RankPool {
    fn new(n_ranks: usize) -> Self {
        Self {
            tree: vec![0; n_ranks],
            total: 0,
        }
    }

    fn insert(&mut self, rank: u32, weight: u64) {
        self.total += weight;
        let mut node = rank as usize + 1;
        while let Some(sum) = self.tree.get_mut(node - 1) {
            *sum += weight;
            node += node & node.wrapping_neg();
        }
    }

    /// Sum of the weights with a rank below `rank`.
    fn below(&self, rank: u32) -> u64 {
        let mut node = rank as usize;
        let mut sum = 0;
        while node > 0 {
            sum += self.tree.get(node - 1).copied().unwrap_or(0);
            node &= node - 1;
        }
        sum
    }
}
