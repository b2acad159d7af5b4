//! The Kaplan-Meier estimate of survival with Greenwood's variance.

use crate::error::{Error, Result};
use crate::outcome::Outcome;
use crate::special_functions::normal_isf;

/// How pointwise confidence limits are built from `s = S(t)`, Greenwood's sum `v` and the normal quantile `z`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum CiType {
    /// `s -/+ z s sqrt(v)`, clipped to [0, 1].
    Plain,
    /// `s exp(-/+ z sqrt(v))`, the upper limit clipped to 1 (default of R `survfit`).
    Log,
    /// `s^exp(-/+ z sqrt(v) / ln s)` (lifelines, scikit-survival), which stays inside (0, 1).
    #[default]
    LogLog,
    /// `logistic(logit s -/+ z sqrt(v) / (1 - s))`.
    Logit,
    /// `sin^2(asin sqrt(s) -/+ z sqrt(v) sqrt(s / (1 - s)) / 2)`, the angle clipped to [0, pi/2].
    Arcsin,
}

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
#[derive(Debug, Clone, PartialEq)]
pub struct KaplanMeier {
    n_subjects: u64,
    times: Vec<f64>,
    survival: Vec<f64>,
    at_risk: Vec<u64>,
    events: Vec<u64>,
    censored: Vec<u64>,
    greenwood_sum: Vec<f64>,
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
        let mut sorted = outcomes.to_vec();
        sorted.sort_unstable_by(|a, b| a.time().total_cmp(&b.time()));
        let mut km = Self {
            n_subjects: outcomes.len() as u64,
            times: Vec::new(),
            survival: Vec::new(),
            at_risk: Vec::new(),
            events: Vec::new(),
            censored: Vec::new(),
            greenwood_sum: Vec::new(),
        };
        let mut at_risk = km.n_subjects;
        let mut greenwood_sum = 0.0;
        let mut survival = 1.0;
        // Between censorings the product telescopes to (n - d) / n of the stretch. Carrying it that way makes
        // S exact where it is a simple fraction, 1/2 above all, on which the median depends.
        let (mut stretch_survival, mut stretch_at_risk) = (1.0, at_risk);
        for same_time in sorted.chunk_by(|a, b| a.time() == b.time()) {
            let n_events = same_time.iter().filter(|o| o.is_event()).count() as u64;
            let n_censored = same_time.len() as u64 - n_events;
            if n_events > 0 {
                survival = stretch_survival * ((at_risk - n_events) as f64 / stretch_at_risk as f64);
                // Infinite once S reaches 0.
                greenwood_sum += n_events as f64 / (at_risk as f64 * (at_risk - n_events) as f64);
            }
            km.times.extend(same_time.first().map(|o| o.time()));
            km.survival.push(survival);
            km.at_risk.push(at_risk);
            km.events.push(n_events);
            km.censored.push(n_censored);
            km.greenwood_sum.push(greenwood_sum);
            at_risk -= n_events + n_censored;
            if n_censored > 0 {
                (stretch_survival, stretch_at_risk) = (survival, at_risk);
            }
        }
        Ok(km)
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

    /// S at `t`: a step function, continuous from the right, 1 before the first time and constant after the last.
    pub fn survival_at(&self, t: f64) -> f64 {
        let n_passed = self.times.partition_point(|&u| u <= t);
        n_passed.checked_sub(1).and_then(|i| self.survival.get(i)).copied().unwrap_or(1.0)
    }

    /// Subjects at risk just before `t` (their time is at least `t`).
    pub fn at_risk_at(&self, t: f64) -> u64 {
        self.at_risk.get(self.times.partition_point(|&u| u < t)).copied().unwrap_or(0)
    }

    /// Points at which a plot marks censorings: each time with a censoring, and S there.
    pub fn censor_marks(&self) -> impl Iterator<Item = (f64, f64)> + '_ {
        let points = self.times.iter().zip(&self.survival);
        points.zip(&self.censored).filter(|&(_, &c)| c > 0).map(|((&t, &s), _)| (t, s))
    }

    /// Median survival time: [`quantile`](Self::quantile) at 0.5.
    pub fn median_survival(&self) -> Option<f64> {
        self.quantile(0.5)
    }

    /// Time by which the share `p` of subjects had the event, or `None` if S never falls that far.
    ///
    /// The first time with `S(t) < 1 - p`; if S equals `1 - p` over an interval, its midpoint, where the interval
    /// ends at the next fall of S, or at the last observed time if S does not fall again. This is the rule of R's
    /// `quantile.survfit`, with its tolerance: the square root of the f64 epsilon.
    ///
    /// `None` also for `p` outside (0, 1).
    pub fn quantile(&self, p: f64) -> Option<f64> {
        if !(p > 0.0 && p < 1.0) {
            return None;
        }
        let level = 1.0 - p;
        let tolerance = f64::EPSILON.sqrt();
        let mut points = self.times.iter().zip(&self.survival);
        let (&reached, &survival) = points.find(|&(_, &s)| s < level + tolerance)?;
        if survival < level - tolerance {
            return Some(reached);
        }
        let left = points.find(|&(_, &s)| s < level - tolerance).map(|(&t, _)| t);
        let end = left.or(self.times.last().copied()).unwrap_or(reached);
        Some(reached + (end - reached) / 2.0)
    }

    /// Pointwise confidence limits of S, as (lower, upper) at each time.
    ///
    /// `level` is the coverage, such as 0.95. Limits are `None` where they are undefined: at S = 0 for every type,
    /// and at S = 1 for all but [`CiType::Plain`] and [`CiType::Log`], as in R.
    ///
    /// # Errors
    /// [`Error::OutOfRange`] unless `0 < level < 1`.
    ///
    /// ```
    /// use survival_metrics::{CiType, KaplanMeier, Outcome};
    ///
    /// let km = KaplanMeier::fit(&[Outcome::event(1.0)?, Outcome::censored(2.0)?, Outcome::event(3.0)?])?;
    /// let limits = km.confidence_limits(0.95, CiType::LogLog)?;
    /// let (lower, upper) = limits[0].expect("S(1) = 2/3");
    /// assert!((lower - 0.0541).abs() < 1e-4 && (upper - 0.9452).abs() < 1e-4);
    /// assert_eq!(limits[2], None);
    /// # Ok::<(), survival_metrics::Error>(())
    /// ```
    pub fn confidence_limits(&self, level: f64, ci_type: CiType) -> Result<Vec<Option<(f64, f64)>>> {
        if !(level > 0.0 && level < 1.0) {
            return Err(Error::OutOfRange {
                what: "confidence level",
                value: level,
                expected: "a number between 0 and 1",
            });
        }
        let z = normal_isf((1.0 - level) / 2.0);
        let points = self.survival.iter().zip(&self.greenwood_sum);
        Ok(points.map(|(&s, &v)| limits_at(s, z * v.sqrt(), ci_type)).collect())
    }
}

