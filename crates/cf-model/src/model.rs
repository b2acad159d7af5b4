//! What a survival model is.

use candle_core::{DType, Tensor};
use cf_layers::ForwardCtx;
use wsi_bags::Magnification;

use crate::discrete_time::{DiscreteSurvival, N_BINS};
use crate::error::Result;
use crate::input::BagTensors;

/// A model that maps one slide to a discrete-time survival distribution.
pub trait SurvivalModel: Send + Sync {
    /// The logits of one slide. A function of the bag, the parameters and `ctx`, and of nothing else.
    ///
    /// # Errors
    /// If the bag lacks a magnification of [`Self::magnifications`] or has features of another width.
    fn forward(&self, bag: &BagTensors, ctx: &mut ForwardCtx) -> Result<SurvivalOutput>;

    /// The magnifications that this model reads.
    fn magnifications(&self) -> &'static [Magnification];
}

/// The output of a [`SurvivalModel`] for one slide.
#[derive(Debug, Clone)]
pub struct SurvivalOutput {
    /// `[n_bins]`, in the graph: gradients start here.
    pub logits: Tensor,
}

impl SurvivalOutput {
    /// The logits as numbers, widened to f64.
    ///
    /// # Errors
    /// If there are not [`N_BINS`] of them.
    pub fn logit_values(&self) -> Result<[f64; N_BINS]> {
        let values: Vec<f64> = self.logits.detach().to_dtype(DType::F64)?.to_vec1()?;
        <[f64; N_BINS]>::try_from(values.as_slice()).map_err(|_| crate::Error::Config {
            field: "n_bins",
            found: values.len().to_string(),
            expected: "4 logits",
        })
    }

    /// Hazards and survival curve, computed in f64.
    ///
    /// # Errors
    /// If there are not [`N_BINS`] logits.
    pub fn distribution(&self) -> Result<DiscreteSurvival> {
        Ok(DiscreteSurvival::from_logits(self.logit_values()?))
    }

    /// Probability of the event in each bin, given survival up to it.
    ///
    /// # Errors
    /// If there are not [`N_BINS`] logits.
    pub fn hazards(&self) -> Result<[f64; N_BINS]> {
        Ok(self.distribution()?.hazards)
    }

    /// Probability of surviving past each bin.
    ///
    /// # Errors
    /// If there are not [`N_BINS`] logits.
    pub fn survival(&self) -> Result<[f64; N_BINS]> {
        Ok(self.distribution()?.survival)
    }

    /// The risk score; higher is worse.
    ///
    /// # Errors
    /// If there are not [`N_BINS`] logits.
    pub fn risk(&self) -> Result<f64> {
        Ok(self.distribution()?.risk())
    }
}
