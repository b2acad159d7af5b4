//! Convolutions of one map whose outputs are summed, as one.

use candle_core::{Error, Result, Tensor};

#[cfg(feature = "cuda")]
use super::cuda;
use super::grouped_conv2d;

/// One of several convolutions.
#[derive(Debug, Clone, Copy)]
pub struct ConvBranch<'a> {
    /// `[c_out, c_in / c_out, k, k]` with odd `k`.
    pub weight: &'a Tensor,
    /// `[c_out]`.
    pub bias: &'a Tensor,
}

impl ConvBranch<'_> {
    pub(super) fn size(&self) -> Result<usize> {
        self.weight.dim(3)
    }
}

/// The sum of [`super::grouped_conv2d`] by every branch: one convolution by the sum of their kernels, each in the middle of the
/// largest. With `identity`, a kernel of the largest size whose centre is 1, the map itself is added.
///
/// - `map`: `[h, w, c_in]`. Returns `[h, w, c_out]`.
///
/// # Errors
/// If there is no branch, or the shapes do not fit together.
pub fn merged_conv2d(map: &Tensor, branches: &[ConvBranch<'_>], identity: Option<&Tensor>) -> Result<Tensor> {
    let sizes = branches.iter().map(ConvBranch::size).collect::<Result<Vec<_>>>()?;
    let largest = sizes.iter().copied().max().ok_or_else(empty)?;
    #[cfg(feature = "cuda")]
    if !super::reference::are_active()
        && let Some(shape) = cuda::merged_conv2d::shape(map, branches, largest)?
    {
        return cuda::merged_conv2d::merged_conv2d(&map.contiguous()?, branches, identity.is_some(), shape);
    }
    let weights =
        branches.iter().zip(sizes).map(|(branch, size)| centre_padded(branch.weight, size, largest));
    let identity = identity.iter().map(|&identity| Ok(identity.clone()));
    let weight = weights.chain(identity).reduce(|a, b| a? + b?).ok_or_else(empty)??;
    let biases = branches.iter().map(|branch| Ok(branch.bias.clone()));
    let bias = biases.reduce(|a: Result<Tensor>, b| a? + b?).ok_or_else(empty)??;
    grouped_conv2d(map, &weight, &bias)
}

/// A kernel in the middle of a larger one.
///
/// # Errors
/// If it is larger than that.
pub fn centre_padded(weight: &Tensor, size: usize, largest: usize) -> Result<Tensor> {
    let margin = largest
        .checked_sub(size)
        .ok_or_else(|| Error::Msg(format!("a kernel of {size} in the middle of one of {largest}")))?
        / 2;
    weight.pad_with_zeros(2, margin, margin)?.pad_with_zeros(3, margin, margin)
}

fn empty() -> Error {
    Error::Msg("a merged convolution without branches".to_owned())
}
