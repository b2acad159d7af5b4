//! The Cross-Attention Block: the source scale asks, a context scale answers.

use candle_core::{Result, Tensor};
use candle_nn::VarBuilder;

use crate::feed_forward::FeedForward;
use crate::init;
use crate::kernels::{
    self, AfterAttentionWeights, AttentionProjections, Compute, CrossAttentionWeights,
    ProjectedAttentionOptions, TransformerLayerOptions,
};
use crate::layer_norm::{EPS, LayerNorm};
use crate::linear::Linear;
use crate::mode::ForwardCtx;

/// The sizes and dropout of a [`CrossAttentionBlock`].
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct CrossAttentionConfig {
    /// Channels, a multiple of `n_heads`.
    pub d: usize,
    /// Heads.
    pub n_heads: usize,
    /// Hidden channels of the feed-forward part.
    pub hidden: usize,
    /// Dropout of the feed-forward part; the attention has none.
    pub dropout: f64,
}

/// `y = LN(s + MHA(s + e, c + e)); y + FFN(y)` with one learnable scale embedding `e` (paper eq. 3).
///
/// Parameters, for a block named `c_cross_attn`: `c_cross_attn.{scale_embeddings, q_proj, k_proj, v_proj, out_proj}`,
/// `c_cross_attn_ln` and `c_cross_attn_ffn`.
#[derive(Debug, Clone)]
pub struct CrossAttentionBlock {
    scale_embedding: Tensor,
    q: Linear,
    k: Linear,
    v: Linear,
    out: Linear,
    norm: LayerNorm,
    feed_forward: FeedForward,
    n_heads: usize,
    compute: Compute,
}

impl CrossAttentionBlock {
    /// The block whose parameters are called `name`.
    ///
    /// # Errors
    /// If the parameters are missing from `vb` or have other shapes.
    pub fn new(config: CrossAttentionConfig, name: &str, vb: VarBuilder<'_>) -> Result<Self> {
        let d = config.d;
        let attention = vb.pp(name);
        let embedding = attention.get_with_hints((1, 1, d), "scale_embeddings", init::SCALE_EMBEDDING)?;
        Ok(Self {
            scale_embedding: embedding.reshape(d)?,
            q: Linear::new(d, d, attention.pp("q_proj"))?,
            k: Linear::new(d, d, attention.pp("k_proj"))?,
            v: Linear::new(d, d, attention.pp("v_proj"))?,
            out: Linear::new(d, d, attention.pp("out_proj"))?,
            norm: LayerNorm::new(d, vb.pp(format!("{name}_ln")))?,
            feed_forward: FeedForward::new(d, config.hidden, config.dropout, vb.pp(format!("{name}_ffn")))?,
            n_heads: config.n_heads,
            compute: vb.dtype().into(),
        })
    }

    /// For a block that is only evaluated from here on; see [`Linear::freeze`].
    ///
    /// # Errors
    /// As [`Linear::freeze`].
    pub fn freeze(&mut self) -> Result<()> {
        // Of the weights in full: the biases take the embedding, and none is left.
        for layer in [&mut self.q, &mut self.k, &mut self.v] {
            layer.absorb(&self.scale_embedding)?;
        }
        self.scale_embedding = self.scale_embedding.zeros_like()?;
        let [expand, contract] = self.feed_forward.layers_mut();
        let sizes = (self.scale_embedding.dim(0)?, self.n_heads);
        Linear::freeze_around([&mut self.q, &mut self.k, &mut self.v, &mut self.out, expand, contract], sizes)
    }

    /// Cross-attention of the source scale over one context scale.
    ///
    /// - `source`: `[n, d]`, 10x tokens; `context`: `[m, d]`, 5x or 20x tokens. Returns `[n, d]`.
    /// - The residual starts from `source` without the scale embedding. Memory is O(n + m).
    ///
    /// # Errors
    /// If either is empty or of another width than this block.
    pub fn forward(&self, source: &Tensor, context: &Tensor, ctx: &mut ForwardCtx) -> Result<Tensor> {
        self.forward_over(source, (context.dim(0)?, &|first, n| context.narrow(0, first, n)), ctx)
    }

    /// [`Self::forward`] over a context whose rows are made when they are wanted, its first and how many: of `m`, `[n, d]`. A long
    /// context need not be whole then; see [`kernels::cross_attention_layer_of_rows`].
    ///
    /// # Errors
    /// As [`Self::forward`], and those of `rows`.
    pub fn forward_over(
        &self,
        source: &Tensor,
        (m, rows): (usize, &dyn Fn(usize, usize) -> Result<Tensor>),
        ctx: &mut ForwardCtx,
    ) -> Result<Tensor> {
        let options = TransformerLayerOptions {
            attention: ProjectedAttentionOptions {
                n_heads: self.n_heads,
                dropout: None,
                compute: self.compute,
                retention: ctx.retention(),
            },
            feed_forward: self.feed_forward.options(ctx),
            eps: EPS,
        };
        let weights = CrossAttentionWeights {
            embedding: &self.scale_embedding,
            projections: AttentionProjections {
                queries: self.q.parameters(),
                keys: self.k.parameters(),
                values: self.v.parameters(),
            },
            after: AfterAttentionWeights {
                out: self.out.parameters(),
                norm: self.norm.parameters(),
                feed_forward: self.feed_forward.weights(),
            },
        };
        kernels::cross_attention_layer_of_rows(source, (m, rows), weights, options)
    }

    /// The mean over heads and source tokens of the attention weight of each context token, `[m]`; see
    /// [`kernels::attention_received`].
    ///
    /// # Errors
    /// As [`Self::forward`].
    pub fn received(&self, source: &Tensor, context: &Tensor) -> Result<Tensor> {
        let q = self.q.forward(&source.broadcast_add(&self.scale_embedding)?)?;
        let k = self.k.forward(&context.to_dtype(source.dtype())?.broadcast_add(&self.scale_embedding)?)?;
        kernels::attention_received(&q, &k, self.n_heads, self.compute)
    }
}
