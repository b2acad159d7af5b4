//! What is said of tissue and ink: `tissue`, `lattice` and `run` as a user meets them.

#![allow(clippy::unwrap_used, reason = "a test that panics has failed")]

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use image::{Rgb, RgbImage};
use serde_json::Value;

const BLOOD: [u8; 3] = [200, 60, 70];
const TISSUE: [u8; 3] = [150, 80, 160];

fn program(args: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_wsi-extract")).args(args).output().unwrap()
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).unwrap()
}

/// An image of 2048 by 1024 pixels: tissue of `n_columns` by 768 pixels, and as tall a pool of blood of 512 beside it.
fn scan(dir: &Path, n_columns: u32) -> PathBuf {
    let path = dir.join("scan.png");
    let colour = |x, y| match (x, y) {
        (128.., 128..896) if x < 128 + n_columns => TISSUE,
        (1400..1912, 128..896) => BLOOD,
        _ => [243, 243, 243],
    };
    RgbImage::from_fn(2048, 1024, |x, y| Rgb(colour(x, y))).save(&path).unwrap();
    path
}

fn scales(output: &Output) -> Vec<usize> {
    assert!(output.status.success(), "{}", text(&output.stderr));
    let rows: Value = serde_json::from_slice(&output.stdout).unwrap();
    rows.as_array().unwrap().iter().map(|row| row["coords"].as_array().unwrap().len()).collect()
}

#[test]
fn tissue_that_was_taken_for_ink_is_told_wherever_it_is_looked_for() {
    let dir = tempfile::tempdir().unwrap();
    let slide = scan(dir.path(), 1024);
    let [masks, bags] = ["masks", "bags"].map(|name| dir.path().join(name));
    let [slide, masks, bags] = [&slide, &masks, &bags].map(|path| path.to_str().unwrap());
    let warning =
        "33 % of what would be tissue was taken for ink of pens and left out; --pen-marks keep leaves it in";
    let lattice = ["lattice", slide, "--mpp", "0.5", "--preset", "bwh_biopsy", "--json"];
    let tissue = ["tissue", slide, "--out", masks, "--preset", "bwh_biopsy", "--json"];
    let run =
        ["run", slide, "--out", bags, "--encoder", "stain-texture", "--mpp", "0.5", "--preset", "bwh_biopsy"];
    for args in [&lattice[..], &tissue, &run] {
        let told = text(&program(args).stderr);
        assert!(told.contains("warning: ") && told.contains(warning), "{args:?}: {told}");
        let kept = text(&program(&[args, &["--pen-marks", "keep"]].concat()).stderr);
        assert!(!kept.contains("taken for ink"), "{kept}");
    }
    let table = std::fs::read_to_string(Path::new(bags).join("status.csv")).unwrap();
    assert!(table.contains(warning), "{table}");
    let clam = program(&[&lattice[..], &["--lattice", "clam"]].concat());
    assert!(clam.stderr.is_empty(), "CLAM's grid keeps ink: {}", text(&clam.stderr));
}

#[test]
fn where_ink_took_all_of_the_tissue_the_message_names_it() {
    let dir = tempfile::tempdir().unwrap();
    let slide = scan(dir.path(), 0);
    let [masks, bags] = ["masks", "bags"].map(|name| dir.path().join(name));
    let [slide, masks, bags] = [&slide, &masks, &bags].map(|path| path.to_str().unwrap());
    for preset in ["tcga", "bwh_biopsy"] {
        for args in [
            &["lattice", slide, "--mpp", "0.5"][..],
            &["tissue", slide, "--out", masks],
            &["run", slide, "--out", bags, "--encoder", "stain-texture", "--mpp", "0.5"],
        ] {
            let told = text(&program(&[args, &["--preset", preset]].concat()).stderr);
            let ink =
                "100 % of what would be tissue was taken for ink of pens and left out; --pen-marks keep";
            assert!(told.contains("no tissue") && told.contains(ink), "{args:?}: {told}");
            assert!(!told.contains("--preset"), "no preset helps: {told}");
        }
    }
}

#[test]
fn pieces_that_no_patch_lies_on_are_told_of() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("scan.png");
    // A piece that lies between the points at which patches of 1024 pixels are tested: 256 and 768.
    let colour = |x, y| if (300..700).contains(&x) && (300..1000).contains(&y) { TISSUE } else { [243; 3] };
    RgbImage::from_fn(1100, 1100, |x, y| Rgb(colour(x, y))).save(&path).unwrap();
    let path = path.to_str().unwrap();
    let args = ["lattice", path, "--preset", "bwh_biopsy", "--json"];
    let none = program(&[&args[..], &["--patch-level0", "1024"]].concat());
    assert_eq!(scales(&none), [0]);
    let told = text(&none.stderr);
    let wanted = "warning: no patch of 1024 level-0 pixels lies on the one piece of tissue that was found";
    assert!(told.contains(wanted), "{told}");
    let some = program(&[&args[..], &["--patch-level0", "256"]].concat());
    assert!(scales(&some)[0] > 0 && some.stderr.is_empty(), "{}", text(&some.stderr));
}

#[test]
fn the_finest_magnification_asked_for_decides_which_coarse_patches_are_cut() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("scan.png");
    let colour = |x, y| if (300..700).contains(&x) && (300..1000).contains(&y) { TISSUE } else { [243; 3] };
    RgbImage::from_fn(1100, 1100, |x, y| Rgb(colour(x, y))).save(&path).unwrap();
    let args = ["lattice", path.to_str().unwrap(), "--mpp", "0.5", "--preset", "bwh_biopsy", "--json"];
    let of = |list: &str| scales(&program(&[&args[..], &["--magnifications", list]].concat()));
    assert_eq!((of("x5"), of("x5,x10,x20")[0]), (vec![0], 1));
}

#[test]
fn a_quiet_program_says_why_a_slide_failed_and_measures_nothing_of_it() {
    let dir = tempfile::tempdir().unwrap();
    let bad = dir.path().join("paper.svs");
    std::fs::write(&bad, "%PDF-1.7").unwrap();
    let [bad, out] = [bad, dir.path().join("out")].map(|path| path.to_str().unwrap().to_owned());
    let args = ["tissue", &bad, "--out", &out, "--json", "--quiet"];
    let output = program(&args);
    assert_eq!(output.status.code(), Some(3));
    let told = text(&output.stderr);
    assert!(told.starts_with(&format!("error: slide {bad}: found a PDF")), "{told}");
    let rows: Value = serde_json::from_slice(&output.stdout).unwrap();
    for key in ["contours", "holes", "tissue_share", "pen_pixels"] {
        assert_eq!(rows[0].get(key), Some(&Value::Null), "{key}: {rows}");
    }
    let output = program(&[&args[..], &["--log-format", "json"]].concat());
    let first: Value = serde_json::from_str(text(&output.stderr).lines().next().unwrap()).unwrap();
    assert_eq!(
        (&first["level"], &first["fields"]["slide"]),
        (&"ERROR".into(), &bad.clone().into()),
        "{first}"
    );
    assert!(first["fields"]["message"].as_str().unwrap().contains("found a PDF"), "{first}");
}
