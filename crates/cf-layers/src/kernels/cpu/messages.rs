//! Passes over the channels of one edge of a graph, for the softmax aggregation of messages.

use super::element::Element;
use super::vectorised::vectorised;

/// Added to each message, as published.
const FLOOR: f64 = 1e-7;

/// `relu(x)`, and a floor. NaN stays NaN.
#[inline(always)]
fn message<T: Element>(x: T) -> T {
    T::from_f64(FLOOR) + if x < T::zero() { T::zero() } else { x }
}

/// What a node sends to is known of: its output, the log of its sum of exponentials, and the gradient of the output.
#[derive(Debug, Clone, Copy)]
pub(in crate::kernels) struct Target<'a, T> {
    pub(in crate::kernels) output: &'a [T],
    pub(in crate::kernels) log_sum: &'a [T],
    pub(in crate::kernels) grad: &'a [T],
}

vectorised! {
    /// The larger of what is there and the score `t m` of a message.
    pub(in crate::kernels) fn raise_to_score<T: Element>(largest: &mut [T], x: &[T], t: T) -> () {
        for (largest, &x) in largest.iter_mut().zip(x) {
            let score = t * message(x);
            *largest = if score > *largest { score } else { *largest };
        }
    }

    /// Adds a message to the weighted sum, and its weight `exp(t m - largest)` to the total.
    pub(in crate::kernels) fn add_message<T: Element>(sum: &mut [T], total: &mut [T], largest: &[T], x: &[T], t: T) -> () {
        for (((sum, total), &largest), &x) in sum.iter_mut().zip(total).zip(largest).zip(x) {
            let message = message(x);
            let weight = t.fused(message, -largest).fast_exp();
            *total += weight;
            *sum = weight.fused(message, *sum);
        }
    }

    /// Adds the gradient that comes back from one target, before that of the messages' ReLU, and the parts of that of `t`.
    pub(in crate::kernels) fn add_gradient<T: Element>(dx: &mut [T], dt: &mut [T], x: &[T], target: Target<'_, T>, t: T) -> () {
        let known = target.output.iter().zip(target.log_sum).zip(target.grad);
        for (((dx, dt), &x), ((&output, &log_sum), &grad)) in dx.iter_mut().zip(dt).zip(x).zip(known) {
            let message = message(x);
            let weighted = grad * t.fused(message, -log_sum).fast_exp();
            let apart = message - output;
            *dx = weighted.fused(t.fused(apart, T::one()), *dx);
            *dt = (weighted * message).fused(apart, *dt);
        }
    }

    /// Takes away the gradient of messages that their ReLU cut off.
    pub(in crate::kernels) fn cut_off<T: Element>(dx: &mut [T], x: &[T]) -> () {
        for (dx, &x) in dx.iter_mut().zip(x) {
            *dx = if x <= T::zero() { T::zero() } else { *dx };
        }
    }
}
