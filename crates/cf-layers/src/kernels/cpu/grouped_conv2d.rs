//! The grouped convolution as a depth-wise one over all input channels, whose groups are summed at the end.
//!
//! Channels lie last, so each tap is one multiply-add over a run of channels, whatever the map's size.

use std::ops::Range;

use super::element::Element;
use super::{filled, for_each_chunk, rows};
use crate::kernels::grouped_conv2d::ConvShape;

impl ConvShape {
    fn c_in(&self) -> usize {
        self.c_out * self.per_group
    }

    /// Multiply-adds of one pass.
    fn work(&self) -> usize {
        self.height * self.width * self.c_in() * self.k * self.k
    }

    /// For kernel offset `tap` along an axis of `size` cells: the outputs for which the tap reads inside the map.
    fn outputs_inside(&self, tap: usize, size: usize) -> Range<usize> {
        let half = self.k / 2;
        let first = half.saturating_sub(tap);
        let end = (size + half).saturating_sub(tap).min(size);
        first..end.max(first)
    }

    /// The cell that output `at` reads through `tap`; inside the map for the outputs of [`Self::outputs_inside`].
    fn read(&self, at: usize, tap: usize) -> usize {
        at + tap - self.k / 2
    }
}

pub(in crate::kernels) fn forward<T: Element>(shape: ConvShape, x: &[T], weight: &[T], bias: &[T]) -> Vec<T> {
    let taps = taps_first(shape, weight);
    let n_values = shape.height * shape.width * shape.c_out;
    filled(n_values, shape.width * shape.c_out, shape.work(), |y, out_row: &mut [T]| {
        out_row.chunks_mut(shape.c_out).for_each(|cell| cell.copy_from_slice(bias));
        if shape.per_group == 1 {
            depthwise_row(shape, x, &taps, y, out_row);
            return;
        }
        let mut row = vec![T::zero(); shape.width * shape.c_in()];
        depthwise_row(shape, x, &taps, y, &mut row);
        for (out, group) in out_row.iter_mut().zip(row.chunks(shape.per_group)) {
            for &value in group {
                *out += value;
            }
        }
    })
}

/// Returns the gradients of the map and of the weight.
pub(in crate::kernels) fn backward<T: Element>(
    shape: ConvShape,
    x: &[T],
    weight: &[T],
    grad: &[T],
) -> (Vec<T>, Vec<T>) {
    if shape.per_group == 1 {
        return (map_gradient(shape, weight, grad), weight_gradient(shape, x, grad));
    }
    // Every channel of a group receives its group's gradient.
    let grad: Vec<T> = grad.iter().flat_map(|&g| std::iter::repeat_n(g, shape.per_group)).collect();
    (map_gradient(shape, weight, &grad), weight_gradient(shape, x, &grad))
}

/// The transpose of a same-size correlation is the correlation with the kernel turned by 180 degrees.
fn map_gradient<T: Element>(shape: ConvShape, weight: &[T], grad: &[T]) -> Vec<T> {
    let turned: Vec<T> =
        taps_first(shape, weight).chunks(shape.c_in()).rev().flat_map(|tap| tap.iter().copied()).collect();
    filled(grad.len(), shape.width * shape.c_in(), shape.work(), |y, row| {
        depthwise_row(shape, grad, &turned, y, row);
    })
}

/// One task per kernel row; within it the cells are added in order, so no sum depends on the number of threads.
fn weight_gradient<T: Element>(shape: ConvShape, x: &[T], grad: &[T]) -> Vec<T> {
    let (c_in, k) = (shape.c_in(), shape.k);
    let mut taps = vec![T::zero(); k * k * c_in];
    for_each_chunk(&mut taps, k * c_in, shape.work(), |ky, row| {
        for y in shape.outputs_inside(ky, shape.height) {
            for (kx, tap) in row.chunks_mut(c_in).enumerate() {
                for at in shape.outputs_inside(kx, shape.width) {
                    let source = (shape.read(y, ky) * shape.width + shape.read(at, kx)) * c_in;
                    let target = (y * shape.width + at) * c_in;
                    rows::multiply_add(tap, &x[source..source + c_in], &grad[target..target + c_in]);
                }
            }
        }
    });
    let mut weight = vec![T::zero(); k * k * c_in];
    for (tap, values) in taps.chunks(c_in).enumerate() {
        for (channel, &value) in values.iter().enumerate() {
            weight[channel * k * k + tap] = value;
        }
    }
    weight
}

/// Adds one output row of the depth-wise convolution to `out_row`.
fn depthwise_row<T: Element>(shape: ConvShape, x: &[T], taps: &[T], y: usize, out_row: &mut [T]) {
    let c_in = shape.c_in();
    for ky in (0..shape.k).filter(|&ky| shape.outputs_inside(ky, shape.height).contains(&y)) {
        for kx in 0..shape.k {
            let tap = &taps[(ky * shape.k + kx) * c_in..][..c_in];
            for at in shape.outputs_inside(kx, shape.width) {
                let source = (shape.read(y, ky) * shape.width + shape.read(at, kx)) * c_in;
                rows::multiply_add(&mut out_row[at * c_in..][..c_in], &x[source..source + c_in], tap);
            }
        }
    }
}

/// `[c_in, k * k]` to `[k * k, c_in]`.
fn taps_first<T: Element>(shape: ConvShape, weight: &[T]) -> Vec<T> {
    let (c_in, area) = (shape.c_in(), shape.k * shape.k);
    (0..area).flat_map(|tap| (0..c_in).map(move |channel| weight[channel * area + tap])).collect()
}
