//! The steps of an iterative pseudo-inverse and their gradient, a head at a time.

use super::element::Element;
use super::map_indices;
use super::panels::{Window, pack_right, pack_row, pack_rows, pack_transposed};
use super::tile::{COLUMNS, Left, MatrixMut, Order, Right, Write, multiply};
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

/// `left right` of `m x m` matrices.
fn product<U: Unit>(m: usize, left: Side<'_, U::Sum>, right: Side<'_, U::Sum>) -> Vec<U::Sum> {
    let whole = |values| Window::new(values, m, m, m);
    let mut output = vec![num_traits::Zero::zero(); m * m];
    let n_panels = m.div_ceil(COLUMNS);
    let (mut lefts, mut rights) = (Vec::new(), vec![U::default(); n_panels * STEPS.min(m) * COLUMNS]);
    for first in (0..m).step_by(STEPS) {
        let n = STEPS.min(m - first);
        let panel_stride = n * COLUMNS;
        match right {
            Plain(values) => pack_right(whole(values).rows(first, n), &mut rights[..n_panels * panel_stride]),
            Transposed(values) => {
                for (panel, output) in rights.chunks_mut(panel_stride).take(n_panels).enumerate() {
                    let (row, rows) = (panel * COLUMNS, COLUMNS.min(m - panel * COLUMNS));
                    pack_transposed(whole(values).columns(first, n).rows(row, rows), output);
                }
            }
        }
        let left = match left {
            Plain(values) => pack_rows(whole(values).columns(first, n), &mut lefts),
            Transposed(values) => {
                // Rows of a transposed matrix run along columns: its steps are rows as they lie. Rows a power of two apart would
                // share a few sets of the cache.
                let stride = m + 16;
                lefts.resize(n * stride, U::default());
                for (step, output) in lefts.chunks_mut(stride).take(n).enumerate() {
                    pack_row(whole(values).row(first + step), output);
                }
                Left { values: &lefts, n_rows: m, order: Order::Steps { stride } }
            }
        };
        let right = Right { values: &rights, n_steps: n, n_columns: m, panel_stride };
        multiply(MatrixMut::new(&mut output, m, m, m), Write::Accumulate, left, right);
    }
    output
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
        for _ in 0..n_steps {
            let p = product::<U>(m, Plain(a), Plain(&z));
            let mut second = product::<U>(m, Plain(&p), Plain(&first_bracket(m, &p)));
            subtract_from_identity(m, 15.0, &mut second);
            let mut third = product::<U>(m, Plain(&p), Plain(&second));
            subtract_from_identity(m, 13.0, &mut third);
            let next = scaled(product::<U>(m, Plain(&z), Plain(&third)), 0.25);
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
        let add = super::rows::add::<U::Sum>;
        for step in steps[index].iter().rev() {
            let Step { z, p, second, third } = step;
            // Z' = Z third / 4; third = 13 I - P second; second = 15 I - P first; first = 7 I - P; P = A Z.
            dz = scaled(dz, 0.25);
            let d_third = product::<U>(m, Transposed(z), Plain(&dz));
            let mut before = product::<U>(m, Plain(&dz), Transposed(third));
            let minus_d_second = product::<U>(m, Transposed(p), Plain(&d_third));
            let mut dp = product::<U>(m, Plain(&minus_d_second), Transposed(&first_bracket(m, p)));
            subtract(&mut dp, &product::<U>(m, Plain(&d_third), Transposed(second)));
            subtract(&mut dp, &product::<U>(m, Transposed(p), Plain(&minus_d_second)));
            add(&mut da, &product::<U>(m, Plain(&dp), Transposed(z)));
            add(&mut before, &product::<U>(m, Transposed(a), Plain(&dp)));
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
