//! Convolutions of square channels-last maps by packed weights, in blocks of outputs that fit in the cache.

mod direct;
mod winograd;

use std::cell::RefCell;

use rayon::prelude::*;

use super::element::Element;
use super::vectorised::vectorised;
use crate::kernels::packed_conv2d::{AfterConv, PackedConvShape, SquareMaps, Workers};
use direct::Direct;
use winograd::Winograd;

/// A convolution with bias, its weights packed in the way that is computed.
#[derive(Debug)]
pub(in crate::kernels) struct Conv2d {
    product: Product,
    bias: Vec<f32>,
}

#[derive(Debug)]
enum Product {
    Direct(Direct),
    Winograd(Winograd),
}

/// What a thread keeps from block to block.
#[derive(Debug, Default)]
struct Scratch {
    input: Vec<f32>,
    products: Vec<f32>,
}

thread_local! {
    static SCRATCH: RefCell<Scratch> = RefCell::default();
}

impl Conv2d {
    /// Packs weights `[c_out, c_in, kernel, kernel]`.
    pub(in crate::kernels) fn new(shape: PackedConvShape, weight: &[f32], bias: Vec<f32>) -> Self {
        let product = if Winograd::serves(shape) {
            Product::Winograd(Winograd::new(shape, weight))
        } else {
            Product::Direct(Direct::new(shape, weight))
        };
        Self { product, bias }
    }

    pub(in crate::kernels) fn forward(
        &self,
        x: SquareMaps<'_>,
        after: AfterConv<'_>,
        workers: Workers,
        output: &mut [f32],
    ) {
        let n_workers = if workers == Workers::Pool { rayon::current_num_threads() } else { 1 };
        let chunk = match &self.product {
            Product::Direct(direct) => direct.chunk(x, n_workers),
            Product::Winograd(winograd) => winograd.chunk(x, n_workers),
        };
        let block = |(index, output): (usize, &mut [f32])| {
            let first = index * chunk;
            SCRATCH.with_borrow_mut(|scratch| match &self.product {
                Product::Direct(direct) => direct.block(x, first, scratch, output),
                Product::Winograd(winograd) => winograd.block(x, first, scratch, output),
            });
            finish(after, &self.bias, first, output);
        };
        match workers {
            Workers::Caller => output.chunks_mut(chunk).enumerate().for_each(block),
            Workers::Pool => output.par_chunks_mut(chunk).enumerate().for_each(block),
        }
    }
}

/// Adds the bias and does what comes after to a block whose first value is value `first` of the output.
fn finish(after: AfterConv<'_>, bias: &[f32], first: usize, output: &mut [f32]) {
    let rows = output.chunks_mut(bias.len());
    match after {
        AfterConv::Identity => rows.for_each(|row| add(row, bias)),
        AfterConv::Relu => rows.for_each(|row| add_relu(row, bias)),
        AfterConv::AddRelu(added) => {
            rows.zip(added[first..].chunks(bias.len()))
                .for_each(|(row, added)| add_both_relu(row, bias, added));
        }
    }
}

#[inline(always)]
fn rectified<T: Element>(x: T) -> T {
    if x < T::zero() { T::zero() } else { x }
}

vectorised! {
    fn add<T: Element>(row: &mut [T], bias: &[T]) -> () {
        for (x, &bias) in row.iter_mut().zip(bias) {
            *x += bias;
        }
    }

    fn add_relu<T: Element>(row: &mut [T], bias: &[T]) -> () {
        for (x, &bias) in row.iter_mut().zip(bias) {
            *x = rectified(*x + bias);
        }
    }

    fn add_both_relu<T: Element>(row: &mut [T], bias: &[T], added: &[T]) -> () {
        for ((x, &bias), &added) in row.iter_mut().zip(bias).zip(added) {
            *x = rectified(*x + bias + added);
        }
    }
}

/// How many of `n` units of `weight` rows each a block has: blocks of about `rows` rows, as many for each worker.
fn units_per_block((n, weight): (usize, usize), rows: usize, n_workers: usize) -> usize {
    let n_blocks = (n * weight).div_ceil(rows).next_multiple_of(n_workers);
    n.div_ceil(n_blocks.max(1)).max(1)
}
