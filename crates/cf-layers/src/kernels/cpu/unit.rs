//! What one step along the inner dimension of a product holds: a number, or two narrow ones.

use super::element::Element;
use super::tile::Job;

/// A step of a product's inner dimension. Operands are packed into units; sums are kept in [`Unit::Sum`].
pub(in crate::kernels) trait Unit: Copy + Default + Send + Sync + 'static {
    /// The numbers before they are packed, and the sums.
    type Sum: Element;

    /// Numbers in a unit.
    const NUMBERS: usize;

    /// The numbers as units, if they are packed as they are.
    fn of_numbers(_: &[Self::Sum]) -> Option<&[Self]> {
        None
    }

    /// Whether numbers are packed as they are.
    fn is_exact() -> bool {
        Self::of_numbers(&[]).is_some()
    }

    /// A unit of the numbers that `number` gives for `0..NUMBERS`.
    fn pack(number: impl FnMut(usize) -> Self::Sum) -> Self;

    /// `sum` plus the products of the numbers of both units, in order.
    fn multiply_add(self, other: Self, sum: Self::Sum) -> Self::Sum;

    /// Runs `job` by instructions that only some processors have, and says whether this one does.
    ///
    /// # Safety
    /// As [`Job`] demands.
    #[expect(unsafe_code, reason = "a job holds raw pointers")]
    // SAFETY: what the documentation demands.
    unsafe fn run_wide(job: Job<Self>) -> bool;
}

impl Unit for f32 {
    type Sum = Self;
    const NUMBERS: usize = 1;

    fn of_numbers(numbers: &[Self]) -> Option<&[Self]> {
        Some(numbers)
    }

    #[inline(always)]
    fn pack(mut number: impl FnMut(usize) -> Self) -> Self {
        number(0)
    }

    #[inline(always)]
    fn multiply_add(self, other: Self, sum: Self) -> Self {
        self.fused(other, sum)
    }

    #[expect(unsafe_code, reason = "a job holds raw pointers")]
    // SAFETY: as the trait demands.
    unsafe fn run_wide(job: Job<Self>) -> bool {
        // SAFETY: passed on.
        unsafe { super::tile::avx512::run_f32(job) }
    }
}

/// An f32 that was rounded to bf16 when it was packed.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
#[repr(transparent)]
pub(in crate::kernels) struct Rounded(f32);

impl Unit for Rounded {
    type Sum = f32;
    const NUMBERS: usize = 1;

    #[inline(always)]
    fn pack(mut number: impl FnMut(usize) -> f32) -> Self {
        Self(f32::from_bits(Bf16Pair::round(number(0)) << 16))
    }

    #[inline(always)]
    fn multiply_add(self, other: Self, sum: f32) -> f32 {
        self.0.fused(other.0, sum)
    }

    #[expect(unsafe_code, reason = "a job holds raw pointers")]
    // SAFETY: as the trait demands.
    unsafe fn run_wide(job: Job<Self>) -> bool {
        // SAFETY: passed on; `Rounded` lies in memory as the f32 that it is.
        unsafe { super::tile::avx512::run_f32(job.cast()) }
    }
}

/// Whether this processor multiplies pairs of bf16 faster than single numbers: AMD's do, twice as fast. Intel's take four times as
/// long for a vector of pairs as for one of f32, so that [`Rounded`] is faster there.
pub(in crate::kernels) fn pairs_are_fast() -> bool {
    #[cfg(target_arch = "x86_64")]
    {
        use std::sync::LazyLock;
        static FAST: LazyLock<bool> = LazyLock::new(|| {
            let vendor = std::arch::x86_64::__cpuid(0);
            let is_amd =
                [vendor.ebx, vendor.edx, vendor.ecx].map(u32::to_le_bytes).concat() == *b"AuthenticAMD";
            is_amd && is_x86_feature_detected!("avx512f") && is_x86_feature_detected!("avx512bf16")
        });
        *FAST
    }
    #[cfg(not(target_arch = "x86_64"))]
    false
}

impl Unit for f64 {
    type Sum = Self;
    const NUMBERS: usize = 1;

    fn of_numbers(numbers: &[Self]) -> Option<&[Self]> {
        Some(numbers)
    }

    #[inline(always)]
    fn pack(mut number: impl FnMut(usize) -> Self) -> Self {
        number(0)
    }

    #[inline(always)]
    fn multiply_add(self, other: Self, sum: Self) -> Self {
        self.fused(other, sum)
    }

    #[expect(unsafe_code, reason = "a job holds raw pointers")]
    // SAFETY: as the trait demands.
    unsafe fn run_wide(_: Job<Self>) -> bool {
        false
    }
}

/// Two bf16 numbers: the first in the lower half. Products of a pair are summed in f32.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[repr(transparent)]
pub(in crate::kernels) struct Bf16Pair(pub(super) u32);

impl Bf16Pair {
    /// The upper half of an f32 whose lower half is rounded to nearest, ties to even; NaN stays NaN.
    #[inline(always)]
    fn round(number: f32) -> u32 {
        let bits = number.to_bits();
        let rounded = bits.wrapping_add(0x7fff + ((bits >> 16) & 1)) >> 16;
        if number.is_nan() { (bits >> 16) | 0x40 } else { rounded }
    }

    #[inline(always)]
    fn first(self) -> f32 {
        f32::from_bits(self.0 << 16)
    }

    #[inline(always)]
    fn second(self) -> f32 {
        f32::from_bits(self.0 & 0xffff_0000)
    }
}

impl Unit for Bf16Pair {
    type Sum = f32;
    const NUMBERS: usize = 2;

    #[inline(always)]
    fn pack(mut number: impl FnMut(usize) -> f32) -> Self {
        Self(Self::round(number(0)) | Self::round(number(1)) << 16)
    }

    #[inline(always)]
    fn multiply_add(self, other: Self, sum: f32) -> f32 {
        self.second().fused(other.second(), self.first().fused(other.first(), sum))
    }

    #[expect(unsafe_code, reason = "a job holds raw pointers")]
    // SAFETY: as the trait demands.
    unsafe fn run_wide(job: Job<Self>) -> bool {
        // SAFETY: passed on.
        unsafe { super::tile::avx512::run_bf16(job) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rounding_is_that_of_the_half_crate() {
        let cases = [0.0, -0.0, 1.0, 1.003_906_2, 1.011_718_8, -3.3e38, f32::INFINITY, 1e-40, 0.1, -7.77];
        for x in cases {
            let pair = Bf16Pair::pack(|at| if at == 0 { x } else { -x });
            assert_eq!(pair.first().to_bits(), half::bf16::from_f32(x).to_f32().to_bits(), "{x}");
            assert_eq!(pair.second().to_bits(), half::bf16::from_f32(-x).to_f32().to_bits(), "-{x}");
        }
        assert!(Bf16Pair::pack(|_| f32::NAN).first().is_nan());
        assert!(Bf16Pair::pack(|_| f32::from_bits(0x7f80_0001)).second().is_nan());
    }
}
