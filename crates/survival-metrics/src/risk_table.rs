//! Numbers at risk, events and censorings at each distinct time: what every curve is made of.

use crate::outcome::Outcome;
use crate::survival_data::SurvivalData;

/// One row per distinct observed time, ascending.
#[derive(Debug, Clone, Default)]
pub(crate) struct RiskTable {
    pub(crate) rows: Vec<RiskRow>,
}

/// Subjects at one time, as counts and as sums of case weights.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub(crate) struct RiskRow {
    pub(crate) time: f64,
    /// Subjects at risk just before the time: those who entered before it and left at it or later.
    pub(crate) n_at_risk: u64,
    pub(crate) n_events: u64,
    pub(crate) n_censored: u64,
    pub(crate) at_risk: f64,
    pub(crate) events: f64,
    pub(crate) censored: f64,
}

impl RiskTable {
    /// The table of outcomes without weights or late entry.
    pub(crate) fn of_outcomes(outcomes: &[Outcome]) -> Self {
        let mut sorted = outcomes.to_vec();
        sorted.sort_unstable_by(|a, b| a.time().total_cmp(&b.time()));
        Self::of_sorted(&mut sorted.into_iter().map(|o| (o, 1.0)))
    }

    /// The table of a sample, strata disregarded.
    pub(crate) fn of_sample(data: &SurvivalData) -> Self {
        Self::of_rows(data, &data.time_order())
    }

    /// The table of the subjects at `order`, which is by time.
    pub(crate) fn of_rows(data: &SurvivalData, order: &[u32]) -> Self {
        let mut table =
            Self::of_sorted(&mut order.iter().map(|&i| (data.outcome(i), data.weight(i as usize))));
        if let Some(entry) = data.entry() {
            let late = order.iter().filter_map(|&i| Some((*entry.get(i as usize)?, data.weight(i as usize))));
            table.remove_late(late.collect());
        }
        table
    }

    fn of_sorted(sorted: &mut dyn Iterator<Item = (Outcome, f64)>) -> Self {
        let mut rows: Vec<RiskRow> = Vec::new();
        for (outcome, weight) in sorted {
            if rows.last().is_none_or(|row| row.time != outcome.time()) {
                rows.push(RiskRow { time: outcome.time(), ..RiskRow::default() });
            }
            if let Some(row) = rows.last_mut() {
                if outcome.is_event() {
                    row.n_events += 1;
                    row.events += weight;
                } else {
                    row.n_censored += 1;
                    row.censored += weight;
                }
            }
        }
        // Sums from the end: exact zeros at the end, and no cancellation where few are left.
        let (mut n, mut weight) = (0, 0.0);
        for row in rows.iter_mut().rev() {
            n += row.n_events + row.n_censored;
            weight += row.events + row.censored;
            (row.n_at_risk, row.at_risk) = (n, weight);
        }
        Self { rows }
    }

    /// Takes those out of each row who enter at its time or later.
    fn remove_late(&mut self, mut entries: Vec<(f64, f64)>) {
        entries.sort_unstable_by(|a, b| b.0.total_cmp(&a.0));
        let mut entries = entries.into_iter().peekable();
        let (mut n, mut weight) = (0, 0.0);
        for row in self.rows.iter_mut().rev() {
            while let Some((_, w)) = entries.next_if(|&(entry, _)| entry >= row.time) {
                n += 1;
                weight += w;
            }
            row.n_at_risk -= n;
            row.at_risk -= weight;
        }
    }

    /// Largest observed time.
    pub(crate) fn last_time(&self) -> Option<f64> {
        self.rows.last().map(|row| row.time)
    }
}

/// Product-limit survival that is exact where it is a simple fraction.
///
/// Between censorings the product telescopes to `(n - d) / n` of the stretch, and is carried that way: S is then
/// 1/2 exactly where half died, on which the median depends.
#[derive(Debug)]
pub(crate) struct ProductLimit {
    survival: f64,
    stretch_survival: f64,
    stretch_at_risk: f64,
    /// At risk in the next row, if nobody is censored and nobody enters before it.
    left: f64,
}

impl ProductLimit {
    pub(crate) fn new() -> Self {
        Self { survival: 1.0, stretch_survival: 1.0, stretch_at_risk: f64::NAN, left: f64::NAN }
    }

    /// Survival after `events` of `at_risk`.
    pub(crate) fn step(&mut self, at_risk: f64, events: f64) -> f64 {
        if at_risk != self.left {
            (self.stretch_survival, self.stretch_at_risk) = (self.survival, at_risk);
        }
        self.left = at_risk - events;
        if events > 0.0 {
            self.survival = self.stretch_survival * (self.left / self.stretch_at_risk);
        }
        self.survival
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn late_subjects_are_at_risk_from_after_their_entry() {
        let outcomes = [(2.0, true), (3.0, false), (5.0, true)]
            .map(|(t, e)| if e { Outcome::event(t) } else { Outcome::censored(t) }.expect("valid"));
        let data = SurvivalData::new(&outcomes).and_then(|d| d.with_entry(&[0.0, 2.0, 1.0])).expect("valid");
        let table = RiskTable::of_sample(&data);
        assert_eq!(table.rows.iter().map(|row| row.n_at_risk).collect::<Vec<_>>(), [2, 2, 1]);
    }
}
