//! Activations over runs of values, and the gradient through each from what came out of it.

use super::element::Element;
use super::vectorised::vectorised;

/// `1 / (1 + exp(-x))`.
#[inline(always)]
fn sigmoid<T: Element>(x: T) -> T {
    T::one() / (T::one() + (-x).fast_exp())
}

vectorised! {
    /// `max(x, 0)` in place. NaN stays NaN.
    pub(in crate::kernels) fn relu<T: Element>(values: &mut [T]) -> () {
        for x in values {
            *x = if *x < T::zero() { T::zero() } else { *x };
        }
    }

    /// The gradient before [`relu`], whose output was `y`: none where it was cut off.
    pub(in crate::kernels) fn relu_gradient<T: Element>(before: &mut [T], y: &[T], grad: &[T]) -> () {
        for ((before, &y), &grad) in before.iter_mut().zip(y).zip(grad) {
            *before = if y <= T::zero() { T::zero() } else { grad };
        }
    }

    /// `tanh(x)` in place.
    pub(in crate::kernels) fn tanh<T: Element>(values: &mut [T]) -> () {
        for x in values {
            *x = (*x).fast_tanh();
        }
    }

    /// The gradient before [`tanh`], whose output was `y`.
    pub(in crate::kernels) fn tanh_gradient<T: Element>(before: &mut [T], y: &[T], grad: &[T]) -> () {
        for ((before, &y), &grad) in before.iter_mut().zip(y).zip(grad) {
            *before = grad * (-y).fused(y, T::one());
        }
    }

    /// `tanh(a) sigmoid(b)` of the two halves of a row.
    pub(in crate::kernels) fn gate<T: Element>(output: &mut [T], a: &[T], b: &[T]) -> () {
        for ((output, &a), &b) in output.iter_mut().zip(a).zip(b) {
            *output = a.fast_tanh() * sigmoid(b);
        }
    }

    /// The gradients of [`gate`] by both halves.
    pub(in crate::kernels) fn gate_gradient<T: Element>(da: &mut [T], db: &mut [T], halves: (&[T], &[T]), grad: &[T]) -> () {
        let (a, b) = halves;
        for ((((da, db), &a), &b), &grad) in da.iter_mut().zip(db).zip(a).zip(b).zip(grad) {
            let (t, s) = (a.fast_tanh(), sigmoid(b));
            *da = grad * s * (-t).fused(t, T::one());
            *db = grad * t * s * (T::one() - s);
        }
    }
}
