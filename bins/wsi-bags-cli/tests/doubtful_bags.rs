//! Bags that can be read and are not what they seem: refused, listed, or named.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::path::Path;
use std::process::{Command, Output};

use serde_json::{Value, json};
use wsi_bags::{FeatureMatrix, Magnification, PatchSet, SlideInfo, safetensors};

fn run(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_wsi-bags")).args(arguments).output().unwrap()
}

fn path(path: &Path) -> &str {
    path.to_str().unwrap()
}

/// Exit code, JSON of stdout, and stderr.
fn with_json(arguments: &[&str]) -> (i32, Value, String) {
    let output = run(&[arguments, &["--json"]].concat());
    let told = String::from_utf8(output.stderr).unwrap();
    (output.status.code().unwrap(), serde_json::from_slice(&output.stdout).unwrap_or(Value::Null), told)
}

fn stdout(arguments: &[&str]) -> String {
    String::from_utf8(run(arguments).stdout).unwrap()
}

/// A file of one magnification of a slide.
fn put(root: &Path, at: Magnification, name: &str, patches: &PatchSet, slide: &SlideInfo) {
    let home = root.join("uni").join(at.label());
    std::fs::create_dir_all(&home).unwrap();
    safetensors::write(&home.join(format!("{name}.safetensors")), patches, "uni", slide).unwrap();
}

/// `n * n` patches of a lattice.
fn lattice(n: i64, side: i64, dim: usize) -> PatchSet {
    let coords: Vec<_> = (0..n * n).map(|i| [i % n * side, i / n * side]).collect();
    let features = FeatureMatrix::new(vec![0.5; coords.len() * dim], coords.len(), dim).unwrap();
    PatchSet::new(features).with_coords(coords).unwrap()
}

fn convert<'a>(source: &'a Path, to: &'a str, out: &'a Path) -> Vec<&'a str> {
    vec!["convert", "--features", path(source), "--backbone", "uni", "--to", to, "--out", path(out)]
}

fn inspect(source: &Path) -> Vec<&str> {
    vec!["inspect", "--features", path(source), "--backbone", "uni"]
}

#[test]
fn a_slide_of_two_scans_is_listed_with_its_fault_and_the_way_out() {
    let directory = tempfile::tempdir().unwrap();
    let (source, out) = (directory.path().join("in"), directory.path().join("out"));
    let slide = |width| SlideInfo { width: Some(width), height: Some(4096), mpp: None };
    put(&source, Magnification::X10, "a", &lattice(2, 1024, 4), &slide(6144));
    put(&source, Magnification::X20, "a", &lattice(4, 512, 4), &slide(3072));
    put(&source, Magnification::X10, "b", &lattice(2, 1024, 4), &slide(6144));
    put(&source, Magnification::X20, "b", &lattice(4, 512, 4), &slide(6144));
    let wanted = "3072 pixels wide at level 0 (x20 patches), but 6144 pixels wide at level 0 (x10 patches)";
    let (code, summary, told) = with_json(&convert(&source, "native", &out));
    assert_eq!((code, &summary["n_written"]), (3, &json!(1)));
    assert_eq!(summary["failed"][0]["slide"], json!("a"));
    assert!(told.contains(wanted) && told.contains("hint: extract the magnifications of a slide"), "{told}");
    let (code, listing, _) = with_json(&inspect(&source));
    assert_eq!(code, 3);
    assert!(listing["slides"][0]["faults"][0].as_str().unwrap().contains(wanted), "{listing}");
    assert_eq!(listing["slides"][1]["faults"], json!([]));
}

