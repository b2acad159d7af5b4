//! Which pages of a TIFF file are read as its slide, and which are left out; what the slide then states.

#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "a test that panics has failed")]

mod support;

use support::tiff_file::{TiffPage, Values, tiff_file};
use wsi_slides::{
    ErrorKind, Preference, ResolutionOverride, SlideReader, StatedResolution, TiffSlide, UNREAD_DIRECTORIES,
    resolve_slide,
};

const SLIDE: [u8; 3] = [200, 80, 140];
const OTHER: [u8; 3] = [10, 20, 30];
const SIZE: [u32; 2] = [128, 96];

fn opened(pages: &[TiffPage]) -> Result<TiffSlide, String> {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("slide.tif");
    std::fs::write(&path, tiff_file(pages)).unwrap();
    TiffSlide::open(&path).map_err(|error| error.to_string())
}

/// Sizes of the levels, whose pixels are all the slide's, and the warnings.
fn levels(pages: &[TiffPage]) -> (Vec<[u32; 2]>, Vec<String>) {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("slide.tif");
    std::fs::write(&path, tiff_file(pages)).unwrap();
    let slide = TiffSlide::open(&path).unwrap();
    for (number, level) in slide.levels().iter().enumerate() {
        let region = slide.read_region(number, [0, 0], [level.width, level.height]).unwrap();
        assert!(region.pixels().all(|pixel| pixel.0 == SLIDE), "level {number}");
    }
    let sizes = slide.levels().iter().map(|level| [level.width, level.height]).collect();
    (sizes, slide.warnings().iter().map(ToString::to_string).collect())
}

/// Level 0, a quarter and a sixteenth, these flagged as reductions.
fn pyramid() -> [TiffPage; 3] {
    [
        TiffPage::tiled(SIZE, SLIDE),
        TiffPage::tiled([32, 24], SLIDE).of_kind(1),
        TiffPage::tiled([8, 6], SLIDE).of_kind(1),
    ]
}

const PYRAMID: [[u32; 2]; 3] = [SIZE, [32, 24], [8, 6]];

fn left_out(what: &str) -> Vec<String> {
    vec![format!("images of the slide's shape that are not known to be its levels were left out: {what}")]
}

#[test]
fn other_images_are_no_levels_whatever_their_shape() {
    let [zero, one, two] = pyramid();
    let grey = || TiffPage::grey_tiled([64, 48], 7);
    let bits = |bits: u16| grey().with(258, Values::Short(vec![bits]));
    for (other, warnings) in [
        // A second scene, of which OpenSlide makes no level, either.
        (TiffPage::tiled([120, 92], OTHER), left_out("120 by 92 pixels")),
        // An annotation and a heat map.
        (grey(), left_out("64 by 48 pixels")),
        (bits(32), left_out("64 by 48 pixels")),
        // A palette, which is not read, in a page that calls itself a reduction.
        (
            TiffPage::tiled([64, 48], OTHER).of_kind(1).with(262, Values::Short(vec![3])),
            left_out("64 by 48 pixels (palette colours)"),
        ),
        // Masks say what they are.
        (bits(1).of_kind(4), Vec::new()),
        (grey().of_kind(5), Vec::new()),
        // A label has another shape.
        (TiffPage::tiled([48, 50], OTHER), Vec::new()),
        (TiffPage::strips([64, 48], OTHER), Vec::new()),
    ] {
        let pages = [zero.clone(), one.clone(), two.clone(), other];
        assert_eq!(levels(&pages), (PYRAMID.to_vec(), warnings));
    }
}

#[test]
fn reductions_of_another_scene_are_left_out_with_it() {
    let [zero, one, two] = pyramid();
    let scene = [TiffPage::tiled([120, 88], OTHER), TiffPage::tiled([30, 22], OTHER).of_kind(1)];
    let told = left_out("120 by 88 pixels, 30 by 22 pixels");
    let behind = [[zero.clone(), one.clone(), two.clone()].as_slice(), &scene].concat();
    assert_eq!(levels(&behind), (PYRAMID.to_vec(), told.clone()));
    let before = [&scene, [zero, one, two].as_slice()].concat();
    assert_eq!(levels(&before), (PYRAMID.to_vec(), told));
}

