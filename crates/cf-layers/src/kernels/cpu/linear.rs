//! The three products of a linear layer, in blocks that fit in the cache.

use std::borrow::Cow;

use super::element::Element;
use super::panels::{
    Panels, Window, columns_stride, n_units, pack_columns, pack_columns_into, pack_panel, pack_right,
    pack_rows,
};
use super::tile::{COLUMNS, Left, MatrixMut, Order, TILE_ROWS, Write, multiply};
use super::unit::Unit;
use super::{activation, filled, for_each_chunk, map_indices, rows, rows_per_chunk, weighted_sums};
use crate::kernels::linear::{Activation, LinearShape};
use crate::kernels::weighted_sums::SumsShape;

/// Rows per partial sum of the bias gradient; fixed, so that its rounding does not depend on the number of threads.
const ROWS_PER_PARTIAL: usize = 256;
/// Most rows of a block of the destination: whole register tiles.
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
    if is_short::<U>(shape) {
        let mut output = weighted_sums::dots(SumsShape { k: n, n: d_out, d: d_in }, weight, x);
        output.chunks_mut(d_out).for_each(|row| rows::add(row, bias));
        activate(activation, &mut output);
        return output;
    }
    let weight = Panels::<U>::of_rows(Window::new(weight, d_in, d_out, d_in));
    let block = rows_per_chunk(n, ROWS, n * d_in * d_out);
    filled(n * d_out, block * d_out, n * d_in * d_out, |index, output| {
        output.chunks_mut(d_out).for_each(|row| row.copy_from_slice(bias));
        let rows = Window::new(x, d_in, n, d_in).rows(index * block, output.len() / d_out);
        multiply_rows(rows, &weight, d_out, output);
        activate(activation, output);
    })
}

/// Outputs up to which packing the rows costs more than their products: scores of a bag's instances, logits.
const NARROW: usize = 8;
/// Rows up to which packing the weight costs more than its products: class tokens, prototypes.
const SHORT: usize = 8;

fn is_narrow<U: Unit>(shape: LinearShape) -> bool {
    U::is_exact() && shape.d_out <= NARROW
}

