//! The built-in reader on real slides, against regions that OpenSlide read, and on damaged files.

#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "a test that panics has failed")]

mod support;

use std::path::{Path, PathBuf};

use serde_json::Value;
use support::{differences, slides_dir};
use wsi_slides::{
    Error, ErrorKind, Preference, ResolutionOverride, ResolutionWarning, Rule, SlideReader, StatedResolution,
    UNREAD_DIRECTORIES, open, resolve,
};

fn opened(path: &Path) -> Box<dyn SlideReader> {
    open(path).unwrap()
}

fn refused(path: &Path) -> Error {
    match open(path) {
        Ok(_) => panic!("{} opened", path.display()),
        Err(error) => error,
    }
}

#[test]
fn regions_are_openslides() {
    let Some(dir) = slides_dir() else { return };
    let text = std::fs::read_to_string(dir.join("golden/regions.json")).unwrap();
    let regions: Vec<Value> = serde_json::from_str(&text).unwrap();
    assert_eq!(regions.len(), 4);
    for region in regions {
        let number = |value: &Value| value.as_i64().unwrap();
        let file = region["file"].as_str().unwrap();
        let (x, y) = (number(&region["xy"][0]), number(&region["xy"][1]));
        let (level, size) = (number(&region["level"]), number(&region["size"]));
        let stem = file.strip_suffix(".svs").unwrap();
        let golden = dir.join("golden").join(format!("{stem}.x{x}y{y}l{level}s{size}.png"));
        let golden = image::open(golden).unwrap().into_rgb8();
        let slide = opened(&dir.join(file));
        let found = slide.read_region(level as usize, [x, y], [size as u32; 2]).unwrap();
        let (largest, n) = differences(&found, &golden);
        println!(
            "{stem} ({x}, {y}) level {level}: {n} of {} samples differ, by {largest} at most",
            found.len()
        );
        if level == 0 {
            assert_eq!(largest, 0, "{stem} ({x}, {y})");
        } else {
            // The corner falls between pixels, and OpenSlide's drawing library rounds twice.
            let n_by_more = found.iter().zip(golden.iter()).filter(|(a, b)| a.abs_diff(**b) > 1).count();
            assert!(largest <= 2 && n_by_more <= found.len() / 20_000, "{n_by_more} differ by {largest}");
        }
    }
}

#[test]
fn what_lies_outside_the_slide_is_black() {
    let Some(dir) = slides_dir() else { return };
    let slide = opened(&dir.join("CMU-1-Small-Region.svs"));
    let region = slide.read_region(0, [2100, 2900], [256, 256]).unwrap();
    let outside = region.enumerate_pixels().filter(|(x, y, _)| *x >= 120 || *y >= 67);
    assert!(outside.clone().count() > 50_000);
    assert!(outside.into_iter().all(|(_, _, pixel)| pixel.0 == [0; 3]));
}

#[test]
fn real_slides_state_what_their_scanner_wrote() {
    let Some(dir) = slides_dir() else { return };
    let cmu = opened(&dir.join("CMU-1-Small-Region.svs"));
    assert_eq!(cmu.format(), "aperio");
    assert_eq!(cmu.stated_resolution(), StatedResolution { mpp: Some([0.499, 0.499]), power: Some(20.0) });
    assert_eq!(cmu.properties()["aperio.AppMag"], "20");

    let derived = opened(&dir.join("DERIVED-TCGA-CR-7395-40x-pyramid.svs"));
    let sizes: Vec<_> = derived.levels().iter().map(|level| (level.width, level.height)).collect();
    assert_eq!(sizes, [(4443, 3567), (1110, 891), (277, 222)]);
    assert_eq!(derived.levels()[1].downsample, 4.003_034_853_034_853);
    let resolution =
        resolve(derived.stated_resolution(), ResolutionOverride::default(), Preference::Mpp).unwrap();
    assert_eq!((resolution.base, resolution.rule), (40.0, Rule::Agreement));

    let tcga = opened(&dir.join("TCGA-CR-7395-01A-01-TS1.svs"));
    assert_eq!((tcga.levels().len(), tcga.levels()[0].width), (2, 4443));
    let error =
        resolve(tcga.stated_resolution(), ResolutionOverride::default(), Preference::Mpp).unwrap_err();
    assert!(matches!(error.kind(), ErrorKind::NoResolution { .. }));
}

