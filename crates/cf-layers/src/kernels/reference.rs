//! Every kernel as plain, differentiable Candle ops: slow, obvious, and the oracle of the tests and benchmarks.

use std::cell::Cell;

use candle_core::{D, Result, Tensor};

use super::attention::AttentionDropout;
use super::dropout::DropoutMask;
use super::{
    Activation, AttentionProjections, FeedForwardOptions, FeedForwardWeights, ProjectedAttentionOptions,
};
use crate::graph::Graph;

thread_local! {
    static ACTIVE: Cell<bool> = const { Cell::new(false) };
}

/// Runs `f` with every kernel that it calls on this thread replaced by its reference: to hold a whole model against plain ops.
pub fn in_place_of_kernels<R>(f: impl FnOnce() -> R) -> R {
    /// Puts the former state back, after a panic too.
    struct Restore(bool);
    impl Drop for Restore {
        fn drop(&mut self) {
            ACTIVE.set(self.0);
        }
    }
    let _restore = Restore(ACTIVE.replace(true));
    f()
}

/// Whether references stand in for kernels on this thread.
pub(super) fn are_active() -> bool {
    ACTIVE.get()
}

/// Whether they do for this tensor: also on a device for which a kernel has no form of its own.
pub(super) fn stands_in_for(x: &Tensor) -> bool {
    are_active() || !x.device().is_cpu()
}

/// [`super::attention`] with the whole `[n_heads, n, m]` weights in memory.
///
/// # Errors
/// If the shapes do not fit together.
pub fn attention(
    q: &Tensor,
    kv: &Tensor,
    n_heads: usize,
    dropout: Option<AttentionDropout>,
) -> Result<Tensor> {
    let (n, d) = q.dims2()?;
    let heads = |x: &Tensor| -> Result<Tensor> {
        x.reshape((x.dim(0)?, n_heads, d / n_heads))?.transpose(0, 1)?.contiguous()
    };
    let (k, v) = (kv.narrow(1, 0, d)?.contiguous()?, kv.narrow(1, d, d)?.contiguous()?);
    let scale = 1.0 / ((d / n_heads) as f64).sqrt();
    let scores = (heads(q)?.matmul(&heads(&k)?.transpose(1, 2)?.contiguous()?)? * scale)?;
    let mut weights = candle_nn::ops::softmax(&scores, D::Minus1)?;
    if let Some(AttentionDropout { mask, n_queries }) = dropout {
        let m = kv.dim(0)?;
        let index = |head: usize, query: usize, key: usize| ((head * n_queries + query) * m + key) as u64;
        let factors: Vec<f64> =
            (0..n_heads * n * m).map(|at| mask.factor(index(at / (n * m), at / m % n, at % m))).collect();
        weights = (weights * Tensor::from_vec(factors, (n_heads, n, m), q.device())?.to_dtype(q.dtype())?)?;
    }
    weights.matmul(&heads(&v)?)?.transpose(0, 1)?.contiguous()?.reshape((n, d))
}

/// [`super::attention_received`] with the whole `[n_heads, n, m]` weights in memory.
///
/// # Errors
/// If the shapes do not fit together.
pub fn attention_received(q: &Tensor, k: &Tensor, n_heads: usize) -> Result<Tensor> {
    let width = q.dim(1)? / n_heads;
    let heads = |x: &Tensor| x.reshape((x.dim(0)?, n_heads, width))?.transpose(0, 1)?.contiguous();
    let scores = (heads(q)?.matmul(&heads(k)?.transpose(1, 2)?.contiguous()?)? / (width as f64).sqrt())?;
    candle_nn::ops::softmax(&scores, D::Minus1)?.mean((0, 1))
}

/// [`super::self_attention`] as [`attention`] of its parts.
///
/// # Errors
/// If the shapes do not fit together.
pub fn self_attention(qkv: &Tensor, n_heads: usize, dropout: Option<AttentionDropout>) -> Result<Tensor> {
    let d = qkv.dim(1)? / 3;
    attention(&qkv.narrow(1, 0, d)?.contiguous()?, &qkv.narrow(1, d, 2 * d)?, n_heads, dropout)
}

/// [`super::projected_self_attention`] as [`projected_attention`] of a sequence over itself.
///
/// # Errors
/// If the shapes do not fit together.
pub fn projected_self_attention(
    x: &Tensor,
    projections: AttentionProjections<'_>,
    options: ProjectedAttentionOptions,
) -> Result<Tensor> {
    projected_attention(x, x, projections, options)
}

