//! Median and other quantiles of survival time, with the limits of Brookmeyer and Crowley.

use super::{CiType, KaplanMeier};
use crate::error::Result;

/// Which time is the quantile where the curve lies on its level over an interval.
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum QuantileRule {
    /// The midpoint of the interval, which ends at the next fall of the curve, or at the last observed time if it does
    /// not fall again (R's `quantile.survfit`).
    #[default]
    Midpoint,
    /// The left end of the interval: the first time with `S(t) <= 1 - p` (lifelines).
    LeftEnd,
}

/// A quantile of survival time with confidence limits, each `None` where its curve never falls that far.
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct SurvivalQuantile {
    /// The estimate.
    pub time: Option<f64>,
    /// Lower confidence limit.
    pub lower: Option<f64>,
    /// Upper confidence limit.
    pub upper: Option<f64>,
}

impl KaplanMeier {
    /// Median survival time: [`quantile`](Self::quantile) at 0.5.
    pub fn median_survival(&self) -> Option<f64> {
        self.quantile(0.5)
    }

    /// Time by which the share `p` of subjects had the event, or `None` if S never falls that far.
    ///
    /// By [`QuantileRule::Midpoint`], with R's tolerance: the square root of the f64 epsilon. `None` also for `p` outside (0, 1).
    pub fn quantile(&self, p: f64) -> Option<f64> {
        self.quantile_by(p, QuantileRule::Midpoint)
    }

    /// [`quantile`](Self::quantile) by a rule of choice, with the same tolerance.
    ///
    /// ```
    /// use survival_metrics::{KaplanMeier, Outcome, QuantileRule};
    ///
    /// let km = KaplanMeier::fit(&[Outcome::event(8.0)?, Outcome::event(16.0)?])?;
    /// assert_eq!(km.quantile_by(0.5, QuantileRule::Midpoint), Some(12.0));
    /// assert_eq!(km.quantile_by(0.5, QuantileRule::LeftEnd), Some(8.0));
    /// # Ok::<(), survival_metrics::Error>(())
    /// ```
    pub fn quantile_by(&self, p: f64, rule: QuantileRule) -> Option<f64> {
        let levels = self.survival.iter().map(|&s| Some(s));
        crossing(&self.times, levels, p, rule)
    }

    /// A quantile with the limits at which the confidence curves of S cross the same level.
    ///
    /// Where a curve's limits are undefined, at S = 0 above all, they cross nothing (R).
    ///
    /// Source: Brookmeyer & Crowley, Biometrics 38 (1982) 29-41.
    ///
    /// # Errors
    /// [`Error::OutOfRange`](crate::Error::OutOfRange) unless `0 < level < 1`.
    ///
    /// ```
    /// use survival_metrics::{CiType, KaplanMeier, Outcome, QuantileRule};
    ///
    /// let outcomes = (1..=20).map(|t| Outcome::event(f64::from(t))).collect::<Result<Vec<_>, _>>()?;
    /// let km = KaplanMeier::fit(&outcomes)?;
    /// let median = km.quantile_with_limits(0.5, 0.95, CiType::LogLog, QuantileRule::LeftEnd)?;
    /// assert_eq!((median.lower, median.time, median.upper), (Some(5.0), Some(10.0), Some(15.0)));
    /// # Ok::<(), survival_metrics::Error>(())
    /// ```
    pub fn quantile_with_limits(
        &self,
        p: f64,
        level: f64,
        ci_type: CiType,
        rule: QuantileRule,
    ) -> Result<SurvivalQuantile> {
        let limits = self.confidence_limits(level, ci_type)?;
        let lower = limits.iter().map(|limit| limit.map(|l| l.0));
        let upper = limits.iter().map(|limit| limit.map(|l| l.1));
        Ok(SurvivalQuantile {
            time: self.quantile_by(p, rule),
            lower: crossing(&self.times, lower, p, rule),
            upper: crossing(&self.times, upper, p, rule),
        })
    }
}

/// Where a falling curve, undefined in places, crosses `1 - p`.
fn crossing(
    times: &[f64],
    levels: impl Iterator<Item = Option<f64>>,
    p: f64,
    rule: QuantileRule,
) -> Option<f64> {
    if !(p > 0.0 && p < 1.0) {
        return None;
    }
    let level = 1.0 - p;
    let tolerance = f64::EPSILON.sqrt();
    let mut points = times.iter().zip(levels).filter_map(|(&t, s)| Some((t, s?)));
    let (reached, survival) = points.find(|&(_, s)| s < level + tolerance)?;
    if survival < level - tolerance || rule == QuantileRule::LeftEnd {
        return Some(reached);
    }
    let left = points.find(|&(_, s)| s < level - tolerance).map(|(t, _)| t);
    let end = left.or(times.last().copied()).unwrap_or(reached);
    Some(reached + (end - reached) / 2.0)
}

#[cfg(test)]
mod tests {
    use super::super::tests::curve;

    #[test]
    fn a_median_that_is_not_reached_is_none() {
        assert_eq!(curve([1], [2, 3]).median_survival(), None);
        assert_eq!(curve([], [2, 3]).median_survival(), None);
        assert_eq!(curve([4, 4, 5], []).median_survival(), Some(4.0));
        assert_eq!((curve([1], []).quantile(0.0), curve([1], []).quantile(1.0)), (None, None));
    }
}
