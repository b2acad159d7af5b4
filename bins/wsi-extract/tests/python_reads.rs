//! The features that a run writes are read by h5py and PyTorch, as CLAM's are: run where `CF_PYTHON` names a Python
//! that has h5py, safetensors and, if it can, torch.

#![allow(clippy::unwrap_used, reason = "a test that panics has failed")]

use std::path::Path;
use std::process::Command;

use wsi_bags::{BagStore, Converter, Layout};
use wsi_slides::render::{RenderOptions, render};

#[test]
fn python_reads_the_features_of_a_run() {
    let Some(python) = std::env::var_os("CF_PYTHON") else {
        eprintln!("skipped: CF_PYTHON is not set");
        return;
    };
    let dir = tempfile::tempdir().unwrap();
    let [slide, bags, clam] = ["slide-1.svs", "bags", "clam"].map(|name| dir.path().join(name));
    render(&slide, &RenderOptions { n_cells: 3, ..RenderOptions::default() }).unwrap();
    let mut run = Command::new(env!("CARGO_BIN_EXE_wsi-extract"));
    run.arg("run").arg(&slide).arg("--out").arg(&bags);
    assert!(run.args(["--encoder", "stain-texture", "--preset", "bwh_biopsy"]).status().unwrap().success());
    let store = BagStore::open(&bags, None, "stain-texture").unwrap();
    Converter::new(&store, Layout::Clam, &clam).unwrap().convert("slide-1").unwrap();

    let tests = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/python");
    let readers = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../crates/wsi-bags/tests/python");
    let mut script = Command::new(python);
    script.arg(tests.join("read_run.py")).arg(dir.path());
    let output = script.env("PYTHONPATH", readers).env("PYTHONDONTWRITEBYTECODE", "1").output().unwrap();
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{text}{}", String::from_utf8_lossy(&output.stderr));
    eprintln!("{}", text.trim());
}
