//! The three products of a linear layer, in blocks that fit in the cache.

use std::borrow::Cow;

use super::element::Element;
use super::panels::{Panels, Window, interleave, n_units, pack_panel, pack_rows};
use super::tile::{COLUMNS, Left, MatrixMut, Order, Right, Write, multiply};
use super::unit::Unit;
use super::{activation, filled, for_each_chunk, map_indices, rows, weighted_sums};
use crate::kernels::linear::{Activation, LinearShape};
use crate::kernels::weighted_sums::SumsShape;

/// Rows per partial sum of the bias gradient; fixed, so that its rounding does not depend on the number of threads.
const ROWS_PER_PARTIAL: usize = 256;
/// Rows of a block of the destination: whole register tiles.
const ROWS: usize = 120;
/// Numbers of the inner dimension per pass: a panel of so many steps stays in the first-level cache.
const STEPS: usize = 256;

pub(in crate::kernels) fn forward<U: Unit>(
    shape: LinearShape,
    x: &[U::Sum],
    weight: &[U::Sum],
    bias: &[U::Sum],
) -> Vec<U::Sum> {
    forward_with::<U>(shape, x, weight, bias, Activation::Identity)
}

/// [`forward`], and an activation of each block while it is in the cache.
pub(in crate::kernels) fn forward_with<U: Unit>(
    shape: LinearShape,
    x: &[U::Sum],
    weight: &[U::Sum],
    bias: &[U::Sum],
    activation: Activation,
) -> Vec<U::Sum> {
    let LinearShape { n, d_in, d_out } = shape;
    if is_narrow::<U>(shape) {
        return forward_narrow(shape, x, weight, bias, activation);
    }
    let weight = Panels::<U>::of_rows(Window::new(weight, d_in, d_out, d_in));
    filled(n * d_out, ROWS * d_out, n * d_in * d_out, |index, output| {
        output.chunks_mut(d_out).for_each(|row| row.copy_from_slice(bias));
        let n_rows = output.len() / d_out;
        let rows = Window::new(x, d_in, n, d_in).rows(index * ROWS, n_rows);
        multiply_rows(rows, &weight, d_out, output);
        activate(activation, output);
    })
}

/// Outputs up to which packing the rows costs more than their products: scores of a bag's instances, logits.
const NARROW: usize = 8;

fn is_narrow<U: Unit>(shape: LinearShape) -> bool {
    U::EXACT && shape.d_out <= NARROW
}

fn forward_narrow<T: Element>(
    shape: LinearShape,
    x: &[T],
    weight: &[T],
    bias: &[T],
    activation: Activation,
) -> Vec<T> {
    let LinearShape { n, d_in, d_out } = shape;
    filled(n * d_out, ROWS * d_out, n * d_in * d_out, |index, output: &mut [T]| {
        for (output, x) in output.chunks_mut(d_out).zip(x.chunks(d_in).skip(index * ROWS)) {
            for ((output, weight), &bias) in output.iter_mut().zip(weight.chunks(d_in)).zip(bias) {
                *output = bias + rows::dot(x, weight);
            }
        }
        activate(activation, output);
    })
}

fn activate<T: Element>(activation: Activation, output: &mut [T]) {
    match activation {
        Activation::Identity => {}
        Activation::Relu => activation::relu(output),
        Activation::Tanh => activation::tanh(output),
    }
}

/// Values per chunk of a pass over an output.
const CHUNK: usize = 1 << 14;

/// The gradient before an activation from its output and the gradient after it.
pub(in crate::kernels) fn before_activation<'a, T: Element>(
    activation: Activation,
    output: &[T],
    grad: &'a [T],
) -> Cow<'a, [T]> {
    let through = match activation {
        Activation::Identity => return Cow::Borrowed(grad),
        Activation::Relu => activation::relu_gradient::<T>,
        Activation::Tanh => activation::tanh_gradient::<T>,
    };
    Cow::Owned(filled(grad.len(), CHUNK, grad.len(), |index, before| {
        let part = index * CHUNK..index * CHUNK + before.len();
        through(before, &output[part.clone()], &grad[part]);
    }))
}

pub(in crate::kernels) fn input_gradient<U: Unit>(
    shape: LinearShape,
    weight: &[U::Sum],
    grad: &[U::Sum],
) -> Vec<U::Sum> {
    let LinearShape { n, d_in, d_out } = shape;
    if is_narrow::<U>(shape) {
        return weighted_sums::products(SumsShape { k: d_out, n, d: d_in }, grad, weight);
    }
    let steps = Window::new(weight, d_in, d_out, d_in);
    let weight = Panels::<U>::pack(d_in.div_ceil(COLUMNS), n_units::<U>(d_out), |panel, output| {
        pack_panel(steps, panel, output);
    });
    filled(n * d_in, ROWS * d_in, n * d_in * d_out, |index, dx| {
        let n_rows = dx.len() / d_in;
        let rows = Window::new(grad, d_out, n, d_out).rows(index * ROWS, n_rows);
        multiply_rows(rows, &weight, d_in, dx);
    })
}

