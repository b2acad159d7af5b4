//! Pyramid position encoding: where a token lies in the grid, from its neighbours.

use candle_core::{Result, Tensor};
use candle_nn::VarBuilder;

use crate::init;
use crate::kernels::TokenGrid;
use crate::merged_conv::MergedConv;

/// Depth-wise 7x7, 5x5 and 3x3 convolutions summed with the identity (Shao et al., TransMIL, 2021). Parameters `proj`,
/// `proj1`, `proj2`.
#[derive(Debug, Clone)]
pub struct Ppeg {
    convs: MergedConv,
}

impl Ppeg {
    /// An encoder of `d` channels.
    ///
    /// # Errors
    /// If the parameters are missing from `vb` or have other shapes.
    pub fn new(d: usize, vb: VarBuilder<'_>) -> Result<Self> {
        let branches = [("proj", 7), ("proj1", 5), ("proj2", 3)];
        Ok(Self { convs: MergedConv::new(d, 1, &branches, vb)?.with_identity()? })
    }

    /// The same with PyTorch's default initialisation, as TransMIL has it.
    ///
    /// # Errors
    /// As [`Ppeg::new`].
    pub fn uniform(d: usize, vb: VarBuilder<'_>) -> Result<Self> {
        let initial = |area| (init::fan_in(area), init::fan_in(area));
        let branches = [("proj", 7), ("proj1", 5), ("proj2", 3)];
        Ok(Self { convs: MergedConv::with_init(d, 1, &branches, initial, vb)?.with_identity()? })
    }

    /// `[side * side, d]`, a row-major grid, to the same shape.
    ///
    /// # Errors
    /// If `x` does not hold `side * side` tokens of this width.
    pub fn forward(&self, x: &Tensor, side: usize) -> Result<Tensor> {
        self.convs.forward(x, TokenGrid::square(side))
    }

    /// The same for `[1 + side * side, d]` whose first token, the class token, passes unchanged.
    ///
    /// # Errors
    /// If `x` does not hold `1 + side * side` tokens of this width.
    pub fn forward_past_class_token(&self, x: &Tensor, side: usize) -> Result<Tensor> {
        self.convs.forward(x, TokenGrid { n_before: 1, ..TokenGrid::square(side) })
    }
}
