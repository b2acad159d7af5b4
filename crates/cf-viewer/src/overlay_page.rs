//! One map on the slide, with legend, scale bar, risk and survival curve in the margin.

use cf_report::Ink;
use image::RgbImage;

use crate::error::Result;
use crate::furniture::{HEADING, LABEL, NOTE, Page, fitted};
use crate::layer::HeatLayer;
use crate::overlay::blend;
use crate::raster::{PixelGrid, ShadeMap};
use crate::render::{RenderOptions, Subject};
use crate::scale_bar::ScaleBar;
use crate::scaling::range;

const EDGE: u32 = 24;
const MARGIN: u32 = 360;
/// Height of what stands in the margin.
const MARGIN_HEIGHT: u32 = 610;
/// The least room from the left of the map to the margin: a scale bar with its name is wider than a narrow map.
const COLUMN: u32 = 90;
/// Room below the map for the scale bar.
const BELOW: u32 = 44;

/// Where the map lies on the page: the pixel of its top left corner.
pub(crate) const MAP_CORNER: [u32; 2] = [EDGE, EDGE];

/// Draws a layer over `picture`, the slide as it is shrunk or an empty canvas.
pub(crate) fn overlay_page(
    subject: &Subject<'_>,
    layer: &HeatLayer,
    picture: &RgbImage,
    options: &RenderOptions,
) -> Result<RgbImage> {
    let size = [picture.width(), picture.height()];
    let grid = PixelGrid::over(subject.frame.size, size);
    let map = ShadeMap::of_patches(&grid, layer.boxes(), &options.scaling.shades(layer.scores()));
    let colours = options.colours.table();
    let mut blended = picture.clone();
    blend(&mut blended, &map, &colours, options.opacity);

    let column = size[0].max(COLUMN);
    let width = EDGE + column + EDGE + MARGIN + EDGE;
    let height = EDGE + (size[1] + BELOW).max(MARGIN_HEIGHT) + EDGE;
    let title = format!("{}: {}", subject.slide_id, layer.title());
    let mut page = Page::new([width, height], &title);
    page.picture(blended, MAP_CORNER);
    page.frame(MAP_CORNER, size, Ink::Grid);

    let below = f64::from(EDGE + size[1]) + 26.0;
    if let Some(bar) = subject
        .frame
        .mpp
        .and_then(|mpp| ScaleBar::new(mpp * grid.scale[0], f64::from(size[0]).min(900.0) / 3.0))
    {
        page.scale_bar([f64::from(EDGE) + 1.0, below], &bar);
    }
    let left = EDGE + column + EDGE;
    let (x, room) = (f64::from(left), f64::from(MARGIN));
    page.text([x, 44.0], Ink::Text, HEADING, &fitted(subject.slide_id, room, 13.5));
    page.text([x, 76.0], Ink::Text, LABEL, &fitted(&layer.title(), room, 10.0));
    let side = layer.boxes().side;
    let side = match subject.frame.mpp {
        Some(mpp) => format!("{:.0} µm", mpp * f64::from(side)),
        None => format!("{side} level-0 pixels"),
    };
    let n_patches = layer.boxes().len();
    let patches = if n_patches == 1 { "patch" } else { "patches" };
    page.text([x, 98.0], Ink::Muted, NOTE, &format!("{n_patches} {patches} of {side}"));
    let note = format!("{}, {:.0} % opaque over the slide", options.colours.label(), options.opacity * 100.0);
    page.text([x, 118.0], Ink::Muted, NOTE, &note);
    page.legend([left, 140], MARGIN - 4, &colours, options.scaling, Some(range(layer.scores())));
    if let Some(prediction) = &subject.prediction {
        page.prediction([left, 250], prediction)?;
    }
    page.finish()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{PatchBoxes, SlideFrame};
    use std::sync::Arc;
    use wsi_bags::{Magnification, SlideInfo};

    #[test]
    fn the_scale_bar_of_a_narrow_map_keeps_its_name() {
        let boxes = PatchBoxes { magnification: Magnification::X10, side: 1000, corners: vec![[0, 0]] };
        let layer = HeatLayer::new("source PT", Arc::new(boxes), vec![0.5]).unwrap();
        for width in [5, 12, 30, 60, 100, 200] {
            let picture = RgbImage::from_pixel(width, 400, image::Rgb([255; 3]));
            let subject = Subject {
                slide_id: "slide-1",
                frame: SlideFrame { size: [width * 100, 40_000], mpp: Some(0.25) },
                info: SlideInfo::default(),
                slide: None,
                prediction: None,
                unscored: Vec::new(),
                origin: Vec::new(),
            };
            let page = overlay_page(&subject, &layer, &picture, &RenderOptions::default()).unwrap();
            // Where the survival curve would lie, there is nothing of the name.
            let margin = page.width() - EDGE - MARGIN;
            let inked = |from: u32, to: u32| {
                let lines = EDGE + 400 + 14..EDGE + 400 + 38;
                lines
                    .flat_map(|y| (from..to).map(move |x| (x, y)))
                    .any(|(x, y)| page.get_pixel(x, y).0[1] < 250)
            };
            assert!(inked(EDGE, margin) && !inked(margin, page.width()), "{width}");
        }
    }
}
