//! Which fold each group of patients goes to: whole groups, events and patients shared out as evenly as a local search
//! finds.

use rand::seq::SliceRandom;
use rand_chacha::ChaCha8Rng;

/// Patients that stay together.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct GroupSize {
    pub(super) n_patients: usize,
    pub(super) n_events: usize,
}

/// Searches from different orders, of which the best result is kept; with these, small cohorts get the best that exists.
const N_STARTS: usize = 64;

/// The fold of every group. O(groups^2) per step of the search.
pub(super) fn assign(groups: &[GroupSize], n_folds: usize, rng: &mut ChaCha8Rng) -> Vec<usize> {
    let mut best: Option<(f64, Vec<usize>)> = None;
    let mut order: Vec<usize> = (0..groups.len()).collect();
    for start in 0..N_STARTS {
        order.shuffle(rng);
        if start == 0 {
            // Large groups first, so that small ones can level the folds: mostly good already.
            order.sort_by_key(|&group| std::cmp::Reverse((groups[group].n_patients, groups[group].n_events)));
        }
        let mut search = Search::new(groups, n_folds);
        search.deal(&order);
        search.improve();
        let cost = search.cost();
        if best.as_ref().is_none_or(|(lowest, _)| cost < *lowest) {
            best = Some((cost, search.folds));
        }
    }
    best.map_or_else(Vec::new, |(_, folds)| folds)
}

struct Search<'a> {
    groups: &'a [GroupSize],
    /// Fold of each group.
    folds: Vec<usize>,
    totals: Vec<GroupSize>,
    /// Patients and events of an even fold.
    even: (f64, f64),
}

impl<'a> Search<'a> {
    fn new(groups: &'a [GroupSize], n_folds: usize) -> Self {
        let share = |n: usize| (n as f64 / n_folds as f64).max(f64::MIN_POSITIVE);
        let even = (
            share(groups.iter().map(|group| group.n_patients).sum()),
            share(groups.iter().map(|group| group.n_events).sum()),
        );
        let totals = vec![GroupSize { n_patients: 0, n_events: 0 }; n_folds];
        Self { groups, folds: vec![0; groups.len()], totals, even }
    }

    /// Gives each group to the fold that gains most from it.
    fn deal(&mut self, order: &[usize]) {
        for &group in order {
            let gain = |total: &GroupSize| {
                self.unevenness(plus(*total, self.groups[group])) - self.unevenness(*total)
            };
            let gains = self.totals.iter().map(gain).enumerate();
            let fold = gains.min_by(|(_, a), (_, b)| a.total_cmp(b)).map_or(0, |(fold, _)| fold);
            self.folds[group] = fold;
            self.totals[fold] = plus(self.totals[fold], self.groups[group]);
        }
    }

    /// Moves and swaps groups while that makes the folds more even.
    fn improve(&mut self) {
        // Every step lowers the cost, so the search ends; the bound only guards against rounding in circles.
        for _ in 0..1000 {
            if !self.step() {
                return;
            }
        }
    }

    fn step(&mut self) -> bool {
        let none = GroupSize { n_patients: 0, n_events: 0 };
        let mut improved = false;
        for a in 0..self.groups.len() {
            for fold in 0..self.totals.len() {
                improved |= self.exchange(a, self.groups[a], fold, none, None);
            }
            for b in a + 1..self.groups.len() {
                improved |= self.exchange(a, self.groups[a], self.folds[b], self.groups[b], Some(b));
            }
        }
        improved
    }

    /// Sends group `a` to `to`, and what comes back (`b`, if anything) to the fold of `a`, if that is better.
    fn exchange(&mut self, a: usize, out: GroupSize, to: usize, back: GroupSize, b: Option<usize>) -> bool {
        let from = self.folds[a];
        if from == to {
            return false;
        }
        let new_from = minus(plus(self.totals[from], back), out);
        let new_to = minus(plus(self.totals[to], out), back);
        let before = self.unevenness(self.totals[from]) + self.unevenness(self.totals[to]);
        if self.unevenness(new_from) + self.unevenness(new_to) >= before - 1e-12 {
            return false;
        }
        (self.totals[from], self.totals[to]) = (new_from, new_to);
        self.folds[a] = to;
        if let Some(b) = b {
            self.folds[b] = from;
        }
        true
    }

    fn cost(&self) -> f64 {
        self.totals.iter().map(|total| self.unevenness(*total)).sum()
    }

    fn unevenness(&self, total: GroupSize) -> f64 {
        let patients = total.n_patients as f64 / self.even.0 - 1.0;
        let events = total.n_events as f64 / self.even.1 - 1.0;
        patients * patients + events * events
    }
}

fn plus(a: GroupSize, b: GroupSize) -> GroupSize {
    GroupSize { n_patients: a.n_patients + b.n_patients, n_events: a.n_events + b.n_events }
}

fn minus(a: GroupSize, b: GroupSize) -> GroupSize {
    GroupSize { n_patients: a.n_patients - b.n_patients, n_events: a.n_events - b.n_events }
}

#[cfg(test)]
mod tests {
    use rand::Rng;

    use super::*;
    use crate::seed::stream;

    #[test]
    fn groups_that_can_be_level_become_level() {
        // Only (6, 3), (6, 3), (3, 2) + (3, 1) and (3, 2) + (3, 1) are level.
        let group = |n_patients, n_events| GroupSize { n_patients, n_events };
        let groups = [group(6, 3), group(3, 2), group(3, 1), group(6, 3), group(3, 1), group(3, 2)];
        let folds = assign(&groups, 4, &mut stream(7, "test"));
        for fold in 0..4 {
            let total = groups
                .iter()
                .zip(&folds)
                .filter(|(_, f)| **f == fold)
                .fold(group(0, 0), |t, (g, _)| plus(t, *g));
            assert_eq!(total, group(6, 3), "fold {fold} of {folds:?}");
        }
    }

    /// The unevenness of an assignment, as the search counts it.
    fn cost_of(groups: &[GroupSize], folds: &[usize], n_folds: usize) -> f64 {
        let mut search = Search::new(groups, n_folds);
        for (group, &fold) in groups.iter().zip(folds) {
            search.totals[fold] = plus(search.totals[fold], *group);
        }
        search.cost()
    }

    #[test]
    fn small_cohorts_get_the_best_of_all_assignments() {
        const N_GROUPS: u32 = 9;
        let mut rng = stream(7, "test");
        for case in 0..20 {
            let groups: Vec<GroupSize> = (0..N_GROUPS)
                .map(|_| {
                    let n_patients = rng.random_range(1..40);
                    GroupSize { n_patients, n_events: rng.random_range(0..=n_patients) }
                })
                .collect();
            let all = (0..3_usize.pow(N_GROUPS)).map(|code| {
                let folds: Vec<usize> = (0..N_GROUPS).map(|digit| code / 3_usize.pow(digit) % 3).collect();
                cost_of(&groups, &folds, 3)
            });
            let best = all.fold(f64::INFINITY, f64::min);
            let found = cost_of(&groups, &assign(&groups, 3, &mut rng), 3);
            assert!(found <= best + 1e-9, "case {case}: cost {found}, the best is {best} ({groups:?})");
        }
    }

    #[test]
    fn as_many_groups_as_folds_get_one_each() {
        let groups = [100, 50, 1].map(|n_patients| GroupSize { n_patients, n_events: n_patients.min(1) });
        let mut folds = assign(&groups, 3, &mut stream(7, "test"));
        folds.sort_unstable();
        assert_eq!(folds, [0, 1, 2]);
    }
}
