//! The segmentation, stage by stage, and the grids against what CLAM's own steps gave: `$CF_TEST_DATA/wsi/golden`.

#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "a test that panics has failed")]

mod support;

use std::path::Path;

use image::GrayImage;
use serde_json::Value;
use support::{RECORDED, params, record, sha256, slides_dir};
use wsi_slides::lattice::{Inclusion, Padding, clam};
use wsi_slides::open;
use wsi_slides::tissue::{self, Contour, Threshold};

fn gray(path: &Path) -> GrayImage {
    image::open(path).unwrap().into_luma8()
}

/// Runs `check` for every recorded slide and preset.
fn for_each(check: impl Fn(&Path, &str, &str, &Value)) {
    let Some(dir) = slides_dir() else { return };
    for (slide, presets) in RECORDED {
        for preset in presets {
            check(&dir, slide, preset, &record(&dir, slide, preset));
        }
    }
}

#[test]
fn every_stage_equals_opencvs_byte_for_byte() {
    for_each(|dir, slide, preset, golden| {
        let rgba =
            image::open(dir.join("golden").join(format!("{slide}.seglevel.png"))).unwrap().into_rgba8();
        let stage = |name: &str| golden["sha"][name].as_str().unwrap().to_owned();
        assert_eq!(sha256(&rgba), stage("rgba"), "{slide}: the stored picture itself");
        let rgb = image::DynamicImage::from(rgba).into_rgb8();
        let params = params(preset);
        let Threshold::Fixed(level) = params.threshold else { panic!("presets have fixed thresholds") };

        let saturation = tissue::saturation(&rgb);
        assert_eq!(sha256(&saturation), stage("sat"), "{slide}, {preset}: saturation");
        let median = tissue::median(&saturation, params.median_side);
        assert_eq!(sha256(&median), stage("median"), "{slide}, {preset}: median");
        let thresholded = tissue::above(&median, level);
        assert_eq!(sha256(&thresholded), stage("thresh"), "{slide}, {preset}: threshold");
        let closed = tissue::closing(&thresholded, params.closing_side);
        assert_eq!(sha256(&closed), stage("closed"), "{slide}, {preset}: closing");
        assert_eq!(tissue::mask(&rgb, &params).0, closed, "{slide}, {preset}: all of it");
    });
}

fn scale(golden: &Value) -> [f64; 2] {
    [0, 1].map(|axis| golden["scale"][axis].as_f64().unwrap())
}

fn compare_contours(contours: &[Contour], golden: &Value, place: &str) {
    let expected = golden["contours"].as_array().unwrap();
    assert_eq!(contours.len(), expected.len(), "{place}");
    for (contour, expected) in contours.iter().zip(expected) {
        let points = contour.outer.points();
        assert_eq!(serde_json::json!(contour.outer.bounding_box()), expected["bbox"], "{place}");
        assert_eq!(points.len() as u64, expected["n"].as_u64().unwrap(), "{place}");
        assert_eq!(serde_json::json!(points[0]), expected["first"], "{place}");
        assert_eq!(tissue::area(points), expected["area"].as_f64().unwrap(), "{place}");
        let bytes: Vec<u8> = points.as_flattened().iter().flat_map(|c| c.to_le_bytes()).collect();
        assert_eq!(sha256(&bytes), expected["sha_xy_i32"].as_str().unwrap(), "{place}");
        assert_eq!(contour.holes.len() as u64, expected["n_holes"].as_u64().unwrap(), "{place}");
        let areas: Vec<f64> = contour.holes.iter().map(|hole| tissue::area(hole.points())).collect();
        assert_eq!(serde_json::json!(areas), expected["hole_areas"], "{place}");
    }
}

fn compare_grids(contours: &[Contour], golden: &Value, place: &str) {
    for (side, expected) in golden["grids"].as_object().unwrap() {
        let found = clam(contours, side.parse().unwrap(), Inclusion::AnyOfFour, Padding::Beyond);
        assert_eq!(serde_json::json!(found.corners), *expected, "{place}, patches of {side}");
    }
}

#[test]
fn contours_and_grids_of_stored_masks_equal_clams_in_order() {
    for_each(|dir, slide, preset, golden| {
        let mask = gray(&dir.join("golden").join(format!("{slide}.{preset}.closed.png")));
        let place = format!("{slide}, {preset}");
        let n_pieces = tissue::pieces(&mask);
        assert_eq!(n_pieces.len() as u64, golden["n_outer_raw"].as_u64().unwrap(), "{place}");
        let n_borders: usize = n_pieces.iter().map(|piece| 1 + piece.holes.len()).sum();
        assert_eq!(n_borders as u64, golden["n_contours_raw"].as_u64().unwrap(), "{place}");
        let contours = tissue::contours(&mask, scale(golden), &params(preset));
        compare_contours(&contours, golden, &place);
        compare_grids(&contours, golden, &place);
    });
}

#[test]
fn from_the_slide_file_masks_and_grids_come_out_the_same() {
    for_each(|dir, slide, preset, golden| {
        let place = format!("{slide}, {preset}");
        let reader = open(&dir.join(format!("{slide}.svs"))).unwrap();
        let found = tissue::find(reader.as_ref(), &params(preset)).unwrap();
        assert_eq!(found.level as u64, golden["seg_level"].as_u64().unwrap(), "{place}");
        let stored = gray(&dir.join("golden").join(format!("{slide}.{preset}.closed.png")));
        compare_grids(&found.contours, golden, &place);
        let iou = intersection_over_union(&found.mask, &stored);
        println!("{place}: intersection over union {iou:.5}");
        assert!(iou > 0.999, "{place}: {iou}");
    });
}

fn intersection_over_union(a: &GrayImage, b: &GrayImage) -> f64 {
    assert_eq!(a.dimensions(), b.dimensions());
    let count = |both: fn(bool, bool) -> bool| {
        a.iter().zip(b.iter()).filter(|(a, b)| both(**a != 0, **b != 0)).count() as f64
    };
    count(|a, b| a && b) / count(|a, b| a || b)
}
