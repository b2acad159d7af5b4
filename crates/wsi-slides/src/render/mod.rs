//! Slides whose truth is known: H&E-like pyramids with tissue islands, coarse architecture and nuclear morphology.
//!
//! Real slides cannot be shipped, and what they should teach a model is not known. These are drawn from a seed: the same
//! options give the same bytes. [`render`] writes a tiled TIFF file in Aperio's form, which OpenSlide opens as 40x or
//! 20x, and returns what was planted where.

mod nuclei;
mod paint;
mod plan;
mod value_noise;

use std::path::Path;

use image::RgbImage;
use image::codecs::jpeg::JpegEncoder;
use image::imageops::FilterType;
use rayon::prelude::*;

use crate::error::{Error, ErrorKind, Result};
use crate::pyramid_writer::{LevelTags, PyramidWriter, TileCompression};

pub use plan::{CellTruth, PatchTruth, Signal, SlideTruth};

use paint::Painter;

/// Side of a tile in pixels.
const TILE: u32 = PyramidWriter::TILE;
/// How the pyramid is made: each level has a quarter of the side of the one before, as Aperio has it.
const LEVEL_STEP: u32 = 4;
/// Below this side a level is not divided further.
const SMALLEST_SIDE: u32 = 1024;
const JPEG_QUALITY: u8 = 85;

/// The magnification of level 0.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Base {
    /// 0.5 micrometres per pixel.
    #[default]
    X20,
    /// 0.25 micrometres per pixel.
    X40,
}

impl Base {
    /// Level-0 pixels per pixel at 20x.
    fn scale(self) -> u32 {
        match self {
            Self::X20 => 1,
            Self::X40 => 2,
        }
    }
}

/// What to draw.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct RenderOptions {
    /// Everything random follows from it.
    pub seed: u64,
    /// Cells of tissue, each the size of a 5x patch: 1024 pixels at 20x.
    pub n_cells: u32,
    /// Magnification of level 0.
    pub base: Base,
    /// What is planted, and how much of it.
    pub signal: Signal,
}

impl Default for RenderOptions {
    fn default() -> Self {
        Self { seed: 0, n_cells: 9, base: Base::X20, signal: Signal::Additive([0.0; 3]) }
    }
}

/// Draws a slide into a file and returns what was planted.
///
/// The file is written beside its name and renamed. Memory: a sixteenth of the slide's pixels.
///
/// # Errors
/// [`ErrorKind::TooFew`] for 0 cells, [`ErrorKind::Limit`] for more than 1024 or a file above 4 GiB; [`ErrorKind::Io`].
pub fn render(path: &Path, options: &RenderOptions) -> Result<SlideTruth> {
    draw(path, options).map_err(|error| error.in_file(path))
}

fn draw(path: &Path, options: &RenderOptions) -> Result<SlideTruth> {
    const MOST_CELLS: u32 = 1024;
    let (what, found) = ("the number of cells", u64::from(options.n_cells));
    if options.n_cells == 0 {
        return Err(ErrorKind::TooFew { what, found, least: 1 }.into());
    }
    if options.n_cells > MOST_CELLS {
        return Err(ErrorKind::Limit { what, found, limit: MOST_CELLS.into() }.into());
    }
    let truth = SlideTruth::plan(options);
    let scale = options.base.scale();
    let painter = Painter::new(&truth, scale);
    let [width, height] = [truth.width, truth.height];
    let mut writer = PyramidWriter::create(path, TileCompression::Jpeg)?;
    let mut smaller = RgbImage::new(width / LEVEL_STEP, height / LEVEL_STEP);
    // Most of a slide is glass: its tile is encoded once.
    let glass = paint::bare(TILE);
    let (small_glass, encoded_glass) = (reduced(&glass), encode(&glass)?);
    let columns: Vec<u32> = (0..width.div_ceil(TILE)).collect();
    writer.begin_level(width, height);
    for row in 0..height.div_ceil(TILE) {
        let drawn: Vec<(RgbImage, Result<Vec<u8>>)> = columns
            .par_iter()
            .map(|column| match painter.tile(column * TILE, row * TILE, TILE) {
                Some(tile) => (reduced(&tile), encode(&tile)),
                None => (small_glass.clone(), Ok(encoded_glass.clone())),
            })
            .collect();
        for (column, (small, encoded)) in columns.iter().zip(drawn) {
            writer.tile(&encoded?)?;
            let (left, top) = (column * TILE / LEVEL_STEP, row * TILE / LEVEL_STEP);
            image::imageops::replace(&mut smaller, &small, left.into(), top.into());
        }
    }
    while smaller.width() > 0 && smaller.height() > 0 {
        write_level(&mut writer, &smaller)?;
        if smaller.width().max(smaller.height()) <= SMALLEST_SIDE {
            break;
        }
        let (width, height) = (smaller.width() / LEVEL_STEP, smaller.height() / LEVEL_STEP);
        smaller = image::imageops::resize(&smaller, width, height, FilterType::Triangle);
    }
    writer.finish(|number, size| aperio_tags(number, size, [width, height], options.base))?;
    Ok(truth)
}

