//! The three products of a linear layer.

use super::element::Element;
use super::matmul::{Matrix, MatrixMut, Write, multiply_in_parallel};
use super::{for_each_chunk, map_indices, rows};
use crate::kernels::linear::LinearShape;

/// Rows per partial sum of the bias gradient; fixed, so that its rounding does not depend on the number of threads.
const ROWS_PER_PARTIAL: usize = 256;

pub(in crate::kernels) fn forward<T: Element>(
    shape: LinearShape,
    x: &[T],
    weight: &[T],
    bias: &[T],
) -> Vec<T> {
    let LinearShape { n, d_in, d_out } = shape;
    let mut output = vec![T::zero(); n * d_out];
    for_each_chunk(&mut output, ROWS_PER_PARTIAL * d_out, n * d_out, |_, rows| {
        rows.chunks_mut(d_out).for_each(|row| row.copy_from_slice(bias));
    });
    multiply_in_parallel(
        MatrixMut::new(&mut output, n, d_out, d_out),
        Write::Accumulate,
        Matrix::new(x, n, d_in, d_in),
        Matrix::new(weight, d_out, d_in, d_in).transposed(),
    );
    output
}

pub(in crate::kernels) fn input_gradient<T: Element>(shape: LinearShape, weight: &[T], grad: &[T]) -> Vec<T> {
    let LinearShape { n, d_in, d_out } = shape;
    let mut dx = vec![T::zero(); n * d_in];
    multiply_in_parallel(
        MatrixMut::new(&mut dx, n, d_in, d_in),
        Write::Overwrite,
        Matrix::new(grad, n, d_out, d_out),
        Matrix::new(weight, d_out, d_in, d_in),
    );
    dx
}

pub(in crate::kernels) fn weight_gradient<T: Element>(shape: LinearShape, x: &[T], grad: &[T]) -> Vec<T> {
    let LinearShape { n, d_in, d_out } = shape;
    let mut dweight = vec![T::zero(); d_out * d_in];
    multiply_in_parallel(
        MatrixMut::new(&mut dweight, d_out, d_in, d_in),
        Write::Overwrite,
        Matrix::new(grad, n, d_out, d_out).transposed(),
        Matrix::new(x, n, d_in, d_in),
    );
    dweight
}

pub(in crate::kernels) fn bias_gradient<T: Element>(shape: LinearShape, grad: &[T]) -> Vec<T> {
    let LinearShape { n, d_out, .. } = shape;
    let block = ROWS_PER_PARTIAL * d_out;
    let partials = map_indices(n.div_ceil(ROWS_PER_PARTIAL), n * d_out, |index| {
        let mut total = vec![T::zero(); d_out];
        for row in grad[index * block..grad.len().min((index + 1) * block)].chunks(d_out) {
            rows::add(&mut total, row);
        }
        total
    });
    let mut total = vec![T::zero(); d_out];
    partials.iter().for_each(|partial| rows::add(&mut total, partial));
    total
}
