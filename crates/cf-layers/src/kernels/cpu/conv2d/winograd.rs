//! Convolutions of 3 x 3 in tiles of 4 x 4 outputs: `A^T ((G g G^T) * (B^T d B)) A` for a kernel g and the 6 x 6 inputs d of a tile,
//! where * multiplies element by element (Lavin and Gray, 2016, section 4.3). Over all channels and tiles it is 36 matrix products.

use super::super::units_per_block;
use super::{Scratch, grow};
use crate::kernels::cpu::element::Element;
use crate::kernels::cpu::panels::{Panels, Window};
use crate::kernels::cpu::tile::{Left, MatrixMut, Order, ROW_STRIDE, Write, multiply};
use crate::kernels::cpu::vectorised::vectorised;
use crate::kernels::packed_conv2d::{PackedConvShape, SquareMaps};

/// Side of a tile of outputs.
const OUTPUTS: usize = 4;
/// Side of the inputs that a tile depends on.
const INPUTS: usize = 6;
/// Matrix products.
const PRODUCTS: usize = INPUTS * INPUTS;
/// Channels that are transformed together.
const LANES: usize = 16;
/// Most channels: beyond, maps are so small that to read 36 weights in place of 9 costs more than is saved.
const CHANNELS: usize = 256;
/// Tiles of a block, about: what they are transformed to should fit in the second-level cache.
const TILES: usize = 48;

#[derive(Debug)]
pub(super) struct Winograd {
    c_in: usize,
    c_out: usize,
    weights: Vec<Panels<f32>>,
}

impl Winograd {
    pub(super) fn serves(shape: PackedConvShape) -> bool {
        let suits = |channels: usize| channels.is_multiple_of(LANES) && channels <= CHANNELS;
        (shape.kernel, shape.stride) == (3, 1) && suits(shape.c_in) && suits(shape.c_out)
    }

    pub(super) fn new(shape: PackedConvShape, weight: &[f32]) -> Self {
        let PackedConvShape { c_in, c_out, .. } = shape;
        let transformed: Vec<[f32; PRODUCTS]> =
            weight.as_chunks::<9>().0.iter().map(transform_kernel).collect();
        let weights = (0..PRODUCTS)
            .map(|product| {
                let of_product: Vec<f32> = transformed.iter().map(|values| values[product]).collect();
                Panels::of_rows(Window::new(&of_product, c_in, c_out, c_in))
            })
            .collect();
        Self { c_in, c_out, weights }
    }

    /// Values of a block of the output: whole rows of tiles.
    pub(super) fn chunk(&self, x: SquareMaps<'_>, n_workers: usize) -> usize {
        let Rows { n, tiles, pixels } = Rows::of(x);
        units_per_block((n, tiles), TILES, n_workers) * pixels * self.c_out
    }

    /// The sums of a block of whole rows of tiles, of which the first is value `first` of the output.
    pub(super) fn block(&self, x: SquareMaps<'_>, first: usize, scratch: &mut Scratch, output: &mut [f32]) {
        let (c_in, c_out) = (self.c_in, self.c_out);
        let first_pixel = first / c_out;
        let tiles = Tile::of_pixels(x.side, first_pixel, output.len() / c_out);
        let n_tiles = tiles.len();
        grow(&mut scratch.input, PRODUCTS * n_tiles * ROW_STRIDE);
        grow(&mut scratch.products, PRODUCTS * n_tiles * c_out);
        for (index, tile) in tiles.iter().enumerate() {
            let map = &x.values[tile.image * x.side * x.side * c_in..][..x.side * x.side * c_in];
            let to = &mut scratch.input[index * ROW_STRIDE..];
            transform_input::<f32>(map, (x.side, c_in), (tile.y, tile.x), to, n_tiles * ROW_STRIDE);
        }
        let inputs = scratch.input.chunks(n_tiles * ROW_STRIDE);
        let products = scratch.products.chunks_mut(n_tiles * c_out);
        for ((weight, input), product) in self.weights.iter().zip(inputs).zip(products) {
            multiply(
                MatrixMut::new(product, n_tiles, c_out, c_out),
                Write::Overwrite,
                Left { values: input, n_rows: n_tiles, order: Order::Rows },
                weight.right(0, c_out, (0, c_in)),
            );
        }
        for (index, tile) in tiles.iter().enumerate() {
            let from = &scratch.products[index * c_out..];
            let first = (tile.image * x.side + tile.y) * x.side + tile.x - first_pixel;
            let size = (OUTPUTS.min(x.side - tile.y), OUTPUTS.min(x.side - tile.x));
            let to = &mut output[first * c_out..];
            transform_output::<f32>(from, (n_tiles * c_out, c_out), size, to, x.side * c_out);
        }
    }
}