/// [`super::projected_attention`] as [`linear`] and [`attention`].
///
/// # Errors
/// If the shapes do not fit together.
pub fn projected_attention(
    source: &Tensor,
    context: &Tensor,
    projections: AttentionProjections<'_>,
    options: ProjectedAttentionOptions,
) -> Result<Tensor> {
    let AttentionProjections { queries, keys, values } = projections;
    let q = linear(source, queries.0, queries.1)?;
    let kv = [linear(context, keys.0, keys.1)?, linear(context, values.0, values.1)?];
    attention(&q, &Tensor::cat(&kv, 1)?, options.n_heads, options.dropout)
}

/// [`super::feed_forward`] as its layers, one after the other.
///
/// # Errors
/// If the shapes do not fit together.
pub fn feed_forward(
    base: &Tensor,
    x: &Tensor,
    weights: FeedForwardWeights<'_>,
    options: FeedForwardOptions,
) -> Result<Tensor> {
    let FeedForwardWeights { expand, contract } = weights;
    let masked = |x: Tensor, mask: Option<DropoutMask>| match mask {
        Some(mask) => dropout(&x, mask),
        None => Ok(x),
    };
    let hidden = masked(gelu(&linear(x, expand.0, expand.1)?)?, options.hidden_mask)?;
    base + masked(linear(&hidden, contract.0, contract.1)?, options.output_mask)?
}

/// [`super::linear`] as Candle's product and sum.
///
/// # Errors
/// If the shapes do not fit together.
pub fn linear(x: &Tensor, weight: &Tensor, bias: &Tensor) -> Result<Tensor> {
    x.matmul(&weight.t()?)?.broadcast_add(bias)
}

/// [`super::linear_with`]: [`linear`], then its activation.
///
/// # Errors
/// If the shapes do not fit together.
pub fn linear_with(x: &Tensor, weight: &Tensor, bias: &Tensor, activation: Activation) -> Result<Tensor> {
    let output = linear(x, weight, bias)?;
    match activation {
        Activation::Identity => Ok(output),
        Activation::Relu => relu(&output),
        Activation::Tanh => output.tanh(),
    }
}

/// [`super::pseudo_inverse`] by matrix products.
///
/// # Errors
/// If the shapes do not fit together.
pub fn pseudo_inverse(a: &Tensor, z: &Tensor, n_steps: usize) -> Result<Tensor> {
    let (n_heads, m, _) = a.dims3()?;
    let eye = Tensor::eye(m, a.dtype(), a.device())?.broadcast_as((n_heads, m, m))?.contiguous()?;
    let mut z = z.clone();
    for _ in 0..n_steps {
        let az = a.matmul(&z)?;
        let inner = ((&eye * 7.0)? - &az)?;
        let inner = ((&eye * 15.0)? - az.matmul(&inner)?)?;
        let inner = ((&eye * 13.0)? - az.matmul(&inner)?)?;
        z = (z.matmul(&inner)? * 0.25)?;
    }
    Ok(z)
}

/// [`super::weighted_sums`] as a matrix product.
///
/// # Errors
/// If the shapes do not fit together.
pub fn weighted_sums(weights: &Tensor, x: &Tensor) -> Result<Tensor> {
    weights.matmul(x)
}

/// [`super::gate`] by Candle's functions.
///
/// # Errors
/// If the width is odd.
pub fn gate(branches: &Tensor) -> Result<Tensor> {
    let hidden = branches.dim(1)? / 2;
    let a = branches.narrow(1, 0, hidden)?.tanh()?;
    let b = candle_nn::ops::sigmoid(&branches.narrow(1, hidden, hidden)?.contiguous()?)?;
    a * b
}

/// [`super::PackedConv2d`]: `x` `[n, side, side, c_in]`, `weight` `[c_out, c_in, k, k]`, `bias` `[c_out]`.
///
/// # Errors
/// If the shapes do not fit together.
#[expect(clippy::disallowed_methods, reason = "slow and obvious")]
pub fn conv2d(x: &Tensor, weight: &Tensor, bias: &Tensor, stride: usize) -> Result<Tensor> {
    let x = x.permute((0, 3, 1, 2))?.contiguous()?;
    let output = x.conv2d(weight, weight.dim(3)? / 2, stride, 1, 1)?;
    output.permute((0, 2, 3, 1))?.contiguous()?.broadcast_add(bias)
}

