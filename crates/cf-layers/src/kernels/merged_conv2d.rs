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

/// Tokens of which some are the pixels of a map, row by row.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TokenGrid {
    /// Rows of the map.
    pub height: usize,
    /// Columns of the map.
    pub width: usize,
    /// Tokens before the map, such as a class token.
    pub n_before: usize,
}

impl TokenGrid {
    /// A square map and nothing else.
    pub fn square(side: usize) -> Self {
        Self { height: side, width: side, n_before: 0 }
    }

    /// All tokens.
    pub(super) fn n_tokens(&self) -> usize {
        self.n_before + self.height * self.width
    }
}

/// The sum of [`super::grouped_conv2d`] by every branch: one convolution by the sum of their kernels, each in the middle of the
/// largest. With `identity`, a kernel of the largest size whose centre is 1, the map itself is added.
///
/// - `x`: `[n, c_in]`, the tokens of `grid`. Returns `[n, c_out]`; tokens before the map pass unchanged, and then `c_out` is `c_in`.
///
/// # Errors
/// If there is no branch, or the shapes do not fit together.
pub fn merged_conv2d(
    x: &Tensor,
    grid: TokenGrid,
    branches: &[ConvBranch<'_>],
    identity: Option<&Tensor>,
) -> Result<Tensor> {
    let sizes = branches.iter().map(ConvBranch::size).collect::<Result<Vec<_>>>()?;
    let largest = sizes.iter().copied().max().ok_or_else(empty)?;
    #[cfg(feature = "cuda")]
    if !super::reference::are_active()
        && let Some(shape) = cuda::merged_conv2d::shape(x, grid, branches, largest)?
    {
        let identity = identity.is_some();
        return cuda::merged_conv2d::merged_conv2d(&x.contiguous()?, grid, branches, identity, shape);
    }
    if x.dim(0)? != grid.n_tokens() {
        return Err(Error::Msg(format!("{:?} are not the tokens of {grid:?}", x.dims())));
    }
    let TokenGrid { height, width, n_before } = grid;
    let n_pixels = height * width;
    let map = x.narrow(0, n_before, n_pixels)?.reshape((height, width, x.dim(1)?))?;
    let weights =
        branches.iter().zip(sizes).map(|(branch, size)| centre_padded(branch.weight, size, largest));
    let identity = identity.iter().map(|&identity| Ok(identity.clone()));
    let weight = weights.chain(identity).reduce(|a, b| a? + b?).ok_or_else(empty)??;
    let biases = branches.iter().map(|branch| Ok(branch.bias.clone()));
    let bias = biases.reduce(|a: Result<Tensor>, b| a? + b?).ok_or_else(empty)??;
    let map = grouped_conv2d(&map, &weight, &bias)?;
    let map = map.reshape((n_pixels, map.dim(2)?))?;
    if n_before == 0 { Ok(map) } else { Tensor::cat(&[&x.narrow(0, 0, n_before)?, &map], 0) }
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
