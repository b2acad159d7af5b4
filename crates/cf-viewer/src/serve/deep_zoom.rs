//! A slide as the tiles of a deep zoom image: each level half the size of the next, down to one pixel.

use image::RgbImage;
use wsi_slides::{Level, SlideReader};

use crate::error::Result;
use crate::raster::PixelGrid;

/// Side of a tile in pixels. Tiles do not overlap.
pub(super) const TILE: u32 = 256;

/// The levels and tiles of a picture of this size.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct DeepZoom {
    size: [u32; 2],
}

/// One tile: its pixels on the slide. All its numbers are whole level-0 pixels.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct ZoomTile {
    corner: [i64; 2],
    /// Level-0 pixels per pixel.
    span: u64,
    size: [u32; 2],
}

impl ZoomTile {
    /// The tile as a grid to draw patches on.
    pub(super) fn grid(&self) -> PixelGrid {
        let corner = self.corner.map(|at| at as f64);
        PixelGrid { corner, scale: [self.span as f64; 2], size: self.size }
    }
}

impl DeepZoom {
    /// - `size`: width and height in level-0 pixels, at least 1.
    pub(super) fn of(size: [u32; 2]) -> Self {
        Self { size: size.map(|length| length.max(1)) }
    }

    /// The number of the level that has the slide's own pixels; level 0 has one pixel.
    pub(super) fn last_level(&self) -> u32 {
        let longest = self.size[0].max(self.size[1]);
        // The smallest power of two that holds the longer side.
        u32::BITS - (longest - 1).leading_zeros()
    }

    /// A tile by its level, column and row; `None` where there is none.
    pub(super) fn tile(&self, level: u32, column: u32, row: u32) -> Option<ZoomTile> {
        let halvings = self.last_level().checked_sub(level)?;
        let span = 1_u64 << halvings;
        let mut tile = ZoomTile { corner: [0; 2], span, size: [0; 2] };
        for (axis, number) in [column, row].into_iter().enumerate() {
            let length = u64::from(*self.size.get(axis)?).div_ceil(span);
            let first = u64::from(number) * u64::from(TILE);
            let rest = length.checked_sub(first).filter(|rest| *rest > 0)?;
            tile.corner[axis] = i64::try_from(first * span).ok()?;
            tile.size[axis] = u32::try_from(rest.min(u64::from(TILE))).ok()?;
        }
        Some(tile)
    }
}

/// The pixels of a tile: each is the mean of those that it spans, from the smallest level that is no coarser.
///
/// # Errors
/// Those of [`SlideReader::read_region`].
pub(super) fn read_tile(slide: &dyn SlideReader, tile: &ZoomTile) -> Result<RgbImage> {
    let levels = slide.levels();
    let is_fine_enough = |level: &Level| level.downsample <= tile.span as f64 * 1.001;
    let number = levels.iter().rposition(is_fine_enough).unwrap_or(0);
    let [width, height] = tile.size;
    let blank = || RgbImage::from_pixel(width, height, image::Rgb([255; 3]));
    let (Some(level), Some(level0)) = (levels.get(number), levels.first()) else {
        return Ok(blank());
    };
    let scale = level.scale(level0);
    let lengths = [level.width, level.height];
    // Pixels of the level from the one that holds the tile's corner on, as far as they go. Between pixels a reader
    // interpolates, and beyond the level that is with black: it is asked at or just before that pixel, so that its last one
    // is the level's.
    let axes = [0, 1].map(|axis| {
        let start = tile.corner[axis] as f64 / scale[axis];
        let first = start.floor().min(f64::from(lengths[axis]) - 1.0).max(0.0);
        let corner = (first * level.downsample).floor();
        let offset = (start - corner / level.downsample).max(0.0);
        let ratio = tile.span as f64 / scale[axis];
        let wanted = (offset + f64::from(tile.size[axis]) * ratio).ceil().max(1.0);
        let n_pixels = wanted.min(f64::from(lengths[axis]) - first) as u32;
        (corner as i64, n_pixels, means(tile.size[axis], offset, ratio, n_pixels))
    });
    let [(left, n_columns, columns), (top, n_rows, rows)] = axes;
    let region = slide.read_region(number, [left, top], [n_columns, n_rows])?;
    let across: Vec<f32> = region
        .as_raw()
        .chunks_exact(n_columns as usize * 3)
        .flat_map(|row| columns.iter().flat_map(|mean| [0, 1, 2].map(|channel| mean.of(row, 3, channel))))
        .collect();
    let stride = width as usize * 3;
    let bytes: Vec<u8> = rows
        .iter()
        .flat_map(|mean| (0..stride).map(|at| mean.of(&across, stride, at)))
        .map(|value| (value + 0.5).clamp(0.0, 255.0) as u8)
        .collect();
    Ok(RgbImage::from_raw(width, height, bytes).unwrap_or_else(blank))
}

