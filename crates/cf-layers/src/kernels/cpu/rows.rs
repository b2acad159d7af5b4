//! Passes over one row or run of values, vectorised.
//!
//! A sum is kept in [`LANES`] parts that are added at the end: sums then vectorise, and round alike on every CPU with fused
//! multiply-add, whatever the width of its vectors.

use super::element::Element;
use super::vectorised::vectorised;
use crate::kernels::dropout::Drops;

/// Partial sums of a loop.
const LANES: usize = 32;

/// The sum of partial sums, a power of two of them, and of what is left over.
#[inline(always)]
pub(super) fn sum_lanes<T: Element, const N: usize>(mut lanes: [T; N], rest: T) -> T {
    let mut width = N / 2;
    while width > 0 {
        for lane in 0..width {
            lanes[lane] += lanes[lane + width];
        }
        width /= 2;
    }
    lanes[0] + rest
}

vectorised! {
    /// Replaces each score `x` by `exp(x * scale - shift)`.
    pub(in crate::kernels) fn exp_of_scores<T: Element>(scores: &mut [T], scale: T, shift: T) -> () {
        for x in scores {
            *x = (*x).fused(scale, -shift).fast_exp();
        }
    }

    /// Multiplies each value by the factor of a dropout site on elements `first ..`.
    pub(in crate::kernels) fn apply_drops<T: Element>(row: &mut [T], drops: Drops<T>, first: u64) -> () {
        for (x, index) in row.iter_mut().zip(first..) {
            *x = if drops.drops(index) { T::zero() } else { *x * drops.kept };
        }
    }

    /// `x * Phi(x)`, times the factors of a dropout site on elements `first ..`.
    pub(in crate::kernels) fn gelu<T: Element>(output: &mut [T], x: &[T], drops: Option<Drops<T>>, first: u64) -> () {
        let (half, root) = (T::from_f64(0.5), T::from_f64(std::f64::consts::FRAC_1_SQRT_2));
        for (output, &x) in output.iter_mut().zip(x) {
            *output = x * half.fused((x * root).fast_erf(), half);
        }
        if let Some(drops) = drops {
            for (output, index) in output.iter_mut().zip(first..) {
                *output = if drops.drops(index) { T::zero() } else { *output * drops.kept };
            }
        }
    }

    /// Multiplies each gradient by that of [`gelu`], `factor * (Phi(x) + x * phi(x))`.
    pub(in crate::kernels) fn gelu_gradient<T: Element>(grad: &mut [T], x: &[T], drops: Option<Drops<T>>, first: u64) -> () {
        let (half, root) = (T::from_f64(0.5), T::from_f64(std::f64::consts::FRAC_1_SQRT_2));
        let density_at_zero = T::from_f64(1.0 / std::f64::consts::TAU.sqrt());
        for (grad, &x) in grad.iter_mut().zip(x) {
            let density = density_at_zero * (-half * x * x).fast_exp();
            *grad *= x.fused(density, half.fused((x * root).fast_erf(), half));
        }
        if let Some(drops) = drops {
            for (grad, index) in grad.iter_mut().zip(first..) {
                *grad = if drops.drops(index) { T::zero() } else { *grad * drops.kept };
            }
        }
    }

    /// The sum of values.
    pub(in crate::kernels) fn sum<T: Element>(row: &[T]) -> T {
        let (blocks, rest) = row.as_chunks::<LANES>();
        let mut lanes = [T::zero(); LANES];
        for block in blocks {
            for (lane, &x) in lanes.iter_mut().zip(block) {
                *lane += x;
            }
        }
        sum_lanes(lanes, rest.iter().fold(T::zero(), |sum, &x| sum + x))
    }

    /// The sum of squared distances from `centre`.
    pub(in crate::kernels) fn sum_of_squares<T: Element>(row: &[T], centre: T) -> T {
        let (blocks, rest) = row.as_chunks::<LANES>();
        let mut lanes = [T::zero(); LANES];
        for block in blocks {
            for (lane, &x) in lanes.iter_mut().zip(block) {
                *lane = (x - centre).fused(x - centre, *lane);
            }
        }
        sum_lanes(lanes, rest.iter().fold(T::zero(), |sum, &x| (x - centre).fused(x - centre, sum)))
    }

    /// The sum of products.
    pub(in crate::kernels) fn dot<T: Element>(a: &[T], b: &[T]) -> T {
        let ((a, a_rest), (b, b_rest)) = (a.as_chunks::<LANES>(), b.as_chunks::<LANES>());
        let mut lanes = [T::zero(); LANES];
        for (a, b) in a.iter().zip(b) {
            for ((lane, &a), &b) in lanes.iter_mut().zip(a).zip(b) {
                *lane = a.fused(b, *lane);
            }
        }
        sum_lanes(lanes, a_rest.iter().zip(b_rest).fold(T::zero(), |sum, (&a, &b)| a.fused(b, sum)))
    }

    /// Multiplies by one factor.
    pub(in crate::kernels) fn scale<T: Element>(row: &mut [T], factor: T) -> () {
        for x in row {
            *x *= factor;
        }
    }

    /// Adds to each value that of another row.
    pub(in crate::kernels) fn add<T: Element>(total: &mut [T], other: &[T]) -> () {
        for (total, &x) in total.iter_mut().zip(other) {
            *total += x;
        }
    }

    /// Adds to each value those of another row times a factor.
    pub(in crate::kernels) fn add_scaled<T: Element>(total: &mut [T], x: &[T], factor: T) -> () {
        for (total, &x) in total.iter_mut().zip(x) {
            *total = x.fused(factor, *total);
        }
    }

    /// Adds to each value those of four rows times a factor each.
    pub(in crate::kernels) fn add_four_scaled<T: Element>(total: &mut [T], x: [&[T]; 4], factors: [T; 4]) -> () {
        let [a, b, c, d] = x;
        for ((((total, &a), &b), &c), &d) in total.iter_mut().zip(a).zip(b).zip(c).zip(d) {
            let sum = b.fused(factors[1], a.fused(factors[0], *total));
            *total = d.fused(factors[3], c.fused(factors[2], sum));
        }
    }

    /// Adds to each value the product of two others.
    pub(in crate::kernels) fn multiply_add<T: Element>(total: &mut [T], a: &[T], b: &[T]) -> () {
        for ((total, &a), &b) in total.iter_mut().zip(a).zip(b) {
            *total = a.fused(b, *total);
        }
    }
}
