//! The Pad-Transformer: self-attention around a position encoding on a square grid.

use candle_core::{Result, Tensor};
use candle_nn::VarBuilder;

use crate::mode::ForwardCtx;
use crate::ppeg::Ppeg;
use crate::square_pad::square_pad;
use crate::transformer_block::{TransformerBlock, TransformerConfig};

/// Square padding, a Transformer block, [`Ppeg`], another block. Parameters `pre_layers`, `ppeg`, `post_layers`.
#[derive(Debug, Clone)]
pub struct PadTransformer {
    pre: TransformerBlock,
    ppeg: Ppeg,
    post: TransformerBlock,
}

impl PadTransformer {
    /// Builds both blocks and the position encoding.
    ///
    /// # Errors
    /// If the parameters are missing from `vb` or have other shapes.
    pub fn new(config: TransformerConfig, vb: VarBuilder<'_>) -> Result<Self> {
        Ok(Self {
            pre: TransformerBlock::new(config, vb.pp("pre_layers"))?,
            ppeg: Ppeg::new(config.attention.d, vb.pp("ppeg"))?,
            post: TransformerBlock::new(config, vb.pp("post_layers"))?,
        })
    }

    /// `[n, d]` to `[side * side, d]` and the side. The padded tokens stay in: nothing is cropped.
    ///
    /// # Errors
    /// If `x` is empty or of another width.
    pub fn forward(&self, x: &Tensor, ctx: &mut ForwardCtx) -> Result<(Tensor, usize)> {
        let (x, side) = square_pad(x)?;
        let x = self.pre.forward(&x, ctx)?;
        let x = self.ppeg.forward(&x, side)?;
        Ok((self.post.forward(&x, ctx)?, side))
    }

    /// The final Pad-Transformer: `[1 + side * side, d]`, class token first, to the class token `[1, d]`.
    ///
    /// # Errors
    /// If `x` does not hold `1 + side * side` tokens of this width.
    pub fn forward_with_class_token(&self, x: &Tensor, side: usize, ctx: &mut ForwardCtx) -> Result<Tensor> {
        let x = self.pre.forward(x, ctx)?;
        let x = self.ppeg.forward_past_class_token(&x, side)?;
        self.post.forward_first(&x, ctx)
    }
}
