//! Nystrom attention: self-attention through landmarks (Xiong et al., 2021), as TransMIL has it.

use candle_core::{D, Error, Result, Tensor};
use candle_nn::VarBuilder;

use crate::dropout::dropout;
use crate::linear::Linear;
use crate::mode::ForwardCtx;
use crate::{init, kernels};

/// The sizes and dropout of a [`NystromAttention`].
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct NystromConfig {
    /// Channels, a multiple of `n_heads`.
    pub d: usize,
    /// Heads.
    pub n_heads: usize,
    /// Landmarks: means of runs of tokens.
    pub n_landmarks: usize,
    /// Steps of the iterative pseudo-inverse.
    pub n_iterations: usize,
    /// Taps of the convolution along tokens that is added to the output; odd.
    pub conv_taps: usize,
    /// Dropout of the output.
    pub dropout: f64,
}

/// Self-attention whose weights are `softmax(q kL^T) pinv(softmax(qL kL^T)) softmax(qL k^T)` with landmarks `qL`, `kL`, plus a
/// convolution of the values along tokens. Parameters `to_qkv`, `to_out.0`, `res_conv`.
#[derive(Debug, Clone)]
pub struct NystromAttention {
    qkv: Linear,
    out: Linear,
    conv_weight: Tensor,
    config: NystromConfig,
}

/// What the rows of the output are made of.
struct Landmarks {
    /// `[padded, d]`, not scaled.
    q: Tensor,
    k: Tensor,
    v: Tensor,
    /// `[m, d]`.
    q_landmarks: Tensor,
    /// `pinv(A2)`, `[n_heads, m, m]`.
    inverse: Tensor,
    /// Key landmarks beside `pinv(A2) A3 v`: `[m, 2 d]`.
    kv: Tensor,
    /// Rows of zeros before the tokens.
    padding: usize,
}

impl NystromAttention {
    /// A layer whose parameters come from `vb`.
    ///
    /// # Errors
    /// If the parameters are missing from `vb` or have other shapes.
    pub fn new(config: NystromConfig, vb: VarBuilder<'_>) -> Result<Self> {
        let NystromConfig { d, n_heads, conv_taps, .. } = config;
        let shape = (n_heads, 1, conv_taps, 1);
        let conv_weight = vb.pp("res_conv").get_with_hints(shape, "weight", init::fan_in(conv_taps))?;
        Ok(Self {
            qkv: Linear::uniform_without_bias(d, 3 * d, vb.pp("to_qkv"))?,
            out: Linear::uniform(d, d, vb.pp("to_out.0"))?,
            conv_weight: conv_weight.reshape((n_heads, conv_taps))?,
            config,
        })
    }

    /// `[n, d]` to `[n, d]`. Linear in `n`: no `[n, n]` weights exist.
    ///
    /// # Errors
    /// If `x` is empty or of another width.
    pub fn forward(&self, x: &Tensor, ctx: &mut ForwardCtx) -> Result<Tensor> {
        let n = x.dim(0)?;
        let Landmarks { q, v, kv, padding, .. } = self.landmarks(x, ctx)?;
        // (A1 Z)(A3 v) = A1 (Z (A3 v)): the same numbers up to rounding, as one attention over the landmarks.
        let attended = kernels::attention(&q, &kv, self.config.n_heads, None, self.qkv.compute())?;
        let merged = (attended + kernels::token_conv(&v, &self.conv_weight)?)?;
        ctx.tap("O", &merged);
        let out = self.out.forward(&merged.narrow(0, padding, n)?)?;
        dropout(&out, self.config.dropout, ctx)
    }

    /// The first row of [`Self::forward`] alone, `[1, d]`.
    ///
    /// # Errors
    /// As [`Self::forward`].
    pub fn forward_first(&self, x: &Tensor, ctx: &mut ForwardCtx) -> Result<Tensor> {
        let Landmarks { q, v, kv, padding, .. } = self.landmarks(x, ctx)?;
        let attended = kernels::attention(
            &q.narrow(0, padding, 1)?,
            &kv,
            self.config.n_heads,
            None,
            self.qkv.compute(),
        )?;
        let half = self.config.conv_taps / 2;
        let (first, last) = (padding.saturating_sub(half), (padding + half + 1).min(v.dim(0)?));
        let around = kernels::token_conv(&v.narrow(0, first, last - first)?, &self.conv_weight)?;
        let merged = (attended + around.narrow(0, padding - first, 1)?)?;
        dropout(&self.out.forward(&merged)?, self.config.dropout, ctx)
    }

    /// The first token's row of the weights, `softmax(q kL^T) pinv(softmax(qL kL^T)) softmax(qL k^T)`, its mean over heads: `[n]`.
    /// An approximation of attention: its weights add up to about 1 less what the padding gets, and can be negative.
    ///
    /// # Errors
    /// As [`Self::forward`].
    pub fn first_row(&self, x: &Tensor) -> Result<Tensor> {
        let NystromConfig { d, n_heads, .. } = self.config;
        let Landmarks { q, k, q_landmarks, inverse, kv, padding, .. } =
            self.landmarks(x, &mut ForwardCtx::eval())?;
        let width = d / n_heads;
        let scale = 1.0 / (width as f64).sqrt();
        // A head at a time: the weights of the landmarks over all tokens are [m, n].
        let rows = (0..n_heads).map(|head| {
            let of_head = |x: &Tensor| x.narrow(1, head * width, width)?.contiguous();
            let weights = |queries: &Tensor, keys: &Tensor| {
                candle_nn::ops::softmax(&(queries.matmul(&keys.t()?.contiguous()?)? * scale)?, D::Minus1)
            };
            let over_landmarks =
                weights(&of_head(&q.narrow(0, padding, 1)?)?, &of_head(&kv.narrow(1, 0, d)?)?)?;
            let mixed = over_landmarks.matmul(&inverse.get(head)?)?;
            mixed.matmul(&weights(&of_head(&q_landmarks)?, &of_head(&k)?)?)
        });
        let mean = Tensor::cat(&rows.collect::<Result<Vec<_>>>()?, 0)?.mean(0)?;
        mean.narrow(0, padding, x.dim(0)?)
    }