#[test]
fn jpeg_2000_tiles_give_the_pixels_of_their_jpeg_copy() {
    let Some(dir) = slides_dir() else { return };
    // The pyramid was made from this slide and compressed again, with losses.
    let original = opened(&dir.join("TCGA-CR-7395-01A-01-TS1.svs"));
    let copy = opened(&dir.join("DERIVED-TCGA-CR-7395-40x-pyramid.svs"));
    let [a, b] = [original, copy].map(|slide| slide.read_region(0, [1500, 1500], [700, 600]).unwrap());
    let mean = a.iter().zip(b.iter()).map(|(a, b)| f64::from(a.abs_diff(*b))).sum::<f64>() / a.len() as f64;
    assert!(mean < 6.0, "{mean}");
}

#[test]
fn a_plain_tiff_is_a_slide_of_one_level_without_resolution() {
    let Some(dir) = slides_dir() else { return };
    let slide = opened(&dir.join("kidney-48-5.tif"));
    assert_eq!((slide.levels()[0].width, slide.levels()[0].height), (1493, 901));
    let whole = slide.read_region(0, [0, 0], [1493, 901]).unwrap();
    // Nearly empty: bright glass.
    let mean = whole.iter().map(|value| f64::from(*value)).sum::<f64>() / whole.len() as f64;
    assert!(mean > 200.0, "{mean}");
    let part = slide.read_region(0, [700, 400], [64, 64]).unwrap();
    let expected = image::imageops::crop_imm(&whole, 700, 400, 64, 64).to_image();
    assert_eq!(part, expected);
}

#[test]
#[cfg(not(feature = "openslide"))]
fn forms_that_need_openslide_say_so() {
    let Some(dir) = slides_dir() else { return };
    for (file, name) in [
        ("test3-DAPI-2-387.ndpi", "Hamamatsu NDPI"),
        ("gcp-multi_frame_jpeg_camelyon_challenge_image.dcm", "DICOM"),
    ] {
        let text = refused(&dir.join(file)).to_string();
        assert!(text.contains(name) && text.contains("feature `openslide`"), "{text}");
    }
}

/// A copy of a real slide that `damage` changes.
fn damaged(dir: &Path, file: &str, damage: impl FnOnce(&mut Vec<u8>)) -> (tempfile::TempDir, PathBuf) {
    let mut bytes = std::fs::read(dir.join(file)).unwrap();
    damage(&mut bytes);
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("damaged.svs");
    std::fs::write(&path, bytes).unwrap();
    (directory, path)
}

#[test]
fn truncated_slides_are_refused_when_opened() {
    let Some(dir) = slides_dir() else { return };
    for keep in [3_500_000, 1_000_000, 5000, 9, 1] {
        let (_kept, path) =
            damaged(&dir, "DERIVED-TCGA-CR-7395-40x-pyramid.svs", |bytes| bytes.truncate(keep));
        let error = refused(&path);
        assert_eq!(error.path(), Some(path.as_path()));
        let expected = matches!(
            error.kind(),
            ErrorKind::Truncated { .. } | ErrorKind::TruncatedDirectory { .. } | ErrorKind::FileKind { .. }
        );
        assert!(expected, "{keep}: {error}");
    }
}

#[test]
fn a_slide_whose_copy_broke_off_says_where_and_what_is_missing() {
    let Some(dir) = slides_dir() else { return };
    // Its directories start at bytes 1275950, 1474362, 1850194 and 1938212.
    for (keep, number, start) in [
        (500_000, 0, 1_275_950),
        (1_275_960, 0, 1_275_950),
        (1_500_000, 2, 1_850_194),
        (1_938_300, 3, 1_938_212),
    ] {
        let (_kept, path) = damaged(&dir, "CMU-1-Small-Region.svs", |bytes| bytes.truncate(keep));
        let text = refused(&path).to_string();
        let wanted = format!(
            "truncated: the file ends at byte {keep}, before the end of directory {number}, which starts at byte {start}"
        );
        assert!(text.ends_with(&wanted), "{text}");
    }
}