#[test]
fn a_folder_that_holds_another_width_is_not_written_into() {
    let unknown = SlideInfo::default();
    for to in ["native", "clam", "crossfusion", "safetensors"] {
        let directory = tempfile::tempdir().unwrap();
        let [narrow, wide, out] = ["narrow", "wide", "out"].map(|name| directory.path().join(name));
        put(&narrow, Magnification::X20, "a", &lattice(2, 512, 4), &unknown);
        put(&wide, Magnification::X20, "a", &lattice(2, 512, 8), &unknown);
        put(&wide, Magnification::X20, "b", &lattice(2, 512, 8), &unknown);
        assert_eq!(with_json(&convert(&narrow, to, &out)).0, 0);
        assert_eq!(with_json(&convert(&narrow, to, &out)).1["n_left_alone"], json!(1));

        let (code, summary, told) = with_json(&convert(&wide, to, &out));
        assert_eq!(code, 3, "{to}: {told}");
        let counts = ["n_written", "n_left_alone"].map(|key| summary[key].clone());
        assert_eq!(counts, [json!(0), json!(0)], "{to}");
        let told: Vec<&str> = told.lines().filter(|line| line.starts_with("error: slide ")).collect();
        assert!(told[0].starts_with("error: slide a: number of columns of "), "{to}: {told:?}");
        assert!(told[0].contains("is 4, but 8 in"), "{to}: {told:?}");
        assert!(told[1].contains("is 8, but 4 in"), "{to}: {told:?}");
        assert!(told[1].contains(path(&out)), "{to}: {told:?}");
        let listing = with_json(&inspect(&out));
        assert_eq!(listing.1["slides"].as_array().unwrap().len(), 1, "{to}: nothing is written");

        // Where both slides are written again, none of another width stays; CLAM's files may be those of another encoder.
        let again = [&convert(&wide, to, &out)[..], &["--overwrite"]].concat();
        assert_eq!(with_json(&[&again[..], &["--slide", "b"]].concat()).1["n_written"], json!(0), "{to}");
        let again = with_json(&again);
        assert_eq!(again.1["n_written"], json!(if to == "clam" { 0 } else { 2 }), "{to}: {}", again.2);
    }
}

#[test]
fn inspect_names_slides_of_different_widths() {
    let directory = tempfile::tempdir().unwrap();
    for (name, dim) in [("a", 4), ("b", 8), ("c", 4)] {
        put(directory.path(), Magnification::X20, name, &lattice(2, 512, dim), &SlideInfo::default());
    }
    let (code, listing, _) = with_json(&inspect(directory.path()));
    assert_eq!(code, 0);
    let wanted = json!([{"dim": 4, "slides": ["a", "c"]}, {"dim": 8, "slides": ["b"]}]);
    assert_eq!(listing["mixed_widths"], wanted);
    let text = stdout(&inspect(directory.path()));
    assert!(text.contains("4 columns in 2 slides (a, c); 8 columns in one slide (b)"), "{text}");
}

#[test]
fn parents_that_are_no_patches_of_the_coarser_magnification_are_a_fault() {
    let directory = tempfile::tempdir().unwrap();
    let (source, out) = (directory.path().join("in"), directory.path().join("out"));
    for (name, last) in [("a", 3), ("b", 500)] {
        put(&source, Magnification::X10, name, &lattice(2, 1024, 4), &SlideInfo::default());
        let parents = (0..16).map(|i| Some(if i == 15 { last } else { 0 })).collect();
        let fine = lattice(4, 512, 4).with_parents(parents).unwrap();
        put(&source, Magnification::X20, name, &fine, &SlideInfo::default());
    }
    let wanted = "uni/x20/b.safetensors: x20: patch 15 has parent 500, but x10 has 4 patches";
    for to in ["native", "safetensors", "crossfusion"] {
        let (code, summary, told) = with_json(&convert(&source, to, &out.join(to)));
        assert_eq!((code, &summary["n_written"]), (3, &json!(1)), "{to}: {told}");
        assert!(summary["failed"][0]["reason"].as_str().unwrap().contains(wanted), "{to}: {summary}");
        assert!(told.contains("hint: parents are counted from 0 in the rows of the coarser"), "{told}");
    }
    let (code, listing, _) = with_json(&inspect(&source));
    assert_eq!(code, 3);
    assert_eq!(listing["slides"][0]["faults"], json!([]));
    assert!(listing["slides"][1]["faults"][0].as_str().unwrap().contains(wanted), "{listing}");
}

