//! The gate of gated attention pooling, in one pass each way.

use candle_core::backend::BackendStorage;
use candle_core::{CpuStorage, CustomOp1, DType, Error, Layout, Result, Shape, Tensor};

use super::cpu::element::Element;
use super::{contiguous_slice, cpu, reference, unsupported_dtype};

/// Rows per chunk.
const ROWS: usize = 64;

/// Multiply-adds that one value costs, about.
const COST: usize = 32;

/// `tanh(a) * sigmoid(b)` of branches that lie beside each other: `[n, 2 h]` to `[n, h]` (Ilse et al., 2018, eq. 9).
///
/// # Errors
/// If the width is odd, or `branches` is neither f32 nor f64.
pub fn gate(branches: &Tensor) -> Result<Tensor> {
    if reference::stands_in_for(branches) {
        return reference::gate(branches);
    }
    let (n, width) = branches.dims2()?;
    if width % 2 != 0 {
        return Err(Error::Msg(format!("a gate of two branches side by side of an odd width, {width}")));
    }
    branches.contiguous()?.apply_op1(Gate { n, hidden: width / 2 })
}

struct Gate {
    n: usize,
    hidden: usize,
}

impl Gate {
    fn forward<T: Element>(&self, branches: &[T]) -> CpuStorage {
        let (chunk, n_values) = (ROWS * self.hidden, self.n * self.hidden);
        let output = cpu::filled(n_values, chunk, COST * n_values, |index, output: &mut [T]| {
            let rows = branches.chunks(2 * self.hidden).skip(index * ROWS);
            for (output, row) in output.chunks_mut(self.hidden).zip(rows) {
                let (a, b) = row.split_at(self.hidden);
                cpu::activation::gate(output, a, b);
            }
        });
        T::to_cpu_storage_owned(output)
    }

    fn backward<T: Element>(&self, branches: &Tensor, grad: &Tensor) -> Result<Tensor> {
        let contiguous_grad = grad.contiguous()?;
        let [values, grad] = [branches, &contiguous_grad].map(cpu::Values::of);
        let (values, grad) = (values.as_slice::<T>()?, grad.as_slice::<T>()?);
        let chunk = 2 * ROWS * self.hidden;
        let before = cpu::filled(values.len(), chunk, COST * values.len(), |index, before: &mut [T]| {
            let rows = values.chunks(2 * self.hidden).zip(grad.chunks(self.hidden)).skip(index * ROWS);
            for (before, (row, grad)) in before.chunks_mut(2 * self.hidden).zip(rows) {
                let (da, db) = before.split_at_mut(self.hidden);
                cpu::activation::gate_gradient(da, db, row.split_at(self.hidden), grad);
            }
        });
        Tensor::from_vec(before, branches.shape(), branches.device())
    }
}

impl CustomOp1 for Gate {
    fn name(&self) -> &'static str {
        "gate"
    }

    fn cpu_fwd(&self, storage: &CpuStorage, layout: &Layout) -> Result<(CpuStorage, Shape)> {
        let output = match storage.dtype() {
            DType::F32 => self.forward::<f32>(contiguous_slice(storage, layout)?),
            DType::F64 => self.forward::<f64>(contiguous_slice(storage, layout)?),
            dtype => return Err(unsupported_dtype("gate", dtype)),
        };
        Ok((output, Shape::from((self.n, self.hidden))))
    }

    fn bwd(&self, branches: &Tensor, _: &Tensor, grad: &Tensor) -> Result<Option<Tensor>> {
        let before = match branches.dtype() {
            DType::F32 => self.backward::<f32>(branches, grad)?,
            DType::F64 => self.backward::<f64>(branches, grad)?,
            dtype => return Err(unsupported_dtype("gate", dtype)),
        };
        Ok(Some(before))
    }
}
