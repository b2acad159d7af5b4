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
    let counts = |found: &Value| [found["n_left_alone"].clone(), found["n_other_dtype"].clone()];
    assert_eq!(counts(&convert(&["--json", "--dtype", "f16"])), [json!(2), json!(0)]);
    assert_eq!(counts(&convert(&["--json", "--dtype", "f32"])), [json!(2), json!(2)]);
    let told = run(&to_native(&source, out.path(), &["--dtype", "f32"]));
    let told = String::from_utf8(told.stdout).unwrap();
    assert!(told.contains("2 there already (2 in another float type; --overwrite writes them"), "{told}");
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
    let nowhere = convert(&layouts("nowhere"), "uni", "native", 3);
    assert!(nowhere.contains("nowhere: there is no such directory"), "{nowhere}");
    assert!(convert(&layouts("clam/x5"), "conch", "native", 3).contains("hint: --layout names the layout"));
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
fn a_directory_that_cannot_be_written_is_refused_once_and_not_slide_by_slide() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("file");
    std::fs::write(&file, "").unwrap();
    for to in ["native", "clam", "crossfusion", "safetensors"] {
        let (source, out) = (layouts("trident"), file.join("bags"));
        let text = error(
            &[
                "convert",
                "--features",
                path(&source),
                "--backbone",
                "uni_v1",
                "--to",
                to,
                "--out",
                path(&out),
            ],
            3,
        );
        assert_eq!(text.matches("error: ").count(), 1, "{text}");
        assert!(
            text.contains("file/bags: cannot make the directory") && text.contains("hint: give a dir"),
            "{text}"
        );
    }
}

#[test]
fn a_slide_or_encoder_that_is_not_there_is_told_with_what_is() {
    let out = tempfile::tempdir().unwrap();
    let source = layouts("trident");
    assert!(run(&to_native(&source, out.path(), &[])).status.success());
    let file = out.path().join("slide-2.h5");
    let wanted = format!("{}: no features of encoder `uni`; found `uni_v1`", path(&file)).replace('`', "");
    let convert_out = out.path().join("again");
    let common = ["--features", path(out.path()), "--backbone", "uni", "--slide", "slide-2"];
    let to = ["--to", "clam", "--out", path(&convert_out)];
    let inspected = run(&[&["inspect"], &common[..]].concat());
    for told in
        [error(&[&["convert"], &common[..], &to].concat(), 3), String::from_utf8(inspected.stdout).unwrap()]
    {
        assert!(told.replace('`', "").contains(&wanted), "{told}");
    }
    let nobody = ["inspect", "--features", path(out.path()), "--backbone", "uni_v1", "--slide", "nosuch"];
    let told = String::from_utf8(run(&nobody).stdout).unwrap();
    let looked_for =
        format!("no file of slide `nosuch`; looked for {}\n", path(&out.path().join("nosuch.h5")));
    assert!(told.contains(&looked_for), "{told}");
}

#[test]
fn a_directory_of_another_layout_is_not_written_into() {
    let out = tempfile::tempdir().unwrap();
    let source = layouts("trident");
    assert!(run(&to_native(&source, out.path(), &[])).status.success());
    let to_clam: Vec<&str> = to_native(&source, out.path(), &[])
        .into_iter()
        .map(|argument| if argument == "native" { "clam" } else { argument })
        .collect();
    let told = error(&to_clam, 3);
    assert!(told.contains("holds bags of another layout: *.h5 (native); clam bags want"), "{told}");
    assert!(told.contains("hint: give another directory as --out"), "{told}");
    assert!(!out.path().join("x20").exists());
}

#[test]
fn a_log_for_programs_is_json_line_by_line() {
    let out = tempfile::tempdir().unwrap();
    let source = layouts("trident");
    std::fs::write(out.path().join("slide-2.h5"), "not HDF5").unwrap();
    let output = run(&to_native(&source, out.path(), &["--log-format", "json"]));
    let lines: Vec<Value> = String::from_utf8(output.stderr)
        .unwrap()
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    let [fault, end] = &lines[..] else { panic!("{lines:?}") };
    assert_eq!((&fault["level"], &fault["fields"]["slide"]), (&json!("ERROR"), &json!("slide-2")));
    assert_eq!((&end["level"], &end["fields"]["exit_code"]), (&json!("ERROR"), &json!(3)));
}

#[test]
fn help_has_an_example_for_every_command() {
    for command in ["convert", "inspect"] {
        let output = run(&[command, "--help"]);
        let text = String::from_utf8(output.stdout).unwrap();
        assert!(text.contains(&format!("  wsi-bags {command} --")), "{text}");
    }
}

/// Arguments that make native bags of TRIDENT's.
fn to_native<'a>(source: &'a Path, out: &'a Path, more: &[&'a str]) -> Vec<&'a str> {
    let common = ["convert", "--features", path(source), "--backbone", "uni_v1", "--to", "native", "--out"];
    [&common[..], &[path(out)], more].concat()
}

#[test]
fn a_damaged_file_is_the_failure_of_its_slide_and_can_be_overwritten() {
    let out = tempfile::tempdir().unwrap();
    let source = layouts("trident");
    std::fs::write(out.path().join("slide-2.h5"), "not HDF5").unwrap();
    let output = run(&to_native(&source, out.path(), &["--json"]));
    let told = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(3), "{told}");
    assert!(told.contains("error: slide slide-2: ") && told.contains("hint: --overwrite writes"), "{told}");
    assert!(told.ends_with("error: one slide was not converted\n"), "{told}");
    let summary: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!((&summary["n_written"], &summary["failed"][0]["slide"]), (&json!(1), &json!("slide-2")));
    assert!(out.path().join("TCGA-AA-0001-01Z-00-DX1.5A6B.h5").is_file(), "the others go on");
    assert_eq!(std::fs::read_to_string(out.path().join("slide-2.h5")).unwrap(), "not HDF5");

    let summary = results(&to_native(&source, out.path(), &["--json", "--overwrite"]));
    assert_eq!((&summary["n_written"], &summary["failed"]), (&json!(2), &json!([])));
}

#[cfg(unix)]
#[test]
fn the_lock_of_another_user_is_taken_and_where_none_can_be_that_is_said_once() {
    use std::os::unix::fs::{MetadataExt, PermissionsExt};
    use std::os::unix::process::CommandExt;
    const NOBODY: u32 = 65_534;
    let out = tempfile::tempdir().unwrap();
    let source = layouts("trident");
    let allow = |path: &Path, mode: u32| {
        std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)).unwrap();
    };
    allow(out.path(), 0o777);
    let is_root = out.path().metadata().unwrap().uid() == 0;
    let lock = out.path().join(".lock");
    std::fs::write(&lock, "").unwrap();
    // Root may open every file, so that another user has to try.
    let convert = |more: &[&str]| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_wsi-bags"));
        command.args(to_native(&source, out.path(), more));
        if is_root {
            command.uid(NOBODY).gid(NOBODY);
        }
        let output = command.output().unwrap();
        let told = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(0), "{told}");
        told
    };
    allow(&lock, 0o444);
    assert_eq!(convert(&[]), "", "the right to read is enough");
    allow(&lock, 0o000);
    let told = convert(&["--overwrite"]);
    assert!(told.contains("must not write to this folder at the same time"), "{told}");
    assert_eq!(told.lines().count(), 1, "of two slides: {told}");
    assert_eq!(convert(&["--overwrite", "--quiet"]), "");
}