/// The weights of neighbouring pixels in one pixel of a smaller picture.
struct Mean {
    first: usize,
    /// They add up to 1.
    weights: Vec<f32>,
}

impl Mean {
    /// The mean of elements `stride` apart, the first of which is `offset` from the start of each group.
    fn of<T: Copy + Into<f32>>(&self, values: &[T], stride: usize, offset: usize) -> f32 {
        let from = values.iter().skip(self.first * stride + offset).step_by(stride.max(1));
        from.zip(&self.weights).map(|(value, weight)| (*value).into() * weight).sum()
    }
}

/// For each of `n` pixels, the mean of the `ratio` pixels that it spans of `there`, the first from `offset` on.
fn means(n: u32, offset: f64, ratio: f64, there: u32) -> Vec<Mean> {
    let mean = |pixel: u32| {
        let [from, to] = [pixel, pixel + 1].map(|at| offset + f64::from(at) * ratio);
        // The last pixel may reach over the edge: it is the mean of what is there.
        let first = (from.floor() as u32).min(there.saturating_sub(1));
        let end = (to.ceil() as u32).clamp(first + 1, there.max(first + 1));
        let share = |at: u32| (to.min(f64::from(at) + 1.0) - from.max(f64::from(at))).max(1e-6) as f32;
        let mut weights: Vec<f32> = (first..end).map(share).collect();
        let total: f32 = weights.iter().sum();
        weights.iter_mut().for_each(|weight| *weight /= total);
        Mean { first: first as usize, weights }
    };
    (0..n).map(mean).collect()
}

#[cfg(test)]
mod tests {
    use std::io::Write;
    use std::path::Path;

    use flate2::Compression;
    use flate2::write::ZlibEncoder;
    use wsi_slides::{LevelTags, PyramidWriter, TileCompression};

    use super::*;

    #[test]
    fn levels_halve_down_to_one_pixel() {
        for (size, last) in
            [([1, 1], 0), ([2, 1], 1), ([256, 200], 8), ([257, 3], 9), ([100_000, 80_000], 17)]
        {
            let zoom = DeepZoom::of(size);
            assert_eq!(zoom.last_level(), last, "{size:?}");
            assert_eq!(zoom.tile(0, 0, 0).unwrap().size, [1, 1]);
            assert_eq!(zoom.tile(last, 0, 0).unwrap().span, 1);
            assert!(zoom.tile(last + 1, 0, 0).is_none() && zoom.tile(u32::MAX, 0, 0).is_none());
        }
    }

    #[test]
    fn tiles_cover_every_level_once() {
        let zoom = DeepZoom::of([1000, 515]);
        for level in 0..=zoom.last_level() {
            let row = |row| (0..9).map_while(move |column| zoom.tile(level, column, row)).collect::<Vec<_>>();
            let span = 1_u32 << (10 - level);
            let widths: u32 = row(0).iter().map(|tile| tile.size[0]).sum();
            assert_eq!(widths, 1000_u32.div_ceil(span), "level {level}");
            let heights: u32 = (0..9).map_while(|at| zoom.tile(level, 0, at)).map(|tile| tile.size[1]).sum();
            assert_eq!(heights, 515_u32.div_ceil(span), "level {level}");
        }
        let tile = zoom.tile(9, 1, 1).unwrap();
        assert_eq!(tile, ZoomTile { corner: [512, 512], span: 2, size: [244, 2] });
        for beyond in [[4, 0], [0, 3], [u32::MAX, 0], [0, u32::MAX]] {
            assert!(zoom.tile(10, beyond[0], beyond[1]).is_none());
        }
    }

