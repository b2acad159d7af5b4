//! Parallel convolutions of several kernel sizes, run as one.
//!
//! Convolution is linear in its kernel and all branches share their centre, so the sum of 7x7, 5x5, 3x3 and 1x1
//! convolutions is one 7x7 convolution with the sum of the centre-padded kernels. The branches keep their own
//! parameters: gradients reach each through the padding.

use candle_core::{Error, Result, Tensor};
use candle_nn::{Init, VarBuilder};

use crate::init;
use crate::kernels::{self, ConvBranch, TokenGrid, centre_padded};

/// Grouped convolutions with one output channel per group, summed; each with a bias.
#[derive(Debug, Clone)]
pub(crate) struct MergedConv {
    branches: Vec<Branch>,
    largest: usize,
    /// A constant kernel that is added to the others.
    identity: Option<Tensor>,
}

#[derive(Debug, Clone)]
struct Branch {
    weight: Tensor,
    bias: Tensor,
}

impl MergedConv {
    /// From `c_out * per_group` to `c_out` channels; `branches` are (parameter name, odd kernel size).
    pub(crate) fn new(
        c_out: usize,
        per_group: usize,
        branches: &[(&str, usize)],
        vb: VarBuilder<'_>,
    ) -> Result<Self> {
        let initial = |area| (init::conv_weight(c_out, area), init::ZERO);
        Self::with_init(c_out, per_group, branches, initial, vb)
    }

    /// The same; `initial` gives the initialisation of weight and bias for a kernel of that many elements.
    pub(crate) fn with_init(
        c_out: usize,
        per_group: usize,
        branches: &[(&str, usize)],
        initial: impl Fn(usize) -> (Init, Init),
        vb: VarBuilder<'_>,
    ) -> Result<Self> {
        let branch = |&(name, kernel): &(&str, usize)| {
            let vb = vb.pp(name);
            let (weight, bias) = initial(kernel * kernel);
            Ok(Branch {
                weight: vb.get_with_hints((c_out, per_group, kernel, kernel), "weight", weight)?,
                bias: vb.get_with_hints(c_out, "bias", bias)?,
            })
        };
        let largest = branches.iter().map(|&(_, kernel)| kernel).max().unwrap_or(1);
        Ok(Self { branches: branches.iter().map(branch).collect::<Result<_>>()?, largest, identity: None })
    }

    /// The same with the input added to the output: the convolution by a kernel whose centre is 1. For one channel per group.
    pub(crate) fn with_identity(self) -> Result<Self> {
        let first = self.branches.first().ok_or_else(empty)?;
        let weight = &first.weight;
        let centre = Tensor::ones((weight.dim(0)?, 1, 1, 1), weight.dtype(), weight.device())?;
        let identity = Some(centre_padded(&centre, 1, self.largest)?);
        Ok(Self { identity, ..self })
    }

    /// The tokens of `grid`, `[n, c_out * per_group]`, to `[n, c_out]`; those before the map pass unchanged.
    pub(crate) fn forward(&self, x: &Tensor, grid: TokenGrid) -> Result<Tensor> {
        let branches: Vec<ConvBranch<'_>> =
            self.branches.iter().map(|Branch { weight, bias }| ConvBranch { weight, bias }).collect();
        kernels::merged_conv2d(x, grid, &branches, self.identity.as_ref())
    }
}

fn empty() -> Error {
    Error::Msg("a merged convolution without branches".to_owned())
}
