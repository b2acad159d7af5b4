//! Transformer layers in the released and in the usual pre-norm form.

use candle_core::{Error, Result, Tensor};
use candle_nn::VarBuilder;

use crate::feed_forward::FeedForward;
use crate::kernels::{self, AfterAttentionWeights, TransformerLayerOptions};
use crate::layer_norm::{EPS, LayerNorm};
use crate::linear::Linear;
use crate::mode::ForwardCtx;
use crate::self_attention::{SelfAttention, SelfAttentionConfig};

/// What a sub-layer's output is added to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Residual {
    /// The *normed* tensor: `x = LN1(x); x = x + MHSA(x); x = LN2(x); x = x + FFN(x)`. What the released code does,
    /// and so what Table 1 was made with.
    Released,
    /// The tensor before its norm: `x = x + MHSA(LN1(x)); x = x + FFN(LN2(x))`. What the paper's text says.
    PreNorm,
}

/// The sizes, dropout and residual form of a [`TransformerBlock`].
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct TransformerConfig {
    /// The self-attention of each layer; its `d` is the block's width.
    pub attention: SelfAttentionConfig,
    /// Layers per block.
    pub n_layers: usize,
    /// Hidden channels of the feed-forward part.
    pub hidden: usize,
    /// Dropout of the feed-forward part.
    pub dropout: f64,
    /// Where residuals start.
    pub residual: Residual,
}

/// A stack of Transformer layers. Parameters `layers.L.{0,1,2,3}`: norm, attention, norm, feed-forward.
#[derive(Debug, Clone)]
pub struct TransformerBlock {
    layers: Vec<Layer>,
    residual: Residual,
}

#[derive(Debug, Clone)]
struct Layer {
    attention_norm: LayerNorm,
    attention: SelfAttention,
    feed_forward_norm: LayerNorm,
    feed_forward: FeedForward,
}

impl TransformerBlock {
    /// Builds the layers.
    ///
    /// # Errors
    /// If the parameters are missing from `vb` or have other shapes.
    pub fn new(config: TransformerConfig, vb: VarBuilder<'_>) -> Result<Self> {
        let d = config.attention.d;
        let layer = |index: usize| {
            let vb = vb.pp("layers").pp(index);
            Ok(Layer {
                attention_norm: LayerNorm::new(d, vb.pp(0))?,
                attention: SelfAttention::new(config.attention, vb.pp(1))?,
                feed_forward_norm: LayerNorm::new(d, vb.pp(2))?,
                feed_forward: FeedForward::new(d, config.hidden, config.dropout, vb.pp(3))?,
            })
        };
        let layers = (0..config.n_layers).map(layer).collect::<Result<_>>()?;
        Ok(Self { layers, residual: config.residual })
    }

    /// For a block that is only evaluated from here on; see [`Linear::freeze`].
    ///
    /// # Errors
    /// As [`Linear::freeze`].
    pub fn freeze(&mut self) -> Result<()> {
        self.layers.iter_mut().try_for_each(|layer| {
            let sizes = layer.attention.sizes();
            let [q, k, v, out] = layer.attention.layers_mut();
            let [expand, contract] = layer.feed_forward.layers_mut();
            Linear::freeze_around([q, k, v, out, expand, contract], sizes)
        })
    }

    /// `[n, d]` to `[n, d]`.
    ///
    /// # Errors
    /// If the width of `x` is not that of the block.
    pub fn forward(&self, x: &Tensor, ctx: &mut ForwardCtx) -> Result<Tensor> {
        match self.before_last(x, ctx)? {
            (x, Some(last)) => last.forward(self.residual, &x, ctx),
            (x, None) => Ok(x),
        }
    }

    /// [`Self::forward`], and the attention that each token receives in the last layer, `[n]`.
    ///
    /// # Errors
    /// As [`Self::forward`]; and if the block has no layer.
    pub fn forward_with_received(&self, x: &Tensor, ctx: &mut ForwardCtx) -> Result<(Tensor, Tensor)> {
        let (x, last) = self.before_attention(x, ctx)?;
        let received = last.attention.received(&last.attention_norm.forward(&x)?)?;
        Ok((last.forward(self.residual, &x, ctx)?, received))
    }