#[test]
fn a_corrupt_tile_is_reported_with_its_position_and_the_others_are_read() {
    let Some(dir) = slides_dir() else { return };
    let source = opened(&dir.join("DERIVED-TCGA-CR-7395-40x-pyramid.svs"));
    let good = source.read_region(0, [0, 0], [256, 256]).unwrap();
    // Wipes the stream of whichever tile lies there.
    let (_kept, path) = damaged(&dir, "DERIVED-TCGA-CR-7395-40x-pyramid.svs", |bytes| {
        bytes[1_000_000..1_040_000].fill(0);
    });
    let slide = opened(&path);
    assert_eq!(slide.read_region(0, [0, 0], [256, 256]).unwrap(), good);
    let tiles = (0..14).flat_map(|row| (0..18).map(move |column| [column * 256, row * 256]));
    let faults: Vec<_> = tiles
        .filter_map(|[x, y]| slide.read_region(0, [x, y], [1, 1]).err().map(|error| ([x, y], error)))
        .collect();
    assert!(!faults.is_empty() && faults.len() < 10, "{}", faults.len());
    for (corner, error) in faults {
        let at = match error.kind() {
            ErrorKind::Tile { level: 0, x, y, .. } => [*x as i64, *y as i64],
            other => panic!("{other}"),
        };
        assert_eq!(at, corner);
    }
}

#[test]
fn other_files_are_named_for_what_they_are() {
    let directory = tempfile::tempdir().unwrap();
    for (name, bytes, found) in [
        ("empty.svs", &b""[..], "an empty file"),
        ("paper.svs", b"%PDF-1.7 ...", "a PDF"),
        ("table.svs", b"slide,mpp\n", "a file of unknown kind"),
    ] {
        let path = directory.path().join(name);
        std::fs::write(&path, bytes).unwrap();
        let text = refused(&path).to_string();
        assert!(text.contains(name) && text.contains(found), "{text}");
    }
    let text = refused(&directory.path().join("absent.svs")).to_string();
    assert!(text.contains("cannot open the file"), "{text}");
}

/// A TIFF file of one uncompressed 4 by 4 strip with these tags changed.
fn tiny_tiff(photometric: u16, bits: u16, samples: u16, compression: u16) -> Vec<u8> {
    let mut bytes = b"II*\0".to_vec();
    let n_tags: u16 = 10;
    let data_at = 8 + 2 + u32::from(n_tags) * 12 + 4;
    let n_bytes = 16 * u32::from(samples) * u32::from(bits) / 8;
    bytes.extend(8u32.to_le_bytes());
    bytes.extend(n_tags.to_le_bytes());
    let mut tag = |number: u16, value: u32, kind: u16| {
        bytes.extend(number.to_le_bytes());
        bytes.extend(kind.to_le_bytes());
        bytes.extend(1u32.to_le_bytes());
        bytes.extend(value.to_le_bytes());
    };
    tag(256, 4, 4);
    tag(257, 4, 4);
    tag(258, bits.into(), 3);
    tag(259, compression.into(), 3);
    tag(262, photometric.into(), 3);
    tag(273, data_at, 4);
    tag(277, samples.into(), 3);
    tag(278, 4, 4);
    tag(279, n_bytes, 4);
    tag(284, 1, 3);
    bytes.extend(0u32.to_le_bytes());
    bytes.extend(std::iter::repeat_n(128, n_bytes as usize));
    bytes
}

