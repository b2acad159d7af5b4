//! Slides whose pixels are known.

#![allow(dead_code, reason = "each test program uses a part")]

use std::io::Write;
use std::path::Path;
use std::sync::Arc;

use cf_viewer::{HeatLayer, PatchBoxes};
use flate2::Compression;
use flate2::write::ZlibEncoder;
use wsi_bags::Magnification;
use wsi_slides::{LevelTags, PyramidWriter, SlideReader, TileCompression};

/// Writes a slide of white glass with black rectangles `[left, top, right, bottom)` in level-0 pixels. Each pixel of each
/// level is the share of it that is not black, by area, whatever the ratio of the levels.
pub(crate) fn marked_slide(path: &Path, levels: &[[u32; 2]], mpp: f64, marks: &[[f64; 4]]) {
    let mut writer = PyramidWriter::create(path, TileCompression::Deflate).unwrap();
    let tile = PyramidWriter::TILE;
    for size in levels {
        let scale = [0, 1].map(|axis| f64::from(levels[0][axis]) / f64::from(size[axis]));
        writer.begin_level(size[0], size[1]);
        let mut glass = None;
        for (row, column) in (0..size[1].div_ceil(tile))
            .flat_map(|row| (0..size[0].div_ceil(tile)).map(move |column| (row, column)))
        {
            let [start, end] = [[column, row], [column + 1, row + 1]]
                .map(|[x, y]| [f64::from(x * tile) * scale[0], f64::from(y * tile) * scale[1]]);
            let is_marked = marks.iter().any(|[left, top, right, bottom]| {
                *left < end[0] && start[0] < *right && *top < end[1] && start[1] < *bottom
            });
            if let (false, Some(place)) = (is_marked, glass) {
                writer.same_tile(place);
                continue;
            }
            let mut samples = Vec::with_capacity((tile * tile * 3) as usize);
            for (y, x) in (0..tile).flat_map(|y| (0..tile).map(move |x| (row * tile + y, column * tile + x)))
            {
                let share = |axis: usize, at: u32, from: f64, to: f64| {
                    let (start, end) = (f64::from(at) * scale[axis], f64::from(at + 1) * scale[axis]);
                    ((end.min(to) - start.max(from)) / scale[axis]).max(0.0)
                };
                let black: f64 = marks
                    .iter()
                    .map(|[left, top, right, bottom]| share(0, x, *left, *right) * share(1, y, *top, *bottom))
                    .sum();
                samples.extend([(255.0 * (1.0 - black.min(1.0))).round() as u8; 3]);
            }
            let mut encoder = ZlibEncoder::new(Vec::new(), Compression::fast());
            encoder.write_all(&samples).unwrap();
            let place = writer.tile(&encoder.finish().unwrap()).unwrap();
            if !is_marked {
                glass = Some(place);
            }
        }
    }
    let tags = |_: usize, size: [u32; 2]| LevelTags {
        description: String::new(),
        mpp: Some(mpp * f64::from(levels[0][0]) / f64::from(size[0])),
    };
    writer.finish(tags).unwrap();
}

/// A layer whose patches lie on a lattice from the origin over `columns` x `rows`, scored by place.
pub(crate) fn lattice_layer(
    module: &str,
    magnification: Magnification,
    side: u32,
    [columns, rows]: [u32; 2],
    score: impl Fn(u32, u32) -> f32,
) -> HeatLayer {
    let cells: Vec<[u32; 2]> =
        (0..rows).flat_map(|row| (0..columns).map(move |column| [column, row])).collect();
    let corners = cells.iter().map(|cell| cell.map(|at| i64::from(at * side))).collect();
    let scores = cells.iter().map(|[column, row]| score(*column, *row)).collect();
    HeatLayer::new(module, Arc::new(PatchBoxes { magnification, side, corners }), scores).unwrap()
}

/// Reads whole levels of a slide and its overlay: where the slide is black, the overlay has the highest colour, and
/// nowhere else, but for a pixel along the edges of marks.
pub(crate) fn assert_registers(
    slide: &dyn SlideReader,
    overlay: &dyn SlideReader,
    highest: [u8; 3],
    name: &str,
) {
    for (number, level) in slide.levels().iter().enumerate() {
        let of_overlay = overlay.levels()[number];
        assert_eq!((of_overlay.width, of_overlay.height), (level.width, level.height), "{name} {number}");
        let size = [level.width, level.height];
        let [pixels, map] = [slide, overlay].map(|reader| reader.read_region(number, [0, 0], size).unwrap());
        let is_black = |x: u32, y: u32| pixels.get_pixel(x, y).0[0] < 128;
        let (mut n_marked, mut n_apart) = (0u64, 0u64);
        for (x, y, pixel) in map.enumerate_pixels() {
            let is_high = pixel.0 == highest;
            n_marked += u64::from(is_high);
            if is_high == is_black(x, y) {
                continue;
            }
            // One pixel away, in some direction, they agree.
            let near = |at: u32, length: u32| at.saturating_sub(1)..=(at + 1).min(length - 1);
            let agrees = near(y, size[1]).any(|y| near(x, size[0]).any(|x| is_black(x, y) == is_high));
            n_apart += u64::from(!agrees);
        }
        assert!(n_marked > 0, "{name}: no mark on level {number}");
        assert_eq!(n_apart, 0, "{name}: level {number} is more than a pixel off");
    }
}
