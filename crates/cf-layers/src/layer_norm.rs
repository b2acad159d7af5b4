//! Layer norm whose backward exists on every path.

use candle_core::{Result, Tensor};
use candle_nn::VarBuilder;

use crate::{init, kernels};

/// PyTorch's default epsilon, which all models of this workspace use.
pub(crate) const EPS: f64 = 1e-5;

/// Layer norm over the last axis without parameters, epsilon 1e-5: `[n, d]` to `[n, d]`.
///
/// # Errors
/// If `x` is no matrix of floats.
pub fn plain_layer_norm(x: &Tensor) -> Result<Tensor> {
    let (_, d) = x.dims2()?;
    let gain = Tensor::ones(d, x.dtype(), x.device())?;
    kernels::layer_norm(x, &gain, &gain.zeros_like()?, EPS)
}

/// Layer norm over the last axis with gain (`weight`) and shift (`bias`), epsilon 1e-5.
#[derive(Debug, Clone)]
pub struct LayerNorm {
    gain: Tensor,
    shift: Tensor,
}

impl LayerNorm {
    /// A norm over `d` channels; gain 1, shift 0 initially.
    ///
    /// # Errors
    /// If the parameters are missing from `vb` or have other shapes.
    pub fn new(d: usize, vb: VarBuilder<'_>) -> Result<Self> {
        let gain = vb.get_with_hints(d, "weight", init::ONE)?;
        let shift = vb.get_with_hints(d, "bias", init::ZERO)?;
        Ok(Self { gain, shift })
    }

    /// Gain and shift.
    pub(crate) fn parameters(&self) -> (&Tensor, &Tensor) {
        (&self.gain, &self.shift)
    }

    /// `[n, d]` to `[n, d]`.
    ///
    /// # Errors
    /// If the width of `x` is not that of this norm.
    pub fn forward(&self, x: &Tensor) -> Result<Tensor> {
        kernels::layer_norm(x, &self.gain, &self.shift, EPS)
    }

    /// The norm of `x + added`, both `[n, d]`, without storing the sum.
    ///
    /// # Errors
    /// If the shapes differ from each other or from this norm's width.
    pub fn forward_sum(&self, x: &Tensor, added: &Tensor) -> Result<Tensor> {
        kernels::add_layer_norm(x, added, &self.gain, &self.shift, EPS)
    }
}
