//! The rectifier. Candle's turns NaN into 0, so that a network that diverged looks like one that works, and its slope at 0 is 1.

use candle_core::backend::BackendStorage;
use candle_core::{CpuStorage, CustomOp1, DType, Layout, Result, Shape, Tensor};

use super::cpu::element::Element;
#[cfg(feature = "cuda")]
use super::cuda;
use super::{contiguous_slice, cpu, reference, unsupported_dtype};

const BLOCK: usize = 4096;

/// Multiply-adds that an element costs, about: the time is that of its memory.
const COST: usize = 4;

/// `max(x, 0)`, whose slope at 0 is 0. NaN stays NaN, as in PyTorch.
///
/// # Errors
/// If `x` is neither f32 nor f64; on a GPU: not f32.
pub fn relu(x: &Tensor) -> Result<Tensor> {
    if reference::are_active() {
        return reference::relu(x);
    }
    #[cfg(feature = "cuda")]
    if cuda::serves_f32(x) {
        return cuda::relu::relu(&x.contiguous()?);
    }
    x.contiguous()?.apply_op1(Relu)
}

struct Relu;

impl Relu {
    fn forward<T: Element>(x: &[T]) -> CpuStorage {
        let output = cpu::filled(x.len(), BLOCK, COST * x.len(), |block, output: &mut [T]| {
            output.copy_from_slice(&x[block * BLOCK..][..output.len()]);
            cpu::activation::relu(output);
        });
        T::to_cpu_storage_owned(output)
    }

    fn backward<T: Element>(y: &Tensor, grad: &Tensor) -> Result<Tensor> {
        let contiguous_grad = grad.contiguous()?;
        let [values, grad] = [y, &contiguous_grad].map(cpu::Values::of);
        let (values, grad) = (values.as_slice::<T>()?, grad.as_slice::<T>()?);
        let dx = cpu::filled(values.len(), BLOCK, COST * values.len(), |block, dx: &mut [T]| {
            let chunk = block * BLOCK..block * BLOCK + dx.len();
            cpu::activation::relu_gradient(dx, &values[chunk.clone()], &grad[chunk]);
        });
        Tensor::from_vec(dx, y.shape(), y.device())
    }
}

impl CustomOp1 for Relu {
    fn name(&self) -> &'static str {
        "relu"
    }

    fn cpu_fwd(&self, storage: &CpuStorage, layout: &Layout) -> Result<(CpuStorage, Shape)> {
        let output = match storage.dtype() {
            DType::F32 => Self::forward::<f32>(contiguous_slice(storage, layout)?),
            DType::F64 => Self::forward::<f64>(contiguous_slice(storage, layout)?),
            dtype => return Err(unsupported_dtype("relu", dtype)),
        };
        Ok((output, layout.shape().clone()))
    }

    fn bwd(&self, _: &Tensor, y: &Tensor, grad: &Tensor) -> Result<Option<Tensor>> {
        let dx = match y.dtype() {
            DType::F32 => Self::backward::<f32>(y, grad)?,
            DType::F64 => Self::backward::<f64>(y, grad)?,
            dtype => return Err(unsupported_dtype("relu", dtype)),
        };
        Ok(Some(dx))
    }
}
