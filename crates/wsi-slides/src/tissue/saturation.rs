//! Saturation of 8-bit HSV, bit for bit as OpenCV computes it.

use image::{GrayImage, RgbImage};
use rayon::prelude::*;

/// Saturation of every pixel: `(max - min) * 255 / max` in OpenCV's fixed point.
///
/// OpenCV multiplies by a table of reciprocals with 12 fractional bits, which differs from rounding the exact quotient
/// for 385 pairs of maximum and difference.
#[must_use]
pub fn saturation(rgb: &RgbImage) -> GrayImage {
    let reciprocals = reciprocals();
    let mut out = GrayImage::new(rgb.width(), rgb.height());
    let pixels = rgb.as_raw().par_chunks_exact(3).with_min_len(1 << 14);
    out.as_mut().par_iter_mut().with_min_len(1 << 14).zip(pixels).for_each(|(value, pixel)| {
        let max = pixel[0].max(pixel[1]).max(pixel[2]);
        let min = pixel[0].min(pixel[1]).min(pixel[2]);
        // At most 255 * 4096 * 255 / 255 + 2048, shifted: fits a byte.
        *value = ((u32::from(max - min) * reciprocals[usize::from(max)] + 2048) >> 12) as u8;
    });
    out
}

/// `255 * 4096 / value`, halves to even; 0 for 0.
fn reciprocals() -> [u32; 256] {
    let mut table = [0; 256];
    for (value, entry) in table.iter_mut().enumerate().skip(1) {
        *entry = (f64::from(255 << 12) / value as f64).round_ties_even() as u32;
    }
    table
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(pixel: [u8; 3]) -> u8 {
        saturation(&RgbImage::from_pixel(1, 1, image::Rgb(pixel))).get_pixel(0, 0).0[0]
    }

    #[test]
    fn black_and_grey_have_none_and_pure_colours_all() {
        assert_eq!([of([0; 3]), of([77; 3]), of([255; 3])], [0, 0, 0]);
        assert_eq!([of([255, 0, 0]), of([0, 1, 0]), of([0, 9, 200])], [255, 255, 255]);
    }

    #[test]
    fn fixed_point_differs_from_rounding_for_385_pairs() {
        let differs = |max: u8, difference: u8| {
            let exact = (255.0 * f64::from(difference) / f64::from(max)).round_ties_even() as u8;
            of([max, max - difference, max]) != exact
        };
        let n = (1..=255).flat_map(|max| (0..=max).map(move |d| (max, d))).filter(|(m, d)| differs(*m, *d));
        assert_eq!(n.count(), 385);
    }
}
