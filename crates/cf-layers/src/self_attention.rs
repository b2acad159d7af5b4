//! Multi-head self-attention with dropout on its weights.

use candle_core::{Result, Tensor};
use candle_nn::VarBuilder;

use crate::kernels::{self, AttentionDropout, AttentionProjections, Compute, ProjectedAttentionOptions};
use crate::linear::Linear;
use crate::mode::ForwardCtx;

/// The sizes and dropout of a [`SelfAttention`].
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct SelfAttentionConfig {
    /// Channels, a multiple of `n_heads`.
    pub d: usize,
    /// Heads.
    pub n_heads: usize,
    /// Probability of zeroing an attention weight.
    pub dropout: f64,
    /// Keep that dropout active in evaluations that have a stream ([`ForwardCtx::eval_with_stream`]), as the released code does, which
    /// makes its scores random. For comparison with it only.
    pub dropout_at_eval: bool,
}

/// Multi-head self-attention. Parameters `q_proj`, `k_proj`, `v_proj`, `out_proj`, all with bias.
#[derive(Debug, Clone)]
pub struct SelfAttention {
    q: Linear,
    k: Linear,
    v: Linear,
    out: Linear,
    config: SelfAttentionConfig,
    compute: Compute,
}

impl SelfAttention {
    /// Builds the four projections.
    ///
    /// # Errors
    /// If the parameters are missing from `vb` or have other shapes.
    pub fn new(config: SelfAttentionConfig, vb: VarBuilder<'_>) -> Result<Self> {
        let d = config.d;
        Ok(Self {
            q: Linear::new(d, d, vb.pp("q_proj"))?,
            k: Linear::new(d, d, vb.pp("k_proj"))?,
            v: Linear::new(d, d, vb.pp("v_proj"))?,
            out: Linear::new(d, d, vb.pp("out_proj"))?,
            config,
            compute: vb.dtype().into(),
        })
    }

    /// `[n, d]` to `[n, d]`, without the residual.
    ///
    /// # Errors
    /// If the width of `x` is not `d`.
    pub fn forward(&self, x: &Tensor, ctx: &mut ForwardCtx) -> Result<Tensor> {
        let options = self.options(x, ctx)?;
        self.out.forward(&kernels::projected_self_attention(x, self.projections(), options)?)
    }

    /// Channels and heads.
    pub(crate) fn sizes(&self) -> (usize, usize) {
        (self.config.d, self.config.n_heads)
    }

    /// Its layers, for [`Linear::freeze_around`].
    pub(crate) fn layers_mut(&mut self) -> [&mut Linear; 4] {
        [&mut self.q, &mut self.k, &mut self.v, &mut self.out]
    }

    pub(crate) fn projections(&self) -> AttentionProjections<'_> {
        AttentionProjections {
            queries: self.q.parameters(),
            keys: self.k.parameters(),
            values: self.v.parameters(),
        }
    }

    /// Weight and bias of the output projection.
    pub(crate) fn out(&self) -> (&Tensor, &Tensor) {
        self.out.parameters()
    }

    /// How the next pass over `x` is computed; takes its dropout site.
    pub(crate) fn options(&self, x: &Tensor, ctx: &mut ForwardCtx) -> Result<ProjectedAttentionOptions> {
        Ok(ProjectedAttentionOptions {
            n_heads: self.config.n_heads,
            dropout: self.dropout(x, ctx)?,
            compute: self.compute,
            retention: ctx.retention(),
        })
    }

    /// What [`Self::forward`] returns for the first token, `[1, d]`: all tokens are looked at, one looks.
    ///
    /// # Errors
    /// If the width of `x` is not `d`.
    pub fn forward_first(&self, x: &Tensor, ctx: &mut ForwardCtx) -> Result<Tensor> {
        let options = self.options(x, ctx)?;
        self.out.forward(&kernels::projected_attention(&x.narrow(0, 0, 1)?, x, self.projections(), options)?)
    }

    /// The mean over heads and queries of the attention weight of each token, `[n]`, without dropout; see
    /// [`kernels::attention_received`].
    ///
    /// # Errors
    /// If the width of `x` is not `d`.
    pub fn received(&self, x: &Tensor) -> Result<Tensor> {
        self.received_from(x, x)
    }

    /// The first token's row of the attention over all tokens, its mean over heads, `[n]`.
    ///
    /// # Errors
    /// If the width of `x` is not `d`.
    pub fn received_from_first(&self, x: &Tensor) -> Result<Tensor> {
        self.received_from(&x.narrow(0, 0, 1)?, x)
    }

    fn received_from(&self, queries: &Tensor, keys: &Tensor) -> Result<Tensor> {
        let (q, k) = (self.q.forward(queries)?, self.k.forward(keys)?);
        kernels::attention_received(&q, &k, self.config.n_heads, self.compute)
    }

    fn dropout(&self, x: &Tensor, ctx: &mut ForwardCtx) -> Result<Option<AttentionDropout>> {
        let active = self.config.dropout > 0.0 && ctx.drops(self.config.dropout_at_eval);
        let n_queries = x.dim(0)?;
        Ok(active.then(|| AttentionDropout {
            mask: ctx.next_mask("attention weights", self.config.dropout),
            n_queries,
        }))
    }
}
