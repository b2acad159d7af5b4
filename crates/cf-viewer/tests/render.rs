//! A whole directory of one slide.

#![allow(clippy::unwrap_used, reason = "a test that panics has failed")]

mod support;

use std::collections::BTreeSet;
use std::path::Path;

use cf_model::{AttributionLayer, Module};
use cf_viewer::{Prediction, RenderOptions, Rendered, SlideFrame, Subject, heat_layers, render, thumbnail};
use support::marked_slide;
use wsi_bags::{Bag, FeatureMatrix, Magnification, PatchGeometry, PatchSet, SlideInfo};
use wsi_slides::{SlideReader, open};

const SIZE: [u32; 2] = [4096, 3072];

/// A bag of the nested lattice over the whole slide.
fn bag() -> Bag {
    let set = |magnification: Magnification| {
        let side = 256 * 20 / magnification.power();
        let rows = (0..SIZE[1] / side).flat_map(|row| (0..SIZE[0] / side).map(move |column| [column, row]));
        let coords: Vec<[i64; 2]> = rows.map(|cell| cell.map(|at| i64::from(at * side))).collect();
        let n = coords.len();
        let geometry = PatchGeometry { patch_size_level0: Some(side), mpp: None };
        let set = PatchSet::new(FeatureMatrix::new(vec![0.5; n], n, 1).unwrap());
        (magnification, set.with_coords(coords).unwrap().with_geometry(geometry).unwrap())
    };
    Bag::new("slide-1", Magnification::ALL.map(set)).unwrap()
}

/// The four maps of CrossFusion.
fn maps(bag: &Bag) -> Vec<AttributionLayer> {
    let layer = |(module, magnification)| {
        let n = bag.at(magnification).unwrap().n_patches();
        let scores = (0..n).map(|idx| 1.0 / (1.0 + idx as f64)).collect();
        AttributionLayer { module, magnification, scores }
    };
    [
        (Module::CoarseCab, Magnification::X5),
        (Module::FineCab, Magnification::X20),
        (Module::SourcePt, Magnification::X10),
        (Module::FinalPt, Magnification::X10),
    ]
    .map(layer)
    .to_vec()
}

fn draw(out: &Path, slide: Option<(&Path, &dyn SlideReader)>) -> Rendered {
    let bag = bag();
    let layers = heat_layers(&bag, &maps(&bag)).unwrap();
    let info = SlideInfo { width: Some(SIZE[0].into()), height: Some(SIZE[1].into()), mpp: Some(0.5) };
    let boxes = layers.iter().map(|layer| layer.boxes().as_ref());
    let frame = match slide {
        Some((path, slide)) => SlideFrame::of_slide(path, slide, None, &info, boxes).unwrap(),
        None => SlideFrame::of_features(None, &info, boxes).unwrap(),
    };
    let prediction = Prediction {
        risk: -2.3,
        risk_is_of_survival: true,
        survival: vec![0.9, 0.7, 0.5, 0.2],
        time_bin_edges_months: vec![0.0, 9.5, 21.0, 44.0, 120.5],
    };
    let subject = Subject {
        slide_id: "slide-1",
        frame,
        info,
        slide: slide.map(|(_, slide)| slide),
        prediction: Some(prediction),
        unscored: Vec::new(),
        origin: vec![("model".to_owned(), "crossfusion".to_owned())],
        source: "Model crossfusion, fold 3".to_owned(),
    };
    render(
        &subject,
        &layers,
        out,
        &RenderOptions { longest_side: 800, ..RenderOptions::default() },
        &|_, _| {},
    )
    .unwrap()
}

fn listed(out: &Path) -> BTreeSet<String> {
    std::fs::read_dir(out).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect()
}

