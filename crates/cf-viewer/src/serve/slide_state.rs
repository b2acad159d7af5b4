//! An open slide, and heatmaps ready to be drawn.

use std::path::Path;

use image::codecs::jpeg::JpegEncoder;
use image::codecs::png::{CompressionType, FilterType, PngEncoder};
use image::{ExtendedColorType, ImageEncoder, RgbImage};
use wsi_slides::SlideReader;

use super::deep_zoom::{DeepZoom, TILE, ZoomTile, read_tile};
use super::study::SlideHeat;
use crate::colour_map::ColourMap;
use crate::layer::HeatLayer;
use crate::look::Look;
use crate::patch_sheet::patch_picture;
use crate::raster::ShadeMap;
use crate::scaling::Scaling;
use crate::slide_frame::SlideFrame;

const JPEG_QUALITY: u8 = 85;
/// Side of a patch on the patch sheet in pixels.
const PATCH_PICTURE: u32 = 160;

/// A slide file that is open.
pub(super) struct OpenSlide {
    reader: Box<dyn SlideReader>,
    pub(super) frame: SlideFrame,
}

impl OpenSlide {
    pub(super) fn open(path: &Path) -> Result<Self, String> {
        let reader = wsi_slides::open(path).map_err(|error| whole_text(&error))?;
        let info = wsi_bags::SlideInfo::default();
        let frame = SlideFrame::of_slide(path, reader.as_ref(), None, &info, [])
            .map_err(|error| whole_text(&error))?;
        Ok(Self { reader, frame })
    }

    pub(super) fn zoom(&self) -> DeepZoom {
        DeepZoom::of(self.frame.size)
    }

    /// The frame of heatmaps on this slide; refuses those of features that were cut from a slide of another size.
    pub(super) fn frame_of(&self, path: &Path, heat: &SlideHeat) -> Result<SlideFrame, String> {
        let boxes = heat.layers.iter().map(|layer| layer.boxes().as_ref());
        // The file's resolution may be the wrong one that was corrected when features were extracted.
        SlideFrame::of_slide(path, self.reader.as_ref(), heat.info.mpp, &heat.info, boxes)
            .map_err(|error| whole_text(&error))
    }

    /// A tile as JPEG.
    pub(super) fn tile(&self, tile: &ZoomTile) -> Result<Vec<u8>, String> {
        let picture = read_tile(self.reader.as_ref(), tile).map_err(|error| whole_text(&error))?;
        jpeg(&picture)
    }

    /// A patch as JPEG.
    pub(super) fn patch(&self, corner: [i64; 2], side: u32) -> Result<Vec<u8>, String> {
        let picture = patch_picture(self.reader.as_ref(), corner, side, PATCH_PICTURE);
        jpeg(&picture.map_err(|error| whole_text(&error))?)
    }
}

/// Layers with their shades.
pub(super) struct ReadyHeat {
    pub(super) heat: SlideHeat,
    /// Of each layer, by rank and by value: about 0 where they are effects.
    shades: Vec<[Vec<u8>; 2]>,
    /// What layers are drawn on; its resolution is that of the features, where they state one.
    pub(super) frame: SlideFrame,
}

/// How a layer is drawn.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub(super) struct Drawing {
    pub(super) colours: ColourMap,
    pub(super) scaling: Scaling,
    /// What is shaded below is left out; of effects by value, what is nearer to 0, of which 255 is the farthest.
    pub(super) from: u8,
}

/// How far a shade is from the lowest, or from 0, where that is in the middle: between the shades 127 and 128.
fn height(shade: u8, scaling: Scaling) -> u8 {
    match scaling {
        Scaling::Rank | Scaling::Raw => shade,
        Scaling::Signed if shade < 128 => 255 - 2 * shade,
        Scaling::Signed => 2 * (shade - 128) + 1,
    }
}

