//! The exact GELU. Candle's has a backward of some thirteen passes whose constant is cut to six digits.

use candle_core::backend::BackendStorage;
use candle_core::{CpuStorage, CustomOp1, DType, Layout, Result, Shape, Tensor, WithDType};
use num_traits::Float;

use super::{contiguous_slice, cpu, to_vec, unsupported_dtype};

const BLOCK: usize = 4096;

/// Multiply-adds that an error function costs, about.
const COST: usize = 32;

/// `x * Phi(x)` with the normal distribution function `Phi` by erf, not its tanh approximation (Hendrycks and
/// Gimpel, 2016); PyTorch's default.
///
/// # Errors
/// If `x` is neither f32 nor f64, or lies on a device without this kernel.
pub fn gelu(x: &Tensor) -> Result<Tensor> {
    x.contiguous()?.apply_op1(Gelu)
}

struct Gelu;

impl CustomOp1 for Gelu {
    fn name(&self) -> &'static str {
        "gelu"
    }

    fn cpu_fwd(&self, storage: &CpuStorage, layout: &Layout) -> Result<(CpuStorage, Shape)> {
        let output = match storage.dtype() {
            DType::F32 => forward::<f32>(contiguous_slice(storage, layout)?),
            DType::F64 => forward::<f64>(contiguous_slice(storage, layout)?),
            dtype => return Err(unsupported_dtype("gelu", dtype)),
        };
        Ok((output, layout.shape().clone()))
    }

    fn bwd(&self, x: &Tensor, _: &Tensor, grad: &Tensor) -> Result<Option<Tensor>> {
        let dx = match x.dtype() {
            DType::F32 => backward::<f32>(x, grad)?,
            DType::F64 => backward::<f64>(x, grad)?,
            dtype => return Err(unsupported_dtype("gelu", dtype)),
        };
        Ok(Some(dx))
    }
}

/// A float whose error function is at hand.
trait Erf: WithDType + Float {
    fn erf(self) -> Self;
}

impl Erf for f32 {
    fn erf(self) -> Self {
        libm::erff(self)
    }
}

impl Erf for f64 {
    fn erf(self) -> Self {
        libm::erf(self)
    }
}

fn normal_cdf<T: Erf>(x: T) -> T {
    let half = T::from_f64(0.5);
    half + half * (x * T::from_f64(std::f64::consts::FRAC_1_SQRT_2)).erf()
}

fn forward<T: Erf>(x: &[T]) -> CpuStorage {
    let mut output = vec![T::zero(); x.len()];
    cpu::for_each_chunk(&mut output, BLOCK, COST * x.len(), |block, out| {
        for (out, &x) in out.iter_mut().zip(&x[block * BLOCK..]) {
            *out = x * normal_cdf(x);
        }
    });
    T::to_cpu_storage_owned(output)
}

/// `Phi(x) + x * phi(x)`, with the normal density `phi`.
fn backward<T: Erf>(x: &Tensor, grad: &Tensor) -> Result<Tensor> {
    let density_at_zero = T::from_f64(1.0 / std::f64::consts::TAU.sqrt());
    let mut dx = to_vec::<T>(grad)?;
    let values = to_vec::<T>(x)?;
    cpu::for_each_chunk(&mut dx, BLOCK, COST * values.len(), |block, dx| {
        for (dx, &x) in dx.iter_mut().zip(&values[block * BLOCK..]) {
            let density = density_at_zero * (T::from_f64(-0.5) * x * x).exp();
            *dx *= normal_cdf(x) + x * density;
        }
    });
    Tensor::from_vec(dx, x.shape(), x.device())
}