/// Runs of the output that are whole tiles: rows of tiles, or maps if their last row of tiles is cut.
struct Rows {
    n: usize,
    tiles: usize,
    pixels: usize,
}

impl Rows {
    fn of(x: SquareMaps<'_>) -> Self {
        let across = x.side.div_ceil(OUTPUTS);
        if x.side.is_multiple_of(OUTPUTS) {
            Self { n: x.n_images * across, tiles: across, pixels: OUTPUTS * x.side }
        } else {
            Self { n: x.n_images, tiles: across * across, pixels: x.side * x.side }
        }
    }
}

/// The place of a tile's first output.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Tile {
    image: usize,
    y: usize,
    x: usize,
}

impl Tile {
    /// The tiles of a run of whole rows of tiles.
    fn of_pixels(side: usize, first: usize, n: usize) -> Vec<Self> {
        let rows = first / side..(first + n) / side;
        rows.filter(|row| (row % side).is_multiple_of(OUTPUTS))
            .flat_map(|row| {
                (0..side).step_by(OUTPUTS).map(move |x| Self { image: row / side, y: row % side, x })
            })
            .collect()
    }
}

/// Tiles are polynomials that are multiplied at the points 0, -a, a, -b, b and infinity. Points c and 1 / c lose less to rounding than 1 and
/// 2 (Alam et al., Winograd Convolution for Deep Neural Networks: Efficient Point Selection, 2022): a quarter over 256 channels.
const A: f64 = std::f64::consts::FRAC_1_SQRT_2;
/// See [`A`].
const B: f64 = std::f64::consts::SQRT_2;

/// `G g G^T`, in f64 and rounded once.
fn transform_kernel(kernel: &[f32; 9]) -> [f32; PRODUCTS] {
    let at = |point: f64, g: [f64; 3]| g[0] + point * g[1] + point * point * g[2];
    let transform = |g: [f64; 3]| {
        let [near, far] = [2.0 * A * A * (A * A - B * B), 2.0 * B * B * (B * B - A * A)];
        [g[0] / (A * A * B * B), at(A, g) / near, at(-A, g) / near, at(B, g) / far, at(-B, g) / far, g[2]]
    };
    let columns: [[f64; INPUTS]; 3] =
        std::array::from_fn(|x| transform(std::array::from_fn(|y| f64::from(kernel[y * 3 + x]))));
    let rows: [[f64; INPUTS]; INPUTS] =
        std::array::from_fn(|y| transform(std::array::from_fn(|x| columns[x][y])));
    std::array::from_fn(|product| rows[product / INPUTS][product % INPUTS] as f32)
}

type Lanes<T> = [T; LANES];

/// A value for each lane.
#[inline(always)]
fn lanes<T: Element>(value: impl Fn(usize) -> T) -> Lanes<T> {
    std::array::from_fn(value)
}

/// `B^T d`.
#[inline(always)]
fn input_row<T: Element>(d: &[Lanes<T>; INPUTS]) -> [Lanes<T>; INPUTS] {
    let [a, b, a2, b2] = [A, B, A * A, B * B].map(T::from_f64);
    let (sum, product) = (T::from_f64(A * A + B * B), T::from_f64(A * A * B * B));
    let (even, odd) = (lanes(|i| d[4][i] - b2 * d[2][i]), lanes(|i| a * (d[3][i] - b2 * d[1][i])));
    let (even_far, odd_far) = (lanes(|i| d[4][i] - a2 * d[2][i]), lanes(|i| b * (d[3][i] - a2 * d[1][i])));
    [
        lanes(|i| product * d[0][i] - sum * d[2][i] + d[4][i]),
        lanes(|i| even[i] + odd[i]),
        lanes(|i| even[i] - odd[i]),
        lanes(|i| even_far[i] + odd_far[i]),
        lanes(|i| even_far[i] - odd_far[i]),
        lanes(|i| product * d[1][i] - sum * d[3][i] + d[5][i]),
    ]
}

