//! What each subject adds to the numerator and the denominator of a weighted C-index, in O(n log n).

use crate::concordance_estimate::PairSum;
use crate::pair_sweep::{PairSweep, SweepSubject};
use crate::rank_pool::RankPool;

impl PairSweep {
    /// Sums over the pairs of each subject, by its index.
    ///
    /// A pair weighs the anchor weight of its earlier subject times the case weights of both. One sweep from the
    /// latest time down adds what subjects have as the earlier one, one sweep up what they have as the later one.
    pub(crate) fn pair_sums(&self, anchor_weights: &[f64], case_weights: &[f64]) -> Vec<PairSum> {
        let mut sums = vec![PairSum::default(); self.subjects.len()];
        self.sum_as_anchor(anchor_weights, case_weights, &mut sums);
        self.sum_as_later(anchor_weights, case_weights, &mut sums);
        sums
    }

    fn sum_as_anchor(&self, anchor_weights: &[f64], case_weights: &[f64], sums: &mut [PairSum]) {
        let mut pool = RankPool::<f64>::new(self.tied.len());
        for (censored, dying) in self.times() {
            for subject in censored {
                pool.insert(subject.rank, at(case_weights, subject));
            }
            for subject in dying {
                let weight = at(anchor_weights, subject) * at(case_weights, subject);
                let (low, high) = self.tied_with(subject.rank);
                let (below, up_to) = (pool.below(low), pool.below(high));
                add(sums, subject, weight * (below + up_to) / 2.0, weight * pool.total);
            }
            for subject in dying {
                pool.insert(subject.rank, at(case_weights, subject));
            }
        }
    }

    fn sum_as_later(&self, anchor_weights: &[f64], case_weights: &[f64], sums: &mut [PairSum]) {
        let mut pool = RankPool::<f64>::new(self.tied.len());
        for (censored, dying) in self.times().rev() {
            // Events of one time are no pairs; a censoring of that time is later than all of them.
            for subject in dying {
                self.add_later(&pool, subject, case_weights, sums);
            }
            for subject in dying {
                pool.insert(subject.rank, at(anchor_weights, subject) * at(case_weights, subject));
            }
            for subject in censored {
                self.add_later(&pool, subject, case_weights, sums);
            }
        }
    }

    fn add_later(
        &self,
        pool: &RankPool<f64>,
        subject: &SweepSubject,
        case_weights: &[f64],
        sums: &mut [PairSum],
    ) {
        let weight = at(case_weights, subject);
        let (low, high) = self.tied_with(subject.rank);
        let above_half_tied = pool.total - (pool.below(low) + pool.below(high)) / 2.0;
        add(sums, subject, weight * above_half_tied, weight * pool.total);
    }

    /// Subjects of each distinct time, latest first, as (censored, dying).
    fn times(&self) -> impl DoubleEndedIterator<Item = (&[SweepSubject], &[SweepSubject])> {
        self.subjects
            .chunk_by(|a, b| a.time == b.time)
            .map(|same_time| same_time.split_at(same_time.partition_point(|s| !s.is_event)))
    }
}

fn at(weights: &[f64], subject: &SweepSubject) -> f64 {
    weights.get(subject.index as usize).copied().unwrap_or(0.0)
}

fn add(sums: &mut [PairSum], subject: &SweepSubject, concordant: f64, comparable: f64) {
    if let Some(sum) = sums.get_mut(subject.index as usize) {
        sum.concordant += concordant;
        sum.comparable += comparable;
    }
}
