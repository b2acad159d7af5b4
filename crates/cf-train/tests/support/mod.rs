//! Runs the real program on small simulated cohorts.

#![allow(
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "a test fails by panicking and prints why it skips"
)]
#![allow(dead_code, reason = "each test binary uses a part of this")]

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

/// The tables of a study that say where a [`cohort`] is.
pub(crate) const COHORT_TABLES: &str = r#"
[cohort]
clinical = "{cohort}/clinical.csv"
preset = "mcat"
splits = "{cohort}/splits"
[features]
dir = "{cohort}/bags"
"#;

/// `cf-train` with arguments; no log but errors.
pub(crate) fn cf_train(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_cf-train")).arg("--quiet").args(arguments).output().unwrap()
}

/// Runs and expects success; returns stdout.
#[track_caller]
pub(crate) fn succeed(arguments: &[&str]) -> String {
    let output = cf_train(arguments);
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "cf-train {arguments:?}: {:?}\n{stderr}", output.status.code());
    String::from_utf8(output.stdout).unwrap()
}

/// Runs and expects an exit code and every one of `texts` in the error, which must be one short message.
#[track_caller]
pub(crate) fn fail(arguments: &[&str], code: i32, texts: &[&str]) -> String {
    let output = cf_train(arguments);
    let stderr = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(code), "cf-train {arguments:?}\n{stderr}");
    for text in texts {
        assert!(stderr.contains(text), "`{text}` is not in: {stderr}");
    }
    assert!(!stderr.contains("panicked"), "{stderr}");
    stderr
}

/// Simulates tiny bags of `patients`.
pub(crate) fn simulate(out: &Path, patients: usize, backbone_dim: usize, more: &[&str]) {
    let (patients, dim) = (patients.to_string(), backbone_dim.to_string());
    let arguments = ["simulate", "--patients", &patients, "--scale", "0.004", "--backbone-dim", &dim];
    succeed(&[&arguments, more, &["--out", path(out)]].concat());
}

/// A simulated cohort of `patients`, with a configuration that trains in a second.
pub(crate) fn cohort(dir: &Path, patients: usize) -> PathBuf {
    let out = dir.join("cohort");
    simulate(&out, patients, 12, &[]);
    let config = out.join("config.toml");
    let text = std::fs::read_to_string(&config).unwrap();
    let text = text
        .replace("embed_dim = 32", "embed_dim = 8")
        .replace("num_heads = 4", "num_heads = 2")
        .replace("max_epochs = 16", "max_epochs = 2")
        .replace("attention_dropout = 0.0", "attention_dropout = 0.2");
    std::fs::write(&config, text).unwrap();
    out
}

/// A cohort in which every fifth patient has two slides.
pub(crate) fn cohort_of_several_slides(dir: &Path, patients: usize) -> PathBuf {
    let cohort = cohort(dir, patients);
    let table = cohort.join("clinical.csv");
    let text = std::fs::read_to_string(&table).unwrap();
    let mut rows: Vec<Vec<&str>> = text.lines().map(|line| line.split(',').collect()).collect();
    let mut gone = BTreeSet::new();
    for second in (2..rows.len()).step_by(5) {
        gone.insert(rows[second][0]);
        let slide = rows[second][1];
        rows[second] = rows[second - 1].clone();
        rows[second][1] = slide;
    }
    std::fs::write(&table, rows.iter().map(|row| row.join(",") + "\n").collect::<String>()).unwrap();
    for fold in 0..5 {
        let split = cohort.join(format!("splits/splits_{fold}.csv"));
        let text = std::fs::read_to_string(&split).unwrap();
        let kept = |cell: &str| if gone.contains(cell) { String::new() } else { cell.to_owned() };
        let row = |line: &str| line.split(',').map(kept).collect::<Vec<_>>().join(",") + "\n";
        std::fs::write(&split, text.lines().map(row).collect::<String>()).unwrap();
    }
    cohort
}

/// What `cf-train predict` says of a slide, from the checkpoint of a fold alone; its features are `simulated`.
pub(crate) fn predicted(fold: &Path, model: &str, bags: &Path, slide: &str) -> serde_json::Value {
    let checkpoint = fold.join("best.safetensors");
    let text = succeed(&[
        "predict",
        "--json",
        "--model",
        model,
        "--backbone",
        "simulated",
        "--checkpoint",
        path(&checkpoint),
        "--features",
        path(bags),
        "--slide",
        slide,
    ]);
    serde_json::from_str(&text).unwrap()
}

/// A path as an argument.
pub(crate) fn path(path: &Path) -> &str {
    path.to_str().unwrap()
}

/// `$CF_TEST_DATA`, or nothing with the reason printed.
pub(crate) fn test_data() -> Option<PathBuf> {
    let dir = std::env::var_os("CF_TEST_DATA").map(PathBuf::from);
    if dir.is_none() {
        println!("skipped: CF_TEST_DATA is not set");
    }
    dir
}
