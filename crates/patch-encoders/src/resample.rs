//! Resizing that equals Pillow's byte for byte: published encoders were trained on images that Pillow resized.
//!
//! Pillow widens the filter by the shrink factor (antialiasing), rounds its weights to 22 bits, and resizes each row and
//! then each column, with 8-bit samples between. Other resizers round elsewhere and differ by several grey levels.

use pulp::{Arch, Simd, WithSimd};

use crate::error::{Error, Result};
use crate::rgb_image::{CHANNELS, RgbImage};

/// How samples between pixels are made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Filter {
    /// Linear between two neighbours: Pillow's `BILINEAR`.
    Bilinear,
    /// Cubic through four neighbours, with a = -0.5 (Keys, 1981): Pillow's `BICUBIC`.
    Bicubic,
}

impl Filter {
    /// Farthest distance, in pixels of the coarser image, at which the kernel is not zero.
    fn support(self) -> f64 {
        match self {
            Self::Bilinear => 1.0,
            Self::Bicubic => 2.0,
        }
    }

    fn kernel(self, x: f64) -> f64 {
        const A: f64 = -0.5;
        let x = x.abs();
        match self {
            Self::Bilinear if x < 1.0 => 1.0 - x,
            Self::Bicubic if x < 1.0 => ((A + 2.0) * x - (A + 3.0)) * x * x + 1.0,
            Self::Bicubic if x < 2.0 => (((x - 5.0) * x + 8.0) * x - 4.0) * A,
            Self::Bilinear | Self::Bicubic => 0.0,
        }
    }
}

/// The image at another size, equal to Pillow's `Image.resize((width, height), filter)` in every sample.
///
/// # Errors
/// [`Error::PixelCount`] if `width` or `height` is 0.
///
/// ```
/// use patch_encoders::{Filter, RgbImage, resize};
///
/// let image = RgbImage::new(2, 1, vec![0, 0, 0, 100, 200, 255])?;
/// assert_eq!(resize(&image, 1, 1, Filter::Bilinear)?.pixels(), [50, 100, 128]);
/// # Ok::<(), patch_encoders::Error>(())
/// ```
pub fn resize(image: &RgbImage, width: usize, height: usize, filter: Filter) -> Result<RgbImage> {
    if width == 0 || height == 0 {
        return Err(Error::PixelCount { width, height, found: 0 });
    }
    let mut pixels = None;
    if width != image.width() {
        let taps = Taps::all(image.width(), width, filter);
        // Columns become rows, so that both passes add whole rows to each other, which vectorises.
        let columns = transposed(image.pixels(), image.width(), image.height());
        let columns = combine_rows(&columns, image.height() * CHANNELS, &taps);
        pixels = Some(transposed(&columns, image.height(), width));
    }
    if height != image.height() {
        let taps = Taps::all(image.height(), height, filter);
        let rows = pixels.as_deref().unwrap_or(image.pixels());
        pixels = Some(combine_rows(rows, width * CHANNELS, &taps));
    }
    RgbImage::new(width, height, pixels.unwrap_or_else(|| image.pixels().to_vec()))
}

/// The input positions that make one output position, with their weights in fixed point.
struct Taps {
    first: usize,
    weights: Vec<i32>,
}

/// Bits after the point of a weight.
const PRECISION: u32 = 22;

impl Taps {
    /// The taps of every output position along one axis.
    fn all(n_in: usize, n_out: usize, filter: Filter) -> Vec<Self> {
        let scale = n_in as f64 / n_out as f64;
        let widening = scale.max(1.0);
        let (support, narrowing) = (filter.support() * widening, 1.0 / widening);
        let of_position = |position: usize| {
            let centre = (position as f64 + 0.5) * scale;
            // Casts truncate towards zero, as Pillow's do.
            let first = (centre - support + 0.5).max(0.0) as usize;
            let end = ((centre + support + 0.5) as usize).min(n_in);
            let weight = |index: usize| filter.kernel((index as f64 - centre + 0.5) * narrowing);
            let weights: Vec<f64> = (first..end).map(weight).collect();
            let total: f64 = weights.iter().sum();
            Self { first, weights: weights.iter().map(|weight| fixed(weight / total)).collect() }
        };
        (0..n_out).map(of_position).collect()
    }
}

