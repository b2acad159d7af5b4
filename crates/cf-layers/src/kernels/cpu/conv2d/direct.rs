//! Convolutions as matrix products: a row for each output position holds what lies under the kernel there.

use std::ops::Range;

use super::super::units_per_block;
use super::{Scratch, grow};
use crate::kernels::cpu::panels::{Panels, Window};
use crate::kernels::cpu::tile::{Left, MatrixMut, Order, ROW_STRIDE, Write, multiply};
use crate::kernels::packed_conv2d::{PackedConvShape, SquareMaps};

/// Positions of a block, about.
const ROWS: usize = 240;
/// Rows that register tiles of any width divide.
const TILE: usize = 24;
/// Most values of a row that a pass multiplies: a panel of so many steps stays in the first-level cache.
const STEPS: usize = 256;

#[derive(Debug)]
pub(super) struct Direct {
    shape: PackedConvShape,
    weight: Panels<f32>,
}

impl Direct {
    pub(super) fn new(shape: PackedConvShape, weight: &[f32]) -> Self {
        let PackedConvShape { c_in, c_out, kernel, .. } = shape;
        let (places, row_len) = (kernel * kernel, kernel * kernel * c_in);
        // Channels become the inner axis, as in the maps.
        let mut rows = vec![0.0; c_out * row_len];
        for (row, weight) in rows.chunks_mut(row_len).zip(weight.chunks(row_len)) {
            for (at, value) in row.iter_mut().enumerate() {
                *value = weight[at % c_in * places + at / c_in];
            }
        }
        Self { shape, weight: Panels::of_rows(Window::new(&rows, row_len, c_out, row_len)) }
    }

    /// Values of a block of the output.
    pub(super) fn chunk(&self, x: SquareMaps<'_>, n_workers: usize) -> usize {
        let side = self.shape.side_out(x.side);
        let n_tiles = (x.n_images * side * side).div_ceil(TILE);
        units_per_block((n_tiles, TILE), ROWS, n_workers) * TILE * self.shape.c_out
    }

    /// The sums of a block, of which the first is value `first` of the output.
    pub(super) fn block(&self, x: SquareMaps<'_>, first: usize, scratch: &mut Scratch, output: &mut [f32]) {
        let PackedConvShape { c_in, c_out, kernel, .. } = self.shape;
        let (n_rows, row_len) = (output.len() / c_out, kernel * kernel * c_in);
        let first_row = first / c_out;
        grow(&mut scratch.input, n_rows * ROW_STRIDE);
        let n_passes = row_len.div_ceil(STEPS);
        let steps = row_len.div_ceil(n_passes);
        for first in (0..row_len).step_by(steps) {
            let part = first..row_len.min(first + steps);
            self.gather(x, first_row, part.clone(), &mut scratch.input[..n_rows * ROW_STRIDE]);
            multiply(
                MatrixMut::new(output, n_rows, c_out, c_out),
                if first == 0 { Write::Overwrite } else { Write::Accumulate },
                Left { values: &scratch.input, n_rows, order: Order::Rows },
                self.weight.right(0, c_out, (first, part.len())),
            );
        }
    }

    /// A part of what lies under the kernel at each output position from `first` on; zero outside the map.
    fn gather(&self, x: SquareMaps<'_>, first: usize, part: Range<usize>, output: &mut [f32]) {
        let PackedConvShape { c_in, kernel, stride, .. } = self.shape;
        let (side, side_out, padding) = (x.side, self.shape.side_out(x.side), kernel / 2);
        let run = kernel * c_in;
        for (position, output) in (first..).zip(output.chunks_mut(ROW_STRIDE)) {
            let row = position / side_out;
            let (image, top, left) = (row / side_out, row % side_out * stride, position % side_out * stride);
            // Columns of the window that lie in the map.
            let inside = padding.saturating_sub(left) * c_in..kernel.min(side + padding - left) * c_in;
            for dy in part.start / run..part.end.div_ceil(run) {
                let (begin, end) = (part.start.max(dy * run), part.end.min((dy + 1) * run));
                let output = &mut output[begin - part.start..end - part.start];
                let Some(y) = (top + dy).checked_sub(padding).filter(|&y| y < side) else {
                    output.fill(0.0);
                    continue;
                };
                let (begin, end) = (begin - dy * run, end - dy * run);
                let from = inside.start.clamp(begin, end);
                let to = inside.end.clamp(from, end);
                let start = ((image * side + y) * side + left) * c_in;
                output[..from - begin].fill(0.0);
                output[to - begin..].fill(0.0);
                if from < to {
                    output[from - begin..to - begin]
                        .copy_from_slice(&x.values[start + from - padding * c_in..][..to - from]);
                }
            }
        }
    }
}