#[test]
fn pages_that_say_nothing_are_levels_where_one_factor_gives_both_sides() {
    let page = |size| TiffPage::tiled(size, SLIDE);
    // Rounded up, down, or not at all; and in any order.
    for [first, second] in [[[63, 48], [31, 24]], [[64, 48], [32, 24]], [[63, 47], [32, 24]]] {
        let sizes = vec![[127, 95], first, second];
        let (found, warnings) = levels(&[page(second), page([127, 95]), page(first)]);
        assert_eq!((found, warnings), (sizes, Vec::new()));
    }
    let (found, warnings) = levels(&[page(SIZE), TiffPage::tiled([64, 45], OTHER)]);
    assert_eq!((found, warnings), (vec![SIZE], left_out("64 by 45 pixels")));
}

#[test]
fn of_one_size_the_first_is_read() {
    let planes = (0..5).map(|_| TiffPage::tiled(SIZE, OTHER));
    let pages: Vec<_> = std::iter::once(TiffPage::tiled(SIZE, SLIDE)).chain(planes).collect();
    let same = ["128 by 96 pixels"; 3].join(", ");
    assert_eq!(levels(&pages), (vec![SIZE], left_out(&format!("{same} and 2 more"))));
    // Its reductions may follow them all.
    let [zero, one, two] = pyramid();
    let found = levels(&[zero.clone(), TiffPage::tiled(SIZE, OTHER), one.clone(), two]);
    assert_eq!(found, (PYRAMID.to_vec(), left_out("128 by 96 pixels")));
    // What stands before the slide is none of them.
    let found = levels(&[TiffPage::tiled([64, 48], OTHER).of_kind(1), zero, one]);
    assert_eq!(found, (PYRAMID[..2].to_vec(), left_out("64 by 48 pixels")));
}

#[test]
fn a_thumbnail_may_be_larger_than_a_slide_that_was_cut_out() {
    let [zero, one, two] = pyramid();
    let strips = TiffPage::strips([300, 200], OTHER);
    for other in [strips.clone().of_kind(1), strips.clone().with(258, Values::Short(vec![16; 3]))] {
        let pages = [zero.clone(), one.clone(), two.clone(), other];
        assert_eq!(levels(&pages), (PYRAMID.to_vec(), Vec::new()));
    }
    let error = opened(&[zero, strips]).err().unwrap();
    assert!(error.contains("300 by 200 pixels in strips beside a smaller one"), "{error}");
}

#[test]
fn sizes_beyond_all_memory_and_directories_without_end_are_refused() {
    let huge = TiffPage::strip([1 << 31, 1 << 31], vec![0; 9])
        .with(258, Values::Short(vec![8; 4]))
        .with(262, Values::Short(vec![2]))
        .with(277, Values::Short(vec![4]))
        .with(338, Values::Short(vec![0]));
    let error = opened(&[huge]).err().unwrap();
    assert!(error.contains("a strip in pixels"), "{error}");
    let [zero, ..] = pyramid();
    let blank = TiffPage::strips([40, 50], OTHER).with(278, Values::Long(vec![0]));
    let with = |n: usize| opened(&[vec![zero.clone()], vec![blank.clone(); n]].concat());
    assert!(with(256).is_ok());
    assert!(with(257).err().unwrap().contains("RowsPerStrip"));
}

#[test]
fn levels_below_an_ome_image_are_all_that_it_has() {
    let [zero, one, two] = pyramid();
    let xml = "<OME><Image><Pixels SizeX=\"128\" SizeY=\"96\"/></Image></OME>";
    let slide = zero.described(xml).with_below(&[one, two]);
    let (found, warnings) = levels(&[slide, TiffPage::tiled([64, 48], OTHER)]);
    assert_eq!((found, warnings), (PYRAMID.to_vec(), left_out("64 by 48 pixels")));
}

#[test]
fn the_largest_image_is_the_slide_wherever_it_stands() {
    let [zero, one, two] = pyramid();
    let xml = "<OME><Image><Pixels SizeX=\"100\" SizeY=\"40\" PhysicalSizeX=\"2\" PhysicalSizeY=\"2\"/></Image>\
               <Image><Pixels SizeX=\"128\" SizeY=\"96\" PhysicalSizeX=\"0.25\" PhysicalSizeY=\"0.25\"/></Image></OME>";
    let macro_image = TiffPage::tiled([100, 40], OTHER).with_resolution(5000);
    let slide = zero.clone().with_below(&[one.clone(), two.clone()]);
    let ome = opened(&[macro_image.clone().described(xml), slide]).unwrap();
    assert_eq!((ome.format(), ome.levels().len()), ("ome-tiff", 3));
    assert_eq!(ome.stated_resolution().mpp, Some([0.25; 2]));

    // Without a size in the description, the tags of the image count; never those of another.
    let bare = "<OME><Image><Pixels SizeX=\"128\" SizeY=\"96\"/></Image></OME>";
    let with_tags = opened(&[zero.clone().described(bare).with_resolution(20_000)]).unwrap();
    assert_eq!(with_tags.stated_resolution().mpp, Some([0.5; 2]));

    for first in [macro_image.clone(), TiffPage::strips([40, 50], OTHER).with_resolution(5000)] {
        let slide = zero.clone().with_resolution(40_000);
        let generic = opened(&[first.clone(), slide, one.clone()]).unwrap();
        assert_eq!(generic.stated_resolution().mpp, Some([0.25; 2]));
        assert_eq!(generic.levels().len(), 2);
        // Nothing is taken over from a page that is not read.
        let silent = opened(&[first, zero.clone()]).unwrap();
        assert_eq!(silent.stated_resolution(), StatedResolution::default());
    }
}

