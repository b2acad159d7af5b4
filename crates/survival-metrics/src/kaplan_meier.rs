//! The Kaplan-Meier estimate of survival with Greenwood's variance.

mod limits;
mod quantile;

pub use limits::CiType;
pub use quantile::{QuantileRule, SurvivalQuantile};

use crate::error::{Error, Result};
use crate::outcome::{Outcome, Status};
use crate::risk_table::{ProductLimit, RiskTable};
use crate::survival_data::SurvivalData;

/// Kaplan-Meier estimate of the survival function.
///
/// ```text
/// S(t) = product over u <= t of (1 - d(u) / n(u)),    v(t) = sum over u <= t of d(u) / (n(u) (n(u) - d(u)))
/// ```
///
/// with `d(u)` events at `u` and `n(u)` subjects at risk just before `u`. Subjects censored at `u` are at risk
/// at `u` (events come first). One entry per distinct time, ascending, censoring times included.
///
/// Source: Kaplan & Meier, JASA 53 (1958) 457-481; variance: Greenwood 1926.
///
/// ```
/// use survival_metrics::{KaplanMeier, Outcome};
///
/// let outcomes = [Outcome::event(1.0)?, Outcome::event(2.0)?, Outcome::censored(2.0)?, Outcome::event(3.0)?];
/// let km = KaplanMeier::fit(&outcomes)?;
/// assert_eq!(km.times(), [1.0, 2.0, 3.0]);
/// assert_eq!(km.at_risk(), [4, 3, 1]);
/// assert_eq!(km.survival(), [0.75, 0.5, 0.0]);
/// assert_eq!(km.median_survival(), Some(2.5));
/// # Ok::<(), survival_metrics::Error>(())
/// ```
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[derive(Debug, Clone, PartialEq)]
pub struct KaplanMeier {
    n_subjects: u64,
    times: Vec<f64>,
    survival: Vec<f64>,
    at_risk: Vec<u64>,
    events: Vec<u64>,
    censored: Vec<u64>,
    // Infinite where the curve reaches 0, which JSON has no number for; limits and errors are what is published.
    #[cfg_attr(feature = "serde", serde(skip))]
    greenwood_sum: Vec<f64>,
    /// Greenwood's sum weighted for the restricted mean: d(u) / (n(u) (n(u) - d(u))) at each time.
    #[cfg_attr(feature = "serde", serde(skip))]
    greenwood_terms: Vec<f64>,
}

impl KaplanMeier {
    /// Fits the curve. O(n log n) time.
    ///
    /// # Errors
    /// [`Error::Empty`] without outcomes.
    pub fn fit(outcomes: &[Outcome]) -> Result<Self> {
        if outcomes.is_empty() {
            return Err(Error::Empty { what: "outcomes" });
        }
        Ok(Self::of_table(&RiskTable::of_outcomes(outcomes), outcomes.len() as u64))
    }

    /// Fits the curve of a sample, with its case weights and entry times; strata and clusters do not enter.
    ///
    /// Weights act as replicates, in Greenwood's variance too (R's `survfit` with `robust = FALSE`), while
    /// [`at_risk`](Self::at_risk), [`events`](Self::events) and [`censored`](Self::censored) count subjects. With late entry a
    /// small early risk set can drive S to 0 for good; [`NelsonAalen`](crate::NelsonAalen) survives that.
    ///
    /// ```
    /// use survival_metrics::{KaplanMeier, Outcome, SurvivalData};
    ///
    /// let outcomes = [Outcome::event(2.0)?, Outcome::event(3.0)?, Outcome::censored(5.0)?];
    /// let data = SurvivalData::new(&outcomes)?.with_entry(&[0.0, 0.0, 2.5])?;
    /// let km = KaplanMeier::fit_sample(&data);
    /// assert_eq!((km.at_risk(), km.survival()), (&[2, 2, 1][..], &[0.5, 0.25, 0.25][..]));
    /// # Ok::<(), survival_metrics::Error>(())
    /// ```
    pub fn fit_sample(data: &SurvivalData) -> Self {
        Self::of_table(&RiskTable::of_sample(data), data.len() as u64)
    }

    /// The curve of follow-up: censoring is the event, and an event ends follow-up that would have gone on.
    ///
    /// Its [median](Self::median_survival) is the median follow-up by the reverse Kaplan-Meier method.
    ///
    /// Source: Schemper & Smith, Control. Clin. Trials 17 (1996) 343-346.
    ///
    /// # Errors
    /// As [`KaplanMeier::fit`].
    ///
    /// ```
    /// use survival_metrics::{KaplanMeier, Outcome};
    ///
    /// let outcomes = [Outcome::event(1.0)?, Outcome::censored(4.0)?, Outcome::censored(6.0)?];
    /// assert_eq!(KaplanMeier::follow_up(&outcomes)?.median_survival(), Some(5.0));
    /// # Ok::<(), survival_metrics::Error>(())
    /// ```
    pub fn follow_up(outcomes: &[Outcome]) -> Result<Self> {
        let reversed = |o: &Outcome| match o.status() {
            Status::Event => Outcome::censored(o.time()),
            Status::Censored => Outcome::event(o.time()),
        };
        Self::fit(&outcomes.iter().map(reversed).collect::<Result<Vec<_>>>()?)
    }