fn write_level(writer: &mut PyramidWriter, level: &RgbImage) -> Result<()> {
    writer.begin_level(level.width(), level.height());
    for row in 0..level.height().div_ceil(TILE) {
        for column in 0..level.width().div_ceil(TILE) {
            let mut tile = paint::bare(TILE);
            let (left, top) = (column * TILE, row * TILE);
            let size = [TILE.min(level.width() - left), TILE.min(level.height() - top)];
            let part = image::imageops::crop_imm(level, left, top, size[0], size[1]).to_image();
            image::imageops::replace(&mut tile, &part, 0, 0);
            writer.tile(&encode(&tile)?)?;
        }
    }
    Ok(())
}

/// Means over blocks.
fn reduced(tile: &RgbImage) -> RgbImage {
    let n = LEVEL_STEP * LEVEL_STEP;
    RgbImage::from_fn(tile.width() / LEVEL_STEP, tile.height() / LEVEL_STEP, |x, y| {
        let mut sums = [n / 2; 3];
        for (dx, dy) in (0..LEVEL_STEP).flat_map(|dy| (0..LEVEL_STEP).map(move |dx| (dx, dy))) {
            let pixel = tile.get_pixel(x * LEVEL_STEP + dx, y * LEVEL_STEP + dy);
            for (sum, value) in sums.iter_mut().zip(pixel.0) {
                *sum += u32::from(value);
            }
        }
        image::Rgb(sums.map(|sum| (sum / n) as u8))
    })
}

fn encode(tile: &RgbImage) -> Result<Vec<u8>> {
    let mut bytes = Vec::new();
    let written = JpegEncoder::new_with_quality(&mut bytes, JPEG_QUALITY).encode_image(tile);
    written.map_err(|source| {
        let (place, fault) = ("a tile".to_owned(), "it cannot be encoded".to_owned());
        Error::from(ErrorKind::Structure { place, fault, source: Some(Box::new(source)) })
    })?;
    Ok(bytes)
}

/// What Aperio writes, so that readers take the levels and the magnification for a scanner's. The resolution is that of
/// level 0 on every level.
fn aperio_tags(number: usize, level: [u32; 2], [width, height]: [u32; 2], base: Base) -> LevelTags {
    let (power, mpp) = match base {
        Base::X20 => (20, 0.5),
        Base::X40 => (40, 0.25),
    };
    let size = format!("{width}x{height} [0,0 {width}x{height}] ({TILE}x{TILE})");
    let reduced = if number == 0 { String::new() } else { format!(" -> {}x{}", level[0], level[1]) };
    let description = format!(
        "Aperio Image Library (rendered)\r\n{size}{reduced} JPEG/RGB Q=85|AppMag = {power}|MPP = {mpp:.4}|\
         Note = rendered by wsi-slides"
    );
    LevelTags { description, mpp: Some(mpp) }
}
