//! The cross-attention that refines ProtoSurv's prototypes and fuses them with its graph.

use candle_core::Tensor;
use candle_nn::VarBuilder;
use cf_layers::{ForwardCtx, LayerNorm, Linear, dropout, kernels, plain_layer_norm};

use crate::error::Result;

/// Channels of a prototype.
pub(crate) const WIDTH: usize = 768;
const N_HEADS: usize = 3;
const HIDDEN: usize = 512;
const DROPOUT: f64 = 0.2;

/// Cross-attention of prototypes over patches, and a perceptron; queries and keys are normalised per head.
#[derive(Debug, Clone)]
pub(crate) struct PrototypeAttention {
    q: Linear,
    k: Linear,
    v: Linear,
    out: Linear,
    attention_norm: LayerNorm,
    expand: Linear,
    hidden_norm: LayerNorm,
    contract: Linear,
    mlp_norm: LayerNorm,
}

impl PrototypeAttention {
    pub(crate) fn new(context_width: usize, vb: VarBuilder<'_>) -> Result<Self> {
        Ok(Self {
            q: Linear::uniform(WIDTH, WIDTH, vb.pp("q"))?,
            k: Linear::uniform(context_width, WIDTH, vb.pp("k"))?,
            v: Linear::uniform(context_width, WIDTH, vb.pp("v"))?,
            out: Linear::uniform(WIDTH, WIDTH, vb.pp("out"))?,
            attention_norm: LayerNorm::new(WIDTH, vb.pp("attention_norm"))?,
            expand: Linear::uniform(WIDTH, HIDDEN, vb.pp("mlp.0"))?,
            hidden_norm: LayerNorm::new(HIDDEN, vb.pp("mlp.1"))?,
            contract: Linear::uniform(HIDDEN, WIDTH, vb.pp("mlp.3"))?,
            mlp_norm: LayerNorm::new(WIDTH, vb.pp("mlp_norm"))?,
        })
    }

    /// Queries `[m, WIDTH]` and keys `[n, WIDTH]`, normalised per head.
    fn queries_and_keys(&self, queries: &Tensor, context: &Tensor) -> Result<(Tensor, Tensor)> {
        let per_head = |x: &Tensor| -> Result<Tensor> {
            let n = x.dim(0)?;
            let heads = x.reshape((n * N_HEADS, WIDTH / N_HEADS))?;
            Ok(plain_layer_norm(&heads)?.reshape((n, WIDTH))?)
        };
        Ok((per_head(&self.q.forward(queries)?)?, per_head(&self.k.forward(context)?)?))
    }

    /// The mean over heads and queries of the attention weight of each row of `context`, `[n]`.
    pub(crate) fn received(&self, queries: &Tensor, context: &Tensor) -> Result<Tensor> {
        let (q, k) = self.queries_and_keys(queries, context)?;
        Ok(kernels::attention_received(&q, &k, N_HEADS, self.out.compute())?)
    }

    /// `queries` `[m, WIDTH]` over `context` `[n, context_width]`: `[m, WIDTH]`.
    pub(crate) fn forward(&self, queries: &Tensor, context: &Tensor, ctx: &mut ForwardCtx) -> Result<Tensor> {
        let (q, k) = self.queries_and_keys(queries, context)?;
        let kv = Tensor::cat(&[&k, &self.v.forward(context)?], 1)?;
        let attended = self.out.forward(&kernels::attention(&q, &kv, N_HEADS, None, self.out.compute())?)?;
        let attended = dropout(&attended, "attention output", DROPOUT, ctx)?;
        let queries = (queries + self.attention_norm.forward(&attended)?)?;
        let hidden = self.hidden_norm.forward(&self.expand.forward(&queries)?)?;
        let mlp = self.contract.forward(&kernels::gelu(&hidden, None)?)?;
        let mlp = dropout(&mlp, "mlp output", DROPOUT, ctx)?;
        Ok((&queries + self.mlp_norm.forward(&mlp)?)?)
    }
}
