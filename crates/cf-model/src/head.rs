//! What the numbers are that a model ends with, and the survival that they describe.

use candle_core::{DType, Tensor};
use serde::{Deserialize, Serialize};

use crate::discrete_time::{DiscreteSurvival, N_BINS};
use crate::error::{Error, Result};
use crate::time_mixture::TimeMixture;

/// What the numbers at the end of a model mean.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Head {
    /// Logits of the hazards of [`N_BINS`] time bins: the head of the paper's comparison.
    Hazards,
    /// One number: the log of a slide's hazard, divided by that of a baseline (Cox, 1972).
    LogRisk {
        /// The baseline's cumulative hazard at the end of each time bin, known when training ends.
        baseline: Option<[f64; N_BINS]>,
    },
    /// A [`TimeMixture`]: log weights, then means, then deviations.
    TimeMixture {
        /// The end of each time bin, in months, known when training starts.
        bin_ends_months: Option<[f64; N_BINS]>,
    },
}

impl std::fmt::Display for Head {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Hazards => "hazards",
            Self::LogRisk { .. } => "a log risk",
            Self::TimeMixture { .. } => "a mixture of times",
        })
    }
}

/// The head of a model that its authors trained on the Cox partial likelihood.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum RiskHead {
    /// Four hazards, as every model of the comparison.
    #[default]
    Hazards,
    /// The authors' own: one log risk. Trains with `loss = "cox"`.
    LogRisk,
}

impl RiskHead {
    /// The head, given the baseline of a log risk where it is known.
    pub(crate) fn with(self, baseline: Option<[f64; N_BINS]>) -> Head {
        match self {
            Self::Hazards => Head::Hazards,
            Self::LogRisk => Head::LogRisk { baseline },
        }
    }
}

/// The numbers of one slide.
#[derive(Debug, Clone, PartialEq)]
pub struct HeadOutput {
    /// What they mean.
    pub head: Head,
    /// As many as the head has, widened to f64.
    pub values: Vec<f64>,
}

impl HeadOutput {
    pub(crate) fn of(head: Head, values: &Tensor) -> Result<Self> {
        Ok(Self { head, values: values.detach().to_dtype(DType::F64)?.to_vec1()? })
    }

    /// The logits of the hazards.
    ///
    /// # Errors
    /// If the head has others, or there are not [`N_BINS`] of them.
    pub fn logits(&self) -> Result<[f64; N_BINS]> {
        match (<[f64; N_BINS]>::try_from(self.values.as_slice()), self.head) {
            (Ok(logits), Head::Hazards) => Ok(logits),
            (Err(_), Head::Hazards) => Err(self.of_other_length("4 logits")),
            (_, head) => Err(Error::Config { field: "head", found: head.to_string(), expected: "hazards" }),
        }
    }

    /// The mixture of times, where the head is one.
    pub fn mixture(&self) -> Option<TimeMixture<'_>> {
        match self.head {
            Head::TimeMixture { .. } => TimeMixture::new(&self.values),
            Head::Hazards | Head::LogRisk { .. } => None,
        }
    }

    /// Hazards and survival curve over the time bins.
    ///
    /// # Errors
    /// If the head does not know the time bins, as before training.
    pub fn distribution(&self) -> Result<DiscreteSurvival> {
        match self.head {
            Head::Hazards => Ok(DiscreteSurvival::from_logits(self.logits()?)),
            Head::LogRisk { baseline } => {
                let baseline = baseline.ok_or(Error::Config {
                    field: "baseline",
                    found: "none".to_owned(),
                    expected: "the cumulative hazard at the end of each time bin, which training finds",
                })?;
                let ratio = self.log_risk()?.exp();
                Ok(DiscreteSurvival::from_survival(baseline.map(|hazard| (-hazard * ratio).exp())))
            }
            Head::TimeMixture { bin_ends_months } => {
                let ends = bin_ends_months.ok_or(Error::Config {
                    field: "bin_ends_months",
                    found: "none".to_owned(),
                    expected: "the end of each time bin, which training finds",
                })?;
                let mixture =
                    self.mixture().ok_or_else(|| self.of_other_length("three numbers for each part"))?;
                Ok(DiscreteSurvival::from_survival(ends.map(|end| mixture.survival(end))))
            }
        }
    }

    /// The risk score; higher is worse. Minus the sum of the survival curve, or the log risk itself.
    ///
    /// # Errors
    /// If the survival curve is needed, as [`Self::distribution`].
    pub fn risk(&self) -> Result<f64> {
        match self.head {
            Head::LogRisk { .. } => self.log_risk(),
            Head::Hazards | Head::TimeMixture { .. } => Ok(self.distribution()?.risk()),
        }
    }

    fn log_risk(&self) -> Result<f64> {
        match self.values.as_slice() {
            &[risk] => Ok(risk),
            _ => Err(self.of_other_length("one log risk")),
        }
    }

    fn of_other_length(&self, expected: &'static str) -> Error {
        Error::Config { field: "head", found: format!("{} numbers", self.values.len()), expected }
    }
}
