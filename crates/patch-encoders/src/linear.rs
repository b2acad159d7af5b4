//! The two layers that all vision transformers share, in the arithmetic of `cf_layers::kernels`.

use candle_core::{Result, Tensor};
use cf_layers::kernels::{self, Compute};

use crate::weights::Weights;

/// `x W^T + b`: weight `[d_out, d_in]`, bias `[d_out]`.
#[derive(Debug, Clone)]
pub(crate) struct Linear {
    pub(crate) weight: Tensor,
    pub(crate) bias: Tensor,
}

impl Linear {
    /// The parameters `<name>.weight` and `<name>.bias`.
    pub(crate) fn take(weights: &mut Weights, name: &str) -> crate::Result<Self> {
        Ok(Self {
            weight: weights.take(&format!("{name}.weight"))?,
            bias: weights.take(&format!("{name}.bias"))?,
        })
    }

    /// Several layers of one input as one, their outputs side by side.
    pub(crate) fn side_by_side(layers: &[Self]) -> Result<Self> {
        let weights: Vec<&Tensor> = layers.iter().map(|layer| &layer.weight).collect();
        let biases: Vec<&Tensor> = layers.iter().map(|layer| &layer.bias).collect();
        Ok(Self { weight: Tensor::cat(&weights, 0)?, bias: Tensor::cat(&biases, 0)? })
    }

    /// This layer with each output multiplied by its factor of `gamma`, `[d_out]`.
    pub(crate) fn scaled(self, gamma: &Tensor) -> Result<Self> {
        Ok(Self { weight: self.weight.broadcast_mul(&gamma.unsqueeze(1)?)?, bias: (self.bias * gamma)? })
    }

    /// The layer that gives `n` of the outputs, from `first` on.
    pub(crate) fn outputs(&self, first: usize, n: usize) -> Result<Self> {
        Ok(Self { weight: self.weight.narrow(0, first, n)?, bias: self.bias.narrow(0, first, n)? })
    }

    /// `[n, d_in]` to `[n, d_out]`.
    pub(crate) fn forward(&self, x: &Tensor) -> Result<Tensor> {
        kernels::linear(x, &self.weight, &self.bias, Compute::AsStored)
    }
}

/// Layer norm over the last axis.
#[derive(Debug, Clone)]
pub(crate) struct Norm {
    gain: Tensor,
    shift: Tensor,
    eps: f64,
}

impl Norm {
    /// The parameters `<name>.weight` and `<name>.bias`.
    pub(crate) fn take(weights: &mut Weights, name: &str, eps: f64) -> crate::Result<Self> {
        Ok(Self {
            gain: weights.take(&format!("{name}.weight"))?,
            shift: weights.take(&format!("{name}.bias"))?,
            eps,
        })
    }

    /// `[n, d]` to `[n, d]`.
    pub(crate) fn forward(&self, x: &Tensor) -> Result<Tensor> {
        kernels::layer_norm(x, &self.gain, &self.shift, self.eps)
    }
}

/// Names and shapes of the parameters of a [`Linear`].
pub(crate) fn linear_parameters(name: &str, d_out: usize, d_in: usize) -> [(String, Vec<usize>); 2] {
    [(format!("{name}.weight"), vec![d_out, d_in]), (format!("{name}.bias"), vec![d_out])]
}

/// Names and shapes of the parameters of a [`Norm`].
pub(crate) fn norm_parameters(name: &str, d: usize) -> [(String, Vec<usize>); 2] {
    [(format!("{name}.weight"), vec![d]), (format!("{name}.bias"), vec![d])]
}