/// Rounds half away from zero, in Pillow's order of operations.
fn fixed(weight: f64) -> i32 {
    (weight * f64::from(1u32 << PRECISION) + 0.5f64.copysign(weight)) as i32
}

/// Pixels of a `width x height` image, column by column.
fn transposed(pixels: &[u8], width: usize, height: usize) -> Vec<u8> {
    /// Side of a square that the first-level cache holds twice.
    const BLOCK: usize = 64;
    let (source, _) = pixels.as_chunks::<CHANNELS>();
    let mut output = vec![0; pixels.len()];
    let (target, _) = output.as_chunks_mut::<CHANNELS>();
    for top in (0..height).step_by(BLOCK) {
        for left in (0..width).step_by(BLOCK) {
            for x in left..width.min(left + BLOCK) {
                let column = &mut target[x * height..][top..height.min(top + BLOCK)];
                for (pixel, row) in column.iter_mut().zip(source[top * width..].chunks(width)) {
                    *pixel = row[x];
                }
            }
        }
    }
    output
}

/// Makes each output row from the input rows of its taps.
fn combine_rows(rows: &[u8], row_len: usize, taps: &[Taps]) -> Vec<u8> {
    let mut output = vec![0; taps.len() * row_len];
    Arch::new().dispatch(CombineRows { rows, row_len, taps, output: &mut output });
    output
}

/// [`combine_rows`], compiled for each vector unit.
struct CombineRows<'a> {
    rows: &'a [u8],
    row_len: usize,
    taps: &'a [Taps],
    output: &'a mut [u8],
}

impl WithSimd for CombineRows<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, _: S) {
        for (output, taps) in self.output.chunks_exact_mut(self.row_len).zip(self.taps) {
            let rows = &self.rows[taps.first * self.row_len..];
            let (blocks, rest) = output.as_chunks_mut::<LANES>();
            for (index, block) in blocks.iter_mut().enumerate() {
                combine(block, &rows[index * LANES..], self.row_len, &taps.weights);
            }
            let done = self.row_len - rest.len();
            for (index, sample) in rest.iter_mut().enumerate() {
                combine(std::array::from_mut(sample), &rows[done + index..], self.row_len, &taps.weights);
            }
        }
    }
}

/// Samples whose sums are kept in registers.
const LANES: usize = 64;

/// The weighted sum of samples that lie `row_len` apart in `rows`, rounded and clipped.
#[inline(always)]
fn combine<const N: usize>(output: &mut [u8; N], rows: &[u8], row_len: usize, weights: &[i32]) {
    let mut sums = [1i32 << (PRECISION - 1); N];
    for (&weight, row) in weights.iter().zip(rows.chunks(row_len)) {
        if let Some(samples) = row.first_chunk::<N>() {
            for (sum, &sample) in sums.iter_mut().zip(samples) {
                *sum += weight * i32::from(sample);
            }
        }
    }
    for (sample, sum) in output.iter_mut().zip(sums) {
        *sample = (sum >> PRECISION).clamp(0, 255) as u8;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_equal_size_changes_nothing() {
        let image = RgbImage::new(2, 2, (0..12).collect()).unwrap();
        assert_eq!(resize(&image, 2, 2, Filter::Bicubic).unwrap(), image);
    }

    #[test]
    fn a_size_of_zero_is_refused() {
        let image = RgbImage::new(1, 1, vec![0; 3]).unwrap();
        assert!(matches!(resize(&image, 0, 1, Filter::Bilinear), Err(Error::PixelCount { .. })));
    }

    #[test]
    fn weights_add_up_to_one_and_a_flat_image_stays_flat() {
        let image = RgbImage::new(37, 23, [200, 3, 90].repeat(37 * 23)).unwrap();
        for (width, height) in [(5, 61), (100, 1), (36, 24)] {
            for filter in [Filter::Bilinear, Filter::Bicubic] {
                let resized = resize(&image, width, height, filter).unwrap();
                assert_eq!(resized.pixels(), [200, 3, 90].repeat(width * height));
            }
        }
    }
}
