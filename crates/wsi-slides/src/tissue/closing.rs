//! Morphological closing with a block of ones, as OpenCV places an even-sized one.

use image::GrayImage;

/// Closes gaps: dilation, then erosion, both with a block of `side` by `side`.
///
/// Both use the offsets `-side / 2` to `side - 1 - side / 2`: OpenCV does not reflect the block in between, so an even
/// side shifts the result by one pixel to the right and down. Outside the image is 0 for the dilation and 255 for the
/// erosion.
#[must_use]
pub fn closing(image: &GrayImage, side: u32) -> GrayImage {
    if side == 0 {
        return image.clone();
    }
    let dilated = extreme(image, side, 0, u8::max);
    extreme(&dilated, side, 255, u8::min)
}

/// Grows what is not 0 by a block of `side` by `side`.
#[must_use]
pub(super) fn dilation(image: &GrayImage, side: u32) -> GrayImage {
    extreme(image, side.max(1), 0, u8::max)
}

/// Removes what a block of `side` by `side` does not fit into; `side` is odd, so nothing moves.
#[must_use]
pub(super) fn opening(image: &GrayImage, side: u32) -> GrayImage {
    dilation(&extreme(image, side.max(1), 255, u8::min), side)
}

/// The extreme over the block around each pixel, rows first, then columns: a block is the product of both. `outside` gives way to
/// every value.
fn extreme(image: &GrayImage, side: u32, outside: u8, pick: impl Fn(u8, u8) -> u8) -> GrayImage {
    let width = (image.width() as usize).max(1);
    let (back, side) = ((side / 2) as usize, side as usize);
    let pick_all = |best: &mut [u8], values: &[u8]| {
        best.iter_mut().zip(values).for_each(|(best, value)| *best = pick(*best, *value));
    };
    let mut along_rows = image.clone();
    for (best, row) in along_rows.chunks_exact_mut(width).zip(image.chunks_exact(width)) {
        best.fill(outside);
        for offset in 0..side {
            // The value at x + offset - back goes to x.
            let (to, from) = (back.saturating_sub(offset), offset.saturating_sub(back));
            if to < width && from < width {
                pick_all(&mut best[to..], &row[from..]);
            }
        }
    }
    let mut out = along_rows.clone();
    let height = image.height() as usize;
    for (y, best) in out.chunks_exact_mut(width).enumerate() {
        best.fill(outside);
        for from in y.saturating_sub(back)..(y + side - back).min(height) {
            pick_all(best, &along_rows.as_raw()[from * width..][..width]);
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn dots(dots: &[(u32, u32)]) -> GrayImage {
        let mut image = GrayImage::new(24, 24);
        for (x, y) in dots {
            image.put_pixel(*x, *y, image::Luma([255]));
        }
        image
    }

    fn white(image: &GrayImage) -> Vec<(u32, u32)> {
        image.enumerate_pixels().filter(|(_, _, value)| value.0[0] == 255).map(|(x, y, _)| (x, y)).collect()
    }

    #[test]
    fn even_sides_shift_by_one() {
        for side in [2, 4] {
            assert_eq!(white(&closing(&dots(&[(10, 10)]), side)), [(11, 11)], "side {side}");
        }
        assert_eq!(white(&closing(&dots(&[(10, 10)]), 3)), [(10, 10)]);
        assert_eq!(white(&closing(&dots(&[(10, 10)]), 0)), [(10, 10)]);
    }

    #[test]
    fn gaps_narrower_than_the_block_are_closed() {
        assert_eq!(white(&closing(&dots(&[(5, 5), (7, 5)]), 3)), [(5, 5), (6, 5), (7, 5)]);
        assert_eq!(white(&closing(&dots(&[(5, 5), (9, 5)]), 3)), [(5, 5), (9, 5)]);
    }
}
