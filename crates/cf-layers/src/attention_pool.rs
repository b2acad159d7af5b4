//! Attention pooling: a bag of instances as a weighted mean, the weights learnt (Ilse et al., 2018).

use candle_core::{D, Result, Tensor};
use candle_nn::VarBuilder;

use crate::dropout::dropout;
use crate::kernels::{gate, weighted_sums};
use crate::linear::Linear;
use crate::mode::ForwardCtx;

/// Gated attention scores: `w (tanh(V x) * sigmoid(U x))`, a number per instance (Ilse et al., 2018, eq. 9). Parameters `attention_a.0`,
/// `attention_b.0`, `attention_c`.
#[derive(Debug, Clone)]
pub struct GatedAttention {
    tanh: Linear,
    sigmoid: Linear,
    score: Linear,
    dropout: f64,
}

impl GatedAttention {
    /// Scores of instances of `d` channels through `hidden` ones; `dropout` acts on both branches.
    ///
    /// # Errors
    /// If the parameters are missing from `vb` or have other shapes.
    pub fn new(d: usize, hidden: usize, dropout: f64, vb: VarBuilder<'_>) -> Result<Self> {
        Ok(Self {
            tanh: Linear::uniform(d, hidden, vb.pp("attention_a.0"))?,
            sigmoid: Linear::uniform(d, hidden, vb.pp("attention_b.0"))?,
            score: Linear::uniform(hidden, 1, vb.pp("attention_c"))?,
            dropout,
        })
    }

    /// `[n, d]` to scores `[n, 1]`.
    ///
    /// # Errors
    /// If the width of `x` is not that of this layer.
    pub fn forward(&self, x: &Tensor, ctx: &mut ForwardCtx) -> Result<Tensor> {
        // One product reads x once for both branches.
        let branches = Linear::forward_side_by_side(&[&self.tanh, &self.sigmoid], x)?;
        let gated = gate(&branches)?;
        if ctx.is_recording() {
            let hidden = branches.dim(1)? / 2;
            ctx.tap("a", &branches.narrow(1, 0, hidden)?.tanh()?);
            ctx.tap("b", &candle_nn::ops::sigmoid(&branches.narrow(1, hidden, hidden)?)?);
        }
        // Each branch has its dropout; their factors multiply.
        let gated = dropout(&gated, "attention tanh", self.dropout, ctx)?;
        let gated = dropout(&gated, "attention sigmoid", self.dropout, ctx)?;
        self.score.forward(&gated)
    }
}

/// Weights over the instances from their scores: `[n, k]` to `[k, n]`, each row a softmax.
///
/// # Errors
/// If `scores` is no matrix of floats.
pub fn instance_weights(scores: &Tensor) -> Result<Tensor> {
    candle_nn::ops::softmax(&scores.t()?.contiguous()?, D::Minus1)
}

/// The weighted means of instances: `scores` `[n, k]` and `x` `[n, d]` give weights `[k, n]` and means `[k, d]`.
///
/// # Errors
/// If the instances differ in number, or there are none.
pub fn attention_pool(scores: &Tensor, x: &Tensor) -> Result<(Tensor, Tensor)> {
    let weights = instance_weights(scores)?;
    let pooled = weighted_sums(&weights, x)?;
    Ok((weights, pooled))
}
