//! Convolutions of square channels-last maps by packed weights, in blocks of outputs that fit in the cache.

mod direct;
mod winograd;

use std::cell::RefCell;

use rayon::prelude::*;

use super::{activation, rows};
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
    for (index, row) in output.chunks_mut(bias.len()).enumerate() {
        rows::add(row, bias);
        if let AfterConv::AddRelu(added) = after {
            rows::add(row, &added[first + index * bias.len()..][..bias.len()]);
        }
        if !matches!(after, AfterConv::Identity) {
            activation::relu(row);
        }
    }
}

/// Makes room for `n` values. What is there stays, and need not be cleared.
fn grow(values: &mut Vec<f32>, n: usize) {
    values.resize(values.len().max(n), 0.0);
}