impl ReadyHeat {
    pub(super) fn new(heat: SlideHeat, frame: SlideFrame) -> Self {
        let shades = |layer: &HeatLayer| {
            let look = |by| Look::of(layer.meaning(), ColourMap::default(), by);
            [Scaling::Rank, Scaling::Raw].map(|by| look(by).shades(layer))
        };
        let shades = heat.layers.iter().map(shades).collect();
        Self { heat, shades, frame }
    }

    /// About how much memory it takes.
    pub(super) fn bytes(&self) -> usize {
        self.heat.layers.iter().map(|layer| layer.scores().len() * 24).sum()
    }

    /// A tile of one layer as PNG, clear where nothing is drawn; `None` without such a layer.
    pub(super) fn tile(
        &self,
        index: usize,
        tile: &ZoomTile,
        drawing: Drawing,
    ) -> Option<Result<Vec<u8>, String>> {
        let (layer, shades) = self.heat.layers.get(index).zip(self.shades.get(index))?;
        let by = match drawing.scaling {
            Scaling::Rank => &shades[0],
            Scaling::Raw | Scaling::Signed => &shades[1],
        };
        let grid = tile.grid();
        let map = ShadeMap::of_patches(&grid, layer.boxes(), by);
        let look = Look::of(layer.meaning(), drawing.colours, drawing.scaling);
        let colours = look.colours.table();
        let is_shown = |shade: &u8| height(*shade, look.scaling) >= drawing.from;
        let mut rgba = Vec::with_capacity((TILE * TILE * 4) as usize);
        for y in 0..grid.size[1] {
            for x in 0..grid.size[0] {
                rgba.extend(match map.at(x, y).filter(is_shown) {
                    Some(shade) => {
                        let [red, green, blue] = colours[usize::from(shade)];
                        [red, green, blue, 255]
                    }
                    None => [0; 4],
                });
            }
        }
        Some(png(&rgba, grid.size))
    }
}

/// The shades of a colour map from left to right, as PNG.
pub(super) fn colour_bar(colours: ColourMap) -> Result<Vec<u8>, String> {
    let rgba: Vec<u8> =
        colours.table().iter().flat_map(|[red, green, blue]| [*red, *green, *blue, 255]).collect();
    png(&rgba, [256, 1])
}

/// The frame of heatmaps without a slide file.
pub(super) fn canvas(heat: &SlideHeat) -> Result<SlideFrame, String> {
    let boxes = heat.layers.iter().map(|layer| layer.boxes().as_ref());
    SlideFrame::of_features(None, &heat.info, boxes).map_err(|error| whole_text(&error))
}

fn png(rgba: &[u8], [width, height]: [u32; 2]) -> Result<Vec<u8>, String> {
    let mut out = Vec::new();
    PngEncoder::new_with_quality(&mut out, CompressionType::Fast, FilterType::NoFilter)
        .write_image(rgba, width, height, ExtendedColorType::Rgba8)
        .map_err(|error| whole_text(&error))?;
    Ok(out)
}

fn jpeg(picture: &RgbImage) -> Result<Vec<u8>, String> {
    let mut out = Vec::new();
    JpegEncoder::new_with_quality(&mut out, JPEG_QUALITY)
        .encode_image(picture)
        .map_err(|error| whole_text(&error))?;
    Ok(out)
}

/// An error with what caused it.
pub(super) fn whole_text(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(error) = source {
        text.push_str(": ");
        text.push_str(&error.to_string());
        source = error.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn effects_of_either_sign_are_as_far_from_zero() {
        let heights = Scaling::Signed.shades(&[-4.0, -2.0, 0.0, 2.0, 4.0]);
        let heights: Vec<u8> = heights.into_iter().map(|shade| height(shade, Scaling::Signed)).collect();
        assert_eq!(heights, [255, 127, 1, 127, 255]);
        for scaling in [Scaling::Rank, Scaling::Raw] {
            assert_eq!([0, 127, 128, 255].map(|shade| height(shade, scaling)), [0, 127, 128, 255]);
        }
    }
}