#[test]
fn an_image_in_strips_is_read_with_its_overviews_in_tiles() {
    let [_, one, two] = pyramid();
    let whole = TiffPage::strips(SIZE, SLIDE).with_resolution(40_000);
    assert_eq!(levels(&[whole.clone(), one.clone(), two]), (PYRAMID.to_vec(), Vec::new()));
    // Without tiles, too, the largest is the slide.
    let thumbnail = TiffPage::strips([16, 12], OTHER).with_resolution(5000);
    let slide = opened(&[thumbnail, whole.clone()]).unwrap();
    assert_eq!(slide.levels().len(), 1);
    assert_eq!(slide.stated_resolution().mpp, Some([0.25; 2]));
    // Which of two images is the slide is not guessed.
    let text = opened(&[TiffPage::tiled([100, 40], OTHER), whole]).err().unwrap();
    assert!(
        text.contains(
            "an image of 128 by 96 pixels in strips beside a smaller one of 100 by 40 pixels in tiles"
        ),
        "{text}"
    );
}

const APERIO: &str = "Aperio Image Library v11\r\n128x96 [0,0 128x96] (16x16)|AppMag = 20|MPP = 0.5";

#[test]
fn an_aperio_label_in_tiles_is_no_level() {
    let [zero, one, _] = pyramid();
    // Levels of this form say nothing of themselves, and pictures of the glass may be larger than a cut-out.
    let one = one.of_kind(0).described("Aperio Image Library v11\r\n128x96 -> 32x24");
    let label =
        TiffPage::tiled([60, 48], OTHER).of_kind(1).described("Aperio Image Library v11\r\nlabel 60x48");
    let glass =
        TiffPage::strips([300, 100], OTHER).of_kind(9).described("Aperio Image Library v11\r\nmacro 300x100");
    let pages = [zero.described(APERIO), one, label, glass];
    assert_eq!(levels(&pages), (vec![SIZE, [32, 24]], Vec::new()));
}

#[test]
fn a_label_that_was_blanked_is_left_out_and_told() {
    let [zero, one, _] = pyramid();
    let label =
        || TiffPage::strips([40, 30], OTHER).of_kind(1).described("Aperio Image Library v11\r\nlabel");
    let one_value = || Values::Long(vec![8]);
    for (label, told) in [
        (label().with(279, one_value()), "8 offsets and 1 lengths for 8 tiles or strips"),
        (label().with(273, one_value()).with(279, one_value()), "1 offsets and 1 lengths for 8"),
        (label().with(257, Values::Long(vec![15])), "8 offsets and 8 lengths for 4"),
        (label().with(256, Values::Long(vec![0])), "ImageWidth is 0"),
        (label().with(278, Values::Long(vec![0])), "RowsPerStrip is 0"),
    ] {
        let pages = [zero.clone().described(APERIO), label.clone(), one.clone()];
        let slide = opened(&pages).unwrap();
        assert_eq!(slide.levels().len(), 2);
        let text = &slide.properties()[UNREAD_DIRECTORIES];
        assert!(text.starts_with("directory 1: ") && text.contains(told), "{text}");
        let warning = slide.warnings()[0].to_string();
        assert!(warning.starts_with("directories were left out, levels may be missing: "), "{warning}");
        // The first directory is the slide's, and what is broken among strips may be.
        assert!(opened(&[label.clone(), zero.clone()]).is_err());
        assert!(opened(&[TiffPage::strips([16, 12], OTHER), label]).is_err());
    }
    // A level in tiles must be whole.
    let broken = one.with(325, Values::Long(vec![768]));
    let text = opened(&[zero.described(APERIO), broken]).err().unwrap();
    assert!(text.contains("directory 1: 4 offsets and 1 lengths for 4 tiles"), "{text}");
}

