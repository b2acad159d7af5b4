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
    alike: Alike,
    /// Of the landmarks that differ, `[r, d]`.
    q_landmarks: Tensor,
    k_landmarks: Tensor,
    /// `pinv(A2)`, its columns times their counts, `[n_heads, r, r]`.
    inverse: Tensor,
    /// All key landmarks beside `pinv(A2) A3 v`: `[m, 2 d]`.
    kv: Tensor,
    /// Rows of zeros before the tokens.
    padding: usize,
}

/// The first landmarks of a short bag are means of padding alone, and all alike: one stands for them, with their count.
///
/// A matrix `X` over landmarks has equal rows and columns there, and so has all that the pseudo-inverse makes of it. With the
/// counts `D` and the rows and columns `X'` of those that differ, `D^1/2 X' D^1/2` multiplies as `X` does.
#[derive(Debug, Clone, Copy)]
struct Alike {
    /// At least 1.
    count: usize,
}

impl Alike {
    /// `x` without the copies along dimension `dim`.
    fn without_copies(self, x: &Tensor, dim: usize) -> Result<Tensor> {
        let first = self.count - 1;
        x.narrow(dim, first, x.dim(dim)? - first)
    }

    /// The copies again.
    fn with_copies(self, x: &Tensor, dim: usize) -> Result<Tensor> {
        if self.count == 1 {
            return Ok(x.clone());
        }
        let first = x.narrow(dim, 0, 1)?;
        let mut shape = first.dims().to_vec();
        shape[dim] = self.count;
        Tensor::cat(&[&first.broadcast_as(shape)?, &x.narrow(dim, 1, x.dim(dim)? - 1)?], dim)
    }

    /// `count^power` for the first of `n`, and 1 for the others.
    fn factors(self, n: usize, power: f64, like: &Tensor) -> Result<Tensor> {
        let mut factors = vec![1.0; n];
        factors[0] = (self.count as f64).powf(power);
        Tensor::from_vec(factors, n, like.device())?.to_dtype(like.dtype())
    }

    /// `x` `[.., n, n]` with row `i` times `count_i^rows` and column `j` times `count_j^columns`.
    fn scaled(self, x: &Tensor, rows: f64, columns: f64) -> Result<Tensor> {
        if self.count == 1 {
            return Ok(x.clone());
        }
        let n = x.dim(D::Minus1)?;
        let factors = self
            .factors(n, rows, x)?
            .unsqueeze(1)?
            .broadcast_mul(&self.factors(n, columns, x)?.unsqueeze(0)?)?;
        x.broadcast_mul(&factors)
    }

