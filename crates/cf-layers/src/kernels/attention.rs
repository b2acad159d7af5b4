//! Multi-head attention that never stores the query x key matrix.

use std::sync::OnceLock;

use candle_core::backend::BackendStorage;
use candle_core::{CpuStorage, CustomOp1, CustomOp2, DType, Error, Layout, Result, Shape, Tensor, WithDType};

use super::cpu::attention::{Operands, Saved};
use super::cpu::element::Element;
use super::cpu::unit::Unit;
#[cfg(feature = "cuda")]
use super::cuda;
use super::dropout::DropoutMask;
use super::{Compute, by_unit, contiguous_slice, cpu, reference, unsupported_dtype};

/// A mask on attention weights, after the softmax. The weight of head, query and key has the index
/// `(head * n_queries + query) * n_keys + key`.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct AttentionDropout {
    /// The mask.
    pub mask: DropoutMask,
    /// Queries that the index counts: those of the call, or more where the call holds the first rows of a longer sequence.
    pub n_queries: usize,
}

/// Scaled dot-product attention in `n_heads` heads: per head, `softmax(q k^T / sqrt(d / n_heads)) v`.
///
/// - `q`: `[n, d]`; `kv`: `[m, 2 d]`, a row holding a key and then its value; head `h` is columns `h * d / n_heads ..` of
///   each. Returns `[n, d]`.
///
/// Memory is O(n + m): weights are recomputed in the backward pass from the saved log-sum-exp of each query (Dao et
/// al., 2022).
///
/// # Errors
/// If widths disagree, `d` is not a multiple of `n_heads`, an input is empty, or the tensors are neither f32 nor f64.
pub fn attention(
    q: &Tensor,
    kv: &Tensor,
    n_heads: usize,
    dropout: Option<AttentionDropout>,
    compute: Compute,
) -> Result<Tensor> {
    if reference::are_active() {
        return reference::attention(q, kv, n_heads, dropout);
    }
    let ((n, d), (m, kv_width)) = (q.dims2()?, kv.dims2()?);
    if kv_width != 2 * d {
        return Err(Error::Msg(format!(
            "attention of queries [{n}, {d}] over keys and values [{m}, {kv_width}], expected [{m}, {}]",
            2 * d
        )));
    }
    let shape = AttentionShape { n, m, d, n_heads };
    shape.check()?;
    #[cfg(feature = "cuda")]
    if cuda::attention::serves(q, &shape) {
        return cuda::attention::attention(&q.contiguous()?, &kv.contiguous()?, shape, dropout, compute);
    }
    if reference::stands_in_for(q) {
        return reference::attention(q, kv, n_heads, dropout);
    }
    let op = Attention::new(shape, dropout, compute);
    q.contiguous()?.apply_op2(&kv.contiguous()?, op)
}

/// [`attention`] of a sequence over itself.
///
/// - `qkv`: `[n, 3 d]`, a row holding a query, its key and its value. Returns `[n, d]`.
///
/// # Errors
/// As [`attention`].
pub fn self_attention(
    qkv: &Tensor,
    n_heads: usize,
    dropout: Option<AttentionDropout>,
    compute: Compute,
) -> Result<Tensor> {
    if reference::are_active() {
        return reference::self_attention(qkv, n_heads, dropout);
    }
    let (n, width) = qkv.dims2()?;
    if !width.is_multiple_of(3) {
        return Err(Error::Msg(format!(
            "self-attention of [{n}, {width}]: queries, keys and values must be of one width"
        )));
    }
    let shape = AttentionShape { n, m: n, d: width / 3, n_heads };
    shape.check()?;
    #[cfg(feature = "cuda")]
    if cuda::attention::serves(qkv, &shape) {
        return cuda::attention::self_attention(&qkv.contiguous()?, shape, dropout, compute);
    }
    if reference::stands_in_for(qkv) {
        return reference::self_attention(qkv, n_heads, dropout);
    }
    let op = Attention::new(shape, dropout, compute);
    qkv.contiguous()?.apply_op1(op)
}

/// The sizes of one attention call.
#[derive(Debug, Clone, Copy)]
pub(super) struct AttentionShape {
    pub(super) n: usize,
    pub(super) m: usize,
    pub(super) d: usize,
    pub(super) n_heads: usize,
}

impl AttentionShape {
    /// # Errors
    /// If heads do not divide the channels, or there is nothing to attend with or to.
    pub(super) fn check(&self) -> Result<()> {
        let AttentionShape { n, m, d, n_heads } = *self;
        if n_heads == 0 || !d.is_multiple_of(n_heads) {
            return Err(Error::Msg(format!("attention width {d} is not a multiple of {n_heads} heads")));
        }
        if n == 0 || m == 0 || d == 0 {
            return Err(Error::Msg(format!(
                "attention of {n} queries over {m} keys of {d} channels: each must be at least 1"
            )));
        }
        Ok(())
    }
}

