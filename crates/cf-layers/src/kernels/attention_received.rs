//! How much attention each key receives, for maps of where a model looks.

use candle_core::{DType, Error, Result, Tensor};

use super::attention::AttentionShape;
use super::cpu::unit::Unit;
use super::{Compute, by_unit, cpu, reference, unsupported_dtype};

/// Weights that are in memory at once on a device without a kernel of its own.
const WEIGHTS_AT_ONCE: usize = 1 << 26;

/// The mean over heads and queries of the attention weight of each key: `mean over h, i of softmax(q_hi k_h^T /
/// sqrt(d / n_heads))`. The means of all keys add up to 1.
///
/// - `q`: `[n, d]`; `k`: `[m, d]`. Returns `[m]`. With one query it is that query's row of the attention, its mean over heads.
///
/// Memory is O(n + m): scores are made once for each query's log-sum-exp and again for the columns. No gradient.
///
/// # Errors
/// If the widths disagree, `d` is not a multiple of `n_heads`, an input is empty, or the tensors are neither f32 nor f64.
pub fn attention_received(q: &Tensor, k: &Tensor, n_heads: usize, compute: Compute) -> Result<Tensor> {
    let ((n, d), (m, k_width)) = (q.dims2()?, k.dims2()?);
    if k_width != d {
        return Err(Error::Msg(format!(
            "attention of queries [{n}, {d}] over keys [{m}, {k_width}]: widths differ"
        )));
    }
    let shape = AttentionShape { n, m, d, n_heads };
    shape.check()?;
    let (q, k) = (q.detach().contiguous()?, k.detach().contiguous()?);
    if reference::are_active() {
        return reference::attention_received(&q, &k, n_heads);
    }
    if reference::stands_in_for(&q) {
        return in_parts(&q, &k, n_heads);
    }
    let pass = Received { shape };
    by_unit!("attention_received", q.dtype(), compute, pass.run(&q, &k))
}

struct Received {
    shape: AttentionShape,
}

impl Received {
    fn run<U: Unit>(&self, q: &Tensor, k: &Tensor) -> Result<Tensor> {
        let [q_values, k_values] = [q, k].map(cpu::Values::of);
        let means = cpu::attention::received::<U>(self.shape, q_values.as_slice()?, k_values.as_slice()?);
        Tensor::from_vec(means, self.shape.m, q.device())
    }
}

/// The reference of so many queries at a time that their weights fit.
fn in_parts(q: &Tensor, k: &Tensor, n_heads: usize) -> Result<Tensor> {
    let (n, m) = (q.dim(0)?, k.dim(0)?);
    let at_once = (WEIGHTS_AT_ONCE / (m * n_heads)).max(1);
    let mut total: Option<Tensor> = None;
    for first in (0..n).step_by(at_once) {
        let n_queries = at_once.min(n - first);
        let part = reference::attention_received(&q.narrow(0, first, n_queries)?, k, n_heads)?;
        let part = (part * (n_queries as f64 / n as f64))?;
        total = Some(match total {
            None => part,
            Some(sum) => (sum + part)?,
        });
    }
    total.ok_or_else(|| Error::Msg("attention of 0 queries".to_owned()))
}
