//! Pictures for people: the slide in small, with its contours.

use image::{Rgb, RgbImage, imageops};

use crate::error::Result;
use crate::reader::SlideReader;
use crate::tissue::segmentation::Contour;

const OUTER: Rgb<u8> = Rgb([0, 160, 60]);
const HOLE: Rgb<u8> = Rgb([30, 60, 220]);

/// The slide in small: at most `longest` pixels along its longer side.
///
/// # Errors
/// Those of [`read_region`](SlideReader::read_region); a slide whose smallest level is too large to read at once has no
/// thumbnail.
pub fn thumbnail(slide: &dyn SlideReader, longest: u32) -> Result<RgbImage> {
    let levels = slide.levels();
    let fits = |(_, level): &(usize, &crate::reader::Level)| level.width.max(level.height) >= longest;
    let idx = levels.iter().enumerate().rev().find(fits).map_or(0, |(idx, _)| idx);
    let [width, height] = levels.get(idx).map_or([0, 0], |level| [level.width, level.height]);
    let whole = slide.read_region(idx, [0, 0], [width, height])?;
    let shrink = f64::from(longest.max(1)) / f64::from(width.max(height).max(1));
    if shrink >= 1.0 {
        return Ok(whole);
    }
    let side = |length: u32| ((f64::from(length) * shrink).round() as u32).max(1);
    Ok(imageops::thumbnail(&whole, side(width), side(height)))
}

/// Draws contours, given in level-0 pixels, on a picture of a slide that is `width0` pixels wide at level 0.
pub fn overlay(picture: &mut RgbImage, contours: &[Contour], width0: u32) {
    let scale = f64::from(picture.width()) / f64::from(width0.max(1));
    for contour in contours {
        draw(picture, contour.outer.points(), scale, OUTER);
        for hole in &contour.holes {
            draw(picture, hole.points(), scale, HOLE);
        }
    }
}

/// A closed line two pixels wide.
fn draw(picture: &mut RgbImage, points: &[[i32; 2]], scale: f64, colour: Rgb<u8>) {
    let next = points.iter().skip(1).chain(points.first());
    for (from, to) in points.iter().zip(next) {
        let [from, to] = [from, to].map(|point| point.map(|c| f64::from(c) * scale));
        let n_steps = (to[0] - from[0]).abs().max((to[1] - from[1]).abs()).ceil().max(1.0);
        for step in 0..=n_steps as u32 {
            let t = f64::from(step) / n_steps;
            let [x, y] = [0, 1].map(|axis| (from[axis] + t * (to[axis] - from[axis])) as u32);
            for (x, y) in [(x, y), (x + 1, y), (x, y + 1), (x + 1, y + 1)] {
                if let Some(pixel) = picture.get_pixel_mut_checked(x, y) {
                    *pixel = colour;
                }
            }
        }
    }
}
