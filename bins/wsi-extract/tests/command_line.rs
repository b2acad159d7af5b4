//! The program as a user meets it: output, files, exit codes.

#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "a test that panics has failed")]

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use serde_json::Value;
use wsi_bags::{Bag, FeatureMatrix, Magnification, PatchSet, native};
use wsi_slides::render::{RenderOptions, render};

fn program(args: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_wsi-extract")).args(args).output().unwrap()
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).unwrap()
}

fn json(output: &Output) -> Value {
    assert!(output.status.success(), "{}", text(&output.stderr));
    serde_json::from_slice(&output.stdout).unwrap()
}

/// A rendered slide of two cells at 20x.
fn slide(dir: &Path) -> PathBuf {
    let path = dir.join("slide-1.svs");
    render(&path, &RenderOptions { n_cells: 2, ..RenderOptions::default() }).unwrap();
    path
}

#[test]
fn inspect_tells_the_magnification_and_the_rule() {
    let dir = tempfile::tempdir().unwrap();
    let path = slide(dir.path());
    let path = path.to_str().unwrap();
    let found = json(&program(&["inspect", path, "--json"]));
    assert_eq!(found["format"], "aperio");
    assert_eq!(found["resolution"]["magnification"], 20.0);
    assert_eq!(found["resolution"]["rule"], "power-and-mpp-agree");
    assert_eq!(found["resolution"]["patch_level0"], serde_json::json!({"x5": 1024, "x10": 512, "x20": 256}));
    assert_eq!(found["levels"][1]["downsample"], 4.0);
    let printed = text(&program(&["inspect", path, "--json"]).stdout);
    assert!(printed.contains(r#""patch_level0":{"x5":1024,"x10":512,"x20":256}"#), "{printed}");

    let given = json(&program(&["inspect", path, "--mpp", "0.25", "--json"]));
    assert_eq!(given["resolution"]["magnification"], 40.0);
    assert_eq!(given["resolution"]["rule"], "given-mpp");

    let table = text(&program(&["inspect", path]).stdout);
    assert!(table.contains("20x, by the rule power-and-mpp-agree"), "{table}");
    let places = ["x5 patch", "x10 patch", "x20 patch"].map(|label| table.find(label).unwrap());
    assert!(places.is_sorted(), "{table}");
}

#[test]
fn inspect_warns_of_what_is_not_as_stated() {
    let dir = tempfile::tempdir().unwrap();
    let path = slide(dir.path());
    // The first tag of the first directory becomes one that points to directories, at byte 0.
    let mut bytes = std::fs::read(&path).unwrap();
    let directory = u32::from_le_bytes(bytes[4..8].try_into().unwrap()) as usize;
    assert_eq!(bytes[directory + 2..][..2], 254u16.to_le_bytes());
    bytes[directory + 2..][..2].copy_from_slice(&330u16.to_le_bytes());
    std::fs::write(&path, bytes).unwrap();
    let path = path.to_str().unwrap();
    let found = json(&program(&["inspect", path, "--magnification", "40", "--json"]));
    assert_eq!(found["resolution"]["mpp"], Value::Null, "the slide's own is that of 20x");
    let warnings: Vec<&str> =
        found["warnings"].as_array().unwrap().iter().map(|text| text.as_str().unwrap()).collect();
    assert!(warnings[0].contains("0.5 micrometres per pixel stand for 20x"), "{warnings:?}");
    assert!(warnings[1].contains("levels may be missing: directory 0 below directory 0"), "{warnings:?}");
    let table = text(&program(&["inspect", path]).stdout);
    assert!(table.contains("levels may be missing"), "{table}");

    // Nothing physical is measured by a number that was overruled.
    let physical = program(&["lattice", path, "--magnification", "40", "--target-mpp", "0.5"]);
    assert_eq!(physical.status.code(), Some(3));
    let message = text(&physical.stderr);
    assert!(message.contains("no micrometres per pixel, which a physical size needs"), "{message}");
}

#[test]
fn lattices_are_lists_with_one_entry_per_magnification() {
    let dir = tempfile::tempdir().unwrap();
    let path = slide(dir.path());
    let path = path.to_str().unwrap();
    let found = json(&program(&["lattice", path, "--preset", "bwh_biopsy", "--json"]));
    let scales = found.as_array().unwrap();
    assert_eq!(scales.len(), 3);
    assert_eq!(scales[0]["magnification"], "x5");
    assert_eq!(scales[0]["patch_level0"], 1024);
    assert_eq!(scales[0]["coords"].as_array().unwrap().len(), 2);

    let args =
        ["lattice", path, "--lattice", "clam", "--preset", "bwh_biopsy", "--patch-level0", "256", "--json"];
    let found = json(&program(&args));
    assert_eq!(found.as_array().unwrap().len(), 1);
    assert_eq!(found[0]["magnification"], Value::Null);
    assert_eq!(found[0]["patch_level0"], 256);
    let first = &found[0]["coords"][0];
    assert!(first[0].is_i64() && first[1].is_i64());

    let two = json(&program(&["lattice", path, "--magnifications", "x10,x5", "--json"]));
    assert_eq!(two.as_array().unwrap().len(), 2);
}

#[test]
fn tissue_writes_pictures_and_contours_and_goes_on_after_a_bad_slide() {
    let dir = tempfile::tempdir().unwrap();
    let good = slide(dir.path());
    let bad = dir.path().join("paper.svs");
    std::fs::write(&bad, "%PDF-1.7").unwrap();
    let out = dir.path().join("tissue");
    let [good, bad, out_text] = [&good, &bad, &out].map(|path| path.to_str().unwrap());
    let args = ["tissue", bad, good, "--out", out_text, "--preset", "bwh_biopsy", "--json"];
    let output = program(&args);
    assert_eq!(output.status.code(), Some(3));
    let rows: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(rows[0]["status"], "failed");
    assert!(rows[0]["fault"].as_str().unwrap().contains("found a PDF"));
    assert_eq!(rows[1]["status"], "done");
    assert!(rows[1]["tissue_share"].as_f64().unwrap() > 0.05);
    for (folder, file) in [("masks", "slide-1.png"), ("thumbnails", "slide-1.png")] {
        assert!(image::open(out.join(folder).join(file)).is_ok());
    }
    let geojson = std::fs::read_to_string(out.join("geojson/slide-1.geojson")).unwrap();
    let geojson: Value = serde_json::from_str(&geojson).unwrap();
    let n_contours = rows[1]["contours"].as_u64().unwrap() as usize;
    assert_eq!(geojson["features"].as_array().unwrap().len(), n_contours);
    assert_eq!(std::fs::read_dir(out.join("masks")).unwrap().count(), 1, "nothing is left beside it");
}

#[test]
fn tissue_takes_directories_and_tells_of_slides_without_any() {
    let dir = tempfile::tempdir().unwrap();
    let slides = dir.path().join("slides");
    std::fs::create_dir(&slides).unwrap();
    slide(&slides);
    let glass = image::RgbImage::from_pixel(600, 600, image::Rgb([240, 240, 240]));
    glass.save(slides.join("glass.png")).unwrap();
    let out = dir.path().join("tissue");
    let [slides, out] = [&slides, &out].map(|path| path.to_str().unwrap());
    let output = program(&["tissue", slides, "--out", out, "--preset", "bwh_biopsy", "--json"]);
    let rows = json(&output);
    assert_eq!((&rows[0]["contours"], &rows[1]["status"]), (&0.into(), &"done".into()));
    let told = text(&output.stderr);
    assert_eq!(told.lines().count(), 1, "of the one without tissue: {told}");
    assert!(
        told.starts_with("warning: ")
            && told.contains("glass.png: no tissue was found: nothing is coloured as tissue is\n"),
        "{told}"
    );
}

#[test]
fn impossible_resolutions_are_faults_of_usage() {
    for (option, values) in
        [("--mpp", ["0", "-1", "nan", "250"]), ("--magnification", ["0", "400", "inf", "100.5"])]
    {
        for value in values {
            let output = program(&["inspect", "slide.svs", &format!("{option}={value}")]);
            assert_eq!(output.status.code(), Some(2), "{option} {value}");
            let told = text(&output.stderr);
            assert!(told.contains("expected a number from"), "{told}");
        }
    }
    assert_eq!(program(&["inspect", "slide.svs", "--magnification", "100"]).status.code(), Some(3));
}

#[test]
fn errors_name_the_file_and_the_way_out() {
    let dir = tempfile::tempdir().unwrap();
    let scan = dir.path().join("scan.png");
    image::RgbImage::from_pixel(64, 64, image::Rgb([200, 90, 150])).save(&scan).unwrap();
    let scan = scan.to_str().unwrap();
    let output = program(&["lattice", scan]);
    assert_eq!(output.status.code(), Some(3));
    let message = text(&output.stderr);
    assert!(message.contains("scan.png: no resolution") && message.contains("--mpp X"), "{message}");
    assert!(program(&["lattice", scan, "--mpp", "0.5", "--json"]).status.success());

    // The first directory lies at byte 10000, as in a copy that broke off.
    let broken = dir.path().join("broken.svs");
    std::fs::write(&broken, b"II*\0\x10\x27\0\0").unwrap();
    let output = program(&["inspect", broken.to_str().unwrap()]);
    assert_eq!(output.status.code(), Some(3));
    let message = text(&output.stderr);
    assert!(
        message
            .contains("the file ends at byte 8, before the end of directory 0, which starts at byte 10000")
            && message.contains("hint: the copy is incomplete: copy or download the slide again"),
        "{message}"
    );

    let low = program(&["lattice", scan, "--magnification", "10"]);
    assert_eq!(low.status.code(), Some(3));
    let message = text(&low.stderr);
    assert!(message.contains("x20 is above the slide's own magnification, 10x"), "{message}");
    assert!(message.contains("--magnifications"), "{message}");

    let absurd = program(&["lattice", scan, "--mpp", "28.97"]);
    assert_eq!(absurd.status.code(), Some(2));
    assert!(text(&absurd.stderr).contains("expected a number from 0.05 to 4"), "{}", text(&absurd.stderr));
    assert_eq!(program(&["lattice", scan, "--preset", "none"]).status.code(), Some(2));
}

#[test]
fn render_draws_what_the_plan_says_and_writes_what_was_planted() {
    let dir = tempfile::tempdir().unwrap();
    let plan = dir.path().join("slides.csv");
    let rows = "slide_id,seed,cells,kind,z,z5,z10,z20\n\
                a.svs,18446744073709551615,4,additive,0,2,0,-2\nb.svs,7,4,interaction,2,0,0,0\n";
    std::fs::write(&plan, rows).unwrap();
    let [plan, one, two] =
        [plan, dir.path().join("one"), dir.path().join("two")].map(|path| path.to_str().unwrap().to_owned());
    for out in [&one, &two] {
        let output = program(&["render", &plan, "--out", out, "--base", "40"]);
        assert!(output.status.success(), "{}", text(&output.stderr));
    }
    let planted = std::fs::read_to_string(format!("{one}/planted.csv")).unwrap();
    let rows: Vec<Vec<&str>> = planted.lines().map(|line| line.split(',').collect()).collect();
    assert_eq!(rows[0], ["slide_id", "glands", "vacuoles", "large_nuclei", "contrast"]);
    let share = |row: usize, column: usize| rows[row][column].parse::<f64>().unwrap();
    // 0.5 + 0.35 tanh(2) of four cells, half of sixteen quarters, 0.5 - 0.35 tanh(2) of 64 sixteenths.
    assert_eq!([share(1, 1), share(1, 2), share(1, 3)], [0.75, 0.5, 10.0 / 64.0]);
    assert_eq!([share(2, 1), share(2, 3), share(2, 4)], [0.5, 0.5, 0.4375]);
    for slide in ["a", "b"] {
        let truth = std::fs::read_to_string(format!("{one}/truth/{slide}.csv")).unwrap();
        assert_eq!(truth.lines().count(), 1 + 4 * 21);
        let inspected = json(&program(&["inspect", &format!("{one}/slides/{slide}.svs"), "--json"]));
        assert_eq!(inspected["resolution"]["magnification"], 40.0, "{inspected}");
        for file in [format!("slides/{slide}.svs"), format!("truth/{slide}.csv")] {
            let [a, b] = [&one, &two].map(|out| std::fs::read(format!("{out}/{file}")).unwrap());
            assert!(a == b, "{file} differs");
        }
    }

    std::fs::write(&plan, "slide_id,seed,cells,kind,z,z5,z10,z20\na,1,0,interaction,0,0,0,0\n").unwrap();
    let none = program(&["render", &plan, "--out", &two]);
    assert_eq!(none.status.code(), Some(3));
    let told = text(&none.stderr);
    assert!(told.contains("column `cells`: found `0`, expected a whole number, at least 1"), "{told}");
}

#[test]
fn encode_takes_the_patches_of_the_bag_whatever_laid_them() {
    let dir = tempfile::tempdir().unwrap();
    let path = slide(dir.path());
    let out = dir.path().join("bags");
    let [path, out_text] = [&path, &out].map(|path| path.to_str().unwrap());
    let missing = program(&["encode", path, "--out", out_text, "--encoder", "stain-texture"]);
    assert_eq!(missing.status.code(), Some(3), "there is no directory, hence no table either");
    let told = text(&missing.stderr);
    assert!(told.contains("bags: there is no such directory; `wsi-extract run` makes bags"), "{told}");

    let run = ["run", path, "--out", out_text, "--encoder", "stain-texture", "--preset", "bwh_biopsy"];
    assert!(program(&run).status.success());
    let file = out.join("slide-1.h5");
    let wanted = native::read(&file, "stain-texture", &Magnification::ALL).unwrap();
    // A bag of another tool: every second patch, in its own order, with features of its own.
    let sets = wanted.sets().map(|(magnification, set)| {
        let coords: Vec<[i64; 2]> = set.coords().unwrap().iter().rev().step_by(2).copied().collect();
        let features = FeatureMatrix::new(vec![0.5; coords.len()], coords.len(), 1).unwrap();
        let patches = PatchSet::new(features).with_coords(coords).unwrap();
        (magnification, patches.with_geometry(set.geometry()).unwrap())
    });
    let other = Bag::new("slide-1", sets.collect::<Vec<_>>()).unwrap();
    native::write(&file, &other, "other", &native::slide_info(&file).unwrap()).unwrap();

    let encode = ["encode", path, "--out", out_text, "--encoder", "stain-texture", "--json"];
    let rows = json(&program(&encode));
    assert_eq!((&rows[0]["status"], &rows[0]["rule"]), (&"done".into(), &"patches of the bag".into()));
    assert_eq!(native::encoders(&file).unwrap(), ["other", "stain-texture"]);
    let found = native::read(&file, "stain-texture", &Magnification::ALL).unwrap();
    for (magnification, set) in found.sets() {
        let all = wanted.at(magnification).unwrap();
        assert_eq!(set.coords(), other.at(magnification).unwrap().coords());
        for (row, corner) in set.coords().unwrap().iter().enumerate() {
            let place = all.coords().unwrap().iter().position(|other| other == corner).unwrap();
            assert_eq!(set.features().row(row).unwrap(), all.features().row(place).unwrap());
        }
    }
    assert_eq!(json(&program(&encode))[0]["status"], "present");

    // The slide of that name is another one now.
    render(Path::new(path), &RenderOptions { n_cells: 5, seed: 3, ..RenderOptions::default() }).unwrap();
    native::write(&file, &other, "other", &native::slide_info(&file).unwrap()).unwrap();
    let output = program(&encode);
    assert_eq!(output.status.code(), Some(3));
    let rows: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert!(rows[0]["reason"].as_str().unwrap().contains("the bag of another slide"), "{rows}");
}

#[test]
fn a_log_for_programs_is_json_line_by_line() {
    let dir = tempfile::tempdir().unwrap();
    slide(dir.path());
    std::fs::write(dir.path().join("broken.svs"), "not a slide").unwrap();
    let [slides, out] = [dir.path().to_owned(), dir.path().join("bags")];
    let [slides, out] = [&slides, &out].map(|path| path.to_str().unwrap());
    let run = ["run", slides, "--out", out, "--encoder", "stain-texture", "--preset", "bwh_biopsy"];
    let output = program(&[&run[..], &["--log-format", "json"]].concat());
    assert_eq!(output.status.code(), Some(3));
    let lines: Vec<Value> =
        text(&output.stderr).lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let said = |message: &str| {
        lines.iter().map(|line| &line["fields"]).find(|fields| fields["message"] == message).unwrap()
    };
    assert_eq!((&said("done")["slide"], &said("done")["x20"]), (&"slide-1".into(), &32.into()));
    assert_eq!(said("failed")["slide"], "broken");
    assert!(said("failed")["reason"].as_str().unwrap().contains("broken.svs"));
    let last = lines.last().unwrap();
    assert_eq!((&last["level"], &last["fields"]["exit_code"]), (&"ERROR".into(), &3.into()));
}

#[test]
fn warnings_are_warnings_for_programs_too() {
    let dir = tempfile::tempdir().unwrap();
    let path = slide(dir.path());
    let [table, out] = [dir.path().join("slides.csv"), dir.path().join("bags")];
    std::fs::write(&table, "slide,mpp\nslide-1,0.5\nslide-2,0.25\n").unwrap();
    let [path, table, out] = [&path, &table, &out].map(|path| path.to_str().unwrap());
    let level_of = |args: &[&str], message: &str| {
        let output = program(&[args, &["--log-format", "json"]].concat());
        assert!(output.status.success(), "{}", text(&output.stderr));
        let stderr = text(&output.stderr);
        let mut lines = stderr.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
        let said =
            lines.find(|line| line["fields"]["message"].as_str().is_some_and(|said| said.contains(message)));
        said.expect(message)["level"].clone()
    };
    let run = ["run", path, "--out", out, "--encoder", "stain-texture", "--preset", "bwh_biopsy"];
    let message = "no slide here is called by 1 of its names: slide-2";
    assert_eq!(level_of(&[&run[..], &["--slides-csv", table]].concat(), message), "WARN");
    // A task with one slide that needs no correction.
    std::fs::write(table, "slide,mpp\nslide-2,0.25\n").unwrap();
    assert_eq!(level_of(&[&run[..], &["--slides-csv", table]].concat(), message), "WARN");
    let lattice = ["lattice", path, "--magnification", "40", "--json"];
    assert_eq!(level_of(&lattice, "micrometres per pixel stand for 20x"), "WARN");
}

#[test]
fn help_has_an_example_for_every_command() {
    let tissue = text(&program(&["tissue", "--help"]).stdout);
    assert!(!tissue.contains("lattice"), "an option that it does not have: {tissue}");
    for command in ["inspect", "lattice", "tissue", "run", "encode", "render"] {
        let help = text(&program(&[command, "--help"]).stdout);
        assert!(help.contains(&format!("wsi-extract {command} ")), "{help}");
    }
}
