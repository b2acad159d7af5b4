//! The exact GELU, with the dropout that follows it. Candle's has a backward of some thirteen passes whose constant is cut to
//! six digits.

use candle_core::backend::BackendStorage;
use candle_core::{CpuStorage, CustomOp1, DType, Layout, Result, Shape, Tensor};

use super::cpu::element::Element;
#[cfg(feature = "cuda")]
use super::cuda;
use super::dropout::DropoutMask;
use super::{contiguous_slice, cpu, reference, to_vec, unsupported_dtype};

const BLOCK: usize = 4096;

/// Multiply-adds that an error function costs, about.
const COST: usize = 32;

/// `x * Phi(x)` with the normal distribution function `Phi` by erf, not its tanh approximation (Hendrycks and
/// Gimpel, 2016); PyTorch's default. With a mask, dropout follows in the same pass.
///
/// # Errors
/// If `x` is neither f32 nor f64, or lies on a device without this kernel.
pub fn gelu(x: &Tensor, mask: Option<DropoutMask>) -> Result<Tensor> {
    if reference::are_active() {
        return mask
            .map_or_else(|| reference::gelu(x), |mask| reference::dropout(&reference::gelu(x)?, mask));
    }
    #[cfg(feature = "cuda")]
    if cuda::serves(x) {
        return cuda::rows::gelu(&x.contiguous()?, mask);
    }
    x.contiguous()?.apply_op1(Gelu { mask })
}

/// [`gelu`] of values on the CPU.
pub(super) fn activated<T: Element>(x: &[T], mask: Option<DropoutMask>) -> Vec<T> {
    let drops = mask.map(|mask| mask.drops());
    cpu::filled(x.len(), BLOCK, COST * x.len(), |block, output: &mut [T]| {
        let first = block * BLOCK;
        cpu::rows::gelu(output, &x[first..first + output.len()], drops, first as u64);
    })
}

struct Gelu {
    mask: Option<DropoutMask>,
}

impl Gelu {
    fn forward<T: Element>(&self, x: &[T]) -> CpuStorage {
        T::to_cpu_storage_owned(activated(x, self.mask))
    }

    fn backward<T: Element>(&self, x: &Tensor, grad: &Tensor) -> Result<Tensor> {
        let drops = self.mask.map(|mask| mask.drops());
        let mut dx = to_vec::<T>(grad)?;
        let values = cpu::Values::of(x);
        let slice = values.as_slice()?;
        cpu::for_each_chunk(&mut dx, BLOCK, COST * slice.len(), |block, dx| {
            let first = block * BLOCK;
            cpu::rows::gelu_gradient(dx, &slice[first..first + dx.len()], drops, first as u64);
        });
        Tensor::from_vec(dx, x.shape(), x.device())
    }
}

impl CustomOp1 for Gelu {
    fn name(&self) -> &'static str {
        "gelu"
    }

    fn cpu_fwd(&self, storage: &CpuStorage, layout: &Layout) -> Result<(CpuStorage, Shape)> {
        let output = match storage.dtype() {
            DType::F32 => self.forward::<f32>(contiguous_slice(storage, layout)?),
            DType::F64 => self.forward::<f64>(contiguous_slice(storage, layout)?),
            dtype => return Err(unsupported_dtype("gelu", dtype)),
        };
        Ok((output, layout.shape().clone()))
    }

    fn bwd(&self, x: &Tensor, _: &Tensor, grad: &Tensor) -> Result<Option<Tensor>> {
        let dx = match x.dtype() {
            DType::F32 => self.backward::<f32>(x, grad)?,
            DType::F64 => self.backward::<f64>(x, grad)?,
            dtype => return Err(unsupported_dtype("gelu", dtype)),
        };
        Ok(Some(dx))
    }
}
