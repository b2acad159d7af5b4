//! Marks at known places of a slide, and the overlay's cells on them.

#![allow(clippy::unwrap_used, reason = "a test that panics has failed")]

mod support;

use cf_viewer::{
    PixelGrid, RenderOptions, Scaling, ShadeMap, SlideFrame, patch_picture, thumbnail, write_tiff,
};
use support::{lattice_layer, marked_slide};
use wsi_bags::{Magnification, SlideInfo};
use wsi_slides::open;

/// A slide: micrometres per pixel, its levels, and the level-0 side of a 20x patch.
struct Case {
    name: &'static str,
    mpp: f64,
    levels: Vec<[u32; 2]>,
    side: u32,
}

/// A 20x and a 40x base with levels of a quarter, and one whose levels are no whole part of it.
fn cases() -> [Case; 3] {
    let pyramid = |size: [u32; 2], divisors: &[f64]| {
        let level = |divisor: &f64| size.map(|length| (f64::from(length) / divisor).floor() as u32);
        divisors.iter().map(level).collect()
    };
    [
        Case { name: "20x", mpp: 0.5, levels: pyramid([4096, 3072], &[1.0, 4.0]), side: 256 },
        Case { name: "40x", mpp: 0.25, levels: pyramid([6144, 5120], &[1.0, 4.0, 16.0]), side: 512 },
        Case { name: "odd", mpp: 0.2527, levels: pyramid([5803, 4441], &[1.0, 2.7, 11.3]), side: 507 },
    ]
}

/// The cells that are marked: the corners of the lattice, where a drift would be largest, and one inside.
fn marked_cells([columns, rows]: [u32; 2]) -> Vec<[u32; 2]> {
    vec![[0, 0], [columns - 1, 0], [columns / 2, rows / 2 - 1], [0, rows - 1], [columns - 1, rows - 1]]
}

/// The rectangle `[left, top, right, bottom)` of pixels that fulfil a condition, within a window.
fn bounds(window: [u32; 4], is_in: impl Fn(u32, u32) -> bool) -> Option<[u32; 4]> {
    let [left, top, right, bottom] = window;
    let pixels =
        (top..bottom).flat_map(|y| (left..right).map(move |x| (x, y))).filter(|(x, y)| is_in(*x, *y));
    pixels.fold(None, |held, (x, y)| {
        let [l, t, r, b] = held.unwrap_or([x, y, x + 1, y + 1]);
        Some([l.min(x), t.min(y), r.max(x + 1), b.max(y + 1)])
    })
}

fn assert_within_a_pixel(found: [u32; 4], wanted: [u32; 4], what: &str) {
    let apart = found.iter().zip(wanted).map(|(a, b)| a.abs_diff(b)).max().unwrap();
    assert!(apart <= 1, "{what}: the mark is at {wanted:?}, the cell at {found:?}");
}

/// A slide with black cells, and a layer that scores these 1 and the others 0.
fn marked(case: &Case, path: &std::path::Path) -> (cf_viewer::HeatLayer, Vec<[u32; 2]>) {
    let lattice = case.levels[0].map(|length| length / case.side);
    let cells = marked_cells(lattice);
    // Places are given in micrometres: a side of 256 micrometres holds as many patches at any base.
    let micrometres = f64::from(case.side) * case.mpp;
    let marks: Vec<[f64; 4]> = cells
        .iter()
        .map(|[column, row]| {
            let [left, top] = [column, row].map(|at| f64::from(*at) * micrometres / case.mpp);
            [left, top, left + micrometres / case.mpp, top + micrometres / case.mpp]
        })
        .collect();
    marked_slide(path, &case.levels, case.mpp, &marks);
    let score = |column, row| if cells.contains(&[column, row]) { 1.0 } else { 0.0 };
    (lattice_layer("marks", Magnification::X20, case.side, lattice, score), cells)
}

#[test]
fn the_overlay_lies_on_the_marks_of_the_thumbnail() {
    let dir = tempfile::tempdir().unwrap();
    for case in cases() {
        let path = dir.path().join(format!("{}.tiff", case.name));
        let (layer, cells) = marked(&case, &path);
        let slide = open(&path).unwrap();
        let info = SlideInfo {
            width: Some(case.levels[0][0].into()),
            height: Some(case.levels[0][1].into()),
            mpp: Some(case.mpp),
        };
        let frame =
            SlideFrame::of_slide(&path, slide.as_ref(), None, &info, [layer.boxes().as_ref()]).unwrap();
        // From a picture smaller than the last level to one between levels.
        for longest in [200, 333, 1000, 1777] {
            let size = frame.picture_size(longest);
            let picture = thumbnail(slide.as_ref(), size).unwrap();
            let grid = PixelGrid::over(frame.size, size);
            let map = ShadeMap::of_patches(&grid, layer.boxes(), &Scaling::Raw.shades(layer.scores()));
            for [column, row] in &cells {
                let corner = [column, row].map(|at| i64::from(at * case.side));
                let cell = grid.rectangle(corner, case.side).unwrap();
                let window = [
                    cell[0].saturating_sub(4),
                    cell[1].saturating_sub(4),
                    (cell[2] + 4).min(size[0]),
                    (cell[3] + 4).min(size[1]),
                ];
                let mark = bounds(window, |x, y| picture.get_pixel(x, y).0[0] < 128).unwrap();
                let drawn = bounds(window, |x, y| map.at(x, y) == Some(255)).unwrap();
                assert_within_a_pixel(drawn, mark, &format!("{} at {longest}, {column} {row}", case.name));
            }
        }
    }
}

#[test]
fn the_pyramid_registers_with_the_slide_at_every_level() {
    let dir = tempfile::tempdir().unwrap();
    for case in cases() {
        let path = dir.path().join(format!("{}.tiff", case.name));
        let (layer, _) = marked(&case, &path);
        let slide = open(&path).unwrap();
        let overlay_path = dir.path().join(format!("{}-overlay.tiff", case.name));
        let frame = SlideFrame { size: case.levels[0], mpp: Some(case.mpp) };
        let options = RenderOptions { scaling: Scaling::Raw, ..RenderOptions::default() };
        write_tiff(&overlay_path, &layer, &frame, &case.levels, &options, &serde_json::Map::new()).unwrap();
        let overlay = open(&overlay_path).unwrap();
        support::assert_registers(slide.as_ref(), overlay.as_ref(), options.colours.table()[255], case.name);
    }
}

#[test]
fn sheets_show_the_marked_patch_and_nothing_beside_it() {
    let dir = tempfile::tempdir().unwrap();
    for case in cases() {
        let path = dir.path().join(format!("{}.tiff", case.name));
        let (layer, cells) = marked(&case, &path);
        let slide = open(&path).unwrap();
        let highest = layer.highest(cells.len());
        for idx in highest {
            let corner = layer.boxes().corners[idx];
            let patch = patch_picture(slide.as_ref(), corner, case.side, 224).unwrap();
            let n_black = patch.pixels().filter(|pixel| pixel.0[0] < 128).count();
            // A pixel of the level along each edge may be shared.
            assert!(n_black as f64 > 0.97 * 224.0 * 224.0, "{}: {n_black}", case.name);
        }
        assert_eq!(patch_picture(slide.as_ref(), [0, 0], 100, 224).unwrap().dimensions(), (224, 224));
    }
}
