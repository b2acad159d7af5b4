//! Dropout whose mask is a function of (key, element), so that nothing is stored and nothing depends on threads.

use candle_core::backend::BackendStorage;
use candle_core::{CpuStorage, CustomOp1, CustomOp2, DType, Error, Layout, Result, Shape, Tensor};

use super::cpu::element::Element;
#[cfg(feature = "cuda")]
use super::cuda;
use super::{contiguous_slice, cpu, reference, unsupported_dtype};
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
        let drops = self.drops::<f64>();
        if drops.drops(index) { 0.0 } else { drops.kept }
    }

    /// The same in the form that loops want.
    pub(super) fn drops<T: Element>(&self) -> Drops<T> {
        let threshold = (self.p * (1_u64 << 53) as f64).ceil() as u64;
        Drops { key: self.key, threshold, kept: T::from_f64(1.0 / (1.0 - self.p)) }
    }
}

/// A [`DropoutMask`] ready for a loop over floats of one type.
#[derive(Debug, Clone, Copy)]
pub(super) struct Drops<T> {
    key: u64,
    /// Draws of 53 bits below this are dropped.
    threshold: u64,
    /// The factor on what is kept.
    pub(super) kept: T,
}

impl<T> Drops<T> {
    /// Hashes below this are dropped: the threshold of draws where hashes have 64 bits.
    #[cfg(feature = "cuda")]
    pub(super) fn limit(&self) -> u64 {
        self.threshold << 11
    }

    /// Whether element `index` is zeroed: the upper 53 bits of a hash are a uniform draw.
    #[inline(always)]
    pub(super) fn drops(&self, index: u64) -> bool {
        split_mix(self.key ^ index) >> 11 < self.threshold
    }
}

/// Zeroes each element of `x` with probability `mask.p` and scales the rest by `1 / (1 - p)`.
///
/// # Errors
/// If `x` is neither f32 nor f64, or lies on a device without this kernel.
pub fn dropout(x: &Tensor, mask: DropoutMask) -> Result<Tensor> {
    if reference::are_active() {
        return reference::dropout(x, mask);
    }
    #[cfg(feature = "cuda")]
    if cuda::serves(x) {
        return cuda::rows::dropout(&x.contiguous()?, mask);
    }
    x.contiguous()?.apply_op1(Dropout { mask })
}

/// `base + dropout(x)` in one pass: the end of a sub-layer. Without a mask it is their sum.
///
/// - `base`, `x`: of one shape.
///
/// # Errors
/// If the shapes differ, or the tensors are neither f32 nor f64.
pub fn add_dropped(base: &Tensor, x: &Tensor, mask: Option<DropoutMask>) -> Result<Tensor> {
    if base.shape() != x.shape() {
        return Err(Error::Msg(format!("sum of {:?} and {:?}", base.dims(), x.dims())));
    }
    match mask {
        None => base + x,
        Some(mask) if reference::are_active() => base + reference::dropout(x, mask)?,
        #[cfg(feature = "cuda")]
        Some(mask) if cuda::serves(x) => cuda::rows::add_dropped(&base.contiguous()?, &x.contiguous()?, mask),
        Some(mask) => base.contiguous()?.apply_op2(&x.contiguous()?, AddDropped { mask }),
    }
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
            DType::F32 => CpuStorage::F32(masked(contiguous_slice(storage, layout)?, self.mask)),
            DType::F64 => CpuStorage::F64(masked(contiguous_slice(storage, layout)?, self.mask)),
            dtype => return Err(unsupported_dtype("dropout", dtype)),
        };
        Ok((output, layout.shape().clone()))
    }

    fn bwd(&self, _: &Tensor, _: &Tensor, grad: &Tensor) -> Result<Option<Tensor>> {
        Ok(Some(dropout(grad, self.mask)?))
    }
}

struct AddDropped {
    mask: DropoutMask,
}

impl CustomOp2 for AddDropped {
    fn name(&self) -> &'static str {
        "add_dropped"
    }

    fn cpu_fwd(
        &self,
        base: &CpuStorage,
        base_layout: &Layout,
        x: &CpuStorage,
        x_layout: &Layout,
    ) -> Result<(CpuStorage, Shape)> {
        let output = match x.dtype() {
            DType::F32 => {
                added::<f32>(contiguous_slice(base, base_layout)?, contiguous_slice(x, x_layout)?, self.mask)
            }
            DType::F64 => {
                added::<f64>(contiguous_slice(base, base_layout)?, contiguous_slice(x, x_layout)?, self.mask)
            }
            dtype => return Err(unsupported_dtype("add_dropped", dtype)),
        };
        Ok((output, x_layout.shape().clone()))
    }

    fn bwd(
        &self,
        _: &Tensor,
        _: &Tensor,
        _: &Tensor,
        grad: &Tensor,
    ) -> Result<(Option<Tensor>, Option<Tensor>)> {
        Ok((Some(grad.clone()), Some(dropout(grad, self.mask)?)))
    }
}

const BLOCK: usize = 4096;
/// Multiply-adds that a mask element costs, about.
const COST: usize = 8;

/// [`dropout`] of values on the CPU.
pub(super) fn masked<T: Element>(x: &[T], mask: DropoutMask) -> Vec<T> {
    cpu::filled(x.len(), BLOCK, COST * x.len(), |block, output: &mut [T]| {
        let first = block * BLOCK;
        output.copy_from_slice(&x[first..first + output.len()]);
        cpu::rows::apply_drops(output, mask.drops(), first as u64);
    })
}

fn added<T: Element>(base: &[T], x: &[T], mask: DropoutMask) -> CpuStorage {
    let output = cpu::filled(x.len(), BLOCK, COST * x.len(), |block, output: &mut [T]| {
        let first = block * BLOCK;
        let range = first..first + output.len();
        output.copy_from_slice(&x[range.clone()]);
        cpu::rows::apply_drops(output, mask.drops(), first as u64);
        cpu::rows::add(output, &base[range]);
    });
    T::to_cpu_storage_owned(output)
}
