//! Weighted sums of rows: few sums over many rows, so that reading the rows once is what takes time.

use super::element::Element;
use super::{filled, map_indices, rows};
use crate::kernels::weighted_sums::SumsShape;

/// Rows of a partial sum; fixed, so that rounding does not depend on the number of threads.
const ROWS: usize = 512;
/// Rows that a thread takes at once where there are no partial sums.
const ROWS_AT_ONCE: usize = 64;
/// Columns of a partial sum: a few sums of so many stay in the first-level cache.
const COLUMNS: usize = 2048;

/// `weights x`.
pub(in crate::kernels) fn forward<T: Element>(shape: SumsShape, weights: &[T], x: &[T]) -> Vec<T> {
    let SumsShape { k, n, d } = shape;
    let (n_down, n_across) = (n.div_ceil(ROWS), d.div_ceil(COLUMNS));
    let partials = map_indices(n_down * n_across, k * n * d, |index| {
        let (first, column) = (index / n_across * ROWS, index % n_across * COLUMNS);
        let last = n.min(first + ROWS);
        let columns = column..d.min(column + COLUMNS);
        let mut sums = vec![T::zero(); k * columns.len()];
        let row = |row: usize| &x[row * d + columns.start..row * d + columns.end];
        for block in (first..last).step_by(4) {
            for (sum, weights) in sums.chunks_mut(columns.len()).zip(weights.chunks(n)) {
                match weights[block..last.min(block + 4)] {
                    // Selections are mostly zeros.
                    [a, b, c, d] if [a, b, c, d] == [T::zero(); 4] => {}
                    [a, b, c, d] => {
                        let x = [row(block), row(block + 1), row(block + 2), row(block + 3)];
                        rows::add_four_scaled(sum, x, [a, b, c, d]);
                    }
                    ref fewer => {
                        fewer.iter().enumerate().for_each(|(at, &weight)| {
                            rows::add_scaled(sum, row(block + at), weight);
                        });
                    }
                }
            }
        }
        sums
    });
    let mut output = vec![T::zero(); k * d];
    for (index, partial) in partials.iter().enumerate() {
        let column = index % n_across * COLUMNS;
        let width = COLUMNS.min(d - column);
        for (output, partial) in output.chunks_mut(d).zip(partial.chunks(width)) {
            rows::add(&mut output[column..column + width], partial);
        }
    }
    output
}

/// The columns of rows of `width` values, one after the other.
pub(super) fn transposed<T: Element>(values: &[T], width: usize) -> Vec<T> {
    (0..width).flat_map(|column| values.iter().skip(column).step_by(width)).copied().collect()
}

/// `left x^T` of `left` `[k, d]`: the gradient of the weights.
pub(in crate::kernels) fn dots<T: Element>(shape: SumsShape, x: &[T], left: &[T]) -> Vec<T> {
    let SumsShape { k, n, d } = shape;
    let by_row = filled(n * k, ROWS_AT_ONCE * k, k * n * d, |index, by_row| {
        for (dots, x) in by_row.chunks_mut(k).zip(x.chunks(d).skip(index * ROWS_AT_ONCE)) {
            for (dot, left) in dots.iter_mut().zip(left.chunks(d)) {
                *dot = rows::dot(left, x);
            }
        }
    });
    transposed(&by_row, k)
}

/// `weights^T grad`.
pub(in crate::kernels) fn row_gradient<T: Element>(shape: SumsShape, weights: &[T], grad: &[T]) -> Vec<T> {
    products(shape, &transposed(weights, shape.n), grad)
}

/// `factors right` of `factors` `[n, k]` and `right` `[k, d]`.
pub(in crate::kernels) fn products<T: Element>(shape: SumsShape, factors: &[T], right: &[T]) -> Vec<T> {
    let SumsShape { k, n, d } = shape;
    filled(n * d, ROWS_AT_ONCE * d, k * n * d, |index, output| {
        for (row, output) in (index * ROWS_AT_ONCE..).zip(output.chunks_mut(d)) {
            for (right, &factor) in right.chunks(d).zip(&factors[row * k..(row + 1) * k]) {
                rows::add_scaled(output, right, factor);
            }
        }
    })
}
