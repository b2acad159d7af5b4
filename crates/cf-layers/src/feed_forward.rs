//! The two-layer perceptron of every block.

use candle_core::{Module, Result, Tensor};
use candle_nn::{Linear, VarBuilder};

use crate::dropout::dropout;
use crate::kernels;
use crate::linear::linear;
use crate::mode::ForwardCtx;

/// Linear, GELU (exact, by erf), dropout, linear, dropout. Parameters `net.0` and `net.3`.
#[derive(Debug, Clone)]
pub struct FeedForward {
    expand: Linear,
    contract: Linear,
    dropout: f64,
}

impl FeedForward {
    /// A perceptron from `d` over `hidden` back to `d` channels.
    ///
    /// # Errors
    /// If the parameters are missing from `vb` or have other shapes.
    pub fn new(d: usize, hidden: usize, dropout: f64, vb: VarBuilder<'_>) -> Result<Self> {
        Ok(Self {
            expand: linear(d, hidden, vb.pp("net.0"))?,
            contract: linear(hidden, d, vb.pp("net.3"))?,
            dropout,
        })
    }

    /// `[n, d]` to `[n, d]`, without the residual.
    ///
    /// # Errors
    /// If the width of `x` is not `d`.
    pub fn forward(&self, x: &Tensor, ctx: &mut ForwardCtx) -> Result<Tensor> {
        let hidden = kernels::gelu(&self.expand.forward(x)?)?;
        let hidden = dropout(&hidden, self.dropout, ctx)?;
        dropout(&self.contract.forward(&hidden)?, self.dropout, ctx)
    }
}
