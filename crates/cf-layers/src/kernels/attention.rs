//! Multi-head attention that never stores the query x key matrix.

use std::sync::OnceLock;

use candle_core::backend::BackendStorage;
use candle_core::{CpuStorage, CustomOp3, DType, Error, Layout, Result, Shape, Tensor, WithDType};
use num_traits::Float;

use super::dropout::DropoutMask;
use super::{contiguous_slice, cpu, to_vec, unsupported_dtype};

/// Scaled dot-product attention in `n_heads` heads: per head, `softmax(q k^T / sqrt(d / n_heads)) v`.
///
/// - `q`: `[n, d]`; `k`, `v`: `[m, d]`; head `h` is columns `h * d / n_heads ..`. Returns `[n, d]`.
/// - `dropout`: a mask on the attention weights (after the softmax); element (head, query, key) has the index
///   `(head * n + query) * m + key`.
///
/// Memory is O(n + m) per head beside one block of queries: weights are recomputed in the backward pass from the
/// saved log-sum-exp of each query (Dao et al., 2022).
///
/// # Errors
/// If widths or key counts disagree, `d` is not a multiple of `n_heads`, an input is empty, or the tensors are
/// neither f32 nor f64.
pub fn attention(
    q: &Tensor,
    k: &Tensor,
    v: &Tensor,
    n_heads: usize,
    dropout: Option<DropoutMask>,
) -> Result<Tensor> {
    let ((n, d), (m, k_width)) = (q.dims2()?, k.dims2()?);
    if k_width != d || v.dims() != [m, d] {
        return Err(Error::Msg(format!(
            "attention of queries [{n}, {d}] over keys [{m}, {k_width}] and values {:?}",
            v.dims()
        )));
    }
    if n_heads == 0 || !d.is_multiple_of(n_heads) {
        return Err(Error::Msg(format!("attention width {d} is not a multiple of {n_heads} heads")));
    }
    if n == 0 || m == 0 {
        return Err(Error::Msg(format!("attention of {n} queries over {m} keys: both must be at least 1")));
    }
    let op = Attention { shape: AttentionShape { n, m, d, n_heads }, dropout, log_sum_exp: OnceLock::new() };
    q.contiguous()?.apply_op3(&k.contiguous()?, &v.contiguous()?, op)
}

/// The sizes of one attention call.
#[derive(Debug, Clone, Copy)]
pub(super) struct AttentionShape {
    pub(super) n: usize,
    pub(super) m: usize,
    pub(super) d: usize,
    pub(super) n_heads: usize,
}

struct Attention {
    shape: AttentionShape,
    dropout: Option<DropoutMask>,
    /// `[n_heads, n]`, written by the forward pass. The graph keeps the op alive, and Candle's ops return one tensor.
    log_sum_exp: OnceLock<Vec<f64>>,
}

impl Attention {
    fn forward<T: WithDType + Float>(&self, q: &[T], k: &[T], v: &[T]) -> CpuStorage {
        let (output, log_sum_exp) = cpu::attention::forward(self.shape, q, k, v, self.dropout);
        self.log_sum_exp.get_or_init(|| log_sum_exp);
        T::to_cpu_storage_owned(output)
    }

    fn backward<T: WithDType + Float>(
        &self,
        [q, k, v, output, grad]: [&Tensor; 5],
    ) -> Result<(Tensor, Tensor, Tensor)> {
        let log_sum_exp = self
            .log_sum_exp
            .get()
            .ok_or_else(|| Error::Msg("attention backward before its forward".to_owned()))?;
        let grads = cpu::attention::backward(
            self.shape,
            cpu::attention::Saved {
                q: &to_vec::<T>(q)?,
                k: &to_vec::<T>(k)?,
                v: &to_vec::<T>(v)?,
                output: &to_vec::<T>(output)?,
                log_sum_exp,
            },
            &to_vec::<T>(grad)?,
            self.dropout,
        );
        Ok((
            Tensor::from_vec(grads.q, q.shape(), q.device())?,
            Tensor::from_vec(grads.k, k.shape(), k.device())?,
            Tensor::from_vec(grads.v, v.shape(), v.device())?,
        ))
    }
}

impl CustomOp3 for Attention {
    fn name(&self) -> &'static str {
        "attention"
    }

    fn cpu_fwd(
        &self,
        q: &CpuStorage,
        q_layout: &Layout,
        k: &CpuStorage,
        k_layout: &Layout,
        v: &CpuStorage,
        v_layout: &Layout,
    ) -> Result<(CpuStorage, Shape)> {
        let output = match q.dtype() {
            DType::F32 => self.forward::<f32>(
                contiguous_slice(q, q_layout)?,
                contiguous_slice(k, k_layout)?,
                contiguous_slice(v, v_layout)?,
            ),
            DType::F64 => self.forward::<f64>(
                contiguous_slice(q, q_layout)?,
                contiguous_slice(k, k_layout)?,
                contiguous_slice(v, v_layout)?,
            ),
            dtype => return Err(unsupported_dtype("attention", dtype)),
        };
        Ok((output, q_layout.shape().clone()))
    }

    fn bwd(
        &self,
        q: &Tensor,
        k: &Tensor,
        v: &Tensor,
        output: &Tensor,
        grad: &Tensor,
    ) -> Result<(Option<Tensor>, Option<Tensor>, Option<Tensor>)> {
        let (dq, dk, dv) = match q.dtype() {
            DType::F32 => self.backward::<f32>([q, k, v, output, grad])?,
            DType::F64 => self.backward::<f64>([q, k, v, output, grad])?,
            dtype => return Err(unsupported_dtype("attention", dtype)),
        };
        Ok((Some(dq), Some(dk), Some(dv)))
    }
}
