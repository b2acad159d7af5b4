//! JPEG and PNG files as slides: the pixels of libjpeg, files that were cut short, and files of too few bytes.

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

#[test]
fn an_image_of_too_few_bytes_says_what_is_suspected_and_the_way_out() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("glass.png");
    RgbImage::from_pixel(3000, 3000, image::Rgb([255; 3])).save(&path).unwrap();
    let Err(error) = open(&path) else { panic!("it opens") };
    let told = error.to_string();
    for part in
        ["glass.png: ", "bytes for 3000 by 3000 pixels", "made to fill memory", "saved as tiled TIFF or JPEG"]
    {
        assert!(told.contains(part), "{told}");
    }
    // The ways out lead out.
    let jpeg = path.with_extension("jpg");
    RgbImage::from_pixel(3000, 3000, image::Rgb([255; 3])).save(&jpeg).unwrap();
    assert!(open(&jpeg).is_ok());
    let plain = image::codecs::png::PngEncoder::new_with_quality(
        std::fs::File::create(&path).unwrap(),
        image::codecs::png::CompressionType::Uncompressed,
        image::codecs::png::FilterType::NoFilter,
    );
    RgbImage::from_pixel(3000, 3000, image::Rgb([255; 3])).write_with_encoder(plain).unwrap();
    assert!(open(&path).is_ok());
}

#[test]
#[cfg(unix)]
fn a_pipe_is_refused_and_not_waited_for() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("slide.svs");
    assert!(std::process::Command::new("mkfifo").arg(&path).status().unwrap().success());
    let Err(error) = open(&path) else { panic!("it opens") };
    assert!(matches!(error.kind(), ErrorKind::Io { .. }), "{error}");
    let cause = std::error::Error::source(&error).map(ToString::to_string);
    assert_eq!(cause.as_deref(), Some("found a pipe, socket or device, expected a slide file"));
}
