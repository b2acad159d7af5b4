//! Many slides side by side: what `inspect` and `run` tell of their resolutions, and what `run --dry-run` foretells.

#![allow(clippy::unwrap_used, reason = "a test that panics has failed")]

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use serde_json::{Value, json};
use wsi_bags::{Bag, FeatureMatrix, Magnification, PatchSet, native};
use wsi_slides::render::{Base, RenderOptions, render};

fn program(args: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_wsi-extract")).args(args).output().unwrap()
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).unwrap()
}

/// A slide of two cells of tissue.
fn drawn(path: &Path, base: Base) {
    render(path, &RenderOptions { n_cells: 2, base, ..RenderOptions::default() }).unwrap();
}

/// Writes other bytes, as many, wherever a slide's descriptions state its resolution.
fn restate(path: &Path, from: &str, to: &str) {
    assert_eq!(from.len(), to.len());
    let mut bytes = std::fs::read(path).unwrap();
    let places: Vec<usize> =
        (0..bytes.len() - from.len()).filter(|at| bytes[*at..].starts_with(from.as_bytes())).collect();
    assert!(!places.is_empty());
    for at in places {
        bytes[at..at + to.len()].copy_from_slice(to.as_bytes());
    }
    std::fs::write(path, bytes).unwrap();
}

/// Slides of 20x with 0.5, 0.31 and 0.59 micrometres per pixel, and one of 40x with 0.25.
fn cohort(dir: &Path) -> PathBuf {
    let slides = dir.join("slides");
    std::fs::create_dir(&slides).unwrap();
    for name in ["a.svs", "b.svs", "c.svs"] {
        drawn(&slides.join(name), Base::X20);
    }
    drawn(&slides.join("d.svs"), Base::X40);
    restate(&slides.join("b.svs"), "MPP = 0.5000", "MPP = 0.3100");
    restate(&slides.join("c.svs"), "MPP = 0.5000", "MPP = 0.5900");
    slides
}

/// A slide that states no resolution, and a file that is none.
fn with_faults(slides: &Path) {
    let unknown = slides.join("e.svs");
    drawn(&unknown, Base::X20);
    restate(&unknown, "AppMag = 20|MPP = 0.5000", "AppBag = 20|NPP = 0.5000");
    std::fs::write(slides.join("f.svs"), "not a slide").unwrap();
}

/// Every file below a directory with its bytes.
fn files(dir: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    let mut found = BTreeMap::new();
    for entry in std::fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.extend(files(&path));
        } else {
            found.insert(path.clone(), std::fs::read(&path).unwrap());
        }
    }
    found
}

fn near(found: &Value, wanted: f64) -> bool {
    found.as_f64().is_some_and(|found| (found - wanted).abs() < 1e-9)
}

#[test]
fn inspect_of_many_slides_has_a_row_for_each_and_tells_what_they_do_not_agree_on() {
    let dir = tempfile::tempdir().unwrap();
    let slides = cohort(dir.path());
    let place = slides.to_str().unwrap();
    let output = program(&["inspect", place]);
    assert!(output.status.success(), "{}", text(&output.stderr));
    let table = text(&output.stdout);
    let row: Vec<&str> = table.lines().nth(2).unwrap().split_whitespace().collect();
    assert_eq!(row.join(" "), "b aperio 4096 x 3072 0.3100 20 20x power-and-mpp-agree 317 159 79", "{table}");
    assert_eq!(
        table.lines().last().unwrap(),
        "4 slides: 3 of 20x, 1 of 40x, 2 with warnings; patches at 20x span 79 to 151 µm in these 4 slides: b has 0.31 µm/px (20x), \
         c has 0.59 µm/px (20x); --target-mpp 0.59 cuts patches of one size from all"
    );

    with_faults(&slides);
    // A folder and a file, twice.
    let file = slides.join("a.svs");
    let output = program(&["inspect", place, file.to_str().unwrap(), "--json", "--quiet"]);
    assert_eq!(output.status.code(), Some(3));
    assert_eq!(text(&output.stderr), "error: 2 slides failed\n");
    let rows: Vec<Value> =
        text(&output.stdout).lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(rows.len(), 6);
    // Level-0 pixels of a 20x patch by micrometres per pixel.
    for (row, um) in rows.iter().zip([256.0 * 0.5, 256.0 * 0.31, 256.0 * 0.59, 512.0 * 0.25]) {
        let spans = &row["resolution"]["patch_um"];
        assert!(
            near(&spans["x20"], um) && near(&spans["x10"], 2.0 * um) && near(&spans["x5"], 4.0 * um),
            "{row}"
        );
        assert_eq!(row["fault"], Value::Null);
    }
    assert_eq!((&rows[4]["format"], &rows[4]["resolution"]), (&"aperio".into(), &Value::Null));
    assert!(rows[4]["fault"].as_str().unwrap().contains("no resolution"), "{}", rows[4]);
    assert_eq!((&rows[5]["format"], &rows[5]["levels"]), (&Value::Null, &json!([])));
    assert!(rows[5]["fault"].as_str().unwrap().contains("f.svs: found "), "{}", rows[5]);
    let told = text(&program(&["inspect", place]).stdout);
    let counts = "3 of 20x, 1 of 40x, 1 without a scale (--mpp, --slides-csv), 1 that cannot be read, 2 with warnings;";
    assert!(told.lines().last().unwrap().contains(counts), "{told}");
}

