//! Both readers on the same slides: levels, resolution and pixels. Needs the feature `openslide`.

#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "a test that panics has failed")]
#![cfg(feature = "openslide")]

mod support;

use support::{differences, slides_dir};
use wsi_slides::render::{Base, RenderOptions, render};
use wsi_slides::{ErrorKind, OpenSlideReader, SlideReader, TiffSlide, open};

fn compare(path: &std::path::Path) {
    let ours = TiffSlide::open(path).unwrap();
    let theirs = OpenSlideReader::open(path).unwrap();
    assert_eq!(ours.levels(), theirs.levels(), "{}", path.display());
    assert_eq!(ours.stated_resolution(), theirs.stated_resolution(), "{}", path.display());
    for (level, found) in ours.levels().iter().enumerate() {
        let [width, height] = [ours.levels()[0].width, ours.levels()[0].height].map(i64::from);
        // Inside, over each edge, over a corner, and between the pixels of the level.
        for corner in
            [[0, 0], [width / 3 + 1, height / 3 + 2], [width - 100, height / 2], [width / 2, height - 90]]
        {
            let size = [300.min(found.width), 260.min(found.height)];
            let [a, b] = [&ours as &dyn SlideReader, &theirs]
                .map(|reader| reader.read_region(level, corner, size).unwrap());
            let (largest, n) = differences(&a, &b);
            let n_by_more = a.iter().zip(b.iter()).filter(|(a, b)| a.abs_diff(**b) > 1).count();
            // OpenSlide fades the outermost row and column of a level where the corner lies between pixels.
            let at_edge = 2 * 3 * (size[0] + size[1]) as usize;
            let allowed = if level == 0 { 0 } else { at_edge + a.len() / 5000 };
            assert!(
                n_by_more <= allowed,
                "{} level {level} at {corner:?}: {n_by_more} of {} samples differ by more than 1, {n} at all, by {largest}",
                path.display(),
                a.len()
            );
        }
    }
}

#[test]
fn the_readers_agree_on_the_shared_slides() {
    let Some(dir) = slides_dir() else { return };
    for slide in
        ["CMU-1-Small-Region.svs", "DERIVED-TCGA-CR-7395-40x-pyramid.svs", "TCGA-CR-7395-01A-01-TS1.svs"]
    {
        compare(&dir.join(slide));
    }
}

#[test]
fn openslide_opens_rendered_slides_with_their_magnification() {
    let dir = tempfile::tempdir().unwrap();
    for (base, power, mpp) in [(Base::X20, 20.0, 0.5), (Base::X40, 40.0, 0.25)] {
        let path = dir.path().join("rendered.svs");
        render(&path, &RenderOptions { n_cells: 2, base, ..RenderOptions::default() }).unwrap();
        let slide = OpenSlideReader::open(&path).unwrap();
        assert_eq!(slide.format(), "aperio");
        let stated = slide.stated_resolution();
        assert_eq!((stated.power, stated.mpp), (Some(power), Some([mpp, mpp])));
        compare(&path);
    }
}

#[test]
fn what_the_built_in_reader_does_not_read_goes_to_openslide() {
    let Some(dir) = slides_dir() else { return };
    let slide = open(&dir.join("test3-DAPI-2-387.ndpi")).unwrap();
    assert_eq!(slide.format(), "hamamatsu");
    assert_eq!((slide.levels()[0].width, slide.levels()[0].height), (3968, 4864));
    assert_eq!(slide.stated_resolution().power, Some(40.0));
    let region = slide.read_region(0, [1000, 1000], [256, 256]).unwrap();
    assert!(region.iter().any(|value| *value > 0));
    assert!(!OpenSlideReader::version().unwrap().is_empty());
}

#[test]
fn openslides_own_reason_is_given_for_a_damaged_slide_that_only_it_reads() {
    let dir = tempfile::tempdir().unwrap();
    let preview = dir.path().join("preview.jpg");
    image::RgbImage::new(8, 8).save(&preview).unwrap();
    // A preview whose folder is missing, and a slide that is none.
    for (name, form) in [("slide.mrxs", "MIRAX"), ("slide.ndpi", "Hamamatsu NDPI")] {
        let path = dir.path().join(name);
        std::fs::copy(&preview, &path).unwrap();
        let reason = OpenSlideReader::open(&path).err().unwrap();
        let ErrorKind::OpenSlide { fault: theirs } = reason.kind() else { panic!("{reason}") };
        let error = open(&path).err().unwrap();
        assert!(matches!(error.kind(), ErrorKind::OpenSlide { .. }), "{error}");
        let text = error.to_string();
        assert!(text.contains(name) && text.contains(theirs) && text.contains(form), "{text}");
        assert!(!text.contains("through the feature"), "{text}");
    }
}

#[test]
fn the_reasons_of_both_are_kept() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("paper.svs");
    std::fs::write(&path, "%PDF-1.7").unwrap();
    let built_in = open(&path).err().unwrap();
    assert!(matches!(built_in.kind(), ErrorKind::FileKind { .. }), "{built_in}");
    let theirs = OpenSlideReader::open(&path).err().unwrap();
    assert!(matches!(theirs.kind(), ErrorKind::OpenSlide { .. }), "{theirs}");
}
