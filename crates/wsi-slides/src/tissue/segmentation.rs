//! All stages in order: from a slide to contours in level-0 pixels.

use image::{GrayImage, RgbImage};

use crate::error::{ErrorKind, Result};
use crate::reader::{Level, SlideReader};
use crate::tissue::border::{Border, pieces};
use crate::tissue::closing::{closing, dilation};
use crate::tissue::median::median;
use crate::tissue::params::{PenMarks, Threshold, TissueParams};
use crate::tissue::pen::{HALO, Ink, pen_marks};
use crate::tissue::polygon::{Polygon, area};
use crate::tissue::saturation::saturation;
use crate::tissue::threshold::{above, otsu};

/// The downsample at which tissue is looked for.
const WANTED_DOWNSAMPLE: f64 = 64.0;
/// A level of more pixels than this is not segmented, as in CLAM.
const LARGEST_LEVEL: u64 = 100_000_000;
/// Side of the square that areas are counted in, in level-0 pixels.
const REFERENCE_SIDE: f64 = 512.0;

/// One piece of tissue in level-0 pixels.
#[derive(Debug, Clone, PartialEq)]
pub struct Contour {
    /// The outer border.
    pub outer: Polygon,
    /// The holes that are not tissue.
    pub holes: Vec<Polygon>,
}

/// The tissue of a slide.
#[derive(Debug, Clone, PartialEq)]
pub struct Tissue {
    /// The level that was segmented.
    pub level: usize,
    /// The mask on that level: 255 tissue, 0 glass, before pieces were dropped by size.
    pub mask: GrayImage,
    /// The pieces that are large enough, in CLAM's order.
    pub contours: Vec<Contour>,
    /// What was taken for ink, if it was to be taken out.
    pub ink: Ink,
}

impl Tissue {
    /// Share of the segmented level that is tissue, before pieces were dropped by size.
    #[must_use]
    pub fn share(&self) -> f64 {
        let n_white = self.mask.iter().filter(|value| **value != 0).count();
        n_white as f64 / self.mask.len().max(1) as f64
    }
}

/// Finds the tissue of a slide.
///
/// # Errors
/// [`ErrorKind::Limit`] if the level to segment has more than 10^8 pixels, and those of
/// [`read_region`](SlideReader::read_region). A slide without tissue is no error: it has no contours.
pub fn find(slide: &dyn SlideReader, params: &TissueParams) -> Result<Tissue> {
    let levels = slide.levels();
    let idx = segmentation_level(levels);
    let n_levels = levels.len();
    let (Some(level), Some(level0)) = (levels.get(idx), levels.first()) else {
        return Err(ErrorKind::NoLevel { level: idx, n_levels }.into());
    };
    let found = u64::from(level.width) * u64::from(level.height);
    if found > LARGEST_LEVEL {
        let what = "the smallest level fit for segmentation, in pixels,";
        return Err(ErrorKind::Limit { what, found, limit: LARGEST_LEVEL }.into());
    }
    let rgb = slide.read_region(idx, [0, 0], [level.width, level.height])?;
    let (mask, ink) = mask(&rgb, params);
    let contours = contours(&mask, level.scale(level0), params);
    Ok(Tissue { level: idx, mask, contours, ink })
}

/// The level to segment: the last before the downsample exceeds 64.
#[must_use]
pub fn segmentation_level(levels: &[Level]) -> usize {
    let beyond = levels.iter().skip(1).position(|level| level.downsample > WANTED_DOWNSAMPLE);
    beyond.unwrap_or(levels.len().saturating_sub(1))
}

/// The mask of an image, 255 for tissue, and what was taken for ink.
///
/// An image with ink costs twice as much: the mask is made with the ink, too, to tell how much of it that is.
#[must_use]
pub fn mask(rgb: &RgbImage, params: &TissueParams) -> (GrayImage, Ink) {
    let mut saturation = saturation(rgb);
    if params.pen_marks == PenMarks::Keep {
        return (cut(&saturation, params), Ink::default());
    }
    let ink = pen_marks(rgb);
    let n_pixels = count(ink.iter());
    if n_pixels == 0 {
        return (cut(&saturation, params), Ink::default());
    }
    let ink = dilation(&ink, HALO);
    let with_ink = cut(&saturation, params);
    let taken = with_ink.iter().zip(ink.iter()).filter(|(_, ink)| **ink != 0).map(|(tissue, _)| tissue);
    let tissue_share = count(taken) as f64 / count(with_ink.iter()).max(1) as f64;
    for (value, ink) in saturation.iter_mut().zip(ink.iter()) {
        *value = if *ink == 0 { *value } else { 0 };
    }
    (cut(&saturation, params), Ink { n_pixels, tissue_share })
}

