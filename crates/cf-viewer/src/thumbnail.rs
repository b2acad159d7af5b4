//! A whole slide as a small picture.

use image::RgbImage;
use wsi_slides::{Level, SlideReader};

use crate::error::Result;

/// Pixels that are read from the slide at a time.
const AT_ONCE: u32 = 1 << 22;
/// The colour of what has no pixels.
const PAPER: u8 = 255;

/// Shrinks a whole slide to `size` (width, height): each pixel is the mean of those that it spans, from the smallest
/// level that is not smaller than the picture. Memory: the picture, and some rows of that level.
///
/// # Errors
/// Those of [`SlideReader::read_region`].
pub fn thumbnail(slide: &dyn SlideReader, size: [u32; 2]) -> Result<RgbImage> {
    let levels = slide.levels();
    let is_enough = |level: &Level| level.width >= size[0] && level.height >= size[1];
    let number = levels.iter().rposition(is_enough).unwrap_or(0);
    let (Some(level), Some(level0)) = (levels.get(number), levels.first()) else {
        return Ok(RgbImage::from_pixel(size[0], size[1], image::Rgb([PAPER; 3])));
    };
    // Sums of red, green and blue over the pixels that each pixel of the picture spans, weighted by area.
    let columns = spans(level.width, size[0]);
    let rows = spans(level.height, size[1]);
    let row_length = size[0] as usize * 3;
    let mut sums = vec![0.0f32; row_length * size[1] as usize];
    let strip_height = (AT_ONCE / level.width.max(1)).clamp(1, level.height);
    let downsample = level.scale(level0)[1];
    let mut top = 0;
    while top < level.height {
        let height = strip_height.min(level.height - top);
        // The corner is rounded to level 0 and read back to within a fraction of a pixel of the level.
        let corner = [0, (f64::from(top) * downsample).round() as i64];
        let strip = slide.read_region(number, corner, [level.width, height])?;
        for (y, row) in strip.as_raw().chunks_exact(level.width as usize * 3).enumerate() {
            let across = shrunk(row, &columns, size[0]);
            for (to, weight) in rows.get(top as usize + y).into_iter().flatten() {
                let start = *to as usize * row_length;
                let sums = sums.get_mut(start..start + row_length).unwrap_or_default();
                for (sum, value) in sums.iter_mut().zip(&across) {
                    *sum += weight * value;
                }
            }
        }
        top += height;
    }
    let bytes = sums.into_iter().map(|sum| (sum + 0.5).clamp(0.0, 255.0) as u8).collect();
    Ok(RgbImage::from_raw(size[0], size[1], bytes)
        .unwrap_or_else(|| RgbImage::from_pixel(size[0], size[1], image::Rgb([PAPER; 3]))))
}

/// For each of `from` pixels, which of `to` pixels of the same whole it lies on, and which share of them it makes: one,
/// or two where it lies across an edge (never more, since the picture is the smaller; a level that is smaller than the
/// picture is spread).
fn spans(from: u32, to: u32) -> Vec<Vec<(u32, f32)>> {
    let ratio = f64::from(to) / f64::from(from.max(1));
    let span = |pixel: u32| {
        let (start, end) = (f64::from(pixel) * ratio, f64::from(pixel + 1) * ratio);
        let mut shares = Vec::with_capacity(2);
        let mut at = start.floor() as u32;
        while f64::from(at) < end && at < to {
            let share = end.min(f64::from(at) + 1.0) - start.max(f64::from(at));
            if share > 1e-9 {
                shares.push((at, share as f32));
            }
            at += 1;
        }
        shares
    };
    (0..from).map(span).collect()
}

fn shrunk(row: &[u8], columns: &[Vec<(u32, f32)>], width: u32) -> Vec<f32> {
    let mut out = vec![0.0f32; width as usize * 3];
    for (pixel, spans) in row.chunks_exact(3).zip(columns) {
        for (to, weight) in spans {
            let start = *to as usize * 3;
            for (sum, value) in out.get_mut(start..start + 3).unwrap_or_default().iter_mut().zip(pixel) {
                *sum += weight * f32::from(*value);
            }
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_pixel_of_the_picture_gets_a_whole() {
        for (from, to) in [(10, 10), (10, 3), (4443, 1600), (7, 1), (3, 10)] {
            let mut wholes = vec![0.0f32; to as usize];
            for (at, share) in spans(from, to).into_iter().flatten() {
                wholes[at as usize] += share;
            }
            assert!(wholes.iter().all(|whole| (whole - 1.0).abs() < 1e-4), "{from} {to}");
        }
    }
}
