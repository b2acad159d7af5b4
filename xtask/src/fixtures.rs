//! `cargo xtask fixtures`: the PyTorch oracles, run by hand when a reference value must change.

use std::path::Path;
use std::time::Instant;

use crate::failure::Failure;
use crate::step::{Step, shown_time};

/// The scripts, in the order in which they may read each other's files.
const SCRIPTS: [&str; 4] = ["model_parity.py", "training_trace.py", "layers.py", "full_width.py"];
const FOLDER: &str = "fixtures/generate";

/// Runs every script with `python`, an interpreter that can import torch.
pub(crate) fn run(root: &Path, python: &str) -> Result<(), Failure> {
    if !Step::new(root, python, &["--version"]).succeeds() {
        return Err(Failure::new(format!("`{python}` is no Python that runs here"))
            .with_next("cargo xtask fixtures --python PATH"));
    }
    if !Step::new(root, python, &["-c", "import torch"]).succeeds() {
        return Err(Failure::new(format!("`{python}` cannot import torch, which the oracles need"))
            .with_next(format!("{python} -m pip install -r {FOLDER}/requirements.txt")));
    }
    for script in SCRIPTS {
        let path = format!("{FOLDER}/{script}");
        if !root.join(&path).is_file() {
            return Err(Failure::new(format!("{path} is missing, wanted by `cargo xtask fixtures`")));
        }
        let begun = Instant::now();
        Step::new(root, python, &[&path]).run()?;
        println!("{script}: {}", shown_time(begun.elapsed()));
    }
    println!("fixtures/reference is written; `cargo xtask test` compares the crates with it");
    Ok(())
}