#[test]
fn a_slide_with_its_file_gets_everything_and_a_summary_of_it() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("slide-1.tiff");
    marked_slide(&path, &[SIZE, [1024, 768]], 0.5, &[[1024.0, 1024.0, 2048.0, 2048.0]]);
    let slide = open(&path).unwrap();
    let out = dir.path().join("maps/slide-1");
    let rendered = draw(&out, Some((&path, slide.as_ref())));
    assert!(rendered.left_out.is_empty());
    let mut wanted =
        BTreeSet::from(["scores.csv", "scores.h5", "figure.png", "render.json"].map(str::to_owned));
    for layer in ["x5-coarse-cab", "x20-fine-cab", "x10-source-pt", "x10-final-pt"] {
        wanted.extend(["png", "patches.png", "tiff"].map(|ending| format!("{layer}.{ending}")));
    }
    wanted.extend(["x5", "x10", "x20"].map(|label| format!("{label}.geojson")));
    assert_eq!(listed(&out), wanted, "and nothing beside");
    let summary: serde_json::Value =
        serde_json::from_slice(&std::fs::read(out.join("render.json")).unwrap()).unwrap();
    assert_eq!(summary["prediction"]["risk"], -2.3);
    assert_eq!(summary["prediction"]["time_bin_edges_months"][4], 120.5);
    assert_eq!(summary["origin"]["model"], "crossfusion");
    assert_eq!(summary["layers"][1]["n_patches"], 192);
    // 48 patches fill a square of 7 with one copy, of the first.
    let copied: Vec<_> =
        summary["layers"].as_array().unwrap().iter().map(|layer| layer["n_copied"].clone()).collect();
    assert_eq!(copied, [0, 0, 1, 1]);
    assert_eq!(summary["layers"][2]["highest"], 1.0);
    assert_eq!(summary["layers"][2]["highest_per_token"], 0.5);
    assert_eq!(summary["polygons"]["x10.geojson"]["n_polygons"], 48);
    let rows = std::fs::read_to_string(out.join("scores.csv")).unwrap().lines().count();
    assert_eq!(rows, 1 + 12 + 192 + 48 + 48);

    // The map on the page is the slide with the colours over it: opaque by 40 %, at the corner (24, 24).
    let page = image::open(out.join("x5-coarse-cab.png")).unwrap().into_rgb8();
    let picture = thumbnail(slide.as_ref(), [800, 600]).unwrap();
    let colours = RenderOptions::default().colours.table();
    // The first of 5x patches, which scores highest, lies on white glass.
    let over = |at: u8, colour: u8| (f32::from(at) * 0.6 + f32::from(colour) * 0.4).round() as u8;
    let expected = [0, 1, 2].map(|channel| over(picture.get_pixel(50, 50).0[channel], colours[255][channel]));
    assert_eq!(page.get_pixel(24 + 50, 24 + 50).0, expected);

    // What is passed on alone says what it is of.
    let tiff = std::fs::read(out.join("x10-source-pt.tiff")).unwrap();
    for line in
        ["Heatmap of Source PT, 10x (", "slide: slide-1", "risk: -2.3", "source: Model crossfusion, fold 3"]
    {
        assert!(tiff.windows(line.len()).any(|bytes| bytes == line.as_bytes()), "{line}");
    }
    let tiles: serde_json::Value =
        serde_json::from_slice(&std::fs::read(out.join("x10.geojson")).unwrap()).unwrap();
    let about = &tiles["about"];
    assert_eq!(about["maps"], serde_json::json!(["Source PT, 10x", "Final PT, 10x"]));
    assert_eq!((&about["slide"], &about["risk"]), (&"slide-1".into(), &(-2.3).into()));
    assert_eq!(about["source"], "Model crossfusion, fold 3");

    // Again into the same directory: the same bytes.
    let before: Vec<Vec<u8>> =
        listed(&out).iter().map(|name| std::fs::read(out.join(name)).unwrap()).collect();
    draw(&out, Some((&path, slide.as_ref())));
    let after: Vec<Vec<u8>> =
        listed(&out).iter().map(|name| std::fs::read(out.join(name)).unwrap()).collect();
    assert!(before == after);
}

#[test]
fn without_the_file_maps_are_on_a_canvas_and_what_needs_pixels_is_listed() {
    let dir = tempfile::tempdir().unwrap();
    let rendered = draw(dir.path(), None);
    let left_out: Vec<&str> = rendered.left_out.iter().map(|left_out| left_out.what.as_str()).collect();
    assert_eq!(left_out, ["the slide beside and below its maps", "patch sheets"]);
    assert!(!listed(dir.path()).iter().any(|name| name.contains("patches")));
    let overlay = open(&dir.path().join("x20-fine-cab.tiff")).unwrap();
    let sizes: Vec<[u32; 2]> = overlay.levels().iter().map(|level| [level.width, level.height]).collect();
    assert_eq!(sizes, [SIZE, [1024, 768]]);
    assert_eq!(overlay.stated_resolution().mpp, Some([0.5, 0.5]));
}

#[test]
fn what_an_earlier_call_drew_and_this_one_does_not_is_removed() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("slide-1.tiff");
    marked_slide(&path, &[SIZE, [1024, 768]], 0.5, &[[1024.0, 1024.0, 2048.0, 2048.0]]);
    let slide = open(&path).unwrap();
    let out = dir.path().join("maps/slide-1");
    draw(&out, Some((&path, slide.as_ref())));
    std::fs::write(out.join("notes.txt"), "mine").unwrap();
    let rendered = draw(&out, None);
    let mut wanted: BTreeSet<String> = rendered.files.into_iter().collect();
    wanted.extend(["render.json", "notes.txt"].map(str::to_owned));
    assert_eq!(listed(&out), wanted, "no patch sheets of before, and what is not ours stays");
}
