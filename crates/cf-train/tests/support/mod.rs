//! Runs the real program on small simulated cohorts.

#![allow(
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "a test fails by panicking and prints why it skips"
)]
#![allow(dead_code, reason = "each test binary uses a part of this")]

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
