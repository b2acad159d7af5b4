//! Predictions with their direction: a risk is higher for an earlier event, a score for a later one.

use crate::error::{Error, Result};

/// One risk per subject; higher = worse, an earlier event (scikit-survival, torchsurv).
///
/// No value is NaN; infinite ones are ordered and tie with themselves.
///
/// ```
/// use survival_metrics::{Risk, Score};
///
/// assert_eq!(Risk::new(&[0.5, 2.0])?.values(), [0.5, 2.0]);
/// assert_eq!(Risk::from(Score::new(&[12.0, 30.0])?).values(), [-12.0, -30.0]);
/// assert!(Risk::new(&[f64::NAN]).is_err());
/// # Ok::<(), survival_metrics::Error>(())
/// ```
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[derive(Debug, Clone, PartialEq)]
pub struct Risk(Vec<f64>);

impl Risk {
    /// Checked risks.
    ///
    /// # Errors
    /// [`Error::NanRisk`].
    pub fn new(values: &[f64]) -> Result<Self> {
        check_risk(values)?;
        Ok(Self(values.to_vec()))
    }

    /// Checked risks of single precision, widened exactly.
    ///
    /// # Errors
    /// [`Error::NanRisk`].
    pub fn from_f32(values: &[f32]) -> Result<Self> {
        let wide: Vec<f64> = values.iter().map(|&x| f64::from(x)).collect();
        check_risk(&wide)?;
        Ok(Self(wide))
    }

    /// The risks.
    pub fn values(&self) -> &[f64] {
        &self.0
    }
}

/// One score per subject; higher = better, a later event, as a predicted survival time (lifelines).
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[derive(Debug, Clone, PartialEq)]
pub struct Score(Vec<f64>);

impl Score {
    /// Checked scores.
    ///
    /// # Errors
    /// [`Error::NanRisk`].
    pub fn new(values: &[f64]) -> Result<Self> {
        check_risk(values)?;
        Ok(Self(values.to_vec()))
    }
}

impl From<Score> for Risk {
    /// The same order, turned round by the sign.
    fn from(score: Score) -> Self {
        Self(score.0.into_iter().map(|x| -x).collect())
    }
}

/// Fails on a risk that is NaN.
pub(crate) fn check_risk(risk: &[f64]) -> Result<()> {
    match risk.iter().position(|x| x.is_nan()) {
        Some(index) => Err(Error::NanRisk { index }),
        None => Ok(()),
    }
}