/// [`super::grouped_conv2d`] as a sum over kernel taps of shifted maps times a factor per channel.
///
/// # Errors
/// If the shapes do not fit together.
pub fn grouped_conv2d(x: &Tensor, weight: &Tensor, bias: &Tensor) -> Result<Tensor> {
    let ((height, width, c_in), (c_out, per_group, k, _)) = (x.dims3()?, weight.dims4()?);
    let half = k / 2;
    let padded = x.pad_with_zeros(0, half, half)?.pad_with_zeros(1, half, half)?;
    let mut total = x.zeros_like()?;
    for (ky, kx) in (0..k).flat_map(|ky| (0..k).map(move |kx| (ky, kx))) {
        let shifted = padded.narrow(0, ky, height)?.narrow(1, kx, width)?;
        let factor = weight.narrow(2, ky, 1)?.narrow(3, kx, 1)?.reshape(c_in)?;
        total = (total + shifted.broadcast_mul(&factor)?)?;
    }
    total.reshape((height, width, c_out, per_group))?.sum(D::Minus1)?.broadcast_add(bias)
}

/// [`super::layer_norm`] as nine ops.
///
/// # Errors
/// If the shapes do not fit together.
pub fn layer_norm(x: &Tensor, gain: &Tensor, shift: &Tensor, eps: f64) -> Result<Tensor> {
    let centred = x.broadcast_sub(&x.mean_keepdim(D::Minus1)?)?;
    let variance = centred.sqr()?.mean_keepdim(D::Minus1)?;
    centred.broadcast_div(&(variance + eps)?.sqrt()?)?.broadcast_mul(gain)?.broadcast_add(shift)
}

/// [`super::relu`] as a choice between 0 and `x`.
///
/// # Errors
/// If `x` is not a float tensor.
pub fn relu(x: &Tensor) -> Result<Tensor> {
    let zeros = x.zeros_like()?;
    x.le(&zeros)?.where_cond(&zeros, x)
}

/// [`super::gelu`] in separate ops. Its backward is Candle's, whose constant has six digits: 1e-6 relative.
///
/// # Errors
/// If `x` is not a float tensor.
pub fn gelu(x: &Tensor) -> Result<Tensor> {
    x.gelu_erf()
}

/// [`super::dropout`] with its factors as a stored tensor.
///
/// # Errors
/// If `x` is not a float tensor.
pub fn dropout(x: &Tensor, mask: DropoutMask) -> Result<Tensor> {
    let factors: Vec<f64> = (0..x.elem_count() as u64).map(|index| mask.factor(index)).collect();
    x * Tensor::from_vec(factors, x.shape(), x.device())?.to_dtype(x.dtype())?
}

/// [`super::token_conv`] as a sum over taps of shifted tokens times a factor per channel.
///
/// # Errors
/// If the shapes do not fit together.
pub fn token_conv(x: &Tensor, weight: &Tensor) -> Result<Tensor> {
    let ((n, d), (n_heads, taps)) = (x.dims2()?, weight.dims2()?);
    let padded = x.pad_with_zeros(0, taps / 2, taps / 2)?;
    let mut total = x.zeros_like()?;
    for t in 0..taps {
        let factor = weight.narrow(1, t, 1)?.broadcast_as((n_heads, d / n_heads))?.reshape(d)?;
        total = (total + padded.narrow(0, t, n)?.broadcast_mul(&factor)?)?;
    }
    Ok(total)
}

/// [`super::neighbour_sum`] as a product with the adjacency matrix.
///
/// # Errors
/// If `x` has no row for a node.
pub fn neighbour_sum(x: &Tensor, graph: &Graph) -> Result<Tensor> {
    let n = graph.n_nodes();
    let mut adjacency = vec![0.0_f64; n * n];
    for target in 0..n {
        graph.sources(target).iter().for_each(|&source| adjacency[target * n + source as usize] += 1.0);
    }
    Tensor::from_vec(adjacency, (n, n), x.device())?.to_dtype(x.dtype())?.matmul(x)
}

/// [`super::neighbour_softmax`], node by node.
///
/// # Errors
/// If `x` has no row for a node.
pub fn neighbour_softmax(x: &Tensor, inverse_temperature: &Tensor, graph: &Graph) -> Result<Tensor> {
    let messages = (relu(x)? + 1e-7)?;
    let rows = (0..graph.n_nodes()).map(|target| {
        let sources = graph.sources(target);
        if sources.is_empty() {
            return messages.narrow(0, 0, 1)?.zeros_like();
        }
        let messages = messages.index_select(&Tensor::new(sources, x.device())?, 0)?;
        let weights = candle_nn::ops::softmax(&messages.broadcast_mul(inverse_temperature)?, 0)?;
        (messages * weights)?.sum_keepdim(0)
    });
    Tensor::cat(&rows.collect::<Result<Vec<_>>>()?, 0)
}
