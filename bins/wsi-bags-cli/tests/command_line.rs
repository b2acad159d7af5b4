//! The program from the outside: results, exit codes, and what it says of bad input.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use serde_json::{Value, json};

fn layouts(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fixtures/reference/layouts").join(name)
}

fn run(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_wsi-bags")).args(arguments).output().unwrap()
}

fn path(path: &Path) -> &str {
    path.to_str().unwrap()
}

fn results(arguments: &[&str]) -> Value {
    let output = run(arguments);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    assert!(output.stderr.is_empty(), "no bar without a terminal");
    serde_json::from_slice(&output.stdout).unwrap()
}

/// The message of a run that must fail with this code.
fn error(arguments: &[&str], code: i32) -> String {
    let output = run(arguments);
    let text = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(code), "{text}");
    text
}

#[test]
fn a_trident_job_becomes_native_bags_with_parents() {
    let out = tempfile::tempdir().unwrap();
    let source = layouts("trident");
    let convert = |more: &[&str]| {
        let common = [
            "convert",
            "--features",
            path(&source),
            "--backbone",
            "uni_v1",
            "--to",
            "native",
            "--out",
            path(out.path()),
        ];
        results(&[&common, more].concat())
    };
    let first = convert(&["--json"]);
    assert_eq!((&first["n_written"], &first["n_left_alone"]), (&json!(2), &json!(0)));
    assert_eq!(
        first["parents"],
        json!([
            {"magnification": "x10", "n_patches": 8, "n_with_parents": 8, "n_fallbacks": 0},
            {"magnification": "x20", "n_patches": 18, "n_with_parents": 18, "n_fallbacks": 0},
        ])
    );
    let again = convert(&["--json"]);
    assert_eq!((&again["n_written"], &again["n_left_alone"]), (&json!(0), &json!(2)));
    let inspect = || results(&["inspect", "--features", path(out.path()), "--backbone", "uni_v1", "--json"]);
    assert_eq!(inspect()["slides"][1]["sets"][2]["element_type"], "float16", "as the source has it");
    assert_eq!(convert(&["--json", "--overwrite", "--dtype", "f32"])["n_written"], json!(2));

    let listing = inspect();
    assert_eq!((&listing["layout"], &listing["slides"].as_array().unwrap().len()), (&json!("native"), &2));
    let x20 = &listing["slides"][1]["sets"][2];
    let wanted = json!({
        "magnification": "x20", "path": path(&out.path().join("slide-2.h5")), "n_patches": 9, "dim": 4,
        "element_type": "float32", "row_order": "row-major", "has_coords": true, "patch_size_level0": 512,
        "mpp": null, "parents": {"stored": true, "n_fallbacks": 0}, "tool": "trident", "tool_version": null,
        "encoder": "uni_v1",
    });
    assert_eq!(x20, &wanted);
}

#[test]
fn a_second_encoder_is_added_and_overwriting_does_not_lose_it() {
    let out = tempfile::tempdir().unwrap();
    let source = layouts("trident");
    let convert = |backbone: &'static str, more: &[&'static str]| {
        let common = ["convert", "--features", path(&source), "--to", "native", "--out", path(out.path())];
        let encoder = ["--backbone", backbone];
        [&common[..], &encoder, more].concat().into_iter().map(str::to_owned).collect::<Vec<_>>()
    };
    let run_all = |arguments: Vec<String>| {
        results(&arguments.iter().map(String::as_str).chain(["--json"]).collect::<Vec<_>>())
    };
    let counts = |found: &Value| ["n_written", "n_added", "n_left_alone"].map(|key| found[key].clone());
    let first = run_all(convert("uni_v1", &[]));
    assert_eq!(counts(&first), [json!(2), json!(0), json!(0)]);
    let second = run_all(convert("conch_v1", &[]));
    assert_eq!(counts(&second), [json!(2), json!(2), json!(0)]);
    assert_eq!(second["parents"][0]["n_patches"], json!(0), "parents were there before");
    let third = run_all(convert("conch_v1", &[]));
    assert_eq!(counts(&third), [json!(0), json!(0), json!(2)]);
    for (encoder, dim) in [("uni_v1", 4), ("conch_v1", 3)] {
        let listing = results(&["inspect", "--features", path(out.path()), "--backbone", encoder, "--json"]);
        let sets = listing["slides"][0]["sets"].as_array().unwrap();
        assert_eq!(sets.iter().map(|set| set["dim"].clone()).collect::<Vec<_>>(), vec![json!(dim); 3]);
        assert_eq!(sets[2]["parents"], json!({"stored": true, "n_fallbacks": 0}), "{encoder}");
    }
    let again = convert("uni_v1", &["--overwrite"]);
    let text = error(&again.iter().map(String::as_str).collect::<Vec<_>>(), 3);
    assert!(text.contains("x5 features of `conch_v1`, which would be lost"), "{text}");
}