struct Attention {
    shape: AttentionShape,
    dropout: Option<AttentionDropout>,
    compute: Compute,
    /// `[n_heads, n]`, written by the forward pass. The graph keeps the op alive, and Candle's ops return one tensor.
    log_sum_exp: OnceLock<CpuStorage>,
}

impl Attention {
    fn new(shape: AttentionShape, dropout: Option<AttentionDropout>, compute: Compute) -> Self {
        Self { shape, dropout, compute, log_sum_exp: OnceLock::new() }
    }

    fn forward<U: Unit>(&self, operands: Operands<'_, U::Sum>) -> CpuStorage {
        let (output, log_sum_exp) = cpu::attention::forward::<U>(self.shape, operands, self.dropout);
        self.log_sum_exp.get_or_init(|| U::Sum::to_cpu_storage_owned(log_sum_exp));
        U::Sum::to_cpu_storage_owned(output)
    }

    fn log_sum_exp<T: Element>(&self) -> Result<&[T]> {
        let missing = || Error::Msg("attention backward before its forward".to_owned());
        self.log_sum_exp.get().ok_or_else(missing)?.as_slice::<T>()
    }

    fn self_forward<U: Unit>(&self, qkv: &CpuStorage, layout: &Layout) -> Result<CpuStorage> {
        Ok(self.forward::<U>(Operands::packed(self.shape, contiguous_slice(qkv, layout)?)))
    }

    fn cross_forward<U: Unit>(&self, [q, kv]: [(&CpuStorage, &Layout); 2]) -> Result<CpuStorage> {
        let (q, kv) = (contiguous_slice(q.0, q.1)?, contiguous_slice(kv.0, kv.1)?);
        Ok(self.forward::<U>(Operands::of(self.shape, q, kv)))
    }

    fn self_backward<U: Unit>(&self, qkv: &Tensor, output: &Tensor, grad: &Tensor) -> Result<Tensor> {
        let grad = &grad.contiguous()?;
        let [values, output, grad] = [qkv, output, grad].map(cpu::Values::of);
        let saved = Saved {
            operands: Operands::packed(self.shape, values.as_slice()?),
            output: output.as_slice()?,
            log_sum_exp: self.log_sum_exp()?,
        };
        let dqkv = cpu::attention::self_backward::<U>(self.shape, &saved, grad.as_slice()?, self.dropout);
        Tensor::from_vec(dqkv, qkv.shape(), qkv.device())
    }

    fn cross_backward<U: Unit>(
        &self,
        [q, kv]: [&Tensor; 2],
        output: &Tensor,
        grad: &Tensor,
    ) -> Result<(Tensor, Tensor)> {
        let grad = &grad.contiguous()?;
        let [q_values, kv_values, output, grad] = [q, kv, output, grad].map(cpu::Values::of);
        let saved = Saved {
            operands: Operands::of(self.shape, q_values.as_slice()?, kv_values.as_slice()?),
            output: output.as_slice()?,
            log_sum_exp: self.log_sum_exp()?,
        };
        let (dq, dkv) = cpu::attention::backward::<U>(self.shape, &saved, grad.as_slice()?, self.dropout);
        Ok((Tensor::from_vec(dq, q.shape(), q.device())?, Tensor::from_vec(dkv, kv.shape(), kv.device())?))
    }
}

impl CustomOp1 for Attention {
    fn name(&self) -> &'static str {
        "self_attention"
    }

    fn cpu_fwd(&self, qkv: &CpuStorage, layout: &Layout) -> Result<(CpuStorage, Shape)> {
        let output = by_unit!("self_attention", qkv.dtype(), self.compute, self.self_forward(qkv, layout))?;
        Ok((output, Shape::from((self.shape.n, self.shape.d))))
    }

    fn bwd(&self, qkv: &Tensor, output: &Tensor, grad: &Tensor) -> Result<Option<Tensor>> {
        let compute = self.compute;
        let dqkv = by_unit!("self_attention", qkv.dtype(), compute, self.self_backward(qkv, output, grad))?;
        Ok(Some(dqkv))
    }
}

impl CustomOp2 for Attention {
    fn name(&self) -> &'static str {
        "attention"
    }

    fn cpu_fwd(
        &self,
        q: &CpuStorage,
        q_layout: &Layout,
        kv: &CpuStorage,
        kv_layout: &Layout,
    ) -> Result<(CpuStorage, Shape)> {
        let inputs = [(q, q_layout), (kv, kv_layout)];
        let output = by_unit!("attention", q.dtype(), self.compute, self.cross_forward(inputs))?;
        Ok((output, Shape::from((self.shape.n, self.shape.d))))
    }

    fn bwd(
        &self,
        q: &Tensor,
        kv: &Tensor,
        output: &Tensor,
        grad: &Tensor,
    ) -> Result<(Option<Tensor>, Option<Tensor>)> {
        let (inputs, compute) = ([q, kv], self.compute);
        let (dq, dkv) = by_unit!("attention", q.dtype(), compute, self.cross_backward(inputs, output, grad))?;
        Ok((Some(dq), Some(dkv)))
    }
}
