//! The Pad-Transformer: self-attention around a position encoding on a square grid.

use candle_core::{Result, Tensor};
use candle_nn::VarBuilder;

use crate::mode::ForwardCtx;
use crate::ppeg::Ppeg;
use crate::square_pad::{fold_square_pad, square_pad};
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

    /// For a Pad-Transformer that is only evaluated from here on; see [`crate::Linear::freeze`].
    ///
    /// # Errors
    /// As [`crate::Linear::freeze`].
    pub fn freeze(&mut self) -> Result<()> {
        self.pre.freeze()?;
        self.post.freeze()
    }

    /// `[n, d]` to `[side * side, d]` and the side. The padded tokens stay in: nothing is cropped. `x` is let go of as soon as it is padded.
    ///
    /// # Errors
    /// If `x` is empty or of another width.
    pub fn forward(&self, x: Tensor, ctx: &mut ForwardCtx) -> Result<(Tensor, usize)> {
        let (x, side) = self.before_post(x, ctx)?;
        Ok((self.post.forward(&x, ctx)?, side))
    }

    /// [`Self::forward`], and the attention that each of the `n` tokens receives in the last layer, `[n]`: that of a padded copy
    /// is added to the token it copies.
    ///
    /// # Errors
    /// As [`Self::forward`]; and if the block after the position encoding has no layer.
    pub fn forward_with_received(&self, x: Tensor, ctx: &mut ForwardCtx) -> Result<(Tensor, usize, Tensor)> {
        let n = x.dim(0)?;
        let (x, side) = self.before_post(x, ctx)?;
        let (x, received) = self.post.forward_with_received(&x, ctx)?;
        Ok((x, side, fold_square_pad(&received, n)?))
    }

    /// The final Pad-Transformer: `[1 + side * side, d]`, class token first, to the class token `[1, d]`.
    ///
    /// # Errors
    /// If `x` does not hold `1 + side * side` tokens of this width.
    pub fn forward_with_class_token(&self, x: Tensor, side: usize, ctx: &mut ForwardCtx) -> Result<Tensor> {
        let x = self.before_post_with_class_token(x, side, ctx)?;
        self.post.forward_first(x, ctx)
    }

    /// [`Self::forward_with_class_token`], and what the class token gives to each of the `n` tokens behind the grid, `[n]`: the
    /// mean over heads of its row, padded copies added as in [`Self::forward_with_received`], its own share left out.
    ///
    /// # Errors
    /// As [`Self::forward_with_class_token`]; and if the block after the position encoding has no layer.
    pub fn forward_with_class_token_row(
        &self,
        x: Tensor,
        (side, n): (usize, usize),
        ctx: &mut ForwardCtx,
    ) -> Result<(Tensor, Tensor)> {
        let x = self.before_post_with_class_token(x, side, ctx)?;
        let (class_token, row) = self.post.forward_first_with_received(x, ctx)?;
        Ok((class_token, fold_square_pad(&row.narrow(0, 1, side * side)?, n)?))
    }

    fn before_post(&self, x: Tensor, ctx: &mut ForwardCtx) -> Result<(Tensor, usize)> {
        let (padded, side) = square_pad(&x)?;
        drop(x);
        let encoded = self.pre.forward(&padded, ctx)?;
        drop(padded);
        Ok((self.ppeg.forward(&encoded, side)?, side))
    }

    fn before_post_with_class_token(&self, x: Tensor, side: usize, ctx: &mut ForwardCtx) -> Result<Tensor> {
        let encoded = self.pre.forward(&x, ctx)?;
        drop(x);
        self.ppeg.forward_past_class_token(&encoded, side)
    }
}