fn is_short<U: Unit>(shape: LinearShape) -> bool {
    U::is_exact() && shape.n <= SHORT
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
    if is_short::<U>(shape) {
        return weighted_sums::forward(SumsShape { k: n, n: d_out, d: d_in }, grad, weight);
    }
    let steps = Window::new(weight, d_in, d_out, d_in);
    let weight = Panels::<U>::pack(d_in.div_ceil(COLUMNS), n_units::<U>(d_out), |panel, output| {
        pack_panel(steps, panel, output);
    });
    let block = rows_per_chunk(n, ROWS, n * d_in * d_out);
    filled(n * d_in, block * d_in, n * d_in * d_out, |index, dx| {
        let rows = Window::new(grad, d_out, n, d_out).rows(index * block, dx.len() / d_in);
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

/// Rows of `x` up to which it is packed once for all blocks of the weight's gradient.
const PACKED_ROWS: usize = 1024;
/// Rows of a block of the weight's gradient then.
const GRADIENT_ROWS: usize = 64;

pub(in crate::kernels) fn weight_gradient<U: Unit>(
    shape: LinearShape,
    x: &[U::Sum],
    grad: &[U::Sum],
) -> Vec<U::Sum> {
    let LinearShape { n, d_in, d_out } = shape;
    if n == 0 {
        return vec![num_traits::Zero::zero(); d_out * d_in];
    }
    if is_narrow::<U>(shape) {
        let grad = weighted_sums::transposed(grad, d_out);
        return weighted_sums::forward(SumsShape { k: d_out, n, d: d_in }, &grad, x);
    }
    if is_short::<U>(shape) {
        return weighted_sums::row_gradient(SumsShape { k: n, n: d_out, d: d_in }, grad, x);
    }
    let (x, grad) = (Window::new(x, d_in, n, d_in), Window::new(grad, d_out, n, d_out));
    if n <= PACKED_ROWS { gradient_of_few_rows::<U>(x, grad) } else { gradient_in_blocks::<U>(x, grad) }
}

/// `grad^T x` of so few rows that writing the gradient takes as long as computing it: each block of it is written once.
fn gradient_of_few_rows<U: Unit>(x: Window<'_, U::Sum>, grad: Window<'_, U::Sum>) -> Vec<U::Sum> {
    let (n, d_in, d_out) = (x.n_rows(), x.width(), grad.width());
    let right = Panels::<U>::pack(d_in.div_ceil(COLUMNS), n_units::<U>(n), |panel, output| {
        pack_panel(x, panel, output);
    });
    filled(d_out * d_in, GRADIENT_ROWS * d_in, n * d_in * d_out, |index, block| {
        let n_rows = block.len() / d_in;
        let rows = grad.columns(index * GRADIENT_ROWS, n_rows);
        let mut packed = Vec::new();
        for first in (0..n).step_by(STEPS) {
            let n = STEPS.min(n - first);
            multiply(
                MatrixMut::new(block, n_rows, d_in, d_in),
                Write::Accumulate,
                pack_columns(rows.rows(first, n), &mut packed),
                right.right(0, d_in, (first / U::NUMBERS, n_units::<U>(n))),
            );
        }
    })
}

/// Most rows of a block of [`gradient_in_blocks`].
const BLOCK_ROWS: usize = 512;
/// Rows from which there are two blocks on top of each other, so that two threads have the same to do.
const HALVED_FROM: usize = 256;
/// Blocks, about: they are worked on at once, and each reads all rows of its columns.
const N_BLOCKS: usize = 8;

/// `grad^T x` in a few blocks, each of which stays in the cache while it reads its columns of the rows of a pass.
fn gradient_in_blocks<U: Unit>(x: Window<'_, U::Sum>, grad: Window<'_, U::Sum>) -> Vec<U::Sum> {
    let (n, d_in, d_out) = (x.n_rows(), x.width(), grad.width());
    let n_down = d_out.div_ceil(BLOCK_ROWS);
    let n_down = if d_out < HALVED_FROM { n_down } else { n_down.next_multiple_of(2) };
    let block_rows = d_out.div_ceil(n_down).next_multiple_of(TILE_ROWS);
    let block_columns = (d_in * n_down).div_ceil(N_BLOCKS).next_multiple_of(COLUMNS);
    let n_across = d_in.div_ceil(block_columns);
    let mut blocks = vec![Vec::new(); n_down * n_across];
    for first in (0..n).step_by(PASS) {
        let n = PASS.min(n - first);
        let grad = PackedGrad::<U>::of(grad.rows(first, n));
        for_each_chunk(&mut blocks, 1, n * d_in * d_out, |index, block| {
            let (row, column) = (index / n_across * block_rows, index % n_across * block_columns);
            let n_rows = block_rows.min(d_out - row);
            let x = x.rows(first, n).columns(column, block_columns.min(d_in - column));
            let block = &mut block[0];
            // Zeros before the first pass; the size is right after it.
            block.resize(n_rows * x.width(), num_traits::Zero::zero());
            add_gradient_block(&grad, (row, n_rows), x, block);
        });
    }
    filled(d_out * d_in, d_in, d_in * d_out, |row, dweight| {
        let first = row / block_rows * n_across;
        for (dweight, block) in dweight.chunks_mut(block_columns).zip(&blocks[first..]) {
            let start = row % block_rows * dweight.len();
            dweight.copy_from_slice(&block[start..start + dweight.len()]);
        }
    })
}

/// Rows of a gradient that are packed at once for all blocks: 34 MB of 2048 columns in f32, however large the bag.
const PASS: usize = 16 * STEPS;

/// Some rows of a gradient, whose columns are the rows of left operands.
struct PackedGrad<U> {
    /// [`pack_columns`] of [`STEPS`] rows after [`STEPS`] rows.
    values: Vec<U>,
    stride: usize,
}

impl<U: Unit> PackedGrad<U> {
    fn of(grad: Window<'_, U::Sum>) -> Self {
        let (n, stride) = (grad.n_rows(), columns_stride(grad.width()));
        let steps = n_units::<U>(STEPS) * stride;
        let values = filled(n_units::<U>(n) * stride, steps, n * stride, |index, output| {
            let first = index * STEPS;
            pack_columns_into(grad.rows(first, STEPS.min(n - first)), output);
        });
        Self { values, stride }
    }

    /// `n_columns` columns from `first_column` on of the `index`-th [`STEPS`] rows.
    fn left(&self, index: usize, (first_column, n_columns): (usize, usize)) -> Left<'_, U> {
        Left {
            values: &self.values[index * n_units::<U>(STEPS) * self.stride + first_column..],
            n_rows: n_columns,
            order: Order::Steps { stride: self.stride },
        }
    }
}

/// Adds `grad^T x` for `n_rows` columns of the gradient from `first_row` on to `block`, `[n_rows, x.width()]`.
fn add_gradient_block<U: Unit>(
    grad: &PackedGrad<U>,
    (first_row, n_rows): (usize, usize),
    x: Window<'_, U::Sum>,
    block: &mut [U::Sum],
) {
    let (n, n_columns) = (x.n_rows(), x.width());
    let mut packed = Vec::new();
    for (index, first) in (0..n).step_by(STEPS).enumerate() {
        multiply(
            MatrixMut::new(block, n_rows, n_columns, n_columns),
            Write::Accumulate,
            grad.left(index, (first_row, n_rows)),
            pack_right(x.rows(first, STEPS.min(n - first)), &mut packed),
        );
    }
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