#[test]
fn tensors_without_rows_or_columns_are_a_fault() {
    let directory = tempfile::tempdir().unwrap();
    let data = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../crates/wsi-bags/tests/data");
    let folder = directory.path().join("uni/x20/pt_files");
    std::fs::create_dir_all(&folder).unwrap();
    for name in ["features_f32.pt", "wrong_no_columns.pt", "wrong_no_rows.pt"] {
        std::fs::copy(data.join(name), folder.join(name)).unwrap();
    }
    let (code, listing, told) = with_json(&inspect(directory.path()));
    assert_eq!((code, told.as_str()), (3, "error: 2 slides cannot be used\n"));
    let faults: Vec<&str> =
        [1, 2].iter().map(|at| listing["slides"][*at]["faults"][0].as_str().unwrap()).collect();
    assert!(faults[0].ends_with("wrong_no_columns.pt: features have no columns"), "{faults:?}");
    assert!(faults[1].ends_with("wrong_no_rows.pt: no patches: a bag needs at least one"), "{faults:?}");
}

#[test]
fn slides_whose_patches_lie_far_from_their_parents_are_named() {
    let directory = tempfile::tempdir().unwrap();
    let (source, out) = (directory.path().join("in"), directory.path().join("out"));
    for (name, away) in [("a", 0), ("b", 512), ("c", 100_000)] {
        put(&source, Magnification::X10, name, &lattice(4, 1024, 4), &SlideInfo::default());
        let there = lattice(8, 512, 4);
        let coords = there.coords().unwrap().iter().map(|[x, y]| [x + away, *y]).collect();
        put(&source, Magnification::X20, name, &there.with_coords(coords).unwrap(), &SlideInfo::default());
    }
    let wanted = json!([
        {"slide": "b", "magnification": "x20", "n_patches": 64, "n_fallbacks": 8, "share": 0.125},
        {"slide": "c", "magnification": "x20", "n_patches": 64, "n_fallbacks": 64, "share": 1.0},
    ]);
    let line = "x20: more than 10% of the patches lie in no x10 patch in 2 slides (b 12.5%, c 100.0%): ";
    let (code, listing, _) = with_json(&inspect(&source));
    assert_eq!((code, &listing["far_parents"]), (0, &wanted));
    assert!(stdout(&inspect(&source)).contains(line));
    let (code, summary, _) = with_json(&convert(&source, "native", &out.join("a")));
    assert_eq!((code, &summary["far_parents"]), (0, &wanted));
    assert_eq!(summary["parents"][1]["n_fallbacks"], json!(72));
    assert_eq!(summary["one_place"], json!([]));
    let told = stdout(&convert(&source, "native", &out.join("b")));
    assert!(told.contains(line), "{told}");
}

#[test]
fn slides_whose_patches_all_lie_at_one_place_are_named() {
    let directory = tempfile::tempdir().unwrap();
    let (source, out) = (directory.path().join("in"), directory.path().join("out"));
    let at_one = lattice(2, 512, 4).with_coords(vec![[512, 0]; 4]).unwrap();
    put(&source, Magnification::X20, "a", &lattice(2, 512, 4), &SlideInfo::default());
    put(&source, Magnification::X20, "b", &at_one, &SlideInfo::default());
    let wanted = json!([{"slide": "b", "magnification": "x20", "n_patches": 4}]);
    let line = "x20: all patches lie at the same place in one slide (b): ";
    assert_eq!(with_json(&inspect(&source)).1["one_place"], wanted);
    assert!(stdout(&inspect(&source)).contains(line));
    assert_eq!(with_json(&convert(&source, "clam", &out.join("a"))).1["one_place"], wanted);
    assert!(stdout(&convert(&source, "clam", &out.join("b"))).contains(line));
}

