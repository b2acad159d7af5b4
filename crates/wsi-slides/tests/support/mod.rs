//! Where the larger test data lies, and how two pictures compare.

#![allow(dead_code, reason = "each test uses its part")]
#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "a test that panics has failed")]

pub(crate) mod tiff_file;

use std::path::PathBuf;

use image::RgbImage;
use serde_json::Value;
use sha2::{Digest, Sha256};
use wsi_slides::tissue::{Preset, TissueParams};

/// `$CF_TEST_DATA/wsi`, or nothing with the reason printed.
pub(crate) fn slides_dir() -> Option<PathBuf> {
    let dir = std::env::var_os("CF_TEST_DATA").map(|root| PathBuf::from(root).join("wsi"));
    if dir.is_none() {
        println!("skipped: CF_TEST_DATA is not set");
    }
    dir
}

/// Slides whose segmentation is recorded, with the presets.
pub(crate) const RECORDED: [(&str, &[&str]); 2] = [
    ("CMU-1-Small-Region", &["default", "tcga", "bwh_biopsy", "small"]),
    ("DERIVED-TCGA-CR-7395-40x-pyramid", &["default", "tcga", "bwh_biopsy", "small"]),
];

/// The record of a slide and preset, as CLAM's steps gave it through OpenCV.
pub(crate) fn record(dir: &std::path::Path, slide: &str, preset: &str) -> Value {
    let path = dir.join("golden").join(format!("{slide}.{preset}.json"));
    serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap()
}

/// Parameters by name; `small` is the test data's own.
pub(crate) fn params(preset: &str) -> TissueParams {
    match preset.parse::<Preset>() {
        Ok(preset) => preset.params(),
        Err(_) => TissueParams { min_area: 1.0, min_hole_area: 1.0, ..Preset::Tcga.params() },
    }
}

pub(crate) fn sha256(bytes: &[u8]) -> String {
    Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect()
}

/// The largest difference of two samples, and how many differ at all.
pub(crate) fn differences(a: &RgbImage, b: &RgbImage) -> (u8, usize) {
    assert_eq!(a.dimensions(), b.dimensions());
    let each = || a.iter().zip(b.iter()).map(|(a, b)| a.abs_diff(*b));
    (each().max().unwrap_or(0), each().filter(|difference| *difference > 0).count())
}

/// The cases of a file in `fixtures/reference`.
pub(crate) fn reference(name: &str) -> Vec<Value> {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/../../fixtures/reference");
    serde_json::from_str(&std::fs::read_to_string(format!("{folder}/{name}")).unwrap()).unwrap()
}

/// The bytes that hexadecimal digits stand for.
pub(crate) fn hex(digits: &Value) -> Vec<u8> {
    let byte = |pair: &[u8]| u8::from_str_radix(std::str::from_utf8(pair).unwrap(), 16).unwrap();
    digits.as_str().unwrap().as_bytes().chunks(2).map(byte).collect()
}
