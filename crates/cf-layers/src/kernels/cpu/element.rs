//! The floats that the loops work on.

use candle_core::{CpuStorage, WithDType};
use num_traits::Float;

use super::vector_math;

/// A float with the elementary functions that the kernels need, in a form that vectorises for f32. f64 serves gradient
/// checks and comparisons and takes the standard library's.
pub(in crate::kernels) trait Element: WithDType + Float + Default {
    /// `exp(self)`.
    fn fast_exp(self) -> Self;

    /// The error function.
    fn fast_erf(self) -> Self;

    /// The hyperbolic tangent.
    fn fast_tanh(self) -> Self;

    /// `self * a + b` in one rounding.
    fn fused(self, a: Self, b: Self) -> Self;

    /// The values of a storage of this type.
    fn values_mut(storage: &mut CpuStorage) -> Option<&mut [Self]>;
}

impl Element for f32 {
    #[inline(always)]
    fn fast_exp(self) -> Self {
        vector_math::exp(self)
    }

    #[inline(always)]
    fn fast_erf(self) -> Self {
        vector_math::erf(self)
    }

    #[inline(always)]
    fn fast_tanh(self) -> Self {
        vector_math::tanh(self)
    }

    #[inline(always)]
    fn fused(self, a: Self, b: Self) -> Self {
        self.mul_add(a, b)
    }

    fn values_mut(storage: &mut CpuStorage) -> Option<&mut [Self]> {
        match storage {
            CpuStorage::F32(values) => Some(values),
            _ => None,
        }
    }
}

impl Element for f64 {
    #[inline(always)]
    fn fast_exp(self) -> Self {
        self.exp()
    }

    #[inline(always)]
    fn fast_erf(self) -> Self {
        libm::erf(self)
    }

    #[inline(always)]
    fn fast_tanh(self) -> Self {
        self.tanh()
    }

    #[inline(always)]
    fn fused(self, a: Self, b: Self) -> Self {
        self.mul_add(a, b)
    }

    fn values_mut(storage: &mut CpuStorage) -> Option<&mut [Self]> {
        match storage {
            CpuStorage::F64(values) => Some(values),
            _ => None,
        }
    }
}
