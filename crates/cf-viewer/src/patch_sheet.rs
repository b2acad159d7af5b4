//! The patches that score highest, as the slide has them.

use cf_report::Ink;
use image::RgbImage;
use image::imageops::FilterType;
use rayon::prelude::*;
use wsi_slides::SlideReader;

use crate::error::Result;
use crate::furniture::{HEADING, LABEL, LINE, NOTE, Page, fitted, wrapped};
use crate::layer::HeatLayer;
use crate::render::Subject;
use crate::scale_bar::ScaleBar;
use crate::score_text::{RangeText, score_text};

/// Side of a patch on the sheet in pixels.
const SHEET_PATCH: u32 = 224;
const COLUMNS: u32 = 5;
const EDGE: u32 = 24;
const GAP: u32 = 14;
const HEAD: u32 = 82;
/// Room below each patch for its place and score.
const CAPTION: u32 = 44;

/// Draws the `k` highest patches of a layer, the highest first.
pub(crate) fn patch_sheet(
    subject: &Subject<'_>,
    layer: &HeatLayer,
    slide: &dyn SlideReader,
    k: usize,
) -> Result<RgbImage> {
    let chosen = layer.highest(k);
    let boxes = layer.boxes();
    let patches: Vec<RgbImage> = chosen
        .par_iter()
        .map(|idx| {
            let corner = boxes.corners.get(*idx).copied().unwrap_or_default();
            patch_picture(slide, corner, boxes.side, SHEET_PATCH)
        })
        .collect::<Result<_>>()?;
    let n_columns = COLUMNS.min(chosen.len().max(1) as u32).max(3);
    let n_rows = (chosen.len() as u32).div_ceil(COLUMNS);
    let width = 2 * EDGE + n_columns * SHEET_PATCH + (n_columns - 1) * GAP;
    let room = f64::from(width - 2 * EDGE);
    let mut notes = wrapped(&layer.explanation(), room);
    notes.push(RangeText::of(layer).line());
    let source = wrapped(&subject.source, room);
    let height_of = |lines: &[String]| (lines.len() as f64 * LINE).ceil() as u32;
    let head = HEAD + height_of(&notes);
    let foot = head + n_rows * (SHEET_PATCH + CAPTION) + EDGE / 2;
    let size = [width, foot + height_of(&source) + EDGE / 2];
    let mut page = Page::new(size, &format!("{}: highest patches of {}", subject.slide_id, layer.title()));
    let left = f64::from(EDGE);
    page.text([left, 38.0], Ink::Text, HEADING, &fitted(subject.slide_id, room, 13.5));
    let text =
        format!("{}: the {} of {} patches with the highest scores", layer.title(), chosen.len(), boxes.len());
    page.text([left, 68.0], Ink::Text, LABEL, &fitted(&text, room - 200.0, 9.0));
    page.notes([left, 91.0], &notes);
    page.notes([left, f64::from(foot) + 10.0], &source);
    let scale = f64::from(boxes.side) / f64::from(SHEET_PATCH);
    if let Some(bar) =
        subject.frame.mpp.and_then(|mpp| ScaleBar::new(mpp * scale, f64::from(SHEET_PATCH) / 2.0))
    {
        let right = f64::from(size[0] - EDGE);
        page.scale_bar([right - bar.pixels - 62.0, 62.0], &bar);
    }
    for (at, (patch_idx, patch)) in (0u32..).zip(chosen.iter().zip(patches)) {
        let corner =
            [EDGE + at % COLUMNS * (SHEET_PATCH + GAP), head + at / COLUMNS * (SHEET_PATCH + CAPTION)];
        page.frame(corner, [SHEET_PATCH; 2], Ink::Grid);
        page.picture(patch, corner);
        let [x, y] = boxes.corners.get(*patch_idx).copied().unwrap_or_default();
        let score = layer.per_token().get(*patch_idx).copied().unwrap_or_default();
        let below = f64::from(corner[1] + SHEET_PATCH);
        let caption = format!("{}.  {}", at + 1, score_text(score));
        page.text([f64::from(corner[0]), below + 18.0], Ink::Text, NOTE, &caption);
        let place = format!("x {x}, y {y}");
        page.text_before([f64::from(corner[0] + SHEET_PATCH), below + 18.0], Ink::Muted, NOTE, &place);
    }
    page.finish()
}

/// A square of the slide at `wanted` pixels a side, from the smallest level that has as many.
///
/// - `corner`: top left in level-0 pixels; `side`: in level-0 pixels.
///
/// # Errors
/// Those of [`SlideReader::read_region`].
pub fn patch_picture(slide: &dyn SlideReader, corner: [i64; 2], side: u32, wanted: u32) -> Result<RgbImage> {
    let ratio = f64::from(side) / f64::from(wanted.max(1));
    // A level that is off by this much is as good as the one wanted.
    let levels = slide.levels();
    let level = levels.iter().rposition(|level| level.downsample <= ratio * 1.02).unwrap_or(0);
    let downsample = levels.get(level).map_or(1.0, |level| level.downsample);
    let read = ((f64::from(side) / downsample).round() as u32).max(1);
    let region = slide.read_region(level, corner, [read; 2])?;
    if read == wanted {
        return Ok(region);
    }
    Ok(image::imageops::resize(&region, wanted, wanted, FilterType::CatmullRom))
}
