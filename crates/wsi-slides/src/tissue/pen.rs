//! Ink of felt pens on the glass: colours that haematoxylin and eosin seldom give.

use image::{GrayImage, RgbImage};
use rayon::prelude::*;

use crate::tissue::closing::opening;

/// Colours are judged as means over a square of this side: ink on tissue shows between the nuclei, not at each pixel.
const MEAN_SIDE: usize = 9;
/// Strokes fade out beyond what is recognised: twice as far as the means reach.
pub(super) const HALO: u32 = 17;
/// Strokes are wider than this, nuclei at 20x are not.
const MIN_STROKE: u32 = 15;
/// Glass is nearly grey; ink is not.
const MIN_CHROMA: i32 = 20;
/// How much redder than blue, and how little bluer than green, red ink is: eosin is pink, with more blue than green.
const RED_OVER_BLUE: i32 = 100;
const BLUE_OVER_GREEN: i32 = 20;

/// What was taken for ink on the level that was segmented.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Ink {
    /// Pixels of that level in the colours of ink.
    pub n_pixels: usize,
    /// Share of the mask, as it would be with pen marks kept, that lies on ink or within the reach of its fading edge: 0 to 1.
    pub tissue_share: f64,
}

/// 255 where ink lies, 0 elsewhere.
///
/// Green and blue inks, also on tissue, have at least as much green as red. Tissue in haematoxylin and eosin seldom has; in a
/// scan whose colours are shifted to blue, or in other stains, it may, and then passes for ink. Red ink lacks the blue of
/// eosin, but so may pools of blood. Strokes narrower than 15 pixels are left out, and so are dark and purple inks, which are
/// not told from dense nuclei.
#[must_use]
pub fn pen_marks(rgb: &RgbImage) -> GrayImage {
    let mut out = GrayImage::new(rgb.width(), rgb.height());
    let width = rgb.width() as usize;
    if width == 0 {
        return out;
    }
    let means = means(rgb);
    let judged = means.par_chunks_exact(3 * width);
    out.as_mut().par_chunks_exact_mut(width).zip(judged).for_each(|(row, means)| {
        for (value, mean) in row.iter_mut().zip(means.chunks_exact(3)) {
            let [r, g, b] = [mean[0], mean[1], mean[2]].map(i32::from);
            let chroma = r.max(g).max(b) - r.min(g).min(b);
            let is_green_or_blue = g >= r && chroma > MIN_CHROMA;
            let is_red = r - b > RED_OVER_BLUE && b - g < BLUE_OVER_GREEN;
            *value = if is_green_or_blue || is_red { 255 } else { 0 };
        }
    });
    opening(&out, MIN_STROKE)
}

/// The mean of each colour over the square around each pixel, as far as it lies inside.
fn means(rgb: &RgbImage) -> Vec<u8> {
    let (width, height) = (rgb.width() as usize, rgb.height() as usize);
    let radius = MEAN_SIDE / 2;
    let source: &[u8] = rgb.as_raw();
    let row_values = 3 * width;
    let mut out = vec![0; source.len()];
    out.par_chunks_exact_mut(row_values).enumerate().for_each(|(y, row)| {
        let (top, bottom) = (y.saturating_sub(radius), (y + radius + 1).min(height));
        let mut columns = vec![0u32; row_values];
        for line in source[top * row_values..bottom * row_values].chunks_exact(row_values) {
            for (sum, value) in columns.iter_mut().zip(line) {
                *sum += u32::from(*value);
            }
        }
        let mut sums = [0u32; 3];
        let column = |x: usize, colour: usize| columns[3 * x + colour];
        for x in 0..radius.min(width) {
            for (colour, sum) in sums.iter_mut().enumerate() {
                *sum += column(x, colour);
            }
        }
        for x in 0..width {
            let (left, right) = (x.saturating_sub(radius), (x + radius + 1).min(width));
            let n = ((right - left) * (bottom - top)) as u32;
            for (colour, sum) in sums.iter_mut().enumerate() {
                if x + radius < width {
                    *sum += column(x + radius, colour);
                }
                if x > radius {
                    *sum -= column(x - radius - 1, colour);
                }
                row[3 * x + colour] = ((*sum + n / 2) / n) as u8;
            }
        }
    });
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn share_of(colour: [u8; 3]) -> usize {
        let image = RgbImage::from_pixel(40, 20, image::Rgb(colour));
        pen_marks(&image).iter().filter(|value| **value == 255).count()
    }

    #[test]
    fn inks_are_marked_and_stains_and_glass_are_not() {
        for ink in [[30, 110, 95], [60, 90, 160], [210, 20, 25]] {
            assert_eq!(share_of(ink), 800, "{ink:?}");
        }
        for other in [[205, 110, 160], [90, 60, 140], [245, 245, 246], [40, 40, 40], [220, 150, 190]] {
            assert_eq!(share_of(other), 0, "{other:?}");
        }
    }

    #[test]
    fn means_near_the_edge_are_of_what_is_there() {
        let image = RgbImage::from_fn(7, 3, |x, y| image::Rgb([(x * 10) as u8, (y * 50) as u8, 9]));
        let found = means(&image);
        // Column 0 sees columns 0 to 4, all rows: mean 20; rows 0, 50, 100: mean 50.
        assert_eq!(&found[..3], &[20, 50, 9]);
        // Column 6 sees columns 2 to 6: mean 40.
        assert_eq!(&found[18..21], &[40, 50, 9]);
    }
}
