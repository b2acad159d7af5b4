//! What a TIFF page may say of its samples: the colours that the built-in reader makes of them, or the reason why it makes none.

#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "a test that panics has failed")]

mod support;

use std::io::Cursor;

use image::codecs::jpeg::JpegEncoder;
use image::{ExtendedColorType, RgbImage};
use support::{differences, hex, reference};
use tiff::decoder::Decoder;
use tiff::encoder::colortype::Gray8;
use tiff::encoder::{Compression, TiffEncoder};
use wsi_slides::{SlideReader, TiffSlide};

/// Types of TIFF values.
const SHORT: u16 = 3;
const LONG: u16 = 4;
const RATIONAL: u16 = 5;

const SIDE: u32 = 16;

/// A tag with its type and its values; a fraction is two of them.
type Tag = (u16, u16, Vec<u32>);

fn short(number: u16, value: u32) -> Tag {
    (number, SHORT, vec![value])
}

/// A file of one tile with these tags beside those of its size.
fn tiff(tile: &[u8], more: &[Tag]) -> Vec<u8> {
    let mut tags = vec![
        (256, LONG, vec![SIDE]),
        (257, LONG, vec![SIDE]),
        (322, LONG, vec![SIDE]),
        (323, LONG, vec![SIDE]),
        (324, LONG, vec![8]),
        (325, LONG, vec![tile.len() as u32]),
    ];
    tags.extend(more.iter().cloned());
    tags.sort_by_key(|tag| tag.0);
    let directory_at = 8 + tile.len().next_multiple_of(2);
    let mut bytes = b"II*\0".to_vec();
    bytes.extend((directory_at as u32).to_le_bytes());
    bytes.extend(tile);
    bytes.resize(directory_at, 0);
    bytes.extend((tags.len() as u16).to_le_bytes());
    let mut behind: Vec<u8> = Vec::new();
    let behind_at = directory_at + 2 + 12 * tags.len() + 4;
    for (number, kind, values) in tags {
        let n_values = if kind == RATIONAL { values.len() / 2 } else { values.len() };
        let width = if kind == SHORT { 2 } else { 4 };
        let mut value: Vec<u8> =
            values.iter().flat_map(|value| value.to_le_bytes()[..width].to_vec()).collect();
        if value.len() > 4 {
            let at = (behind_at + behind.len()) as u32;
            behind.extend(value);
            value = at.to_le_bytes().to_vec();
        }
        value.resize(4, 0);
        bytes.extend(number.to_le_bytes());
        bytes.extend(kind.to_le_bytes());
        bytes.extend((n_values as u32).to_le_bytes());
        bytes.extend(value);
    }
    bytes.extend([0; 4]);
    bytes.extend(behind);
    bytes
}

/// Grey rows as an LZW stream of the `tiff` crate.
fn lzw(rows: &[u8], width: u32) -> Vec<u8> {
    let mut file = Cursor::new(Vec::new());
    let mut encoder = TiffEncoder::new(&mut file).unwrap().with_compression(Compression::Lzw);
    let height = rows.len() as u32 / width;
    let mut image = encoder.new_image::<Gray8>(width, height).unwrap();
    image.rows_per_strip(height).unwrap();
    image.write_data(rows).unwrap();
    let file = file.into_inner();
    let mut decoder = Decoder::new(Cursor::new(&file)).unwrap();
    let mut number = |tag| decoder.get_tag_u32(tag).unwrap() as usize;
    let (at, n_bytes) = (number(tiff::tags::Tag::StripOffsets), number(tiff::tags::Tag::StripByteCounts));
    file[at..at + n_bytes].to_vec()
}

/// The tags of 8-bit samples.
fn samples(n: u32, photometric: u32, compression: u32) -> Vec<Tag> {
    vec![
        (258, SHORT, vec![8; n as usize]),
        short(259, compression),
        short(262, photometric),
        short(277, n),
        short(284, 1),
    ]
}

/// The picture, or why there is none.
fn read(bytes: &[u8]) -> Result<RgbImage, String> {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("slide.tif");
    std::fs::write(&path, bytes).unwrap();
    let slide = TiffSlide::open(&path).map_err(|error| error.to_string())?;
    Ok(slide.read_region(0, [0, 0], [SIDE; 2]).expect("a file that opens gives its pixels"))
}

/// The colour of a picture of one colour.
fn colour(bytes: &[u8]) -> [u8; 3] {
    let picture = read(bytes).unwrap();
    let first = picture.get_pixel(0, 0).0;
    assert!(picture.pixels().all(|pixel| pixel.0 == first));
    first
}

fn refusal(bytes: &[u8]) -> String {
    read(bytes).unwrap_err()
}

fn tile(pixel: &[u8]) -> Vec<u8> {
    pixel.repeat((SIDE * SIDE) as usize)
}

#[test]
fn jpeg_2000_tiles_have_the_colours_of_openslide_however_they_store_chroma() {
    let cases = reference("jpeg2000.json");
    assert_eq!(cases.len(), 5);
    for case in cases {
        let compression = case["compression"].as_u64().unwrap() as u32;
        let found = read(&tiff(&hex(&case["stream"]), &samples(3, 2, compression))).unwrap();
        let golden = RgbImage::from_raw(SIDE, SIDE, hex(&case["rgb"])).unwrap();
        let (largest, n) = differences(&found, &golden);
        println!("{}: {n} of {} samples differ, by {largest} at most", case["name"], found.len());
        // OpenSlide rounds each product of the colour transform by itself.
        assert!(largest <= 1, "{}: {largest}", case["name"]);
    }
}