#[test]
fn the_tables_say_what_the_json_says() {
    let out = tempfile::tempdir().unwrap();
    let source = layouts("clam");
    let output = run(&[
        "convert",
        "--features",
        path(&source),
        "--backbone",
        "uni",
        "--to",
        "safetensors",
        "--out",
        path(out.path()),
        "--slide",
        "slide-2.svs",
    ]);
    assert!(output.status.success());
    assert_eq!(
        String::from_utf8(output.stdout).unwrap(),
        format!(
            "1 slides written to {} (safetensors)\n\
             x10: parents for 4 of 4 patches, 0.0% the nearest for want of one that holds them\n\
             x20: parents for 9 of 9 patches, 0.0% the nearest for want of one that holds them\n",
            out.path().display()
        )
    );
    let output = run(&["inspect", "--features", path(out.path()), "--backbone", "uni"]);
    assert_eq!(
        String::from_utf8(output.stdout).unwrap(),
        "safetensors, uni: 1 slides\n\
         slide    scale  patches  width  type     rows       side  fallbacks  made by\n\
         slide-2  x5     2        4      float32  row-major  -     -          uni\n\
         slide-2  x10    4        4      float32  file       -     0.0%       uni\n\
         slide-2  x20    9        4      float32  file       -     0.0%       uni\n"
    );
}

#[test]
fn roots_and_resolutions_are_options() {
    let roots: Vec<String> =
        ["x5", "x20"].map(|at| format!("{at}={}", path(&layouts("stamp").join(at)))).to_vec();
    let common = ["inspect", "--root", &roots[0], "--root", &roots[1], "--backbone", "uni2", "--json"];
    let listing = results(&common);
    assert_eq!(listing["layout"], Value::Null);
    assert_eq!(listing["slides"][0]["sets"][1]["has_coords"], json!(false));
    let listing = results(&[&common[..], &["--slide-mpp", "0.25"]].concat());
    assert_eq!(listing["slides"][0]["sets"][1]["patch_size_level0"], json!(512));
}

#[test]
fn slides_that_cannot_be_used_are_listed_and_fail_the_run() {
    let source = layouts("clam_broken");
    let output = run(&["inspect", "--features", path(&source), "--backbone", "uni", "--json"]);
    assert_eq!(output.status.code(), Some(3));
    let listing: Value = serde_json::from_slice(&output.stdout).unwrap();
    let faults = |slide: &str| {
        let slides = listing["slides"].as_array().unwrap();
        slides.iter().find(|found| found["slide"] == slide).unwrap()["faults"].as_array().unwrap().clone()
    };
    assert!(faults("rows")[0].as_str().unwrap().contains("coords has 8 rows, expected 9"));
    assert!(faults("empty")[0].as_str().unwrap().contains("no patches"));
    assert!(faults("none").is_empty());
    assert_eq!(String::from_utf8(output.stderr).unwrap(), "error: 4 slides cannot be used\n");
}

#[test]
fn errors_have_their_code_and_a_way_out() {
    let out = tempfile::tempdir().unwrap();
    let out = path(out.path());
    let stamp = layouts("stamp");
    let convert = |source: &Path, backbone: &str, to: &str, code: i32| {
        error(
            &["convert", "--features", path(source), "--backbone", backbone, "--to", to, "--out", out],
            code,
        )
    };
    assert!(convert(&stamp, "uni2", "native", 3).contains("hint: STAMP's coordinates need --slide-mpp X"));
    assert!(convert(&stamp, "uni2", "trident", 2).contains("expected one of native, clam"));
    assert!(convert(&stamp, "uni2", "stmap", 2).contains("unknown layout `stmap`"));
    assert!(convert(&layouts("nowhere"), "uni", "native", 3).contains("hint: --layout names the layout"));
    assert!(
        convert(&layouts("mmp_two"), "uni", "native", 3)
            .contains("hint: give --backbone in full, or one --root")
    );
    let widths = convert(&layouts("clam_widths"), "uni", "clam", 3);
    assert!(widths.contains("number of columns of ") && widths.contains("is 3, but 4 in"), "{widths}");
    error(&["inspect", "--backbone", "uni"], 2);
    error(&["inspect", "--root", "x40=a", "--backbone", "uni"], 2);
    error(&["inspect", "--features", "a", "--backbone", "uni", "--slide-mpp", "0"], 2);
}

#[test]
fn help_has_an_example_for_every_command() {
    for command in ["convert", "inspect"] {
        let output = run(&[command, "--help"]);
        let text = String::from_utf8(output.stdout).unwrap();
        assert!(text.contains(&format!("  wsi-bags {command} --")), "{text}");
    }
}
