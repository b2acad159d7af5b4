//! Pointwise confidence limits of a survival curve.

use super::KaplanMeier;
use crate::error::Result;
use crate::interval::normal_quantile;

/// How pointwise confidence limits are built from `s = S(t)`, Greenwood's sum `v` and the normal quantile `z`.
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
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

impl KaplanMeier {
    /// Pointwise confidence limits of S, as (lower, upper) at each time.
    ///
    /// `level` is the coverage, such as 0.95. Limits are `None` where they are undefined: at S = 0 for every type,
    /// and at S = 1 for all but [`CiType::Plain`] and [`CiType::Log`], as in R.
    ///
    /// # Errors
    /// [`crate::Error::OutOfRange`] unless `0 < level < 1`.
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
        let z = normal_quantile(level)?;
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
    use super::super::tests::curve;
    use super::*;
    use crate::Error;

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
}