#[test]
fn inspect_takes_resolutions_and_sizes_as_run_does() {
    let dir = tempfile::tempdir().unwrap();
    let slides = cohort(dir.path());
    let table = dir.path().join("trident.csv");
    std::fs::write(&table, "wsi,mpp\nb.svs,0.25\nx.svs,0.5\n").unwrap();
    let b = slides.join("b.svs");
    let [slides, table, b] = [&slides, &table, &b].map(|path| path.to_str().unwrap());
    let output = program(&["inspect", slides, "--slides-csv", table, "--target-mpp", "0.6", "--json"]);
    let stderr = text(&output.stderr);
    assert!(output.status.success(), "{stderr}");
    let rows: Vec<Value> =
        text(&output.stdout).lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(
        (&rows[1]["resolution"]["rule"], &rows[1]["resolution"]["mpp"]),
        (&"given-mpp".into(), &0.25.into())
    );
    // To the next pixel: 256 * 0.6 / 0.25 and so on.
    for (row, (side, mpp)) in rows.iter().zip([(307, 0.5), (614, 0.25), (260, 0.59), (614, 0.25)]) {
        assert_eq!(row["resolution"]["patch_level0"]["x20"], side, "{row}");
        assert!(near(&row["resolution"]["patch_um"]["x20"], f64::from(side) * mpp), "{row}");
        assert_eq!(row["warnings"], json!([]));
    }
    let left = format!("warning: {table}: no slide here is called by 1 of its names: x.svs");
    assert_eq!(stderr.lines().collect::<Vec<_>>(), [left.as_str(), "4 slides: 2 of 20x, 2 of 40x"]);

    // `run` refuses x20 of the slide of 0.59, which has x5 and x10.
    let output = program(&["inspect", slides, "--target-mpp", "0.5", "--json"]);
    assert_eq!(output.status.code(), Some(3));
    let coarse: Value = serde_json::from_str(text(&output.stdout).lines().nth(2).unwrap()).unwrap();
    assert!(
        coarse["fault"].as_str().unwrap().starts_with("x20 at 0.5 µm/px is finer than the slide, 0.59"),
        "{coarse}"
    );
    assert_eq!(coarse["resolution"]["patch_level0"], json!({"x5": 868, "x10": 434}));

    // One slide alone is told of at length.
    let alone = text(&program(&["inspect", b]).stdout);
    assert!(alone.contains("x20 patch      256 level-0 pixels, 79 µm\n"), "{alone}");
    assert!(
        alone.contains("0.31 micrometres per pixel are taken for 20x") && alone.contains("--target-mpp 0.5 ")
    );
    let given = program(&["inspect", b, "--target-mpp", "0.5"]);
    assert!(!text(&given.stdout).contains("warning"), "{}", text(&given.stdout));
    let lattice = program(&["lattice", b, "--preset", "bwh_biopsy"]);
    assert!(text(&lattice.stderr).contains("warning: 0.31 micrometres per pixel are taken for 20x"));
}

#[test]
fn run_tells_of_slides_whose_patches_span_other_sizes() {
    let dir = tempfile::tempdir().unwrap();
    let slides = cohort(dir.path());
    let [bags, other] = ["bags", "other"].map(|name| dir.path().join(name));
    let [slides, bags, other] = [&slides, &bags, &other].map(|path| path.to_str().unwrap());
    let run = |out: &str, more: &[&str]| {
        let args = ["run", slides, "--out", out, "--encoder", "stain-texture", "--preset", "bwh_biopsy"];
        let output = program(&[&args[..], &["--json"], more].concat());
        assert!(output.status.success(), "{}", text(&output.stderr));
        (serde_json::from_slice::<Value>(&output.stdout).unwrap(), text(&output.stderr))
    };
    let summary = "warning: patches at 20x span 79 to 151 µm in these 4 slides: b has 0.31 µm/px (20x), c has 0.59 µm/px (20x); \
                   --target-mpp 0.59 cuts patches of one size from all";
    let (rows, told) = run(bags, &[]);
    assert_eq!(told.lines().last(), Some(summary));
    assert!(near(&rows[1]["patch_um"]["x20"], 79.36) && near(&rows[3]["patch_um"]["x20"], 128.0), "{rows}");
    assert_eq!(rows[3]["mpp"], 0.25);
    let of = |row: usize| rows[row]["warnings"].as_array().unwrap().len();
    assert_eq!([0, 1, 2, 3].map(of), [0, 1, 1, 0]);
    let warning = rows[1]["warnings"][0].as_str().unwrap();
    assert!(warning.starts_with("0.31 micrometres per pixel are taken for 20x"), "{warning}");
    assert!(told.contains(&format!("\n  warning: {warning}\n")), "{told}");
    let table = std::fs::read_to_string(format!("{bags}/status.csv")).unwrap();
    assert!(table.lines().any(|line| line.starts_with("b,done") && line.contains(warning)), "{table}");
    // Slides that are there belong to the cohort, too.
    let (rows, told) = run(bags, &[]);
    assert_eq!((&rows[1]["status"], told.lines().last()), (&"present".into(), Some(summary)));
    assert!(near(&rows[1]["patch_um"]["x20"], 79.36), "{rows}");

    let (rows, told) = run(other, &["--target-mpp", "0.59"]);
    assert!(!told.contains("warning"), "{told}");
    assert_eq!(rows[1]["warnings"], json!([]));
}

