//! A linear layer with the released initialisation.

use candle_core::Result;
use candle_nn::{Linear, VarBuilder};

use crate::init;

/// `x W^T + b` from `[n, d_in]` to `[n, d_out]`; parameters `weight` `[d_out, d_in]` and `bias` `[d_out]`.
///
/// # Errors
/// If the parameters are missing from `vb` or have other shapes.
pub fn linear(d_in: usize, d_out: usize, vb: VarBuilder<'_>) -> Result<Linear> {
    let weight = vb.get_with_hints((d_out, d_in), "weight", init::LINEAR_WEIGHT)?;
    let bias = vb.get_with_hints(d_out, "bias", init::ZERO)?;
    Ok(Linear::new(weight, Some(bias)))
}
