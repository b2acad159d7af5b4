//! The two-layer perceptron of every block.

use candle_core::{Result, Tensor};
use candle_nn::VarBuilder;

use crate::dropout::dropout_mask;
use crate::kernels::{self, FeedForwardOptions, FeedForwardWeights};
use crate::linear::Linear;
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
            expand: Linear::new(d, hidden, vb.pp("net.0"))?,
            contract: Linear::new(hidden, d, vb.pp("net.3"))?,
            dropout,
        })
    }

    /// `base` plus the perceptron of `x`, both `[n, d]`.
    ///
    /// # Errors
    /// If the width of `x` is not `d`, or `base` is of another shape.
    pub fn forward_onto(&self, base: &Tensor, x: &Tensor, ctx: &mut ForwardCtx) -> Result<Tensor> {
        kernels::feed_forward(base, x, self.weights(), self.options(ctx))
    }

    /// Its layers, for [`Linear::freeze_around`].
    pub(crate) fn layers_mut(&mut self) -> [&mut Linear; 2] {
        [&mut self.expand, &mut self.contract]
    }

    pub(crate) fn weights(&self) -> FeedForwardWeights<'_> {
        FeedForwardWeights { expand: self.expand.parameters(), contract: self.contract.parameters() }
    }

    /// How the next pass is computed; takes its dropout sites.
    pub(crate) fn options(&self, ctx: &mut ForwardCtx) -> FeedForwardOptions {
        FeedForwardOptions {
            hidden_mask: dropout_mask("feed-forward hidden", self.dropout, ctx),
            output_mask: dropout_mask("feed-forward output", self.dropout, ctx),
            compute: self.expand.compute(),
            retention: ctx.retention(),
        }
    }
}
