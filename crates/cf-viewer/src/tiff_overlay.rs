//! A map as a pyramid that lies on the slide pixel for pixel.

use std::collections::HashMap;
use std::io::Write;
use std::path::Path;

use flate2::Compression;
use flate2::write::ZlibEncoder;
use rayon::prelude::*;
use serde_json::{Map, Value};
use wsi_slides::{LevelTags, PyramidWriter, TileCompression, TilePlace};

use crate::error::{Error, Result};
use crate::layer::HeatLayer;
use crate::options::RenderOptions;
use crate::patch_boxes::PatchBoxes;
use crate::raster::{PixelGrid, ShadeMap};
use crate::slide_frame::SlideFrame;

const TILE: u32 = PyramidWriter::TILE;
/// Below this side a level is not divided further.
const SMALLEST_SIDE: u32 = 1024;
const LEVEL_STEP: u32 = 4;
/// Tiles of more patches than this are not looked for among those written: they hardly ever repeat.
const MOST_COMPARED: usize = 16;

/// A tile before it is drawn: rectangles in its pixels, with their shades.
type TilePlan = Vec<([u16; 4], u8)>;

/// Writes a layer as a tiled TIFF file of RGB pixels, white where no patch lies, with the levels of the slide and, below
/// its smallest, further ones down to about a thousand pixels. A region that is read from both at the same level and
/// corner shows the same place.
///
/// Level 0 is as large as the slide's, yet the file is small and written quickly: equal tiles are stored once, and most
/// lie within one patch.
///
/// - `slide_levels`: width and height of each level of the slide, level 0 first; empty without a slide.
/// - `about`: what the map is of, such as the slide and the model: further lines of the description.
///
/// # Errors
/// Those of [`PyramidWriter`]; [`Error::Io`] if a tile cannot be compressed.
pub fn write_tiff(
    path: &Path,
    layer: &HeatLayer,
    frame: &SlideFrame,
    slide_levels: &[[u32; 2]],
    options: &RenderOptions,
    about: &Map<String, Value>,
) -> Result<()> {
    let look = options.look(layer.meaning());
    let shades = look.shades(layer);
    let colours = look.colours.table();
    let rows = RowOrder::of(layer.boxes());
    let levels = levels_of(frame.size, slide_levels);
    let mut writer = PyramidWriter::create(path, TileCompression::Deflate)?;
    let mut written: HashMap<TilePlan, TilePlace> = HashMap::new();
    for size in &levels {
        writer.begin_level(size[0], size[1]);
        let grid = PixelGrid::over(frame.size, *size);
        for row in 0..size[1].div_ceil(TILE) {
            let plans = plan_row(&grid, row, layer.boxes(), &rows, &shades);
            // What this row adds, each plan once.
            let mut new: Vec<&TilePlan> = Vec::new();
            let mut place_of = Vec::with_capacity(plans.len());
            let mut in_row: HashMap<&TilePlan, usize> = HashMap::new();
            for plan in &plans {
                let known = written.get(plan).copied();
                let at = known.map_or_else(
                    || {
                        Err(*in_row.entry(plan).or_insert_with(|| {
                            new.push(plan);
                            new.len() - 1
                        }))
                    },
                    Ok,
                );
                place_of.push(at);
            }
            let streams: Vec<Vec<u8>> = new
                .par_iter()
                .map(|plan| {
                    compressed(plan, &colours).map_err(|source| Error::io(path, "compress a tile", source))
                })
                .collect::<Result<_>>()?;
            let mut places: Vec<Option<TilePlace>> = vec![None; streams.len()];
            for at in place_of {
                match at {
                    Ok(place) => writer.same_tile(place),
                    Err(idx) => match places[idx] {
                        Some(place) => writer.same_tile(place),
                        None => places[idx] = Some(writer.tile(&streams[idx])?),
                    },
                }
            }
            let kept: Vec<(TilePlan, TilePlace)> = new
                .into_iter()
                .zip(places)
                .filter(|(plan, _)| plan.len() <= MOST_COMPARED)
                .filter_map(|(plan, place)| Some((plan.clone(), place?)))
                .collect();
            written.extend(kept);
        }
    }
    let mut description = format!(
        "Heatmap of {} ({}, scaled by {}), in the frame of the slide's level 0",
        layer.title(),
        look.colours.label(),
        look.scaling.label(),
    );
    for (name, value) in about {
        // A text is without its quotes.
        let value = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
        description.push_str(&format!("\n{name}: {value}"));
    }
    Ok(writer.finish(|_, [width, _]| LevelTags {
        description: description.clone(),
        mpp: frame.mpp.map(|mpp| mpp * f64::from(frame.size[0]) / f64::from(width)),
    })?)
}

