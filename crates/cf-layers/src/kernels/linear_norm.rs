//! A linear layer and the norm of what it makes.

use candle_core::{Result, Tensor};

#[cfg(feature = "cuda")]
use super::cuda;
use super::transformer_layer::NormWeights;
use super::{Compute, layer_norm, linear};

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
    eps: f64,
    compute: Compute,
) -> Result<Tensor> {
    #[cfg(feature = "cuda")]
    if !super::reference::are_active()
        && let Some(shape) = cuda::linear_norm::shape(x, layer, norm)?
    {
        return cuda::linear_norm::linear_norm(&x.contiguous()?, layer, norm, (shape, eps, compute));
    }
    layer_norm(&linear(x, layer.0, layer.1, compute)?, norm.0, norm.1, eps)
}
