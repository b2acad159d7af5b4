//! The passes of an Adam step over one block.

use super::element::Element;
use super::vectorised::vectorised;

vectorised! {
    /// `m = kept m + new (g + decay p)`.
    pub(in crate::kernels) fn first_moment<T: Element>(m: &mut [T], g: &[T], p: &[T], kept: T, new: T, decay: T) -> () {
        for ((m, &g), &p) in m.iter_mut().zip(g).zip(p) {
            *m = kept * *m + new * (g + decay * p);
        }
    }

    /// `v = kept v + new (g + decay p)^2`.
    pub(in crate::kernels) fn second_moment<T: Element>(v: &mut [T], g: &[T], p: &[T], kept: T, new: T, decay: T) -> () {
        for ((v, &g), &p) in v.iter_mut().zip(g).zip(p) {
            let g = g + decay * p;
            *v = kept * *v + new * (g * g);
        }
    }

    /// `p = p - rate m / (root sqrt(v) + eps)`.
    pub(in crate::kernels) fn update<T: Element>(p: &mut [T], m: &[T], v: &[T], rate: T, root: T, eps: T) -> () {
        for ((p, &m), &v) in p.iter_mut().zip(m).zip(v) {
            *p -= rate * m / (root * v.sqrt() + eps);
        }
    }
}