    fn landmarks(&self, x: &Tensor, ctx: &mut ForwardCtx) -> Result<Landmarks> {
        let NystromConfig { d, n_heads, n_landmarks: m, n_iterations, .. } = self.config;
        let n = x.dim(0)?;
        if n == 0 {
            return Err(Error::Msg("Nystrom attention of 0 tokens".to_owned()));
        }
        let run = n.div_ceil(m);
        let padding = run * m - n;
        // Padding after the layer norm and without a mask, as published: zero rows take part as keys.
        let qkv = self.qkv.forward(&x.pad_with_zeros(0, padding, 0)?)?;
        let part = |index: usize| qkv.narrow(1, index * d, d);
        let means = |rows: &Tensor| rows.reshape((m, run, d))?.mean(1);
        let (q_landmarks, k_landmarks) = (means(&part(0)?.contiguous()?)?, means(&part(1)?.contiguous()?)?);
        let heads = |x: &Tensor| x.reshape((m, n_heads, d / n_heads))?.transpose(0, 1)?.contiguous();
        let scale = 1.0 / ((d / n_heads) as f64).sqrt();
        let scores =
            heads(&(&q_landmarks * scale)?)?.matmul(&heads(&k_landmarks)?.transpose(1, 2)?.contiguous()?)?;
        let a2 = candle_nn::ops::softmax(&scores, D::Minus1)?;
        let inverse = pseudo_inverse(&a2, n_iterations)?;
        let summary =
            kernels::attention(&q_landmarks, &qkv.narrow(1, d, 2 * d)?, n_heads, None, self.qkv.compute())?;
        let summary = inverse.matmul(&heads(&summary)?)?.transpose(0, 1)?.contiguous()?.reshape((m, d))?;
        for (name, value) in
            [("qL", &q_landmarks), ("kL", &k_landmarks), ("A2", &a2), ("Z6", &inverse), ("ZA3v", &summary)]
        {
            ctx.tap(name, value);
        }
        Ok(Landmarks {
            q: part(0)?.contiguous()?,
            k: part(1)?,
            v: part(2)?.contiguous()?,
            kv: Tensor::cat(&[&k_landmarks, &summary], 1)?,
            q_landmarks,
            inverse,
            padding,
        })
    }
}

/// `n_iterations` steps of a third-order iteration towards the inverse of each matrix of `a`, `[heads, m, m]`.
///
/// The start divides by maxima over *all* heads together, as published: heads are not independent.
fn pseudo_inverse(a: &Tensor, n_iterations: usize) -> Result<Tensor> {
    let scale = (largest(&a.abs()?.sum(2)?)? * largest(&a.abs()?.sum(1)?)?)?;
    let start = a.transpose(1, 2)?.contiguous()?.broadcast_div(&scale)?;
    kernels::pseudo_inverse(a, &start, n_iterations)
}

/// The largest of all values, its gradient shared evenly by those that equal it, as in PyTorch. Columns of padding are equal.
fn largest(values: &Tensor) -> Result<Tensor> {
    let values = values.flatten_all()?;
    let constant = values.detach();
    let is_largest = constant.broadcast_eq(&constant.max(0)?)?.to_dtype(values.dtype())?;
    let share = is_largest.broadcast_div(&is_largest.sum_all()?)?;
    (values * share)?.sum_all()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::param_store::ParamStore;
    use candle_core::{DType, Device};

    #[test]
    fn the_first_row_times_the_values_is_what_the_first_token_attends_to() {
        let config =
            NystromConfig { d: 8, n_heads: 1, n_landmarks: 4, n_iterations: 6, conv_taps: 3, dropout: 0.0 };
        let store = ParamStore::seeded(3, DType::F64, &Device::Cpu);
        let layer = NystromAttention::new(config, store.builder()).unwrap();
        for n in [4, 12, 37] {
            let values: Vec<f64> = (0..n * 8).map(|at| ((at * 37) % 101) as f64 / 17.0 - 3.0).collect();
            let x = Tensor::from_vec(values, (n, 8), &Device::Cpu).unwrap();
            let parts = layer.landmarks(&x, &mut ForwardCtx::eval()).unwrap();
            let first = parts.q.narrow(0, parts.padding, 1).unwrap();
            let attended = kernels::attention(&first, &parts.kv, 1, None, layer.qkv.compute()).unwrap();
            let values = parts.v.narrow(0, parts.padding, n).unwrap();
            let row = layer.first_row(&x).unwrap().unsqueeze(0).unwrap();
            // What the padding gets, it gives nothing back for: its values are zero.
            let again = row.matmul(&values).unwrap();
            let apart: f64 =
                (attended - again).unwrap().abs().unwrap().max_all().unwrap().to_scalar().unwrap();
            assert!(apart < 1e-9, "n = {n}: {apart}");
        }
    }
}
