//! An Adam step over one block.

use super::super::AdamStep;
use super::element::Element;
use super::vectorised::vectorised;

/// An [`AdamStep`] as its loop takes it.
#[derive(Debug, Clone, Copy)]
pub(in crate::kernels) struct Coefficients<T> {
    /// What is kept of each moment, and what is taken of the gradient or its square.
    first: [T; 2],
    second: [T; 2],
    decay: T,
    /// The learning rate over the bias of the first moment, and one over the root of that of the second.
    rate: T,
    root: T,
    eps: T,
}

impl<T: Element> Coefficients<T> {
    pub(in crate::kernels) fn of(step: AdamStep) -> Self {
        let AdamStep { learning_rate, beta_1, beta_2, eps, weight_decay, n_steps } = step;
        let bias = |beta: f64| 1.0 - beta.powf(n_steps as f64);
        let parts = |beta: f64| [T::from_f64(beta), T::from_f64(1.0 - beta)];
        Self {
            first: parts(beta_1),
            second: parts(beta_2),
            decay: T::from_f64(weight_decay),
            rate: T::from_f64(learning_rate / bias(beta_1)),
            root: T::from_f64(1.0 / bias(beta_2).sqrt()),
            eps: T::from_f64(eps),
        }
    }
}

vectorised! {
    /// With `g' = g + decay p`: `m = kept m + new g'`, `v = kept v + new g'^2`, `p = p - rate m / (root sqrt(v) + eps)`.
    pub(in crate::kernels) fn step<T: Element>(p: &mut [T], m: &mut [T], v: &mut [T], g: &[T], by: Coefficients<T>) -> () {
        let ([kept, new], [kept_square, new_square]) = (by.first, by.second);
        for (((p, m), v), &g) in p.iter_mut().zip(m).zip(v).zip(g) {
            let g = g + by.decay * *p;
            *m = kept * *m + new * g;
            *v = kept_square * *v + new_square * (g * g);
            *p -= by.rate * *m / (by.root * v.sqrt() + by.eps);
        }
    }
}
