//! A layer of a Transformer as one op, so that a GPU need not visit memory, nor Candle's graph, between its parts.

use candle_core::{Result, Tensor};

#[cfg(feature = "cuda")]
use super::cuda;
use super::{
    AttentionProjections, Compute, FeedForwardOptions, FeedForwardWeights, ProjectedAttentionOptions,
    add_layer_norm, feed_forward, layer_norm, linear, projected_self_attention,
};

/// Gain and shift of a layer norm, `[d]` each.
pub type NormWeights<'a> = (&'a Tensor, &'a Tensor);

/// What follows the weighted average of an attention: output projection, residual, norm, perceptron.
#[derive(Debug, Clone, Copy)]
pub struct AfterAttentionWeights<'a> {
    /// Weight `[d, d]` and bias `[d]` of the output projection.
    pub out: (&'a Tensor, &'a Tensor),
    /// The norm after the residual.
    pub norm: NormWeights<'a>,
    /// The perceptron.
    pub feed_forward: FeedForwardWeights<'a>,
}

/// How a [`transformer_layer`] is computed.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct TransformerLayerOptions {
    /// The attention.
    pub attention: ProjectedAttentionOptions,
    /// The perceptron.
    pub feed_forward: FeedForwardOptions,
    /// Epsilon of the norms.
    pub eps: f64,
}

impl TransformerLayerOptions {
    fn compute(&self) -> Compute {
        self.feed_forward.compute
    }
}

/// `x = LN1(x); x = LN2(x + MHSA(x)); x + FFN(x)`: residuals start from what is normed, as in the released code.
///
/// - `x`: `[n, d]`. Returns `[n, d]`.
///
/// # Errors
/// If the shapes do not fit together, or the tensors are neither f32 nor f64.
pub fn transformer_layer(
    x: &Tensor,
    attention_norm: NormWeights<'_>,
    projections: AttentionProjections<'_>,
    after: AfterAttentionWeights<'_>,
    options: TransformerLayerOptions,
) -> Result<Tensor> {
    #[cfg(feature = "cuda")]
    if !super::reference::are_active()
        && let Some(shapes) = cuda::after_attention::shapes(x, (x, x.dim(0)?), projections, after, options)?
    {
        let weights = cuda::transformer_layer::Weights { attention_norm, projections, after };
        return cuda::transformer_layer::transformer_layer(&x.contiguous()?, weights, shapes, options);
    }
    let normed = layer_norm(x, attention_norm.0, attention_norm.1, options.eps)?;
    let attended = projected_self_attention(&normed, projections, options.attention)?;
    after_attention(&normed, &attended, after, options)
}

/// The weights of a [`cross_attention_layer`].
#[derive(Debug, Clone, Copy)]
pub struct CrossAttentionWeights<'a> {
    /// `[d]`: added to every token of both sequences before they are projected.
    pub embedding: &'a Tensor,
    /// To queries from the source, to keys and values from the context.
    pub projections: AttentionProjections<'a>,
    /// The rest of the layer.
    pub after: AfterAttentionWeights<'a>,
}

/// `y = LN(source + MHA(source + e, context + e)); y + FFN(y)` with an embedding `e` (paper eq. 3).
///
/// - `source`: `[n, d]`; `context`: `[m, d]`. Returns `[n, d]`.
///
/// # Errors
/// If the shapes do not fit together, or the tensors are neither f32 nor f64.
pub fn cross_attention_layer(
    source: &Tensor,
    context: &Tensor,
    weights: CrossAttentionWeights<'_>,
    options: TransformerLayerOptions,
) -> Result<Tensor> {
    let CrossAttentionWeights { embedding, projections, after } = weights;
    #[cfg(feature = "cuda")]
    if !super::reference::are_active()
        && let Some(shapes) =
            cuda::after_attention::shapes(source, (context, context.dim(0)?), projections, after, options)?
    {
        let (source, context) = (source.contiguous()?, context.contiguous()?);
        return cuda::cross_attention_layer::cross_attention_layer(
            &source, &context, weights, shapes, options,
        );
    }
    // Only a GPU's layers take a context of another type.
    let context = &context.to_dtype(source.dtype())?;
    // W (x + e) + b = W x + (W e + b): the embedding enters the biases, and no sum of the size of the bag is made.
    let AttentionProjections { queries, keys, values } = projections;
    let [query_bias, key_bias, value_bias] = [queries, keys, values]
        .map(|(weight, bias)| linear(&embedding.unsqueeze(0)?, weight, bias, Compute::AsStored)?.squeeze(0));
    let projections = AttentionProjections {
        queries: (queries.0, &query_bias?),
        keys: (keys.0, &key_bias?),
        values: (values.0, &value_bias?),
    };
    let attended = super::projected_attention(source, context, projections, options.attention)?;
    after_attention(source, &attended, after, options)
}

/// [`cross_attention_layer`] of a context whose rows are made when they are wanted: `rows` gives them, the first and how many, of `m`.
///
/// A GPU that is to keep nothing for a backward pass never holds a long context whole; it asks for the same rows more than once.
///
/// # Errors
/// As [`cross_attention_layer`], and those of `rows`.
pub fn cross_attention_layer_of_rows(
    source: &Tensor,
    (m, rows): (usize, &dyn Fn(usize, usize) -> Result<Tensor>),
    weights: CrossAttentionWeights<'_>,
    options: TransformerLayerOptions,
) -> Result<Tensor> {
    #[cfg(feature = "cuda")]
    if !super::reference::are_active()
        && source.device().is_cuda()
        && cuda::inference::is_long(m)
        && let (projections, after) = (weights.projections, weights.after)
        && let Some(shapes) =
            cuda::after_attention::shapes(source, (&rows(0, 1)?, m), projections, after, options)?
        && let Some(output) =
            cuda::cross_attention_layer::of_rows(&source.contiguous()?, rows, weights, shapes, options)?
    {
        return Ok(output);
    }
    cross_attention_layer(source, &rows(0, m)?, weights, options)
}

/// `y = LN(base + out(attended)); y + FFN(y)`.
fn after_attention(
    base: &Tensor,
    attended: &Tensor,
    weights: AfterAttentionWeights<'_>,
    options: TransformerLayerOptions,
) -> Result<Tensor> {
    let AfterAttentionWeights { out, norm, feed_forward: perceptron } = weights;
    let attended = linear(attended, out.0, out.1, options.compute())?;
    let y = add_layer_norm(base, &attended, norm.0, norm.1, options.eps)?;
    feed_forward(&y, &y, perceptron, options.feed_forward)
}