#[test]
fn lossless_ycbcr_is_turned_into_rgb() {
    // libtiff makes (199, 60, 149) of it.
    let tile = tile(&[112, 149, 190]);
    let mut tags = samples(3, 6, 1);
    assert!(refusal(&tiff(&tile, &tags)).contains("fewer chroma samples than pixels"), "halved by default");
    tags.push((530, SHORT, vec![1, 1]));
    assert_eq!(colour(&tiff(&tile, &tags)), [199, 60, 149]);
    let of_jpeg = vec![0, 1, 255, 1, 128, 1, 255, 1, 128, 1, 255, 1];
    let defaults =
        [(529, RATIONAL, vec![299, 1000, 587, 1000, 114, 1000]), (532, RATIONAL, of_jpeg)].to_vec();
    assert_eq!(colour(&tiff(&tile, &[tags.clone(), defaults].concat())), [199, 60, 149]);

    let of_video = vec![15, 1, 235, 1, 128, 1, 240, 1, 128, 1, 240, 1];
    let of_hdtv = vec![2126, 10_000, 7152, 10_000, 722, 10_000];
    for other in [(529, RATIONAL, of_hdtv), (532, RATIONAL, of_video)] {
        let text = refusal(&tiff(&tile, &[tags.clone(), vec![other]].concat()));
        assert!(text.contains("other colours or another range"), "{text}");
    }
}

#[test]
fn grey_that_counts_from_white_is_turned_round_however_it_is_stored() {
    // libtiff and OpenSlide do so, too.
    let grey = tile(&[240]);
    let mut stream = Vec::new();
    JpegEncoder::new_with_quality(&mut stream, 100).encode(&grey, SIDE, SIDE, ExtendedColorType::L8).unwrap();
    for (photometric, expected) in [(0, [15; 3]), (1, [240; 3])] {
        assert_eq!(colour(&tiff(&grey, &samples(1, photometric, 1))), expected);
        assert_eq!(colour(&tiff(&stream, &samples(1, photometric, 7))), expected);
    }
}

#[test]
fn a_fourth_sample_is_left_out_whatever_it_is() {
    let tile = tile(&[10, 20, 30, 77]);
    let with = |more: Vec<Tag>| tiff(&tile, &[samples(4, 2, 1), more].concat());
    // Nothing is said of it, or that it is unspecified, opacity that was multiplied in, opacity that was not.
    assert_eq!(colour(&with(Vec::new())), [10, 20, 30]);
    for kind in 0..3 {
        assert_eq!(colour(&with(vec![short(338, kind)])), [10, 20, 30], "kind {kind}");
    }
    // Differences are between samples of one kind, whatever is left out.
    let differences: Vec<u8> = (0..SIDE * SIDE)
        .flat_map(|pixel| if pixel % SIDE == 0 { [10, 20, 30, 77] } else { [0; 4] })
        .collect();
    for kind in 0..3 {
        let tags = [samples(4, 2, 1), vec![short(338, kind), short(317, 2)]].concat();
        assert_eq!(colour(&tiff(&differences, &tags)), [10, 20, 30], "kind {kind}");
    }
    let ycbcr = [samples(4, 6, 1), vec![(530, SHORT, vec![1, 1]), short(338, 1)]].concat();
    assert_eq!(colour(&tiff(&tile, &ycbcr)), [0, 117, 0]);
}

#[test]
fn lzw_tiles_that_stand_over_the_edge_are_read() {
    // Tiles whose padding is anything between nothing and all but one column, and of contents that compress more or less.
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("slide.tif");
    for noise in [1u32, 3, 7, 251] {
        let value = |pixel: u32| (pixel.wrapping_mul(2_654_435_761) >> 16) % noise;
        let rows: Vec<u8> = (0..SIDE * SIDE).map(|pixel| value(pixel) as u8).collect();
        let whole = tiff(&lzw(&rows, SIDE), &samples(1, 1, 5));
        for width in 1..=SIDE {
            let mut bytes = whole.clone();
            let directory = u32::from_le_bytes(bytes[4..8].try_into().unwrap()) as usize;
            assert_eq!(bytes[directory + 2..][..2], 256u16.to_le_bytes());
            bytes[directory + 10..][..4].copy_from_slice(&width.to_le_bytes());
            std::fs::write(&path, bytes).unwrap();
            let found = TiffSlide::open(&path).unwrap().read_region(0, [0, 0], [width, SIDE]).unwrap();
            for (x, y, pixel) in found.enumerate_pixels() {
                assert_eq!(pixel[0], rows[(y * SIDE + x) as usize], "({x}, {y}) of width {width}");
            }
        }
    }
}

#[test]
fn samples_that_no_tile_could_be_read_of_are_refused_at_once() {
    let of = |n: u32, photometric: u32, more: Vec<Tag>| {
        let pixels = tile(&vec![9; n as usize]);
        refusal(&tiff(&pixels, &[samples(n, photometric, 1), more].concat()))
    };
    for (text, wanted) in [
        (of(3, 1, Vec::new()), "3 samples per pixel, 1 of them colours"),
        (of(3, 0, Vec::new()), "3 samples per pixel, 1 of them colours"),
        (of(1, 2, Vec::new()), "1 samples per pixel, 3 of them colours"),
        (of(3, 2, vec![short(338, 0)]), "3 samples per pixel, 1 of them beside its colours"),
        (of(2, 1, vec![short(338, 0)]), "2 samples per pixel"),
        (of(1, 1, vec![short(339, 2)]), "samples that are not unsigned"),
        (of(1, 1, vec![short(266, 2)]), "bits stand in reverse order"),
        (of(1, 1, vec![short(317, 3)]), "predictor 3"),
    ] {
        assert!(text.contains(wanted), "{text}");
    }
    let text = refusal(&tiff(&tile(&[9; 4]), &samples(4, 2, 7)));
    assert!(text.contains("JPEG of 4 samples per pixel"), "{text}");
}