/// The mask of a saturation.
fn cut(saturation: &GrayImage, params: &TissueParams) -> GrayImage {
    let smooth = median(saturation, params.median_side);
    let level = match params.threshold {
        Threshold::Fixed(level) => level,
        Threshold::Otsu => otsu(&smooth),
    };
    closing(&above(&smooth, level), params.closing_side)
}

fn count<'a>(values: impl Iterator<Item = &'a u8>) -> usize {
    values.filter(|value| **value != 0).count()
}

/// The pieces of a mask that are large enough, in level-0 pixels.
///
/// `scale` is level-0 pixels per pixel of the mask along x and y. A piece counts with its area less all of its holes;
/// of the `max_holes` largest holes those above the smallest area are kept.
#[must_use]
pub fn contours(mask: &GrayImage, scale: [f64; 2], params: &TissueParams) -> Vec<Contour> {
    // Truncated, as CLAM has it.
    let reference = (REFERENCE_SIDE * REFERENCE_SIDE / (scale[0] * scale[1])).trunc();
    let mut found = Vec::new();
    for piece in pieces(mask) {
        let hole_areas: Vec<f64> = piece.holes.iter().map(|hole| area(hole)).collect();
        let net = area(&piece.outer) - hole_areas.iter().sum::<f64>();
        if net == 0.0 || net <= params.min_area * reference {
            continue;
        }
        let mut holes: Vec<(f64, &Border)> = hole_areas.into_iter().zip(&piece.holes).collect();
        holes.sort_by(|a, b| b.0.total_cmp(&a.0));
        holes.truncate(params.max_holes);
        holes.retain(|(hole_area, _)| *hole_area > params.min_hole_area * reference);
        let holes = holes.into_iter().map(|(_, hole)| scaled(hole, scale)).collect();
        found.push(Contour { outer: scaled(&piece.outer, scale), holes });
    }
    found
}

fn scaled(border: &Border, scale: [f64; 2]) -> Polygon {
    let at_level0 =
        |[x, y]: &[i32; 2]| [(f64::from(*x) * scale[0]) as i32, (f64::from(*y) * scale[1]) as i32];
    Polygon::new(border.iter().map(at_level0).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn levels(downsamples: &[f64]) -> Vec<Level> {
        downsamples.iter().map(|downsample| Level { width: 1, height: 1, downsample: *downsample }).collect()
    }

    #[test]
    fn the_level_is_the_last_at_or_below_64() {
        assert_eq!(segmentation_level(&levels(&[1.0])), 0);
        assert_eq!(segmentation_level(&levels(&[1.0, 4.0, 16.0, 32.0])), 3);
        assert_eq!(segmentation_level(&levels(&[1.0, 4.0, 16.0, 64.0, 64.01])), 3);
        assert_eq!(segmentation_level(&levels(&[1.0, 128.0])), 0);
    }

    #[test]
    fn holes_are_cut_to_the_largest_before_small_ones_are_filled() {
        // A block of 60 by 60 with holes of 11, 9 and 3 pixels a side.
        let mut mask = GrayImage::from_pixel(60, 60, image::Luma([255]));
        for (left, side) in [(5, 11), (25, 9), (45, 3)] {
            for (x, y) in (0..side).flat_map(|x| (0..side).map(move |y| (left + x, 10 + y))) {
                mask.put_pixel(x, y, image::Luma([0]));
            }
        }
        let scale = [512.0; 2];
        let params = TissueParams {
            min_area: 100.0,
            min_hole_area: 50.0,
            max_holes: 1,
            ..crate::tissue::Preset::Default.params()
        };
        let n_holes = |params: &TissueParams| contours(&mask, scale, params)[0].holes.len();
        assert_eq!(n_holes(&params), 1);
        assert_eq!(n_holes(&TissueParams { max_holes: 8, ..params }), 2, "the smallest is tissue");
        let dropped = TissueParams { min_area: 3400.0, ..params };
        assert!(contours(&mask, scale, &dropped).is_empty(), "59 * 59 less the holes is below 3400");
    }
}
