//! What is refused, and with which words.

#![allow(clippy::unwrap_used, reason = "a test that panics has failed")]

mod support;

use std::sync::Arc;

use cf_viewer::{Error, HeatLayer, PatchBoxes, RenderOptions, SlideFrame, Subject, render};
use support::{lattice_layer, marked_slide};
use wsi_bags::{Bag, ErrorKind, FeatureMatrix, Magnification, PatchSet, SlideInfo};
use wsi_slides::open;

#[test]
fn features_without_coordinates_are_refused() {
    let set = PatchSet::new(FeatureMatrix::new(vec![0.5; 6], 3, 2).unwrap());
    let bag = Bag::new("slide-1", [(Magnification::X10, set)]).unwrap();
    let error = PatchBoxes::of(&bag, Magnification::X10).unwrap_err();
    assert_eq!(
        error.to_string(),
        "slide slide-1, x10: the features have no coordinates in level-0 pixels, without which nothing can be drawn"
    );
}

#[test]
fn a_scale_that_is_missing_is_named() {
    let set = PatchSet::new(FeatureMatrix::new(vec![0.5; 6], 3, 2).unwrap());
    let bag = Bag::new("slide-1", [(Magnification::X10, set)]).unwrap();
    let Error::Bag(error) = PatchBoxes::of(&bag, Magnification::X20).unwrap_err() else { panic!() };
    assert!(matches!(error.kind(), ErrorKind::MissingMagnification { wanted: Magnification::X20, .. }));
}

#[test]
fn a_slide_of_another_size_or_resolution_and_patches_outside_it_are_refused() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("slide.tiff");
    marked_slide(&path, &[[1000, 700]], 0.5, &[]);
    let slide = open(&path).unwrap();
    let layer = lattice_layer("a", Magnification::X20, 256, [3, 2], |_, _| 0.0);
    let frame = |given: Option<f64>, info: SlideInfo, boxes: &PatchBoxes| {
        SlideFrame::of_slide(&path, slide.as_ref(), given, &info, [boxes]).map_err(|error| error.to_string())
    };
    let info = SlideInfo { width: Some(1000), height: Some(700), mpp: Some(0.4999) };
    let name = path.display();
    assert_eq!(
        frame(None, info, layer.boxes()),
        Ok(SlideFrame { size: [1000, 700], mpp: Some(0.5) }),
        "files state a resolution with three or four digits"
    );
    assert_eq!(
        frame(None, SlideInfo { height: Some(701), ..info }, layer.boxes()).unwrap_err(),
        format!(
            "{name} has 1000 x 700 level-0 pixels, the features were cut from a slide of 1000 x 701: it is another file"
        )
    );
    assert_eq!(
        frame(None, SlideInfo { mpp: Some(0.25), ..info }, layer.boxes()).unwrap_err(),
        format!(
            "{name} has 0.5 micrometres per level-0 pixel, the features were cut at 0.25: it is another file, or its \
             resolution was corrected when features were extracted"
        )
    );
    let corrected = frame(Some(0.25), SlideInfo { mpp: Some(0.25), ..info }, layer.boxes());
    assert_eq!(corrected.unwrap().mpp, Some(0.25), "what the user states wins");
    let outside =
        PatchBoxes { magnification: Magnification::X5, side: 1024, corners: vec![[0, 0], [1024, 0]] };
    assert_eq!(
        frame(None, info, &outside).unwrap_err(),
        "x5: patch 1 lies at (1024, 0), outside the slide of 1000 x 700 level-0 pixels"
    );
}

#[test]
fn settings_outside_their_range_and_layers_of_one_name_are_refused() {
    let dir = tempfile::tempdir().unwrap();
    let layer = lattice_layer("a", Magnification::X20, 256, [3, 2], |_, _| 0.0);
    let info = SlideInfo::default();
    let frame = SlideFrame::of_features(None, &info, [layer.boxes().as_ref()]).unwrap();
    let subject = Subject {
        slide_id: "s",
        frame,
        info,
        slide: None,
        prediction: None,
        unscored: Vec::new(),
        origin: Vec::new(),
        source: String::new(),
    };
    let refused = |layers: &[HeatLayer], options: RenderOptions| {
        render(&subject, layers, &dir.path().join("out"), &options, &|_, _| {}).unwrap_err().to_string()
    };
    let usual = RenderOptions::default();
    let one = [layer.clone()];
    assert_eq!(refused(&one, RenderOptions { opacity: 1.5, ..usual }), "the opacity is 1.5, expected 0 to 1");
    assert!(refused(&one, RenderOptions { opacity: f32::NAN, ..usual }).starts_with("the opacity is NaN"));
    assert!(
        refused(&one, RenderOptions { longest_side: 50, ..usual }).contains("is 50, expected 100 to 10000")
    );
    assert!(refused(&one, RenderOptions { top_k: 201, ..usual }).contains("at most 200"));
    assert!(refused(&one, RenderOptions { most_polygons: 0, ..usual }).contains("1 or more"));
    assert_eq!(refused(&[], usual), "there is no layer to draw");
    let same = HeatLayer::new("A", Arc::clone(layer.boxes()), layer.scores().to_vec()).unwrap();
    assert_eq!(refused(&[layer.clone(), same], usual), "two layers are called A at x20");
    assert!(!dir.path().join("out").exists(), "nothing is made before all is checked");
}