/// A TIFF or BigTIFF file of 32 by 32 grey pixels in four tiles, 10, 20, 30 and 40, and below its directory one of 16 by 16, all 200.
fn pyramid_below_a_directory(is_big: bool, is_little_endian: bool) -> Vec<u8> {
    let mut bytes = if is_little_endian { b"II".to_vec() } else { b"MM".to_vec() };
    let n_tags = 11;
    let (head, count, entry, word) = if is_big { (16, 8, 20, 8) } else { (8, 2, 12, 4) };
    let directory = count + n_tags * entry + word;
    let [below, tiles] = [head + directory, head + 2 * directory];
    // The lists of four tiles, then the tiles.
    let (offsets, lengths) = (tiles, tiles + 4 * word);
    let pixels = lengths + 4 * word;
    let put = |bytes: &mut Vec<u8>, value: u64, width: usize| {
        let ordered = if is_little_endian { value.to_le_bytes() } else { value.to_be_bytes() };
        let low = if is_little_endian { &ordered[..width] } else { &ordered[8 - width..] };
        bytes.extend_from_slice(low);
    };
    if is_big {
        [43, 8, 0].into_iter().for_each(|value| put(&mut bytes, value, 2));
    } else {
        put(&mut bytes, 42, 2);
    }
    put(&mut bytes, head as u64, word);
    for (side, n_tiles, tile_offsets, tile_lengths) in
        [(32, 4, offsets, lengths), (16, 1, pixels + 4 * 256, 256)]
    {
        put(&mut bytes, n_tags as u64, count);
        let number = if is_big { 16 } else { 4 };
        let mut tag = |tag: u64, n: u64, value: usize| {
            put(&mut bytes, tag, 2);
            put(&mut bytes, number, 2);
            put(&mut bytes, n, word);
            put(&mut bytes, value as u64, word);
        };
        let more = if side == 32 { (330, below) } else { (65000, 0) };
        let tags = [(256, side), (257, side), (258, 8), (259, 1), (262, 1), (277, 1), (322, 16), (323, 16)];
        tags.into_iter().for_each(|(number, value)| tag(number, 1, value));
        tag(324, n_tiles, tile_offsets);
        tag(325, n_tiles, tile_lengths);
        tag(more.0, 1, more.1);
        put(&mut bytes, 0, word);
    }
    (0..4).for_each(|tile| put(&mut bytes, (pixels + tile * 256) as u64, word));
    (0..4).for_each(|_| put(&mut bytes, 256, word));
    [10, 20, 30, 40, 200].into_iter().for_each(|value| bytes.extend([value; 256]));
    bytes
}

#[test]
fn levels_below_a_directory_are_read() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("pyramid.tif");
    for (is_big, is_little_endian) in [(false, true), (false, false), (true, true), (true, false)] {
        std::fs::write(&path, pyramid_below_a_directory(is_big, is_little_endian)).unwrap();
        let slide = opened(&path);
        let sizes: Vec<_> = slide.levels().iter().map(|level| (level.width, level.height)).collect();
        assert_eq!(sizes, [(32, 32), (16, 16)]);
        let all = slide.read_region(0, [0, 0], [32, 32]).unwrap();
        let corners = [(0, 0), (31, 0), (0, 31), (31, 31)].map(|(x, y)| all.get_pixel(x, y)[0]);
        assert_eq!(corners, [10, 20, 30, 40]);
        assert!(slide.read_region(1, [0, 0], [16, 16]).unwrap().iter().all(|value| *value == 200));
    }
}

#[test]
fn a_directory_below_that_cannot_be_read_is_left_out_and_told() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("pyramid.tif");
    // Beside the directory that is there, what viewers may put into the tag: by form, type and values.
    let (short, long, ifd, long8) = (3u16, 4, 13, 16);
    for (is_big, kind, values, n_levels, told) in [
        (true, long8, vec![0u64], 1, "directory 0 below directory 0"),
        (true, long8, vec![123_456_789], 1, "it lies at byte 123456789, but the file has"),
        (true, long8, vec![u64::MAX], 1, "it lies at byte 18446744073709551615"),
        (true, long, vec![252, 4_000_000], 2, "directory 1 below directory 0: it lies at byte 4000000"),
        (true, ifd, vec![3, 252], 2, "directory 0 below directory 0"),
        (
            false,
            short,
            vec![1, 3],
            1,
            "2, the first being directory 0 below directory 0: it cannot be read: it reaches beyond the end of the file",
        ),
        (false, short, vec![1], 1, "directory 0 below directory 0"),
        (false, ifd, vec![0], 1, "directory 0 below directory 0"),
        (false, short, vec![146, 3], 2, "directory 1 below directory 0"),
    ] {
        let mut bytes = pyramid_below_a_directory(is_big, true);
        // The tag is the last of the first directory.
        let (entry, word) = if is_big { (16 + 8 + 10 * 20, 8) } else { (8 + 2 + 10 * 12, 4) };
        assert_eq!(bytes[entry..entry + 2], 330u16.to_le_bytes());
        let width = match kind {
            3 => 2,
            16 => 8,
            _ => 4,
        };
        let mut stored: Vec<u8> =
            values.iter().flat_map(|value| value.to_le_bytes()[..width].to_vec()).collect();
        stored.resize(word, 0);
        bytes[entry + 2..entry + 4].copy_from_slice(&kind.to_le_bytes());
        bytes[entry + 4..][..4].copy_from_slice(&(values.len() as u32).to_le_bytes());
        bytes[entry + 4 + word..][..word].copy_from_slice(&stored);
        std::fs::write(&path, bytes).unwrap();
        let slide = opened(&path);
        assert_eq!(slide.levels().len(), n_levels, "type {kind}, {values:?}");
        let text = &slide.properties()[UNREAD_DIRECTORIES];
        assert!(text.contains(told), "type {kind}, {values:?}: {text}");
        assert_eq!(slide.read_region(0, [0, 0], [1, 1]).unwrap().get_pixel(0, 0).0, [10; 3]);
    }
    std::fs::write(&path, pyramid_below_a_directory(false, true)).unwrap();
    assert!(!opened(&path).properties().contains_key(UNREAD_DIRECTORIES));
}