/// Adds the product of some rows and all of `right` to `output`, `[rows, n_columns]`.
fn multiply_rows<U: Unit>(
    rows: Window<'_, U::Sum>,
    right: &Panels<U>,
    n_columns: usize,
    output: &mut [U::Sum],
) {
    let n_rows = output.len() / n_columns;
    let mut packed = Vec::new();
    for first in (0..rows.width()).step_by(STEPS) {
        let n = STEPS.min(rows.width() - first);
        multiply(
            MatrixMut::new(output, n_rows, n_columns, n_columns),
            Write::Accumulate,
            pack_rows(rows.columns(first, n), &mut packed),
            right.right(0, n_columns, (first / U::NUMBERS, n_units::<U>(n))),
        );
    }
}

/// Most rows of a block of the weight's gradient.
const GRADIENT_ROWS: usize = 512;
/// Rows from which there are two blocks on top of each other, so that two threads have the same to do.
const HALVED_FROM: usize = 256;
/// Rows of a register tile.
const TILE: usize = 8;
/// Blocks of the weight's gradient, about: they are worked on at once, and each reads all rows of its columns.
const GRADIENT_BLOCKS: usize = 8;

pub(in crate::kernels) fn weight_gradient<U: Unit>(
    shape: LinearShape,
    x: &[U::Sum],
    grad: &[U::Sum],
) -> Vec<U::Sum> {
    let LinearShape { n, d_in, d_out } = shape;
    if is_narrow::<U>(shape) {
        return weighted_sums::forward(
            SumsShape { k: d_out, n, d: d_in },
            &weighted_sums::transposed(grad, d_out),
            x,
        );
    }
    let n_down = d_out.div_ceil(GRADIENT_ROWS);
    let n_down = if d_out < HALVED_FROM { n_down } else { n_down.next_multiple_of(2) };
    let block_rows = d_out.div_ceil(n_down).next_multiple_of(TILE);
    let block_columns = (d_in * n_down).div_ceil(GRADIENT_BLOCKS).next_multiple_of(COLUMNS);
    let n_across = d_in.div_ceil(block_columns);
    let (x, grad) = (Window::new(x, d_in, n, d_in), Window::new(grad, d_out, n, d_out));
    let blocks = map_indices(n_down * n_across, n * d_in * d_out, |index| {
        let (row, column) = (index / n_across * block_rows, index % n_across * block_columns);
        let n_rows = block_rows.min(d_out - row);
        let n_columns = block_columns.min(d_in - column);
        gradient_block::<U>(grad.columns(row, n_rows), x.columns(column, n_columns), n)
    });
    let mut dweight = vec![num_traits::Zero::zero(); d_out * d_in];
    for_each_chunk(&mut dweight, d_in, d_in * d_out, |row, dweight| {
        let first = row / block_rows * n_across;
        for (dweight, block) in dweight.chunks_mut(block_columns).zip(&blocks[first..]) {
            let start = row % block_rows * dweight.len();
            dweight.copy_from_slice(&block[start..start + dweight.len()]);
        }
    });
    dweight
}

/// `grad^T x` over `n` rows of both.
fn gradient_block<U: Unit>(grad: Window<'_, U::Sum>, x: Window<'_, U::Sum>, n: usize) -> Vec<U::Sum> {
    let (n_rows, n_columns) = (grad.width(), x.width());
    // Rows a power of two apart would share a few sets of the cache.
    let stride = n_rows + 16;
    let mut lefts = vec![U::default(); n_units::<U>(STEPS) * stride];
    let mut rights = vec![U::default(); n_columns.div_ceil(COLUMNS) * n_units::<U>(STEPS) * COLUMNS];
    let zero = vec![num_traits::Zero::zero(); n_rows];
    let mut block = vec![num_traits::Zero::zero(); n_rows * n_columns];
    for first in (0..n).step_by(STEPS) {
        let n = STEPS.min(n - first);
        let n_steps = n_units::<U>(n);
        for (step, lefts) in lefts.chunks_mut(stride).enumerate().take(n_steps) {
            let row = |at: usize| {
                let row = step * U::NUMBERS + at;
                if row < n { grad.row(first + row) } else { &zero }
            };
            interleave(row(0), row(U::NUMBERS - 1), &mut lefts[..n_rows]);
        }
        let panels = rights.chunks_mut(n_steps * COLUMNS).take(n_columns.div_ceil(COLUMNS));
        panels.enumerate().for_each(|(panel, output)| pack_panel(x.rows(first, n), panel, output));
        multiply(
            MatrixMut::new(&mut block, n_rows, n_columns, n_columns),
            Write::Accumulate,
            Left { values: &lefts, n_rows, order: Order::Steps { stride } },
            Right { values: &rights, n_steps, n_columns, panel_stride: n_steps * COLUMNS },
        );
    }
    block
}

pub(in crate::kernels) fn bias_gradient<T: super::element::Element>(
    shape: LinearShape,
    grad: &[T],
) -> Vec<T> {
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