#[test]
fn a_dry_run_says_what_run_does_and_writes_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let slides = cohort(dir.path());
    with_faults(&slides);
    let glass = image::RgbImage::from_pixel(600, 600, image::Rgb([240, 240, 240]));
    glass.save(slides.join("glass.png")).unwrap();
    let table = dir.path().join("slides.csv");
    std::fs::write(&table, "slide,mag\nglass.png,20\n").unwrap();
    let out = dir.path().join("bags");
    let [slides, table, out_text] = [&slides, &table, &out].map(|path| path.to_str().unwrap());
    let go = |more: &[&str]| {
        let args = ["run", slides, "--out", out_text, "--encoder", "stain-texture", "--preset", "bwh_biopsy"];
        let output = program(&[&args[..], &["--slides-csv", table, "--json"], more].concat());
        assert_eq!(output.status.code(), Some(3));
        let rows: Vec<Value> = serde_json::from_slice(&output.stdout).unwrap();
        (rows, text(&output.stderr))
    };
    let before = files(dir.path());
    let (foretold, told) = go(&["--dry-run"]);
    assert!(!out.exists() && files(dir.path()) == before);
    let (done, _) = go(&[]);
    let mut n_patches = 0;
    for (said, is) in foretold.iter().zip(&done) {
        for field in ["slide", "reason", "patches"] {
            assert_eq!(said[field], is[field]);
        }
        let has_bag = is["status"] == "done";
        assert_eq!(said["status"], if has_bag { "new" } else { "failed" });
        if has_bag {
            for field in ["magnification", "rule", "mpp", "patch_um", "warnings"] {
                assert_eq!(said[field], is[field]);
            }
            assert!(said["tissue_pieces"].as_u64() > Some(0) && said["tissue_share"].as_f64() > Some(0.05));
            n_patches += said["patches"].as_array().unwrap().iter().filter_map(Value::as_u64).sum::<u64>();
        }
    }
    assert_eq!(foretold.iter().filter(|row| row["status"] == "failed").count(), 3);
    // A slide without tissue has a resolution.
    assert_eq!((&foretold[6]["slide"], &foretold[6]["magnification"]), (&"glass".into(), &20.0.into()));
    let counts = format!("7 slides: 4 new, 3 failed; {n_patches} patches to encode; nothing was written");
    assert!(
        told.contains(&counts) && told.contains("[7/7] glass") && told.contains("warning: b: 0.31"),
        "{told}"
    );
    assert!(told.contains("patches at 20x span 79 to 151 µm in these 4 slides"), "{told}");

    // One bag has features of another encoder alone, one was cut by other settings.
    let joined = out.join("a.h5");
    let bag = native::read(&joined, "stain-texture", &Magnification::ALL).unwrap();
    let sets = bag.sets().map(|(magnification, set)| {
        let coords = set.coords().unwrap().to_vec();
        let features = FeatureMatrix::new(vec![0.5; coords.len()], coords.len(), 1).unwrap();
        let patches = PatchSet::new(features).with_coords(coords).unwrap();
        (magnification, patches.with_geometry(set.geometry()).unwrap())
    });
    let other = Bag::new("a", sets.collect::<Vec<_>>()).unwrap();
    native::write(&joined, &other, "other", &native::slide_info(&joined).unwrap()).unwrap();
    std::fs::write(table, "slide,mag,mpp\nglass.png,20,\nb.svs,,0.25\n").unwrap();
    let before = files(dir.path());
    let (foretold, told) = go(&["--dry-run"]);
    assert_eq!(files(dir.path()), before);
    let statuses: Vec<_> = foretold.iter().map(|row| row["status"].as_str().unwrap()).collect();
    assert_eq!(statuses, ["joins", "failed", "present", "present", "failed", "failed", "failed"]);
    assert!(
        foretold[1]["reason"].as_str().unwrap().contains("the bag was cut at 0.31 um/px"),
        "{}",
        foretold[1]
    );
    for row in [0, 2, 3] {
        assert_eq!(foretold[row]["patches"], done[row]["patches"]);
        assert_eq!(foretold[row]["patch_um"], done[row]["patch_um"]);
    }
    assert_eq!(
        foretold[2]["tissue_pieces"],
        Value::Null,
        "nothing is looked for where nothing is to be done"
    );
    let to_encode: u64 = done[0]["patches"].as_array().unwrap().iter().filter_map(Value::as_u64).sum();
    let counts = format!("7 slides: 1 joins, 2 present, 4 failed; {to_encode} patches to encode;");
    assert!(told.contains(&counts), "{told}");
}
