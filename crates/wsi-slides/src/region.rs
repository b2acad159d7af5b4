//! A region out of a grid of tiles.

use std::sync::Arc;

use image::RgbImage;

use crate::error::Result;
use crate::reader::Level;
use crate::tile::Tile;

/// Where a region starts in the pixels of its level: the pixel that holds its corner, and how far the corner lies from
/// that pixel's own, in 128ths of a pixel.
#[derive(Debug, PartialEq, Eq)]
struct Start {
    pixel: i64,
    fraction: u32,
}

/// OpenSlide draws through a library that interpolates with seven bits.
const FRACTIONS: f64 = 128.0;

impl Start {
    fn of(level0: i64, downsample: f64) -> Self {
        let steps = (level0 as f64 / downsample * FRACTIONS).round() as i64;
        let fraction = steps.rem_euclid(FRACTIONS as i64);
        Self { pixel: steps.div_euclid(FRACTIONS as i64), fraction: u32::try_from(fraction).unwrap_or(0) }
    }
}

/// Puts a region together, `corner` in level-0 pixels and `size` in pixels of `level`. `tile_at` gives the tile of a
/// column and row, `None` where a sparse file has none.
pub(crate) fn read(
    level: Level,
    tile_size: [u32; 2],
    corner: [i64; 2],
    size: [u32; 2],
    tile_at: impl Fn(u32, u32) -> Result<Option<Arc<Tile>>>,
) -> Result<RgbImage> {
    let [x, y] = corner.map(|at| Start::of(at, level.downsample));
    let wider = |fraction: u32| u32::from(fraction > 0);
    let whole_size = [size[0] + wider(x.fraction), size[1] + wider(y.fraction)];
    let whole = read_whole(level, tile_size, [x.pixel, y.pixel], whole_size, tile_at)?;
    if whole_size == size { Ok(whole) } else { Ok(interpolated(&whole, size, [x.fraction, y.fraction])) }
}

/// A region whose corner is a pixel of the level.
fn read_whole(
    level: Level,
    tile_size: [u32; 2],
    corner: [i64; 2],
    size: [u32; 2],
    tile_at: impl Fn(u32, u32) -> Result<Option<Arc<Tile>>>,
) -> Result<RgbImage> {
    let mut region = RgbImage::new(size[0], size[1]);
    let row_bytes = size[0] as usize * 3;
    // What of the region lies inside the level, in pixels of the level.
    let inside = |axis: usize, length: u32| {
        let end = corner[axis].saturating_add(i64::from(size[axis])).min(i64::from(length));
        (corner[axis].max(0), end)
    };
    let ((left, right), (top, bottom)) = (inside(0, level.width), inside(1, level.height));
    if left >= right || top >= bottom {
        return Ok(region);
    }
    let [tile_width, tile_height] = tile_size.map(i64::from);
    for row in top / tile_height..=(bottom - 1) / tile_height {
        for column in left / tile_width..=(right - 1) / tile_width {
            let (Ok(column_idx), Ok(row_idx)) = (u32::try_from(column), u32::try_from(row)) else { continue };
            let Some(tile) = tile_at(column_idx, row_idx)? else { continue };
            let (tile_left, tile_top) = (column * tile_width, row * tile_height);
            let from = left.max(tile_left);
            let to = right.min(tile_left + i64::from(tile.width).min(tile_width));
            if from >= to {
                continue;
            }
            let last = bottom.min(tile_top + i64::from(tile.height).min(tile_height));
            for y in top.max(tile_top)..last {
                let source = ((y - tile_top) * i64::from(tile.width) + from - tile_left) as usize * 3;
                let target = (y - corner[1]) as usize * row_bytes + (from - corner[0]) as usize * 3;
                let length = (to - from) as usize * 3;
                region.as_mut()[target..target + length].copy_from_slice(&tile.rgb[source..source + length]);
            }
        }
    }
    Ok(region)
}

/// Bilinear interpolation at a constant offset, in 128ths, from a region one pixel larger where that is not 0.
fn interpolated(whole: &RgbImage, size: [u32; 2], fractions: [u32; 2]) -> RgbImage {
    let width = whole.width() as usize * 3;
    let [fx, fy] = fractions;
    let one = FRACTIONS as u32;
    let (next_x, next_y) = (if fx > 0 { 3 } else { 0 }, if fy > 0 { width } else { 0 });
    let source: &[u8] = whole.as_raw();
    let mut out = RgbImage::new(size[0], size[1]);
    let row_bytes = size[0] as usize * 3;
    for (y, row) in out.as_mut().chunks_exact_mut(row_bytes.max(1)).enumerate() {
        let start = y * width;
        for (x, value) in row.iter_mut().enumerate() {
            let at = |offset: usize| u32::from(source[start + x + offset]);
            let above = at(0) * (one - fx) + at(next_x) * fx;
            let below = at(next_y) * (one - fx) + at(next_y + next_x) * fx;
            *value = ((above * (one - fy) + below * fy + one * one / 2) / (one * one)) as u8;
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Tiles of 4 x 4 whose red is the column of the pixel and green its row.
    fn gradient(column: u32, row: u32) -> Result<Option<Arc<Tile>>> {
        let pixel = |number: u32| [column * 4 + number % 4, row * 4 + number / 4, 7].map(|value| value as u8);
        Ok(Some(Arc::new(Tile { width: 4, height: 4, rgb: (0..16).flat_map(pixel).collect() })))
    }

    fn region(corner: [i64; 2], size: [u32; 2], downsample: f64) -> RgbImage {
        read(Level { width: 10, height: 9, downsample }, [4, 4], corner, size, gradient).unwrap()
    }

    #[test]
    fn tiles_are_joined_without_seams() {
        let found = region([2, 3], [6, 5], 1.0);
        for (x, y, pixel) in found.enumerate_pixels() {
            assert_eq!(pixel.0, [x as u8 + 2, y as u8 + 3, 7]);
        }
    }

    #[test]
    fn outside_the_slide_is_black() {
        let found = region([-2, 7], [14, 4], 1.0);
        for (x, y, pixel) in found.enumerate_pixels() {
            let (at_x, at_y) = (i64::from(x) - 2, i64::from(y) + 7);
            let inside = (0..10).contains(&at_x) && (0..9).contains(&at_y);
            assert_eq!(pixel.0, if inside { [at_x as u8, at_y as u8, 7] } else { [0; 3] }, "{x} {y}");
        }
        assert!(region([100, 100], [3, 3], 1.0).as_raw().iter().all(|value| *value == 0));
    }

    #[test]
    fn a_corner_between_pixels_is_interpolated() {
        // Level-0 column 5 is column 2.5 of a level half as large.
        let found = region([5, 4], [3, 3], 2.0);
        assert_eq!(found.get_pixel(0, 0).0, [3, 2, 7], "halfway between 2 and 3, rounded up");
        assert_eq!(found.get_pixel(2, 2).0, [5, 4, 7]);
    }

    #[test]
    fn whole_pixels_survive_downsamples_that_are_not_whole() {
        assert_eq!(Start::of(1048, 4.0), Start { pixel: 262, fraction: 0 });
        assert_eq!(Start::of(-3, 2.0), Start { pixel: -2, fraction: 64 });
    }
}
