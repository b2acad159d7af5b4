//! Inverted dropout on elements and on whole channels, from counter-based masks.

use candle_core::{Result, Tensor};

use crate::kernels::{self, DropoutMask};
use crate::mode::{ForwardCtx, Mode};

/// Zeroes each element with probability `p` in training and scales the rest by `1 / (1 - p)`; the identity in
/// evaluation. A recording pass notes the site by its name.
///
/// # Errors
/// If `x` is not a float tensor on a device that has the kernel.
pub fn dropout(x: &Tensor, site: &'static str, p: f64, ctx: &mut ForwardCtx) -> Result<Tensor> {
    dropout_mask(site, p, ctx).map_or_else(|| Ok(x.clone()), |mask| kernels::dropout(x, mask))
}

/// The mask of the next dropout site; none in evaluation or where nothing is dropped.
pub(crate) fn dropout_mask(site: &'static str, p: f64, ctx: &mut ForwardCtx) -> Option<DropoutMask> {
    (ctx.mode() == Mode::Train && p > 0.0).then(|| ctx.next_mask(site, p))
}

/// Zeroes each channel (last axis) as a whole with probability `p` in training: `Dropout2d` on a map kept
/// channels-last. A recording pass notes the site by its name.
///
/// - `x`: `[.., c]`.
///
/// # Errors
/// If `x` has no axis.
pub fn channel_dropout(x: &Tensor, site: &'static str, p: f64, ctx: &mut ForwardCtx) -> Result<Tensor> {
    let Some(mask) = dropout_mask(site, p, ctx) else {
        return Ok(x.clone());
    };
    let n_channels = x.dim(candle_core::D::Minus1)?;
    let factors: Vec<f64> = (0..n_channels as u64).map(|channel| mask.factor(channel)).collect();
    let factors = Tensor::from_vec(factors, n_channels, x.device())?.to_dtype(x.dtype())?;
    x.broadcast_mul(&factors)
}
