//! A linear layer and the norm of what it makes.

use candle_core::{Result, Tensor};

#[cfg(feature = "cuda")]
use super::cuda;
use super::transformer_layer::NormWeights;
use super::{Compute, layer_norm, linear};

/// What the output of a [`linear_norm`] is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum NormedFor {
    /// Anything.
    #[default]
    Anything,
    /// Products alone: on a GPU that makes them in bf16 it is bf16, half the memory and the same numbers.
    Products,
}

/// How a [`linear_norm`] is computed.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct LinearNormOptions {
    /// Epsilon of the norm.
    pub eps: f64,
    /// What products are computed in.
    pub compute: Compute,
    /// What the output is for.
    pub output: NormedFor,
}

/// `LN(x weight^T + bias)`.
///
/// - `x`: `[n, d_in]`; `layer`: weight `[d_out, d_in]` and bias `[d_out]`; `norm`: gain and shift `[d_out]`. Returns `[n, d_out]`.
///
/// # Errors
/// If the shapes do not fit together, or the tensors are neither f32 nor f64; on a GPU `x` may also be bf16.
pub fn linear_norm(
    x: &Tensor,
    layer: (&Tensor, &Tensor),
    norm: NormWeights<'_>,
    options: LinearNormOptions,
) -> Result<Tensor> {
    #[cfg(feature = "cuda")]
    if !super::reference::are_active()
        && let Some(shape) = cuda::linear_norm::shape(x, layer, norm)?
    {
        return cuda::linear_norm::linear_norm(&x.contiguous()?, layer, norm, (shape, options));
    }
    layer_norm(&linear(x, layer.0, layer.1, options.compute)?, norm.0, norm.1, options.eps)
}
