//! Self-attention within windows of a sequence (as SCMIL has it).

use candle_core::{Error, Result, Tensor};
use candle_nn::VarBuilder;

use crate::dropout::{dropout, dropout_mask};
use crate::kernels::{self, AttentionDropout};
use crate::linear::Linear;
use crate::mode::ForwardCtx;

/// Multi-head self-attention in which a token sees the tokens of its window only. Parameters `qkv`, `proj`.
#[derive(Debug, Clone)]
pub struct WindowAttention {
    qkv: Linear,
    out: Linear,
    n_heads: usize,
    dropout: f64,
}

impl WindowAttention {
    /// A layer of `d` channels, a multiple of `n_heads`; `dropout` acts on the weights and on the output.
    ///
    /// # Errors
    /// If the parameters are missing from `vb` or have other shapes.
    pub fn new(d: usize, n_heads: usize, dropout: f64, vb: VarBuilder<'_>) -> Result<Self> {
        let qkv = Linear::uniform(d, 3 * d, vb.pp("qkv"))?;
        Ok(Self { qkv, out: Linear::uniform(d, d, vb.pp("proj"))?, n_heads, dropout })
    }

    /// `[n, d]` to `[n, d]`, without the residual. `windows` are the sizes of consecutive windows; they add up to n.
    ///
    /// # Errors
    /// If the windows do not add up to the tokens, or the width of `x` is not `d`.
    pub fn forward(&self, x: &Tensor, windows: &[usize], ctx: &mut ForwardCtx) -> Result<Tensor> {
        let n = x.dim(0)?;
        if n == 0 || windows.iter().sum::<usize>() != n {
            return Err(Error::Msg(format!("windows of {windows:?} over {n} tokens")));
        }
        let qkv = self.qkv.forward(x)?;
        let mut start = 0;
        let mut attended = Vec::with_capacity(windows.len());
        for &size in windows.iter().filter(|&&size| size > 0) {
            let mask = dropout_mask("attention weights", self.dropout, ctx);
            let mask = mask.map(|mask| AttentionDropout { mask, n_queries: size });
            let tokens = qkv.narrow(0, start, size)?;
            attended.push(kernels::self_attention(&tokens, self.n_heads, mask, self.qkv.compute())?);
            start += size;
        }
        let attended = Tensor::cat(&attended, 0)?;
        ctx.tap("attended", &attended);
        dropout(&self.out.forward(&attended)?, "attention output", self.dropout, ctx)
    }

    /// Zero, in the graph: gives the parameters a gradient of zero where no token reaches them.
    ///
    /// # Errors
    /// If a tensor operation fails.
    pub fn zero(&self) -> Result<Tensor> {
        Linear::zero(&[&self.qkv, &self.out])
    }
}

/// Sizes of windows that hold the clusters of `labels` (below `n_clusters`) one after the other: a cluster of `2 * size` or
/// more is cut into `count / size` nearly equal windows, the larger ones first.
pub fn cluster_windows(labels: &[u32], n_clusters: usize, size: usize) -> Vec<usize> {
    let mut counts = vec![0_usize; n_clusters];
    labels.iter().for_each(|&label| counts[label as usize] += 1);
    let windows = counts.into_iter().flat_map(|count| {
        let pieces = if count >= 2 * size { count / size } else { 1 };
        (0..pieces).map(move |piece| count / pieces + usize::from(piece < count % pieces))
    });
    windows.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn large_clusters_are_cut_into_nearly_equal_windows() {
        let labels = |counts: &[usize]| -> Vec<u32> {
            (0_u32..).zip(counts).flat_map(|(label, &count)| vec![label; count]).collect()
        };
        let of = |counts: &[usize]| cluster_windows(&labels(counts), counts.len(), 64);
        assert_eq!(of(&[200]), [67, 67, 66]);
        assert_eq!(of(&[127, 0, 128]), [127, 0, 64, 64]);
        assert_eq!(of(&[1]), [1]);
    }
}
