//! The pyramid as OpenSlide reads it. Needs the feature `openslide`.

#![allow(clippy::unwrap_used, reason = "a test that panics has failed")]
#![cfg(feature = "openslide")]

mod support;

use cf_viewer::{RenderOptions, Scaling, SlideFrame, write_tiff};
use support::{assert_registers, lattice_layer, marked_slide};
use wsi_bags::Magnification;
use wsi_slides::OpenSlideReader;

#[test]
fn the_pyramid_registers_with_the_slide_at_every_level_in_openslide() {
    let dir = tempfile::tempdir().unwrap();
    // Levels of a quarter, and levels that are no whole part.
    for (name, levels, side) in [
        ("40x", vec![[6144, 5120], [1536, 1280], [384, 320]], 512),
        ("odd", vec![[5803, 4441], [2149, 1644], [513, 393]], 507),
    ] {
        let lattice = levels[0].map(|length| length / side);
        let cells = [[0, 0], [lattice[0] - 1, 0], [lattice[0] / 2, 3], [lattice[0] - 1, lattice[1] - 1]];
        let marks = cells.map(|[column, row]| {
            let [left, top] = [column * side, row * side].map(f64::from);
            [left, top, left + f64::from(side), top + f64::from(side)]
        });
        let path = dir.path().join(format!("{name}.tiff"));
        marked_slide(&path, &levels, 0.25, &marks);
        let score = |column, row| if cells.contains(&[column, row]) { 1.0 } else { 0.0 };
        let layer = lattice_layer("marks", Magnification::X20, side, lattice, score);
        let overlay = dir.path().join(format!("{name}-overlay.tiff"));
        let frame = SlideFrame { size: levels[0], mpp: Some(0.25) };
        let options = RenderOptions { scaling: Scaling::Raw, ..RenderOptions::default() };
        write_tiff(&overlay, &layer, &frame, &levels, &options, &serde_json::Map::new()).unwrap();

        let [slide, overlay] = [&path, &overlay].map(|path| OpenSlideReader::open(path).unwrap());
        assert_registers(&slide, &overlay, options.colours.table()[255], name);
    }
}
