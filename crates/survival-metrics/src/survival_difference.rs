//! Test of two survival curves at one time.

use crate::error::{Error, Result};
use crate::kaplan_meier::KaplanMeier;
use crate::special_functions::{chi2_ln_sf, chi2_sf};

/// On which scale two survival probabilities are compared.
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum SurvivalScale {
    /// S itself.
    Plain,
    /// ln S.
    Log,
    /// ln(-ln S) (lifelines).
    #[default]
    LogLog,
    /// asin sqrt(S).
    Arcsin,
    /// ln(S / (1 - S)).
    Logit,
}

/// Result of [`survival_difference_at`].
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct SurvivalDifference {
    /// S of the first curve at the time.
    pub first: f64,
    /// S of the second curve at the time.
    pub second: f64,
    /// The statistic, with one degree of freedom.
    pub chi_square: f64,
    /// `P(chi-squared >= chi_square)`.
    pub p_value: f64,
    /// Base-10 logarithm of the p-value.
    pub log10_p: f64,
}

/// Tests whether two independent groups have equal survival at `t`, chosen before looking.
///
/// ```text
/// chi^2 = (g(S1) - g(S2))^2 / (g'(S1)^2 S1^2 v1 + g'(S2)^2 S2^2 v2)
/// ```
///
/// with Greenwood's sums `v` and the scale `g`. Source: Klein, Logan, Harhoff & Andersen, Stat. Med. 26 (2007) 4505-4519.
///
/// # Errors
/// [`Error::OutOfRange`] where the scale is undefined, at S = 0 or 1 (for [`SurvivalScale::Plain`] and [`SurvivalScale::Log`] at S = 0
/// only); [`Error::ZeroVariance`] if neither curve has fallen yet.
///
/// ```
/// use survival_metrics::{KaplanMeier, Outcome, SurvivalScale, survival_difference_at};
///
/// let early = KaplanMeier::fit(&[Outcome::event(1.0)?, Outcome::event(2.0)?, Outcome::censored(9.0)?])?;
/// let late = KaplanMeier::fit(&[Outcome::event(5.0)?, Outcome::censored(9.0)?, Outcome::censored(9.0)?])?;
/// let test = survival_difference_at(&early, &late, 6.0, SurvivalScale::Plain)?;
/// assert!((test.chi_square - (1.0_f64 / 3.0).powi(2) / (2.0 * 2.0 / 27.0)).abs() < 1e-14);
/// # Ok::<(), survival_metrics::Error>(())
/// ```
pub fn survival_difference_at(
    first: &KaplanMeier,
    second: &KaplanMeier,
    t: f64,
    scale: SurvivalScale,
) -> Result<SurvivalDifference> {
    let ((g1, var1), (g2, var2)) = (transformed(first, t, scale)?, transformed(second, t, scale)?);
    let variance = var1 + var2;
    if variance <= 0.0 {
        return Err(Error::ZeroVariance);
    }
    let chi_square = (g1 - g2) * (g1 - g2) / variance;
    Ok(SurvivalDifference {
        first: first.survival_at(t),
        second: second.survival_at(t),
        chi_square,
        p_value: chi2_sf(chi_square, 1),
        log10_p: chi2_ln_sf(chi_square, 1) / std::f64::consts::LN_10,
    })
}

/// `g(S(t))` and its variance.
fn transformed(km: &KaplanMeier, t: f64, scale: SurvivalScale) -> Result<(f64, f64)> {
    let (s, v) = (km.survival_at(t), km.greenwood_sum_at(t));
    let needs_less_than_1 = !matches!(scale, SurvivalScale::Plain | SurvivalScale::Log);
    if s <= 0.0 || (needs_less_than_1 && s >= 1.0) {
        let expected = "a survival probability inside (0, 1), where this scale is defined";
        return Err(Error::OutOfRange { what: "survival", value: s, expected });
    }
    Ok(match scale {
        SurvivalScale::Plain => (s, s * s * v),
        SurvivalScale::Log => (s.ln(), v),
        SurvivalScale::LogLog => ((-s.ln()).ln(), v / (s.ln() * s.ln())),
        SurvivalScale::Arcsin => (s.sqrt().asin(), s * v / (4.0 * (1.0 - s))),
        SurvivalScale::Logit => ((s / (1.0 - s)).ln(), v / ((1.0 - s) * (1.0 - s))),
    })
}
