//! Dropout whose mask is a function of (key, element), so that nothing is stored and nothing depends on threads.

use candle_core::backend::BackendStorage;
use candle_core::{CpuStorage, CustomOp1, DType, Layout, Result, Shape, Tensor, WithDType};

use super::{contiguous_slice, cpu, unsupported_dtype};
use crate::random::split_mix;

/// Which elements a dropout site zeroes.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct DropoutMask {
    /// Probability of zeroing an element, in `[0, 1)`.
    pub p: f64,
    /// Key of the site; another key is another mask.
    pub key: u64,
}

impl DropoutMask {
    /// The factor on element `index`: 0 with probability `p`, else `1 / (1 - p)`.
    pub fn factor(&self, index: u64) -> f64 {
        // The upper 53 bits are a uniform draw from [0, 1).
        let uniform = (split_mix(self.key ^ index) >> 11) as f64 * (1.0 / (1_u64 << 53) as f64);
        if uniform < self.p { 0.0 } else { 1.0 / (1.0 - self.p) }
    }
}

/// Zeroes each element of `x` with probability `mask.p` and scales the rest by `1 / (1 - p)`.
///
/// # Errors
/// If `x` is neither f32 nor f64, or lies on a device without this kernel.
pub fn dropout(x: &Tensor, mask: DropoutMask) -> Result<Tensor> {
    x.contiguous()?.apply_op1(Dropout { mask })
}

struct Dropout {
    mask: DropoutMask,
}

impl CustomOp1 for Dropout {
    fn name(&self) -> &'static str {
        "dropout"
    }

    fn cpu_fwd(&self, storage: &CpuStorage, layout: &Layout) -> Result<(CpuStorage, Shape)> {
        let output = match storage.dtype() {
            DType::F32 => masked::<f32>(storage, layout, self.mask)?,
            DType::F64 => masked::<f64>(storage, layout, self.mask)?,
            dtype => return Err(unsupported_dtype("dropout", dtype)),
        };
        Ok((output, layout.shape().clone()))
    }

    fn bwd(&self, _: &Tensor, _: &Tensor, grad: &Tensor) -> Result<Option<Tensor>> {
        Ok(Some(dropout(grad, self.mask)?))
    }
}

fn masked<T: WithDType>(storage: &CpuStorage, layout: &Layout, mask: DropoutMask) -> Result<CpuStorage> {
    const BLOCK: usize = 4096;
    /// Multiply-adds that a mask element costs, about.
    const COST: usize = 8;
    let x = contiguous_slice::<T>(storage, layout)?;
    let mut output = vec![T::zero(); x.len()];
    cpu::for_each_chunk(&mut output, BLOCK, COST * x.len(), |block, out| {
        let first = block * BLOCK;
        for (i, (out, &x)) in out.iter_mut().zip(&x[first..]).enumerate() {
            *out = x * T::from_f64(mask.factor((first + i) as u64));
        }
    });
    Ok(T::to_cpu_storage_owned(output))
}