#[test]
fn slides_without_a_magnification_that_others_have_are_named() {
    use Magnification::{X5, X10, X20};
    let directory = tempfile::tempdir().unwrap();
    let (source, out) = (directory.path().join("in"), directory.path().join("out"));
    for (at, n, names) in [(X5, 1, ["s.svs", "t"]), (X10, 2, ["s", "t"]), (X20, 4, ["s.svs", "t"])] {
        for name in names {
            put(&source, at, name, &lattice(n, 2048 / n, 4), &SlideInfo::default());
        }
    }
    let wanted = json!([
        {"magnification": "x5", "slides": ["s"]},
        {"magnification": "x10", "slides": ["s.svs"]},
        {"magnification": "x20", "slides": ["s"]},
    ]);
    let line = "x10 is missing in one slide (s.svs); where magnifications have files of their own, those of one slide are called alike";
    let (code, listing, _) = with_json(&inspect(&source));
    assert_eq!((code, &listing["lacking"]), (0, &wanted));
    assert!(stdout(&inspect(&source)).contains(line));
    let (code, summary, _) = with_json(&convert(&source, "native", &out));
    assert_eq!((code, &summary["lacking"], &summary["n_written"]), (0, &wanted, &json!(3)));
    let again = stdout(&convert(&source, "native", &out));
    assert!(again.contains("3 there already") && again.contains(line), "{again}");
    let one = with_json(&[&inspect(&source)[..], &["--slide", "t"]].concat()).1;
    assert_eq!(one["lacking"], json!([]));
}

#[test]
fn parents_of_a_magnification_that_is_missing_are_told_of_as_such() {
    use Magnification::{X5, X10, X20};
    let directory = tempfile::tempdir().unwrap();
    let [source, out, other] = ["in", "out", "other"].map(|name| directory.path().join(name));
    put(&source, X5, "a", &lattice(1, 2048, 4), &SlideInfo::default());
    put(&source, X20, "a", &lattice(4, 512, 4), &SlideInfo::default());
    let told = stdout(&convert(&source, "native", &out));
    assert!(told.contains("x20: no parents (x10 is missing, whose patches they would be)\n"), "{told}");
    let listing = with_json(&inspect(&out)).1;
    assert_eq!(listing["slides"][0]["sets"][1]["parents"], Value::Null, "x5 patches are not taken for x10");
    for (at, n) in [(X5, 1), (X10, 2), (X20, 4)] {
        put(&source, at, "b", &lattice(n, 2048 / n, 4), &SlideInfo::default());
    }
    let told = stdout(&convert(&source, "native", &other));
    let wanted = "x20: parents for 16 of 32 patches, 0.0% the nearest for want of one that holds them; x10, whose patches they \
                  would be, is missing for 16\n";
    assert!(told.contains(wanted), "{told}");
}

#[test]
fn features_that_half_precision_makes_zero_are_counted() {
    let directory = tempfile::tempdir().unwrap();
    let [source, out, again] = ["in", "out", "again"].map(|name| directory.path().join(name));
    let features = FeatureMatrix::new(vec![0.0, 1e-9, -1e-9, 1.0], 2, 2).unwrap();
    let patches = PatchSet::new(features).with_coords(vec![[0, 0], [512, 0]]).unwrap();
    put(&source, Magnification::X20, "a", &patches, &SlideInfo::default());
    put(&source, Magnification::X20, "b", &patches, &SlideInfo::default());
    let to_half = [&convert(&source, "native", &out)[..], &["--dtype", "f16"]].concat();
    assert_eq!(with_json(&to_half).1["n_became_zero"], json!(4));
    assert_eq!(with_json(&convert(&out, "safetensors", &again)).1["n_became_zero"], json!(0));
    let told = stdout(&[&to_half[..], &["--overwrite"]].concat());
    let wanted = "warning: 4 features other than 0 are 0 as 16-bit floats; --dtype f32 --overwrite writes them as they are\n";
    assert!(told.contains(wanted), "{told}");
    let told = with_json(&[&convert(&source, "native", &out)[..], &["--overwrite"]].concat()).1;
    assert_eq!(told["n_became_zero"], json!(0));
}
