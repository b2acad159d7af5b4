//! Tissue on real images that mislead: pen marks and nearly empty glass.

#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "a test that panics has failed")]

mod support;

use image::RgbImage;
use support::slides_dir;
use wsi_slides::tissue::{Ink, PenMarks, Preset, Threshold, TissueParams, mask};

/// The share of pixels that `is` picks and the mask calls tissue.
fn share(image: &RgbImage, params: &TissueParams, is: fn([u8; 3]) -> bool) -> f64 {
    let (mask, _) = mask(image, params);
    let picked: Vec<bool> = image
        .pixels()
        .zip(mask.iter())
        .filter(|(pixel, _)| is(pixel.0))
        .map(|(_, value)| *value != 0)
        .collect();
    assert!(picked.len() > 1000);
    picked.iter().filter(|is_tissue| **is_tissue).count() as f64 / picked.len() as f64
}

fn green(pixel: [u8; 3]) -> bool {
    let [r, g, b] = pixel.map(i32::from);
    g > r + 20 && g > b - 10
}

fn red(pixel: [u8; 3]) -> bool {
    let [r, g, b] = pixel.map(i32::from);
    r > 180 && g < 60 && b < 60
}

fn stained(pixel: [u8; 3]) -> bool {
    let [r, g, b] = pixel.map(i32::from);
    r > g + 40 && b > g + 30
}

#[test]
fn ink_is_not_tissue_and_tissue_stays() {
    let Some(dir) = slides_dir() else { return };
    for (file, ink) in
        [("histolab-tcga-green-pen.png", green as fn([u8; 3]) -> bool), ("histolab-tcga-red-pen.png", red)]
    {
        let image = image::open(dir.join(file)).unwrap().into_rgb8();
        let kept = Preset::BwhBiopsy.params();
        let removed = TissueParams { pen_marks: PenMarks::Remove, ..kept };
        assert!(share(&image, &kept, ink) > 0.95, "{file}: a saturation threshold keeps ink");
        assert!(share(&image, &removed, ink) < 0.02, "{file}");
        let (before, after) = (share(&image, &kept, stained), share(&image, &removed, stained));
        assert!(after > 0.93 * before, "{file}: tissue went from {before} to {after}");
    }
}

#[test]
fn the_share_of_tissue_that_was_taken_for_ink_is_told() {
    // Tissue of 200 by 200 pixels, and a pool of blood of 100 by 200.
    let colour = |x, y| match (x, y) {
        (100..300, 100..300) => [150, 80, 160],
        (400..500, 100..300) => [200, 60, 70],
        _ => [243, 243, 243],
    };
    let image = RgbImage::from_fn(600, 400, |x, y| image::Rgb(colour(x, y)));
    let kept = Preset::BwhBiopsy.params();
    let removed = TissueParams { pen_marks: PenMarks::Remove, ..kept };
    let (with_blood, none) = mask(&image, &kept);
    assert_eq!(none, Ink::default(), "nobody asked");
    let (without, ink) = mask(&image, &removed);
    let n = |mask: &image::GrayImage| mask.iter().filter(|value| **value != 0).count() as f64;
    assert!((ink.tissue_share - 1.0 / 3.0).abs() < 0.01, "{ink:?}");
    assert_eq!(
        ink.tissue_share,
        (n(&with_blood) - n(&without)) / n(&with_blood),
        "a fixed threshold moves nothing else"
    );
    assert!((15_000..=20_000).contains(&ink.n_pixels), "all but the edge: {ink:?}");
    let tissue = RgbImage::from_fn(380, 400, |x, y| image::Rgb(colour(x, y)));
    assert_eq!(mask(&tissue, &removed).1, Ink::default());
}

#[test]
fn slides_without_ink_keep_their_tissue() {
    let Some(dir) = slides_dir() else { return };
    for slide in ["CMU-1-Small-Region", "DERIVED-TCGA-CR-7395-40x-pyramid"] {
        let image =
            image::open(dir.join("golden").join(format!("{slide}.seglevel.png"))).unwrap().into_rgb8();
        let kept = Preset::Tcga.params();
        let removed = TissueParams { pen_marks: PenMarks::Remove, ..kept };
        let n = |params: &TissueParams| mask(&image, params).0.iter().filter(|value| **value != 0).count();
        assert!(n(&removed) as f64 > 0.97 * n(&kept) as f64, "{slide}: {} of {}", n(&removed), n(&kept));
    }
}

#[test]
fn otsu_finds_the_same_tissue_without_a_number() {
    let Some(dir) = slides_dir() else { return };
    let image =
        image::open(dir.join("golden/DERIVED-TCGA-CR-7395-40x-pyramid.seglevel.png")).unwrap().into_rgb8();
    let fixed = Preset::Tcga.params();
    let (by_otsu, _) = mask(&image, &TissueParams { threshold: Threshold::Otsu, ..fixed });
    let (by_number, _) = mask(&image, &fixed);
    let both = by_otsu.iter().zip(by_number.iter()).filter(|(a, b)| **a != 0 && **b != 0).count();
    let otsu = by_otsu.iter().filter(|value| **value != 0).count();
    assert!(otsu > 10_000 && both as f64 > 0.99 * otsu as f64, "Otsu's tissue lies within: {both} of {otsu}");
}

#[test]
fn a_nearly_empty_image_has_no_contours() {
    let Some(dir) = slides_dir() else { return };
    let slide = wsi_slides::open(&dir.join("kidney-48-5.tif")).unwrap();
    for preset in Preset::ALL {
        let found = wsi_slides::tissue::find(slide.as_ref(), &preset.params()).unwrap();
        assert!(found.contours.is_empty(), "{}", preset.label());
    }
}