    #[test]
    fn pixels_are_means_of_what_they_span() {
        let weights_from = |n, offset, ratio, there| {
            let means = means(n, offset, ratio, there).into_iter();
            means.map(|mean| (mean.first, mean.weights)).collect::<Vec<_>>()
        };
        let weights = |n, ratio, there| weights_from(n, 0.0, ratio, there);
        assert_eq!(weights(2, 2.0, 4), [(0, vec![0.5; 2]), (2, vec![0.5; 2])]);
        let thirds = weights(2, 1.5, 3);
        assert_eq!((thirds[1].0, thirds[1].1.len()), (1, 2));
        assert!((thirds[1].1[0] - 1.0 / 3.0).abs() < 1e-6);
        // The last pixel spans one that is not there.
        assert_eq!(weights(2, 2.0, 3)[1], (2, vec![1.0]));
        assert_eq!(weights_from(2, 0.5, 1.0, 2), [(0, vec![0.5; 2]), (1, vec![1.0])]);
    }

    /// A slide that grows from black to white to the right in red, to the bottom in green, and is white in blue.
    fn ramp(path: &Path, sizes: &[[u32; 2]]) {
        let side = PyramidWriter::TILE;
        let mut writer = PyramidWriter::create(path, TileCompression::Deflate).unwrap();
        for size in sizes {
            writer.begin_level(size[0], size[1]);
            let [columns, rows] = size.map(|length| length.div_ceil(side));
            for (row, column) in (0..rows).flat_map(|row| (0..columns).map(move |column| (row, column))) {
                let shade =
                    |at: u32, length: u32| (255.0 * (f64::from(at) + 0.5) / f64::from(length)).round() as u8;
                let pixel = |x, y| [shade(column * side + x, size[0]), shade(row * side + y, size[1]), 255];
                let samples: Vec<u8> =
                    (0..side).flat_map(|y| (0..side).flat_map(move |x| pixel(x, y))).collect();
                let mut encoder = ZlibEncoder::new(Vec::new(), Compression::fast());
                encoder.write_all(&samples).unwrap();
                writer.tile(&encoder.finish().unwrap()).unwrap();
            }
        }
        writer.finish(|_, _| LevelTags { description: String::new(), mpp: None }).unwrap();
    }

    #[test]
    fn every_pixel_up_to_the_edges_is_the_mean_of_the_slide_that_it_spans() {
        let dir = tempfile::tempdir().unwrap();
        for (at, sizes) in [
            vec![[2022, 1821], [506, 456], [126, 114]],
            vec![[1721, 2159], [726, 911], [242, 304]],
            vec![[1025, 2049], [341, 681], [110, 220]],
            vec![[901, 777]],
        ]
        .iter()
        .enumerate()
        {
            let path = dir.path().join(format!("{at}.tiff"));
            ramp(&path, sizes);
            let slide = wsi_slides::open(&path).unwrap();
            let zoom = DeepZoom::of(sizes[0]);
            let last = zoom.last_level();
            for level in 0..=last {
                let span = f64::from(1_u32 << (last - level));
                let tiles =
                    (0..9).flat_map(|row| (0..9).filter_map(move |column| zoom.tile(level, column, row)));
                for tile in tiles {
                    let picture = read_tile(slide.as_ref(), &tile).unwrap();
                    for (x, y, pixel) in picture.enumerate_pixels() {
                        // The mean of a ramp is its value in the middle of what a pixel spans of the slide.
                        let wanted = [(0, x), (1, y)].map(|(axis, at)| {
                            let from = tile.corner[axis] as f64 + f64::from(at) * span;
                            let length = f64::from(sizes[0][axis]);
                            255.0 * (from + (from + span).min(length)) / 2.0 / length
                        });
                        for (found, wanted) in pixel.0.iter().zip([wanted[0], wanted[1], 255.0]) {
                            // Shades are whole numbers, and a pixel of a level that reaches over an edge counts whole.
                            let apart = (f64::from(*found) - wanted).abs();
                            assert!(
                                apart < 2.5,
                                "{sizes:?} level {level} {tile:?} {x} {y}: {pixel:?} {wanted}"
                            );
                        }
                    }
                }
            }
        }
    }
}