    /// [`Self::forward_first`], and the first token's row of the attention of the last layer, its mean over heads, `[n]`.
    ///
    /// # Errors
    /// As [`Self::forward_with_received`].
    pub fn forward_first_with_received(&self, x: Tensor, ctx: &mut ForwardCtx) -> Result<(Tensor, Tensor)> {
        let (x, last) = self.before_attention(&x, ctx)?;
        let normed = last.attention_norm.forward(&x)?;
        let received = last.attention.received_from_first(&normed)?;
        Ok((last.forward_first(self.residual, x, &normed, ctx)?, received))
    }

    /// [`Self::before_last`] where there must be one.
    fn before_attention(&self, x: &Tensor, ctx: &mut ForwardCtx) -> Result<(Tensor, &Layer)> {
        match self.before_last(x, ctx)? {
            (x, Some(last)) => Ok((x, last)),
            (_, None) => Err(Error::Msg("attention of a block without layers".to_owned())),
        }
    }

    /// What the last layer gets, and that layer.
    fn before_last(&self, x: &Tensor, ctx: &mut ForwardCtx) -> Result<(Tensor, Option<&Layer>)> {
        let mut x = x.clone();
        let Some((last, layers)) = self.layers.split_last() else {
            return Ok((x, None));
        };
        for layer in layers {
            x = layer.forward(self.residual, &x, ctx)?;
        }
        Ok((x, Some(last)))
    }

    /// What [`Self::forward`] returns for the first token, `[1, d]`. The last layer's other queries are left out: exact, and
    /// for a block whose other tokens nobody reads a twelfth of CrossFusion's work. `x` is let go of as soon as it is normed.
    ///
    /// # Errors
    /// If the width of `x` is not that of the block.
    pub fn forward_first(&self, x: Tensor, ctx: &mut ForwardCtx) -> Result<Tensor> {
        let (before, last) = self.before_last(&x, ctx)?;
        drop(x);
        let Some(last) = last else {
            return before.narrow(0, 0, 1);
        };
        let normed = last.attention_norm.forward(&before)?;
        last.forward_first(self.residual, before, &normed, ctx)
    }
}

impl Layer {
    fn forward(&self, residual: Residual, x: &Tensor, ctx: &mut ForwardCtx) -> Result<Tensor> {
        match residual {
            Residual::Released => {
                let options = TransformerLayerOptions {
                    attention: self.attention.options(x, ctx)?,
                    feed_forward: self.feed_forward.options(ctx),
                    eps: EPS,
                };
                let after = AfterAttentionWeights {
                    out: self.attention.out(),
                    norm: self.feed_forward_norm.parameters(),
                    feed_forward: self.feed_forward.weights(),
                };
                let norm = self.attention_norm.parameters();
                kernels::transformer_layer(x, norm, self.attention.projections(), after, options)
            }
            Residual::PreNorm => {
                let normed = self.attention_norm.forward(x)?;
                let attended = self.attention.forward(&normed, ctx)?;
                self.after_attention(residual, x, &normed, &attended, ctx)
            }
        }
    }

    /// The layer's first token, `[1, d]`; `normed` is `x` after the first norm.
    fn forward_first(
        &self,
        residual: Residual,
        x: Tensor,
        normed: &Tensor,
        ctx: &mut ForwardCtx,
    ) -> Result<Tensor> {
        // In memory of its own: the other tokens are not wanted any more.
        let first = x.narrow(0, 0, 1)?.force_contiguous()?;
        drop(x);
        let attended = self.attention.forward_first(normed, ctx)?;
        self.after_attention(residual, &first, &normed.narrow(0, 0, 1)?, &attended, ctx)
    }

    /// The layer from the attention's output on; `x` before and `normed` after its first norm.
    fn after_attention(
        &self,
        residual: Residual,
        x: &Tensor,
        normed: &Tensor,
        attended: &Tensor,
        ctx: &mut ForwardCtx,
    ) -> Result<Tensor> {
        match residual {
            Residual::Released => {
                let normed = self.feed_forward_norm.forward_sum(normed, attended)?;
                self.feed_forward.forward_onto(&normed, &normed, ctx)
            }
            Residual::PreNorm => {
                let x = (x + attended)?;
                self.feed_forward.forward_onto(&x, &self.feed_forward_norm.forward(&x)?, ctx)
            }
        }
    }
}
