//! Multi-head self-attention with dropout on its weights.

use candle_core::{Module, Result, Tensor};
use candle_nn::{Linear, VarBuilder};

use crate::kernels::{self, DropoutMask};
use crate::linear::linear;
use crate::mode::{ForwardCtx, Mode};

/// The sizes and dropout of a [`SelfAttention`].
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct SelfAttentionConfig {
    /// Channels, a multiple of `n_heads`.
    pub d: usize,
    /// Heads.
    pub n_heads: usize,
    /// Probability of zeroing an attention weight.
    pub dropout: f64,
    /// Keep that dropout active in evaluation, as the released code does, which makes its scores random. For
    /// comparison with it only.
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
}

impl SelfAttention {
    /// Builds the four projections.
    ///
    /// # Errors
    /// If the parameters are missing from `vb` or have other shapes.
    pub fn new(config: SelfAttentionConfig, vb: VarBuilder<'_>) -> Result<Self> {
        let d = config.d;
        Ok(Self {
            q: linear(d, d, vb.pp("q_proj"))?,
            k: linear(d, d, vb.pp("k_proj"))?,
            v: linear(d, d, vb.pp("v_proj"))?,
            out: linear(d, d, vb.pp("out_proj"))?,
            config,
        })
    }

    /// `[n, d]` to `[n, d]`, without the residual.
    ///
    /// # Errors
    /// If the width of `x` is not `d`.
    pub fn forward(&self, x: &Tensor, ctx: &mut ForwardCtx) -> Result<Tensor> {
        let (q, k, v) = (self.q.forward(x)?, self.k.forward(x)?, self.v.forward(x)?);
        self.out.forward(&kernels::attention(&q, &k, &v, self.config.n_heads, self.mask(ctx))?)
    }

    fn mask(&self, ctx: &mut ForwardCtx) -> Option<DropoutMask> {
        let active = self.config.dropout > 0.0 && (ctx.mode() == Mode::Train || self.config.dropout_at_eval);
        active.then(|| DropoutMask { p: self.config.dropout, key: ctx.next_site() })
    }
}