#[test]
#[cfg(not(feature = "openslide"))]
fn forms_that_begin_like_others_are_known_by_their_extension() {
    let directory = tempfile::tempdir().unwrap();
    let preview = directory.path().join("preview.jpg");
    image::RgbImage::new(8, 8).save(&preview).unwrap();
    for (name, form) in [
        ("slide.mrxs", "MIRAX"),
        ("slide.NDPI", "Hamamatsu NDPI"),
        ("slide.vms", "Hamamatsu VMS"),
        ("slide.vmu", "Hamamatsu VMU"),
        ("slide.svslide", "Sakura SVSLIDE"),
        ("slide.czi", "Zeiss CZI"),
    ] {
        let path = directory.path().join(name);
        std::fs::copy(&preview, &path).unwrap();
        let error = refused(&path);
        assert!(matches!(error.kind(), ErrorKind::Unsupported { found, .. } if found == form), "{error}");
    }
}

#[test]
fn samples_that_are_not_read_are_named() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("tiny.tif");
    let text = |bytes: Vec<u8>| {
        std::fs::write(&path, bytes).unwrap();
        refused(&path).to_string()
    };
    assert!(text(tiny_tiff(5, 8, 4, 1)).contains("CMYK samples"));
    assert!(text(tiny_tiff(2, 16, 3, 1)).contains("16-bit samples"));
    assert!(text(tiny_tiff(3, 8, 1, 1)).contains("palette"));
    assert!(text(tiny_tiff(2, 8, 3, 34712)).contains("TIFF compression 34712"));

    std::fs::write(&path, tiny_tiff(2, 8, 3, 1)).unwrap();
    let slide = opened(&path);
    assert!(slide.read_region(0, [0, 0], [4, 4]).unwrap().iter().all(|value| *value == 128));
    assert!(matches!(
        slide.read_region(1, [0, 0], [4, 4]).unwrap_err().kind(),
        ErrorKind::NoLevel { level: 1, n_levels: 1 }
    ));
    assert!(matches!(
        slide.read_region(0, [0, 0], [1 << 20, 1 << 20]).unwrap_err().kind(),
        ErrorKind::Limit { .. }
    ));
}

#[test]
fn pictures_far_larger_than_their_bytes_are_refused_before_memory_is_set_aside() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("bomb.png");
    image::GrayImage::new(3000, 3000).save(&path).unwrap();
    let text = refused(&path).to_string();
    assert!(text.contains("bytes for 3000 by 3000 pixels, more than 64 pixels a byte"), "{text}");

    let path = directory.path().join("bomb.tif");
    let mut bytes = tiny_tiff(1, 8, 1, 8);
    // Width, length and rows of the strip.
    for tag in [0, 1, 7] {
        bytes[18 + 12 * tag..][..4].copy_from_slice(&3000u32.to_le_bytes());
    }
    std::fs::write(&path, bytes).unwrap();
    let text = opened(&path).read_region(0, [0, 0], [4, 4]).unwrap_err().to_string();
    assert!(text.contains("16 bytes for 3000 by 3000 pixels"), "{text}");
}

#[test]
fn resolution_warnings_are_whole_sentences() {
    let warning = ResolutionWarning::Disagreement { power: 20.0, mpp: 0.25, mpp_magnification: 40.0 };
    assert_eq!(
        warning.to_string(),
        "the slide states objective power 20, but 0.25 micrometres per pixel stand for 40x"
    );
}
