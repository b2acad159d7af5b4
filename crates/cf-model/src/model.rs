//! What a survival model is.

use candle_core::{DType, Tensor};
use cf_layers::ForwardCtx;
use wsi_bags::Magnification;

use crate::discrete_time::{DiscreteSurvival, N_BINS};
use crate::error::Result;
use crate::head::{Head, HeadOutput};
use crate::input::BagTensors;

/// A model that maps one slide to what its head says of survival.
pub trait SurvivalModel: Send + Sync {
    /// The head's numbers for one slide. A function of the bag, the parameters and `ctx`, and of nothing else.
    ///
    /// # Errors
    /// If the bag lacks a magnification of [`Self::magnifications`] or has features of another width.
    fn forward(&self, bag: &BagTensors, ctx: &mut ForwardCtx) -> Result<SurvivalOutput>;

    /// Readies a model that is only evaluated from here on: what memory holds for training alone may go. Outputs stay the same.
    ///
    /// # Errors
    /// If a tensor operation fails.
    fn freeze(&mut self) -> Result<()> {
        Ok(())
    }

    /// The magnifications that this model reads.
    fn magnifications(&self) -> &'static [Magnification];
}

/// The output of a [`SurvivalModel`] for one slide.
#[derive(Debug, Clone)]
pub struct SurvivalOutput {
    /// The numbers of the head: `[n_bins]` logits of hazards, or what else `head` says. In the graph: gradients start here.
    pub values: Tensor,
    /// What they mean.
    pub head: Head,
    /// Weight of the survival loss of `values`: 1, unless other outputs share it.
    pub weight: f64,
    /// Other values of the head that get the survival loss in training, with their weights.
    pub auxiliary: Vec<(Tensor, f64)>,
    /// A term of the training loss that does not depend on the outcome, its weight applied.
    pub penalty: Option<Tensor>,
}

impl SurvivalOutput {
    /// An output of hazards whose loss is that of `logits` alone.
    pub fn new(logits: Tensor) -> Self {
        Self::of(Head::Hazards, logits)
    }

    /// An output of any head whose loss is that of `values` alone.
    pub fn of(head: Head, values: Tensor) -> Self {
        Self { values, head, weight: 1.0, auxiliary: Vec::new(), penalty: None }
    }

    /// The training loss of hazards, and a scalar in the graph with its gradient.
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
        self.training_loss_of(share, |output| {
            let (value, gradient) = loss(output.logits()?);
            Ok((value, gradient.to_vec()))
        })
    }

    /// [`Self::training_loss`] of any head.
    ///
    /// # Errors
    /// Those of `loss`.
    pub fn training_loss_of<E: From<crate::Error>>(
        &self,
        share: f64,
        mut loss: impl FnMut(&HeadOutput) -> std::result::Result<(f64, Vec<f64>), E>,
    ) -> std::result::Result<(f64, Tensor), E> {
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
        let main = std::iter::once((&self.values, self.weight));
        for (values, weight) in main.chain(self.auxiliary.iter().map(|(values, weight)| (values, *weight))) {
            let (value, gradient) = loss(&HeadOutput::of(self.head, values)?)?;
            // The derivative of this scalar by every parameter is the loss's.
            add(weight * value, scalar_with(values, gradient.into_iter().map(|g| g * weight * share))?)?;
        }
        if let Some(penalty) = &self.penalty {
            let value = |penalty: &Tensor| -> Result<(f64, Tensor)> {
                Ok((penalty.detach().to_dtype(DType::F64)?.to_scalar()?, (penalty * share)?))
            };
            let (value, term) = value(penalty)?;
            add(value, term)?;
        }
        let empty = || crate::Error::Config { field: "head", found: "0".into(), expected: "an output" };
        Ok((total, scalar.ok_or_else(empty)?))
    }

    /// The head's numbers, widened to f64.
    ///
    /// # Errors
    /// If a tensor operation fails.
    pub fn numbers(&self) -> Result<HeadOutput> {
        HeadOutput::of(self.head, &self.values)
    }

    /// The logits as numbers, widened to f64.
    ///
    /// # Errors
    /// If the head has no hazards, or there are not [`N_BINS`] of them.
    pub fn logit_values(&self) -> Result<[f64; N_BINS]> {
        self.numbers()?.logits()
    }

    /// Hazards and survival curve, computed in f64.
    ///
    /// # Errors
    /// As [`HeadOutput::distribution`].
    pub fn distribution(&self) -> Result<DiscreteSurvival> {
        self.numbers()?.distribution()
    }

    /// Probability of the event in each bin, given survival up to it.
    ///
    /// # Errors
    /// As [`Self::distribution`].
    pub fn hazards(&self) -> Result<[f64; N_BINS]> {
        Ok(self.distribution()?.hazards)
    }

    /// Probability of surviving past each bin.
    ///
    /// # Errors
    /// As [`Self::distribution`].
    pub fn survival(&self) -> Result<[f64; N_BINS]> {
        Ok(self.distribution()?.survival)
    }

    /// The risk score; higher is worse.
    ///
    /// # Errors
    /// As [`HeadOutput::risk`].
    pub fn risk(&self) -> Result<f64> {
        self.numbers()?.risk()
    }
}

/// A scalar whose derivative by each of `values` is the given one.
fn scalar_with(values: &Tensor, gradient: impl Iterator<Item = f64>) -> Result<Tensor> {
    let gradient = Tensor::from_iter(gradient, values.device())?.to_dtype(values.dtype())?;
    Ok((values * gradient)?.sum_all()?)
}
