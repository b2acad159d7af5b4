//! The distribution of censoring, whose inverse weights the subjects that were seen (IPCW).

use crate::error::{Error, Result};
use crate::outcome::Outcome;
use crate::risk_table::RiskTable;

/// Who is at risk of being censored at a time at which others have events.
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum CensoringTies {
    /// Events leave first: the risk set is `n(u) - d(u)` (R `survival`, scikit-survival).
    #[default]
    EventsFirst,
    /// Tied events stay at risk of censoring: the risk set is `n(u)`, a Kaplan-Meier curve with statuses flipped
    /// (lifelines, pycox).
    Flipped,
}

/// At which side of a time the censoring survival is read.
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum CensoringSide {
    /// `G(t-)`, before the censorings at `t` (R, pycox, Uno 2011).
    #[default]
    Before,
    /// `G(t)`, the censorings at `t` included (scikit-survival, torchsurv).
    At,
}

/// What to do with a subject whose weight would be `1 / 0`.
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub enum ZeroCensoring {
    /// [`Error::CensoringSurvivalZero`].
    #[default]
    Error,
    /// Leave the subject out as the earlier one of its pairs (C-index), or as a case.
    Drop,
    /// Give it, and any subject with a larger weight, this value of `1 / G`.
    Clamp(f64),
}

/// How inverse probabilities of censoring are made and used.
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct CensoringRule {
    /// Order of ties in the estimate.
    pub ties: CensoringTies,
    /// Side at which it is read at an event.
    pub side: CensoringSide,
    /// What happens at probability 0.
    pub zero: ZeroCensoring,
}

/// Kaplan-Meier estimate `G` of the time to censoring.
///
/// ```
/// use survival_metrics::{CensoringDistribution, CensoringTies, Outcome};
///
/// let sample = [Outcome::event(1.0)?, Outcome::censored(1.0)?, Outcome::event(2.0)?];
/// // The event at 1 leaves first, so one of two is censored there; flipped, one of three.
/// let g = CensoringDistribution::fit(&sample, CensoringTies::EventsFirst)?;
/// assert_eq!((g.before(1.0), g.at(1.0)), (1.0, 0.5));
/// let flipped = CensoringDistribution::fit(&sample, CensoringTies::Flipped)?;
/// assert!((flipped.at(1.0) - 2.0 / 3.0).abs() < 1e-15);
/// # Ok::<(), survival_metrics::Error>(())
/// ```
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[derive(Debug, Clone, PartialEq)]
pub struct CensoringDistribution {
    times: Vec<f64>,
    survival: Vec<f64>,
    last_time: f64,
}

impl CensoringDistribution {
    /// Fits the distribution; O(n log n) time.
    ///
    /// # Errors
    /// [`Error::Empty`] without outcomes.
    pub fn fit(outcomes: &[Outcome], ties: CensoringTies) -> Result<Self> {
        if outcomes.is_empty() {
            return Err(Error::Empty { what: "outcomes" });
        }
        Ok(Self::of_table(&RiskTable::of_outcomes(outcomes), ties))
    }

    pub(crate) fn of_table(table: &RiskTable, ties: CensoringTies) -> Self {
        let mut survival = 1.0;
        let mut g =
            Self { times: Vec::new(), survival: Vec::new(), last_time: table.last_time().unwrap_or(0.0) };
        for row in table.rows.iter().filter(|row| row.censored > 0.0) {
            let at_risk = match ties {
                CensoringTies::EventsFirst => row.at_risk - row.events,
                CensoringTies::Flipped => row.at_risk,
            };
            // Where everybody at risk is censored G is 0; sums of fractional weights leave rounding instead.
            let left = 1.0 - row.censored / at_risk;
            survival *= if left <= 1e-12 { 0.0 } else { left };
            g.times.push(row.time);
            g.survival.push(survival);
        }
        g
    }

    /// Distinct times of censoring, ascending.
    pub fn times(&self) -> &[f64] {
        &self.times
    }

    /// G at each of them.
    pub fn survival(&self) -> &[f64] {
        &self.survival
    }

    /// `G(t)`: a step function, continuous from the right.
    pub fn at(&self, t: f64) -> f64 {
        self.after(self.times.partition_point(|&u| u <= t))
    }

    /// `G(t-)`: the limit from the left.
    pub fn before(&self, t: f64) -> f64 {
        self.after(self.times.partition_point(|&u| u < t))
    }

    /// Largest observed time of the sample, beyond which G is not known.
    pub fn last_time(&self) -> f64 {
        self.last_time
    }

    /// Largest time at which a weight exists: the last observed time, or the last before G falls to 0.
    ///
    /// With [`CensoringSide::At`], times must stay *below* the fall, where with [`CensoringSide::Before`] they may equal it.
    pub fn largest_usable_time(&self, side: CensoringSide) -> f64 {
        match self.survival.iter().position(|&g| g <= 0.0).and_then(|i| self.times.get(i)) {
            Some(&fall) if side == CensoringSide::At => fall.next_down(),
            Some(&fall) => fall,
            None => self.last_time,
        }
    }

    /// `1 / G` at `t` by the rule, `None` for a subject to drop.
    ///
    /// # Errors
    /// [`Error::TimeBeyondTraining`]; [`Error::CensoringSurvivalZero`] where the rule says so.
    pub fn inverse(&self, t: f64, rule: CensoringRule) -> Result<Option<f64>> {
        let g = match rule.side {
            CensoringSide::Before => self.before(t),
            CensoringSide::At => self.at(t),
        };
        let max_tau = || self.largest_usable_time(rule.side);
        match rule.zero {
            ZeroCensoring::Clamp(limit) => Ok(Some((1.0 / g).min(limit))),
            _ if t > self.last_time && g > 0.0 => {
                Err(Error::TimeBeyondTraining { time: t, max_tau: max_tau() })
            }
            ZeroCensoring::Error if g <= 0.0 => {
                Err(Error::CensoringSurvivalZero { time: t, max_tau: max_tau() })
            }
            ZeroCensoring::Drop if g <= 0.0 => Ok(None),
            _ => Ok(Some(1.0 / g)),
        }
    }

    fn after(&self, n_passed: usize) -> f64 {
        n_passed.checked_sub(1).and_then(|i| self.survival.get(i)).copied().unwrap_or(1.0)
    }
}

/// Largest `tau` at which both samples support weighted statistics: nothing is asked of the training sample beyond what it
/// knows, nor of the test sample beyond its last time.
///
/// # Errors
/// [`Error::Empty`] if either sample is.
///
/// ```
/// use survival_metrics::{CensoringRule, Outcome, largest_valid_tau};
///
/// let train = [Outcome::event(3.0)?, Outcome::censored(8.0)?];
/// let test = [Outcome::event(5.0)?, Outcome::event(11.0)?];
/// assert_eq!(largest_valid_tau(&train, &test, CensoringRule::default())?, 8.0);
/// # Ok::<(), survival_metrics::Error>(())
/// ```
pub fn largest_valid_tau(train: &[Outcome], test: &[Outcome], rule: CensoringRule) -> Result<f64> {
    let g = CensoringDistribution::fit(train, rule.ties)?;
    let last = test.iter().map(|o| o.time()).max_by(f64::total_cmp).ok_or(Error::Empty { what: "test" })?;
    Ok(g.largest_usable_time(rule.side).min(last))
}