/// The levels of the slide, and further ones.
fn levels_of(size: [u32; 2], slide_levels: &[[u32; 2]]) -> Vec<[u32; 2]> {
    let mut levels = if slide_levels.is_empty() { vec![size] } else { slide_levels.to_vec() };
    while let Some([width, height]) = levels.last().copied()
        && width.max(height) > SMALLEST_SIDE
    {
        levels.push([width, height].map(|length| (length / LEVEL_STEP).max(1)));
    }
    levels
}

/// The patches from top to bottom.
struct RowOrder {
    order: Vec<u32>,
}

impl RowOrder {
    fn of(boxes: &PatchBoxes) -> Self {
        let mut order: Vec<u32> = (0..u32::try_from(boxes.len()).unwrap_or(u32::MAX)).collect();
        order.sort_by_key(|idx| boxes.corners.get(*idx as usize).map(|[x, y]| (*y, *x)));
        Self { order }
    }

    /// Those whose top edge lies in `[from, to)`.
    fn between(&self, boxes: &PatchBoxes, from: f64, to: f64) -> &[u32] {
        let top = |idx: &u32| boxes.corners.get(*idx as usize).map_or(0.0, |corner| corner[1] as f64);
        let start = self.order.partition_point(|idx| top(idx) < from);
        let end = self.order.partition_point(|idx| top(idx) < to);
        self.order.get(start..end.max(start)).unwrap_or_default()
    }
}

/// What is on each tile of a row of tiles.
fn plan_row(grid: &PixelGrid, row: u32, boxes: &PatchBoxes, rows: &RowOrder, shades: &[u8]) -> Vec<TilePlan> {
    let n_columns = grid.size[0].div_ceil(TILE);
    let mut plans: Vec<TilePlan> = vec![Vec::new(); n_columns as usize];
    let (top, bottom) = (row * TILE, ((row + 1) * TILE).min(grid.size[1]));
    // A pixel more on both sides: patches smaller than a pixel are drawn on the one of their middle.
    let from = (f64::from(top) - 1.0) * grid.scale[1] - f64::from(boxes.side);
    let to = (f64::from(bottom) + 1.0) * grid.scale[1];
    for idx in rows.between(boxes, from, to) {
        let Some(corner) = boxes.corners.get(*idx as usize) else { continue };
        let shade = shades.get(*idx as usize).copied().unwrap_or_default();
        let Some([left, upper, right, lower]) = grid.rectangle(*corner, boxes.side) else { continue };
        let (upper, lower) = (upper.max(top), lower.min(bottom));
        if upper >= lower {
            continue;
        }
        for column in left / TILE..=(right - 1) / TILE {
            let start = column * TILE;
            // At most the side of a tile.
            let within = |at: u32, start: u32| at.saturating_sub(start).min(TILE) as u16;
            let rectangle =
                [within(left, start), within(upper, top), within(right, start), within(lower, top)];
            if let Some(plan) = plans.get_mut(column as usize) {
                plan.push((rectangle, shade));
            }
        }
    }
    plans
}

/// Draws a tile and compresses it.
fn compressed(plan: &TilePlan, colours: &[[u8; 3]; 256]) -> std::io::Result<Vec<u8>> {
    let rectangles = plan.iter().map(|(rectangle, shade)| (rectangle.map(u32::from), *shade));
    let map = ShadeMap::draw([TILE; 2], rectangles);
    let mut samples = Vec::with_capacity((TILE * TILE * 3) as usize);
    for shade in map.pixels() {
        samples.extend(shade.map_or([255; 3], |shade| colours[usize::from(shade)]));
    }
    let mut encoder = ZlibEncoder::new(Vec::new(), Compression::fast());
    encoder.write_all(&samples)?;
    encoder.finish()
}
