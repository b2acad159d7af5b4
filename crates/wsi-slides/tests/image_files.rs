//! JPEG files as slides: the pixels of libjpeg, and files that were cut short.

#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "a test that panics has failed")]

mod support;

use image::RgbImage;
use support::{differences, hex, reference};
use wsi_slides::{ErrorKind, open};

#[test]
fn jpeg_files_are_read_as_libjpeg_reads_them_or_not_at_all() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("scan.jpg");
    let cases = reference("jpeg_files.json");
    assert_eq!(cases.len(), 5);
    for case in cases {
        let name = case["name"].as_str().unwrap();
        let file = hex(&case["file"]);
        std::fs::write(&path, &file).unwrap();
        let found = open(&path).unwrap().read_region(0, [0, 0], [40, 24]).unwrap();
        let (largest, _) = differences(&found, &RgbImage::from_raw(40, 24, hex(&case["rgb"])).unwrap());
        // Those two are decoded elsewhere, with other rounding.
        let most = if matches!(name, "progressive" | "cmyk") { 4 } else { 0 };
        assert!(largest <= most, "{name}: {largest}");
        for share in [0.6, 0.8, 0.95] {
            std::fs::write(&path, &file[..(file.len() as f64 * share) as usize]).unwrap();
            let Err(error) = open(&path) else { panic!("{name} opens when cut to {share}") };
            assert!(matches!(error.kind(), ErrorKind::Structure { .. }), "{name}, {share}: {error}");
        }
    }
}