    fn of_table(table: &RiskTable, n_subjects: u64) -> Self {
        let rows = &table.rows;
        let mut product = ProductLimit::new();
        let terms = rows.iter().map(|row| {
            // Infinite once S reaches 0.
            if row.events > 0.0 { row.events / (row.at_risk * (row.at_risk - row.events)) } else { 0.0 }
        });
        let greenwood_terms: Vec<f64> = terms.collect();
        let greenwood_sum = greenwood_terms.iter().scan(0.0, |sum, term| {
            *sum += term;
            Some(*sum)
        });
        Self {
            n_subjects,
            times: rows.iter().map(|row| row.time).collect(),
            survival: rows.iter().map(|row| product.step(row.at_risk, row.events)).collect(),
            at_risk: rows.iter().map(|row| row.n_at_risk).collect(),
            events: rows.iter().map(|row| row.n_events).collect(),
            censored: rows.iter().map(|row| row.n_censored).collect(),
            greenwood_sum: greenwood_sum.collect(),
            greenwood_terms,
        }
    }

    /// Number of subjects.
    pub fn n_subjects(&self) -> u64 {
        self.n_subjects
    }

    /// Distinct observed times, ascending.
    pub fn times(&self) -> &[f64] {
        &self.times
    }

    /// S at each time, its events included.
    pub fn survival(&self) -> &[f64] {
        &self.survival
    }

    /// Subjects at risk just before each time.
    pub fn at_risk(&self) -> &[u64] {
        &self.at_risk
    }

    /// Events at each time.
    pub fn events(&self) -> &[u64] {
        &self.events
    }

    /// Censorings at each time.
    pub fn censored(&self) -> &[u64] {
        &self.censored
    }

    /// Greenwood's sum `v(t)` at each time: `Var S(t) = S(t)^2 v(t)`. Infinite once S is 0.
    pub fn greenwood_sum(&self) -> &[f64] {
        &self.greenwood_sum
    }

    pub(crate) fn greenwood_terms(&self) -> &[f64] {
        &self.greenwood_terms
    }

    /// S at `t`: a step function, continuous from the right, 1 before the first time and constant after the last.
    pub fn survival_at(&self, t: f64) -> f64 {
        self.position(t).and_then(|i| self.survival.get(i)).copied().unwrap_or(1.0)
    }

    /// Greenwood's sum at `t`, 0 before the first time.
    pub fn greenwood_sum_at(&self, t: f64) -> f64 {
        self.position(t).and_then(|i| self.greenwood_sum.get(i)).copied().unwrap_or(0.0)
    }

    /// Subjects at risk just before `t` (their time is at least `t`). With late entry: at the next observed time.
    pub fn at_risk_at(&self, t: f64) -> u64 {
        self.at_risk.get(self.times.partition_point(|&u| u < t)).copied().unwrap_or(0)
    }

    /// Points at which a plot marks censorings: each time with a censoring, and S there.
    pub fn censor_marks(&self) -> impl Iterator<Item = (f64, f64)> + '_ {
        let points = self.times.iter().zip(&self.survival);
        points.zip(&self.censored).filter(|&(_, &c)| c > 0).map(|((&t, &s), _)| (t, s))
    }

    /// Position of the last observed time up to `t`.
    fn position(&self, t: f64) -> Option<usize> {
        self.times.partition_point(|&u| u <= t).checked_sub(1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    pub(super) fn curve(
        events: impl IntoIterator<Item = u32>,
        censored: impl IntoIterator<Item = u32>,
    ) -> KaplanMeier {
        let events = events.into_iter().map(|t| Outcome::event(f64::from(t)));
        let censored = censored.into_iter().map(|t| Outcome::censored(f64::from(t)));
        let outcomes: Result<Vec<Outcome>> = events.chain(censored).collect();
        KaplanMeier::fit(&outcomes.expect("valid times")).expect("not empty")
    }

    #[test]
    fn half_dead_half_censored_is_exactly_one_half_at_every_size() {
        // Multiplying the factors one by one gives 0.5000000000000001 in 7 of these 29 samples.
        for half in 1..=29 {
            let km = curve(1..=half, half + 1..=2 * half);
            assert_eq!(km.survival_at(f64::from(half)), 0.5);
            // S stays at 1/2 to the last censoring.
            assert_eq!(km.median_survival(), Some(f64::from(half) * 1.5));
        }
    }

    #[test]
    fn a_figure_has_its_marks_and_numbers_at_risk() {
        let km = curve([1, 3], [1, 2, 2]);
        assert_eq!(km.censor_marks().collect::<Vec<_>>(), [(1.0, 0.8), (2.0, 0.8)]);
        assert_eq!([0.0, 1.0, 1.5, 3.0, 4.0].map(|t| km.at_risk_at(t)), [5, 5, 3, 1, 0]);
        assert_eq!([0.5, 1.0, 2.9, 3.0, 9.0].map(|t| km.survival_at(t)), [1.0, 0.8, 0.8, 0.0, 0.0]);
    }

    #[test]
    fn whole_weights_are_copies() {
        let outcomes =
            [Outcome::event(1.0), Outcome::censored(1.0), Outcome::event(2.0), Outcome::censored(4.0)];
        let outcomes = outcomes.into_iter().collect::<Result<Vec<_>>>().expect("valid");
        let weights = [2.0, 1.0, 3.0, 2.0];
        let copies: Vec<Outcome> =
            outcomes.iter().zip(weights).flat_map(|(o, w)| vec![*o; w as usize]).collect();
        let weighted =
            KaplanMeier::fit_sample(&SurvivalData::new(&outcomes).unwrap().with_weights(&weights).unwrap());
        let copied = KaplanMeier::fit(&copies).unwrap();
        assert_eq!(weighted.survival(), copied.survival());
        assert_eq!(weighted.greenwood_sum(), copied.greenwood_sum());
        assert_eq!(weighted.at_risk(), [4, 2, 1]);
    }
}