#[test]
fn a_description_is_read_whatever_its_encoding() {
    let slide = |text: &[u8]| opened(&[TiffPage::tiled(SIZE, SLIDE).with_resolution(10_000).described(text)]);
    let fields = |name: &[u8]| [b"Aperio Image\r\n|AppMag = 40|User = ", name, b"|MPP = 0.25"].concat();
    for name in [&b"J\xf6rg"[..], "Jörg".as_bytes()] {
        let found = slide(&fields(name)).unwrap();
        assert_eq!(found.format(), "aperio");
        let stated = StatedResolution { mpp: Some([0.25; 2]), power: Some(40.0) };
        assert_eq!(found.stated_resolution(), stated, "not the tags' 1 um");
        assert_eq!(found.properties()["aperio.User"], "Jörg");
    }
    let text = slide(b"<DataObject ObjectType=\"DPUfsImport\">J\xf6rg</DataObject>").err().unwrap();
    assert!(text.contains("Philips TIFF"), "{text}");
    let ome = "<OME><Image><Pixels SizeX=\"128\" SizeY=\"96\" PhysicalSizeX=\"0.25\" PhysicalSizeXUnit=\"*m\" \
               PhysicalSizeY=\"0.25\" PhysicalSizeYUnit=\"*m\"/></Image></OME>";
    let latin1: Vec<u8> = ome.bytes().map(|byte| if byte == b'*' { 0xb5 } else { byte }).collect();
    assert_eq!(slide(&latin1).unwrap().stated_resolution().mpp, Some([0.25; 2]));
}

#[test]
fn numbers_with_a_comma_are_read_and_what_is_no_number_is_told() {
    let slide = |fields: &str| {
        let text = format!("Aperio Image\r\n|{fields}");
        opened(&[TiffPage::tiled(SIZE, SLIDE).described(text)]).unwrap()
    };
    let found = slide("AppMag = 40|MPP = 0,2520");
    assert_eq!(found.stated_resolution(), StatedResolution { mpp: Some([0.252; 2]), power: Some(40.0) });
    assert!(found.warnings().is_empty());
    for (fields, told) in [
        ("AppMag = 40|MPP = 0.25 um", "`MPP` is `0.25 um`, expected a number, and was left out of account"),
        ("AppMag = 40x|MPP = 0.25", "`AppMag` is `40x`, expected a number, and was left out of account"),
    ] {
        let warnings: Vec<_> = slide(fields).warnings().iter().map(ToString::to_string).collect();
        assert_eq!(warnings, [told]);
    }
    assert!(slide("AppMag = 40|MPP = ").warnings().is_empty());

    // Where nothing else is stated, the error tells of it.
    let error = resolve_slide(&slide("MPP = 0.25;"), ResolutionOverride::default(), Preference::Mpp);
    let error = error.unwrap_err();
    assert!(matches!(error.kind(), ErrorKind::NoResolution { .. }));
    assert!(error.to_string().ends_with("(`MPP` is `0.25;`, expected a number)"), "{error}");
}

#[test]
fn aperio_tiles_that_are_not_there_are_told() {
    let [zero, one, _] = pyramid();
    let with_holes = one.with(325, Values::Long(vec![768, 0, 768, 0]));
    let slide = opened(&[zero.clone().described(APERIO), with_holes]).unwrap();
    let warnings: Vec<_> = slide.warnings().iter().map(ToString::to_string).collect();
    assert_eq!(warnings, ["2 of 4 tiles of level 1 are not in the file, and black"]);
}

#[test]
fn a_large_image_in_one_plain_strip_is_read() {
    // More pixels than a tile may have; ImageJ writes any image so.
    let [width, height] = [6750u32, 6640];
    let mut rows = vec![0; (width * height) as usize];
    for (y, row) in rows.chunks_exact_mut(width as usize).enumerate() {
        row.fill((y % 251) as u8);
    }
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("slide.tif");
    std::fs::write(&path, tiff_file(&[TiffPage::strip([width, height], rows)])).unwrap();
    let slide = TiffSlide::open(&path).unwrap();
    for top in [0u32, 610, 6600] {
        let region = slide.read_region(0, [6700, top.into()], [50, 40]).unwrap();
        for (x, y, pixel) in region.enumerate_pixels() {
            assert_eq!(pixel.0, [((top + y) % 251) as u8; 3], "({x}, {})", top + y);
        }
    }
}
