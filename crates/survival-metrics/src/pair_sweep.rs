//! Counting of pairs in O(n log n): a sweep from the latest time down over a Fenwick tree of risk ranks.

use crate::concordance::{PairCounts, RiskTies};
use crate::error::{Error, Result};
use crate::outcome::{Outcome, check_length};
use crate::rank_pool::RankPool;
use crate::risk::check_risk;

/// Subjects sorted once, so that pairs can be counted repeatedly under different multiplicities.
#[derive(Debug, Clone)]
pub(crate) struct PairSweep {
    /// By time, latest first; at equal times the censored ones first.
    pub(crate) subjects: Vec<SweepSubject>,
    /// For each distinct risk in ascending order, the ranks tied with it: first and one past the last.
    pub(crate) tied: Vec<(u32, u32)>,
}

#[derive(Debug, Clone, Copy)]
pub(crate) struct SweepSubject {
    pub(crate) time: f64,
    pub(crate) is_event: bool,
    /// Rank of the risk among the distinct risks.
    pub(crate) rank: u32,
    /// Position in the caller's slices.
    pub(crate) index: u32,
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
            .map(|((o, &rank), index)| SweepSubject { time: o.time(), is_event: o.is_event(), rank, index })
            .collect();
        subjects.sort_unstable_by(|a, b| b.time.total_cmp(&a.time).then(a.is_event.cmp(&b.is_event)));
        Ok(Self { subjects, tied: tied_ranks(&distinct, tolerance) })
    }

    /// Counts with every subject once.
    pub(crate) fn counts(&self) -> PairCounts {
        self.weighted_counts(|_| 1)
    }

    /// Counts with `multiplicity(index)` copies of each subject, where a pair counts the product of its
    /// multiplicities. Copies of one subject never pair with each other.
    pub(crate) fn weighted_counts(&self, multiplicity: impl Fn(usize) -> u64) -> PairCounts {
        self.count(multiplicity, |_| true, |_| true)
    }

    /// Counts of the pairs whose earlier subject `is_anchor` (by its index); pairs of one time, if it `admits` that time.
    pub(crate) fn counts_of_anchors(
        &self,
        is_anchor: &dyn Fn(usize) -> bool,
        admits: &dyn Fn(f64) -> bool,
    ) -> PairCounts {
        self.count(|_| 1, is_anchor, admits)
    }

    fn count(
        &self,
        multiplicity: impl Fn(usize) -> u64,
        is_anchor: impl Fn(usize) -> bool,
        admits: impl Fn(f64) -> bool,
    ) -> PairCounts {
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
                events.push((subject.rank, weight));
                if !is_anchor(subject.index as usize) {
                    continue;
                }
                let (low, high) = self.tied_with(subject.rank);
                let below = pool.below(low);
                let up_to = pool.below(high);
                counts.concordant += weight * below;
                counts.tied_risk += weight * (up_to - below);
                counts.discordant += weight * (pool.total - up_to);
                counts.tied_time_event_censored += weight * censored_weight;
            }
            for &(rank, weight) in &events {
                pool.insert(rank, weight);
            }
            if events.len() > 1 && same_time.first().is_some_and(|s| admits(s.time)) {
                let (tied_both, all) = self.pairs_of_events(&mut events);
                counts.tied_both += tied_both;
                counts.tied_time_event_event += all - tied_both;
            }
        }
        counts
    }

    /// Ranks tied with a rank: first and one past the last.
    pub(crate) fn tied_with(&self, rank: u32) -> (u32, u32) {
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn multiplicities_count_as_copies_that_never_pair_with_each_other() {
        let outcomes: Vec<Outcome> = [(1.0, true), (1.0, false), (2.0, true), (2.0, true), (3.0, false)]
            .map(|(t, is_event)| if is_event { Outcome::event(t) } else { Outcome::censored(t) })
            .into_iter()
            .collect::<Result<_>>()
            .expect("valid times");
        let risk = [0.3, 0.3, 0.5, 0.1, 0.2];
        let multiplicity = [2_u64, 3, 0, 1, 4];
        let sweep = PairSweep::new(&outcomes, &risk, RiskTies::Exact).expect("valid");
        let weighted = sweep.weighted_counts(|index| multiplicity[index]);

        let rows = || (0..5).flat_map(|i| vec![i; multiplicity[i] as usize]);
        let copies: Vec<Outcome> = rows().map(|i| outcomes[i]).collect();
        let copied_risk: Vec<f64> = rows().map(|i| risk[i]).collect();
        let copied = PairSweep::new(&copies, &copied_risk, RiskTies::Exact).expect("valid").counts();
        // The two copies of the first subject are the only events at one time.
        assert_eq!((weighted.tied_both, copied.tied_both), (0, 1));
        assert_eq!(PairCounts { tied_both: 0, ..copied }, weighted);
        // First with second: 2 x 3 tied. First with fourth and fifth: 2 + 8 concordant. Fourth with fifth: 4.
        assert_eq!((weighted.concordant, weighted.discordant, weighted.tied_risk), (10, 4, 6));
    }

    #[test]
    fn tied_ranges_use_the_rounded_difference() {
        // 0.3 - 0.2 rounds to just under 0.1, while 0.3 - 0.1 rounds to above 0.2 - 0.1.
        assert_eq!(tied_ranks(&[0.1, 0.2, 0.3], 0.1), [(0, 2), (0, 3), (1, 3)]);
        assert_eq!(tied_ranks(&[f64::NEG_INFINITY, 0.0, f64::INFINITY], 1.0), [(0, 1), (1, 2), (2, 3)]);
    }
}
