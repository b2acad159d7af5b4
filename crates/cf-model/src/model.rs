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
    /// Weight of the survival loss of `logits`: 1, unless other outputs share it.
    pub weight: f64,
    /// Other logits `[n_bins]` that get the survival loss in training, with their weights.
    pub auxiliary: Vec<(Tensor, f64)>,
    /// A term of the training loss that does not depend on the outcome, its weight applied.
    pub penalty: Option<Tensor>,
}

impl SurvivalOutput {
    /// An output whose loss is that of `logits` alone.
    pub fn new(logits: Tensor) -> Self {
        Self { logits, weight: 1.0, auxiliary: Vec::new(), penalty: None }
    }

    /// The training loss, and a scalar in the graph with its gradient.
    ///
    /// `loss` maps logits to a loss and its derivative by each of them; the gradient, but not the loss that is returned, is
    /// multiplied by `share`.
    ///
    /// # Errors
    /// If there are not [`N_BINS`] logits.
    pub fn training_loss(
        &self,
        share: f64,
        mut loss: impl FnMut([f64; N_BINS]) -> (f64, [f64; N_BINS]),
    ) -> Result<(f64, Tensor)> {
        let main = std::iter::once((&self.logits, self.weight));
        let mut total = 0.0;
        let mut scalar: Option<Tensor> = None;
        let mut add = |value: f64, term: Tensor| -> Result<()> {
            total += value;
            scalar = Some(match scalar.take() {
                None => term,
                Some(sum) => (sum + term)?,
            });
            Ok(())
        };
        for (logits, weight) in main.chain(self.auxiliary.iter().map(|(logits, weight)| (logits, *weight))) {
            let (value, gradient) = loss(values_of(logits)?);
            let gradient =
                Tensor::from_slice(&gradient.map(|g| g * weight * share), N_BINS, logits.device())?;
            // The derivative of this scalar by every parameter is the loss's.
            add(weight * value, (logits * gradient.to_dtype(logits.dtype())?)?.sum_all()?)?;
        }
        if let Some(penalty) = &self.penalty {
            add(penalty.detach().to_dtype(DType::F64)?.to_scalar()?, (penalty * share)?)?;
        }
        let empty = || crate::Error::Config { field: "n_bins", found: "0".into(), expected: "4 logits" };
        Ok((total, scalar.ok_or_else(empty)?))
    }

    /// The logits as numbers, widened to f64.
    ///
    /// # Errors
    /// If there are not [`N_BINS`] of them.
    pub fn logit_values(&self) -> Result<[f64; N_BINS]> {
        values_of(&self.logits)
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

fn values_of(logits: &Tensor) -> Result<[f64; N_BINS]> {
    let values: Vec<f64> = logits.detach().to_dtype(DType::F64)?.to_vec1()?;
    <[f64; N_BINS]>::try_from(values.as_slice()).map_err(|_| crate::Error::Config {
        field: "n_bins",
        found: values.len().to_string(),
        expected: "4 logits",
    })
}