    /// Softmax of scores over the landmarks that differ, each weight times its landmark's count: what all copies get.
    fn softmax(self, scores: &Tensor) -> Result<Tensor> {
        let counts = self.factors(scores.dim(D::Minus1)?, 1.0, scores)?.log()?;
        candle_nn::ops::softmax(&scores.broadcast_add(&counts)?, D::Minus1)
    }
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
        dropout(&out, "attention output", self.config.dropout, ctx)
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
        dropout(&self.out.forward(&merged)?, "attention output", self.config.dropout, ctx)
    }

    /// The first token's row of the weights, `softmax(q kL^T) pinv(softmax(qL kL^T)) softmax(qL k^T)`, its mean over heads: `[n]`.
    /// An approximation of attention: its weights add up to about 1 less what the padding gets, and can be negative.
    ///
    /// # Errors
    /// As [`Self::forward`].
    pub fn first_row(&self, x: &Tensor) -> Result<Tensor> {
        let NystromConfig { d, n_heads, .. } = self.config;
        let Landmarks { q, k, alike, q_landmarks, k_landmarks, inverse, padding, .. } =
            self.landmarks(x, &mut ForwardCtx::eval())?;
        let width = d / n_heads;
        let scale = 1.0 / (width as f64).sqrt();
        // A head at a time: the weights of the landmarks over all tokens are [m, n].
        let rows = (0..n_heads).map(|head| {
            let of_head = |x: &Tensor| x.narrow(1, head * width, width)?.contiguous();
            let scores = |queries: &Tensor, keys: &Tensor| {
                of_head(queries)?.matmul(&of_head(keys)?.t()?.contiguous()?)? * scale
            };
            let over_landmarks = alike.softmax(&scores(&q.narrow(0, padding, 1)?, &k_landmarks)?)?;
            let mixed = over_landmarks.matmul(&inverse.get(head)?)?;
            mixed.matmul(&candle_nn::ops::softmax(&scores(&q_landmarks, &k)?, D::Minus1)?)
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
        let alike = Alike { count: (padding / run).max(1) };
        let landmarks = |index: usize| alike.without_copies(&means(&part(index)?.contiguous()?)?, 0);
        let (q_landmarks, k_landmarks) = (landmarks(0)?, landmarks(1)?);
        let r = q_landmarks.dim(0)?;
        let heads = |x: &Tensor| x.reshape((r, n_heads, d / n_heads))?.transpose(0, 1)?.contiguous();
        let scale = 1.0 / ((d / n_heads) as f64).sqrt();
        let scores =
            heads(&(&q_landmarks * scale)?)?.matmul(&heads(&k_landmarks)?.transpose(1, 2)?.contiguous()?)?;
        let a2 = alike.softmax(&scores)?;
        let inverse = alike.pseudo_inverse(&a2, n_iterations)?;
        let summary =
            kernels::attention(&q_landmarks, &qkv.narrow(1, d, 2 * d)?, n_heads, None, self.qkv.compute())?;
        let summary = inverse.matmul(&heads(&summary)?)?.transpose(0, 1)?.contiguous()?.reshape((r, d))?;
        if ctx.is_recording() {
            let split = |x: &Tensor| x.reshape((x.dim(0)?, n_heads, d / n_heads))?.transpose(0, 1);
            for (name, value) in [("q", (part(0)? * scale)?), ("k", part(1)?), ("v", part(2)?)] {
                ctx.tap(name, &split(&value)?);
            }
            for (name, value) in [("qL", &(&q_landmarks * scale)?), ("kL", &k_landmarks)] {
                ctx.tap(name, &split(&alike.with_copies(value, 0)?)?);
            }
            let start = alike.scaled(&alike.start(&a2, &alike.scaled(&a2, 0.5, -0.5)?)?, -0.5, 0.5)?;
            for (name, value) in [("A2", &a2), ("Z0", &start), ("Z6", &inverse)] {
                let one_copy = alike.scaled(value, 0.0, -1.0)?;
                ctx.tap(name, &alike.with_copies(&alike.with_copies(&one_copy, 1)?, 2)?);
            }
        }
        Ok(Landmarks {
            q: part(0)?.contiguous()?,
            k: part(1)?,
            v: part(2)?.contiguous()?,
            alike,
            kv: alike.with_copies(&Tensor::cat(&[&k_landmarks, &summary], 1)?, 0)?,
            q_landmarks,
            k_landmarks,
            inverse,
            padding,
        })
    }
}

impl Alike {
    /// `n_iterations` steps of a third-order iteration towards the inverse of each matrix of `a`, `[heads, r, r]`; columns of `a`
    /// and of the result times their counts.
    fn pseudo_inverse(self, a: &Tensor, n_iterations: usize) -> Result<Tensor> {
        let even = self.scaled(a, 0.5, -0.5)?;
        let inverse = kernels::pseudo_inverse(&even, &self.start(a, &even)?, n_iterations)?;
        self.scaled(&inverse, -0.5, 0.5)
    }

    /// Where the iteration starts, rows and columns times the square roots of their counts, as those of `even`.
    ///
    /// It divides by maxima over *all* heads together, as published: heads are not independent.
    fn start(self, a: &Tensor, even: &Tensor) -> Result<Tensor> {
        let column_sums = self.scaled(a, 1.0, -1.0)?.abs()?.sum(1)?;
        let scale = (largest(&a.abs()?.sum(2)?)? * largest(&column_sums)?)?;
        even.transpose(1, 2)?.contiguous()?.broadcast_div(&scale)
    }
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
        for n in [1, 2, 4, 5, 12, 37] {
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

    #[test]
    fn one_landmark_stands_for_all_that_are_alike() {
        for count in [1, 2, 5] {
            let alike = Alike { count };
            let r = 4;
            let scores: Vec<f64> = (0..2 * r * r).map(|at| ((at * 37) % 101) as f64 / 17.0 - 3.0).collect();
            let scores = Tensor::from_vec(scores, (2, r, r), &Device::Cpu).unwrap();
            let all = |x: &Tensor| alike.with_copies(&alike.with_copies(x, 1).unwrap(), 2).unwrap();
            let full = candle_nn::ops::softmax(&all(&scores), D::Minus1).unwrap();
            let scale =
                (largest(&full.sum(2).unwrap()).unwrap() * largest(&full.sum(1).unwrap()).unwrap()).unwrap();
            let start = full.transpose(1, 2).unwrap().contiguous().unwrap().broadcast_div(&scale).unwrap();
            let wanted = kernels::reference::pseudo_inverse(&full, &start, 6).unwrap();
            let found = alike.pseudo_inverse(&alike.softmax(&scores).unwrap(), 6).unwrap();
            let found = all(&alike.scaled(&found, 0.0, -1.0).unwrap());
            let apart: f64 = (found - wanted).unwrap().abs().unwrap().max_all().unwrap().to_scalar().unwrap();
            assert!(apart < 1e-9, "{count} alike: {apart}");
        }
    }
}
