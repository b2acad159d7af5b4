//! Slides whose truth is known, drawn by the binaries: `cargo xtask fixtures slides`, and the start of the demo.

use std::path::{Path, PathBuf};
use std::time::Instant;

use crate::demo::{fresh_folder, release_binary};
use crate::failure::Failure;
use crate::step::{Step, shown_time};

/// The kinds of planted signal, as `cf-train simulate` names them.
const KINDS: [&str; 2] = ["additive", "interaction"];

/// A cohort of drawn slides.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct SlideCohort<'a> {
    /// Where it comes to lie, from the workspace root; made here.
    pub(crate) folder: &'a str,
    pub(crate) kind: &'a str,
    pub(crate) patients: &'a str,
    pub(crate) seed: &'a str,
    /// Magnification of level 0: `20` or `40`.
    pub(crate) base: &'a str,
}

/// The two programs that make a cohort of slides.
pub(crate) struct Programs {
    pub(crate) cf_train: PathBuf,
    pub(crate) wsi_extract: PathBuf,
}

impl Programs {
    /// Builds them, and whatever else is named.
    pub(crate) fn build(root: &Path, others: &[&str]) -> Result<Self, Failure> {
        let build = ["build", "--release", "-p", "cf-train", "-p", "wsi-extract"];
        Step::cargo(root, &[&build[..], others].concat()).run()?;
        Ok(Self {
            cf_train: release_binary(root, "cf-train")?,
            wsi_extract: release_binary(root, "wsi-extract")?,
        })
    }

    /// Draws patients, outcomes and folds, then the slides: `clinical.csv`, `splits/`, `config.toml`, `truth.csv`,
    /// `truth.json`, `slides.csv`, `slides/`, `truth/` and `planted.csv`.
    pub(crate) fn draw(&self, root: &Path, cohort: &SlideCohort<'_>) -> Result<(), Failure> {
        let SlideCohort { folder, kind, patients, seed, base } = *cohort;
        let simulate = [
            &["simulate", "--slides", "--out", folder, "--kind", kind][..],
            &["--patients", patients, "--seed", seed],
        ]
        .concat();
        let said = Step::new(root, &self.cf_train, &simulate).stdout()?;
        let log = root.join(folder).join("simulate.log");
        std::fs::write(&log, said).map_err(|error| Failure::io("write", &log, &error))?;
        let plan = format!("{folder}/slides.csv");
        let render = ["render", &plan, "--out", folder, "--base", base];
        Step::new(root, &self.wsi_extract, &render).run_logged(&root.join(folder).join("render.log"))
    }
}

/// Draws `target/slides/additive` and `target/slides/interaction`, which are replaced.
pub(crate) fn fixtures(root: &Path, args: &[String]) -> Result<(), Failure> {
    let [mut patients, mut seed, mut base] = ["24", "7", "20"];
    for pair in args.chunks(2) {
        let [flag, value] = pair else {
            return Err(Failure::usage(format!("`{}` lacks its value", pair.join(" "))));
        };
        match flag.as_str() {
            "--patients" => patients = value,
            "--seed" => seed = value,
            "--base" => base = value,
            _ => return Err(Failure::usage(format!("`fixtures slides` does not take `{flag}`"))),
        }
    }
    let programs = Programs::build(root, &[])?;
    fresh_folder(root, "slides")?;
    for kind in KINDS {
        let begun = Instant::now();
        let folder = format!("target/slides/{kind}");
        programs.draw(root, &SlideCohort { folder: &folder, kind, patients, seed, base })?;
        println!("{folder}: {patients} slides in {}", shown_time(begun.elapsed()));
    }
    println!(
        "next: wsi-extract run target/slides/additive/slides --out target/slides/additive/bags \
         --encoder stain-texture --preset bwh_biopsy"
    );
    Ok(())
}