/// Limits at one point, where `zq` is the normal quantile times the root of Greenwood's sum.
fn limits_at(s: f64, zq: f64, ci_type: CiType) -> Option<(f64, f64)> {
    if s <= 0.0 {
        return None;
    }
    let clip = |x: f64| x.clamp(0.0, 1.0);
    match ci_type {
        CiType::Plain => Some((clip(s - s * zq), clip(s + s * zq))),
        CiType::Log => Some((s * (-zq).exp(), clip(s * zq.exp()))),
        // The other three divide by ln s or 1 - s.
        _ if s >= 1.0 => None,
        CiType::LogLog => {
            let (ln_s, width) = (s.ln(), zq / s.ln());
            // The width is negative, so this order gives lower < upper.
            Some(((ln_s * (-width).exp()).exp(), (ln_s * width.exp()).exp()))
        }
        CiType::Logit => {
            let (logit, width) = ((s / (1.0 - s)).ln(), zq / (1.0 - s));
            let logistic = |x: f64| 1.0 / (1.0 + (-x).exp());
            Some((logistic(logit - width), logistic(logit + width)))
        }
        CiType::Arcsin => {
            let (angle, width) = (s.sqrt().asin(), zq * (s / (1.0 - s)).sqrt() / 2.0);
            let back = |x: f64| x.clamp(0.0, std::f64::consts::FRAC_PI_2).sin().powi(2);
            Some((back(angle - width), back(angle + width)))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn curve(events: impl IntoIterator<Item = u32>, censored: impl IntoIterator<Item = u32>) -> KaplanMeier {
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
    fn a_median_that_is_not_reached_is_none() {
        assert_eq!(curve([1], [2, 3]).median_survival(), None);
        assert_eq!(curve([], [2, 3]).median_survival(), None);
        assert_eq!(curve([4, 4, 5], []).median_survival(), Some(4.0));
        assert_eq!((curve([1], []).quantile(0.0), curve([1], []).quantile(1.0)), (None, None));
    }

    #[test]
    fn limits_are_none_where_they_are_undefined() {
        let km = curve([2, 3], [1]);
        let limits = |ci_type| km.confidence_limits(0.95, ci_type).expect("a valid level");
        for ci_type in [CiType::Plain, CiType::Log] {
            assert_eq!((limits(ci_type)[0], limits(ci_type)[2]), (Some((1.0, 1.0)), None));
        }
        for ci_type in [CiType::LogLog, CiType::Logit, CiType::Arcsin] {
            assert_eq!((limits(ci_type)[0], limits(ci_type)[2]), (None, None));
            let (lower, upper) = limits(ci_type)[1].expect("S = 1/2");
            assert!(0.0 < lower && lower < 0.5 && 0.5 < upper && upper < 1.0);
        }
    }

    #[test]
    fn a_level_outside_its_range_is_refused() {
        for level in [0.0, 1.0, 95.0, f64::NAN] {
            let result = curve([1], []).confidence_limits(level, CiType::Plain);
            assert!(matches!(result, Err(Error::OutOfRange { what: "confidence level", .. })));
        }
    }

    #[test]
    fn a_figure_has_its_marks_and_numbers_at_risk() {
        let km = curve([1, 3], [1, 2, 2]);
        assert_eq!(km.censor_marks().collect::<Vec<_>>(), [(1.0, 0.8), (2.0, 0.8)]);
        assert_eq!([0.0, 1.0, 1.5, 3.0, 4.0].map(|t| km.at_risk_at(t)), [5, 5, 3, 1, 0]);
        assert_eq!([0.5, 1.0, 2.9, 3.0, 9.0].map(|t| km.survival_at(t)), [1.0, 0.8, 0.8, 0.0, 0.0]);
    }
}
