//! The steps of an iterative pseudo-inverse and their gradient, a head at a time.

use super::element::Element;
use super::map_indices;
use super::panels::{Window, pack_columns, pack_panels, pack_rows, pack_transposed};
use super::tile::{COLUMNS, MatrixMut, Right, Write, multiply};
use super::unit::Unit;

/// Numbers of the inner dimension per pass.
const STEPS: usize = 256;

/// A side of a product of square matrices.
#[derive(Clone, Copy)]
enum Side<'a, T> {
    Plain(&'a [T]),
    Transposed(&'a [T]),
}
use Side::{Plain, Transposed};

/// What a step leaves for its gradient: its matrix, `P = A Z` and the two inner brackets.
pub(in crate::kernels) struct Step<T> {
    z: Vec<T>,
    p: Vec<T>,
    second: Vec<T>,
    third: Vec<T>,
}

/// The steps of each head.
pub(in crate::kernels) type Steps<T> = Vec<Vec<Step<T>>>;

/// Products of `m x m` matrices, one after the other, and the memory that they pack their sides into.
struct Products<U> {
    m: usize,
    lefts: Vec<U>,
    rights: Vec<U>,
}

impl<U: Unit> Products<U> {
    fn new(m: usize) -> Self {
        let n_panels = m.div_ceil(COLUMNS);
        Self { m, lefts: Vec::new(), rights: vec![U::default(); n_panels * STEPS.min(m) * COLUMNS] }
    }

    /// `left right`.
    fn product(&mut self, left: Side<'_, U::Sum>, right: Side<'_, U::Sum>) -> Vec<U::Sum> {
        let Self { m, lefts, rights } = self;
        let m = *m;
        let whole = |values| Window::new(values, m, m, m);
        let mut output = vec![num_traits::Zero::zero(); m * m];
        let n_panels = m.div_ceil(COLUMNS);
        for first in (0..m).step_by(STEPS) {
            let n = STEPS.min(m - first);
            let panel_stride = n * COLUMNS;
            match right {
                Plain(values) => {
                    pack_panels(whole(values).rows(first, n), &mut rights[..n_panels * panel_stride])
                }
                Transposed(values) => {
                    for (panel, output) in rights.chunks_mut(panel_stride).take(n_panels).enumerate() {
                        let (row, rows) = (panel * COLUMNS, COLUMNS.min(m - panel * COLUMNS));
                        pack_transposed(whole(values).columns(first, n).rows(row, rows), output);
                    }
                }
            }
            let left = match left {
                Plain(values) => pack_rows(whole(values).columns(first, n), lefts),
                Transposed(values) => pack_columns(whole(values).rows(first, n), lefts),
            };
            let right = Right { values: rights, n_steps: n, n_columns: m, panel_stride };
            multiply(MatrixMut::new(&mut output, m, m, m), Write::Accumulate, left, right);
        }
        output
    }
}

/// `diagonal I - x`, in place.
fn subtract_from_identity<T: Element>(m: usize, diagonal: f64, x: &mut [T]) {
    x.iter_mut().for_each(|x| *x = -*x);
    x.iter_mut().step_by(m + 1).for_each(|x| *x += T::from_f64(diagonal));
}

fn subtract<T: Element>(total: &mut [T], other: &[T]) {
    total.iter_mut().zip(other).for_each(|(total, &x)| *total -= x);
}

fn scaled<T: Element>(mut x: Vec<T>, factor: f64) -> Vec<T> {
    super::rows::scale(&mut x, T::from_f64(factor));
    x
}

/// The first bracket, `7 I - P`.
fn first_bracket<T: Element>(m: usize, p: &[T]) -> Vec<T> {
    let mut first = p.to_vec();
    subtract_from_identity(m, 7.0, &mut first);
    first
}

/// The last `Z` of each head, one after the other, and the steps of each head.
pub(in crate::kernels) fn forward<U: Unit>(
    m: usize,
    n_steps: usize,
    a: &[U::Sum],
    z: &[U::Sum],
) -> (Vec<U::Sum>, Steps<U::Sum>) {
    let n_heads = a.len() / (m * m);
    let head = |index: usize| {
        let part = index * m * m..(index + 1) * m * m;
        let (a, mut z) = (&a[part.clone()], z[part].to_vec());
        let mut steps = Vec::with_capacity(n_steps);
        let mut products = Products::<U>::new(m);
        for _ in 0..n_steps {
            let p = products.product(Plain(a), Plain(&z));
            let mut second = products.product(Plain(&p), Plain(&first_bracket(m, &p)));
            subtract_from_identity(m, 15.0, &mut second);
            let mut third = products.product(Plain(&p), Plain(&second));
            subtract_from_identity(m, 13.0, &mut third);
            let next = scaled(products.product(Plain(&z), Plain(&third)), 0.25);
            steps.push(Step { z: std::mem::replace(&mut z, next), p, second, third });
        }
        (z, steps)
    };
    let (inverses, steps): (Vec<_>, Vec<_>) =
        map_indices(n_heads, 4 * n_steps * n_heads * m * m * m, head).into_iter().unzip();
    (inverses.concat(), steps)
}

/// The gradients of `a` and of the first `z`.
pub(in crate::kernels) fn backward<U: Unit>(
    m: usize,
    a: &[U::Sum],
    steps: &[Vec<Step<U::Sum>>],
    grad: &[U::Sum],
) -> (Vec<U::Sum>, Vec<U::Sum>) {
    let head = |index: usize| {
        let part = index * m * m..(index + 1) * m * m;
        let (a, mut dz) = (&a[part.clone()], grad[part].to_vec());
        let mut da = vec![num_traits::Zero::zero(); m * m];
        let mut products = Products::<U>::new(m);
        let add = super::rows::add::<U::Sum>;
        for step in steps[index].iter().rev() {
            let Step { z, p, second, third } = step;
            // Z' = Z third / 4; third = 13 I - P second; second = 15 I - P first; first = 7 I - P; P = A Z.
            dz = scaled(dz, 0.25);
            let d_third = products.product(Transposed(z), Plain(&dz));
            let mut before = products.product(Plain(&dz), Transposed(third));
            let minus_d_second = products.product(Transposed(p), Plain(&d_third));
            let mut dp = products.product(Plain(&minus_d_second), Transposed(&first_bracket(m, p)));
            subtract(&mut dp, &products.product(Plain(&d_third), Transposed(second)));
            subtract(&mut dp, &products.product(Transposed(p), Plain(&minus_d_second)));
            add(&mut da, &products.product(Plain(&dp), Transposed(z)));
            add(&mut before, &products.product(Transposed(a), Plain(&dp)));
            dz = before;
        }
        (da, dz)
    };
    let n_heads = steps.len();
    let n_steps = steps.first().map_or(0, Vec::len);
    let (da, dz): (Vec<_>, Vec<_>) =
        map_indices(n_heads, 8 * n_steps * n_heads * m * m * m, head).into_iter().unzip();
    (da.concat(), dz.concat())
}
