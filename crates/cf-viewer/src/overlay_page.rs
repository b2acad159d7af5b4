//! One map on the slide, with legend, scale bar, risk and survival curve in the margin.

use cf_report::Ink;
use image::{DynamicImage, RgbImage};

use crate::error::Result;
use crate::furniture::{HEADING, LABEL, LEGEND_HEIGHT, LINE, Page, fitted, wrapped};
use crate::layer::HeatLayer;
use crate::options::{RenderOptions, Under};
use crate::overlay::blend;
use crate::raster::{PixelGrid, ShadeMap};
use crate::render::Subject;
use crate::scale_bar::ScaleBar;

const EDGE: u32 = 24;
const MARGIN: u32 = 360;
/// Height of what stands in the margin.
const MARGIN_HEIGHT: u32 = 700;
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
    let look = options.look(layer.meaning());
    let map = ShadeMap::of_patches(&grid, layer.boxes(), &look.shades(layer));
    let mut blended = match options.under {
        Under::Grey => grey(picture),
        Under::Colour => picture.clone(),
    };
    blend(&mut blended, &map, &look.colours.table(), options.opacity);

    let column = size[0].max(COLUMN);
    let width = EDGE + column + EDGE + MARGIN + EDGE;
    let source = wrapped(&subject.source, f64::from(width - 2 * EDGE));
    let foot = EDGE + (size[1] + BELOW).max(MARGIN_HEIGHT);
    let height = foot + (source.len() as f64 * LINE).ceil() as u32 + EDGE;
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
    let mut notes = wrapped(&layer.explanation(), room);
    notes.push(format!("{n_patches} {patches} of {side}"));
    let under = match options.under {
        Under::Grey => "the slide in grey",
        Under::Colour => "the slide",
    };
    notes.push(format!("{}, {:.0} % opaque over {under}", look.colours.label(), options.opacity * 100.0));
    let legend = page.notes([x, 100.0], &notes) as u32;
    page.legend([left, legend], MARGIN - 4, look, Some(layer));
    if let Some(prediction) = &subject.prediction {
        page.prediction([left, legend + LEGEND_HEIGHT], prediction)?;
    }
    page.notes([f64::from(EDGE), f64::from(foot) + 14.0], &source);
    page.finish()
}

/// A picture without its colours, which would mix with those of the map.
fn grey(picture: &RgbImage) -> RgbImage {
    DynamicImage::ImageLuma8(image::imageops::grayscale(picture)).into_rgb8()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{PatchBoxes, SlideFrame};
    use std::sync::Arc;
    use wsi_bags::{Magnification, SlideInfo};

    fn layer() -> HeatLayer {
        let boxes = PatchBoxes { magnification: Magnification::X10, side: 1000, corners: vec![[0, 0]] };
        HeatLayer::new("source PT", Arc::new(boxes), vec![0.5]).unwrap()
    }

    fn subject(width: u32) -> Subject<'static> {
        Subject {
            slide_id: "slide-1",
            frame: SlideFrame { size: [width * 100, 40_000], mpp: Some(0.25) },
            info: SlideInfo::default(),
            slide: None,
            prediction: None,
            unscored: Vec::new(),
            origin: Vec::new(),
            source: "a model of which there is much to say ".repeat(9),
        }
    }

    #[test]
    fn the_slide_below_is_grey_unless_its_colours_are_wished() {
        const PINK: [u8; 3] = [230, 120, 180];
        // Luma of Rec. 709: 0.2126 R + 0.7152 G + 0.0722 B.
        const LUMA: u8 = 147;
        let picture = RgbImage::from_pixel(200, 400, image::Rgb(PINK));
        let pixel = |under: Under, [x, y]: [u32; 2]| {
            let options = RenderOptions { under, ..RenderOptions::default() };
            let page = overlay_page(&subject(200), &layer(), &picture, &options).unwrap();
            page.get_pixel(MAP_CORNER[0] + x, MAP_CORNER[1] + y).0
        };
        // Patches lie on the first 10 pixels: beside them, the slide is as it is shown.
        assert_eq!(pixel(Under::Colour, [50, 50]), PINK);
        assert_eq!(pixel(Under::Grey, [50, 50]), [LUMA; 3]);
        // A single patch has the middle of the colours, 40 % opaque.
        let middle = crate::ColourMap::Viridis.table()[128];
        let over = |at: u8, colour: u8| (f32::from(at) * 0.6 + f32::from(colour) * 0.4).round() as u8;
        assert_eq!(
            pixel(Under::Colour, [5, 5]),
            [0, 1, 2].map(|channel| over(PINK[channel], middle[channel]))
        );
        assert_eq!(pixel(Under::Grey, [5, 5]), middle.map(|colour| over(LUMA, colour)));
    }

    #[test]
    fn the_scale_bar_of_a_narrow_map_keeps_its_name() {
        let layer = layer();
        for width in [5, 12, 30, 60, 100, 200] {
            let picture = RgbImage::from_pixel(width, 400, image::Rgb([255; 3]));
            let subject = subject(width);
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