/// `A^T m`.
#[inline(always)]
fn output_row<T: Element>(m: &[Lanes<T>; INPUTS]) -> [Lanes<T>; OUTPUTS] {
    let [a, b, a2, b2] = [A, B, A * A, B * B].map(T::from_f64);
    let [a3, b3] = [A * A * A, B * B * B].map(T::from_f64);
    let (sum, difference) = (lanes(|i| m[1][i] + m[2][i]), lanes(|i| m[1][i] - m[2][i]));
    let (sum_far, difference_far) = (lanes(|i| m[3][i] + m[4][i]), lanes(|i| m[3][i] - m[4][i]));
    [
        lanes(|i| m[0][i] + sum[i] + sum_far[i]),
        lanes(|i| a * difference[i] + b * difference_far[i]),
        lanes(|i| a2 * sum[i] + b2 * sum_far[i]),
        lanes(|i| a3 * difference[i] + b3 * difference_far[i] + m[5][i]),
    ]
}

#[inline(always)]
fn load<T: Element>(values: &[T], start: usize) -> Lanes<T> {
    values[start..].first_chunk().copied().unwrap_or([T::zero(); LANES])
}

vectorised! {
    /// `B^T d B` of the tile whose first output is at `place`, (top, left), of a map of `size`, (side, channels); product k goes to row `k * stride` of
    /// `output`.
    fn transform_input<T: Element>(map: &[T], size: (usize, usize), place: (usize, usize), output: &mut [T], stride: usize) -> () {
        let ((side, channels), (top, left)) = (size, place);
        let zero = [T::zero(); LANES];
        for channel in (0..channels).step_by(LANES) {
            let mut columns = [[zero; INPUTS]; INPUTS];
            for (dx, column) in columns.iter_mut().enumerate() {
                let mut d = [zero; INPUTS];
                let x = (left + dx).wrapping_sub(1);
                for (dy, d) in d.iter_mut().enumerate() {
                    let y = (top + dy).wrapping_sub(1);
                    if x < side && y < side {
                        *d = load(map, (y * side + x) * channels + channel);
                    }
                }
                *column = input_row(&d);
            }
            for dy in 0..INPUTS {
                let row = std::array::from_fn(|dx| columns[dx][dy]);
                for (dx, values) in input_row(&row).iter().enumerate() {
                    output[(dy * INPUTS + dx) * stride + channel..][..LANES].copy_from_slice(values);
                }
            }
        }
    }

    /// `A^T m A` of the products m of a tile, of which product k is at `k * stride`; `layout` is (stride, channels). The outputs that lie
    /// in the map, `size` (rows, columns) of them, go to `output`, whose rows are `row_stride` apart.
    fn transform_output<T: Element>(products: &[T], layout: (usize, usize), size: (usize, usize), output: &mut [T], row_stride: usize) -> () {
        let ((stride, channels), (n_rows, n_columns)) = (layout, size);
        let zero = [T::zero(); LANES];
        for channel in (0..channels).step_by(LANES) {
            let mut columns = [[zero; OUTPUTS]; INPUTS];
            for (dx, column) in columns.iter_mut().enumerate() {
                let mut m = [zero; INPUTS];
                for (dy, m) in m.iter_mut().enumerate() {
                    *m = load(products, (dy * INPUTS + dx) * stride + channel);
                }
                *column = output_row(&m);
            }
            for dy in 0..n_rows {
                let row = std::array::from_fn(|dx| columns[dx][dy]);
                for (dx, values) in output_row(&row).iter().enumerate().take(n_columns) {
                    output[dy * row_stride + dx * channels + channel..][..LANES].copy_from_slice(values);
                }
            }
        }
    }
}
