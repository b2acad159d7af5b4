//! `cargo xtask demo`: the main job, end to end, on a cohort whose answer is known.

use std::path::{Path, PathBuf};
use std::time::Instant;

use serde_json::Value;

use crate::failure::Failure;
use crate::files::make_folder;
use crate::slides::{Programs, SlideCohort};
use crate::step::{Step, shown_time};

/// From a folder without anything to a report, few enough slides for a coffee break on two cores.
const COHORT: SlideCohort<'_> =
    SlideCohort { folder: "target/demo", kind: "additive", patients: "24", seed: "7", base: "20" };

/// Builds, draws slides, extracts features, cross-validates, draws heatmaps and reports under `target/demo`, which is replaced.
pub(crate) fn run(root: &Path) -> Result<(), Failure> {
    let start = Instant::now();
    let programs = stage("build", || Programs::build(root, &["-p", "survstat", "-p", "cf-heatmap"]))?;
    let cf_heatmap = release_binary(root, "cf-heatmap")?;
    let folder = fresh_folder(root, "demo")?;

    let built = Instant::now();
    let logged = |name: &str, program: &Path, args: &[&str]| {
        stage(name, || Step::new(root, program, args).run_logged(&folder.join(format!("{name}.log"))))
    };
    stage("slides", || programs.draw(root, &COHORT))?;
    // Slides are small here, so that any piece of tissue counts.
    let bags = ["run", "target/demo/slides", "--out", "target/demo/bags", "--encoder", "stain-texture"];
    logged("bags", &programs.wsi_extract, &[&bags[..], &["--preset", "bwh_biopsy"]].concat())?;
    let cv = ["cv", "--config", "target/demo/config.toml", "--out", "target/demo/run"];
    logged("cv", &programs.cf_train, &cv)?;
    stage("heatmaps", || heatmaps(root, &cf_heatmap, &folder))?;
    let report = ["report", "--run", "target/demo/run", "--heatmaps", "target/demo/heatmaps"];
    logged("report", &programs.cf_train, &report)?;
    copy_report(&folder)?;

    let summary = json(&folder.join("run/summary.json"))?;
    let mean = summary["c_index"]["mean"]
        .as_f64()
        .ok_or_else(|| Failure::new("target/demo/run/summary.json has no number at `c_index.mean`"))?;
    let ceiling = ceiling(&json(&folder.join("truth.json"))?)
        .ok_or_else(|| Failure::new("target/demo/truth.json has no ceiling of the latent risk `z`"))?;
    println!(
        "done in {}, {} of it after the build",
        shown_time(start.elapsed()),
        shown_time(built.elapsed())
    );
    println!("report:  target/demo/report.html");
    println!(
        "viewer:  {} serve --run target/demo/run --features target/demo/bags --slides target/demo/slides",
        cf_heatmap.display()
    );
    println!("C-index: {mean:.3} mean of five folds; the true risk reaches {ceiling:.3}, chance 0.500");
    Ok(())
}

/// Draws the slides with the highest and the lowest predicted risk, each through the fold that held it out.
fn heatmaps(root: &Path, cf_heatmap: &Path, folder: &Path) -> Result<(), Failure> {
    for (fold, slide) in extremes(&folder.join("run"))? {
        let checkpoint = format!("target/demo/run/fold_{fold}/best.safetensors");
        let file = format!("target/demo/slides/{slide}.svs");
        let render = [
            &["render", "--checkpoint", &checkpoint, "--model", "crossfusion", "--slide", &slide][..],
            &["--features", "target/demo/bags", "--backbone", "stain-texture", "--slide-file", &file],
            &["--occlusion", "100", "--out", "target/demo/heatmaps"],
        ];
        let log = folder.join(format!("heatmaps-{slide}.log"));
        Step::new(root, cf_heatmap, &render.concat()).run_logged(&log)?;
    }
    Ok(())
}

/// Fold and slide of the highest and of the lowest risk of a run.
fn extremes(run: &Path) -> Result<[(String, String); 2], Failure> {
    let mut by_risk: Vec<(f64, String, String)> = Vec::new();
    for fold in 0..5 {
        let path = run.join(format!("fold_{fold}/predictions.csv"));
        let text = std::fs::read_to_string(&path).map_err(|error| Failure::io("read", &path, &error))?;
        let mut lines = text.lines().map(|line| line.split(',').collect::<Vec<_>>());
        let header = lines.next().unwrap_or_default();
        let column = |name: &str| header.iter().position(|found| *found == name);
        let (Some(slide), Some(risk)) = (column("slide_id"), column("risk")) else {
            return Err(Failure::new(format!("{} has no slide_id or risk", path.display())));
        };
        by_risk.extend(lines.filter_map(|row| {
            Some((row.get(risk)?.parse().ok()?, fold.to_string(), (*row.get(slide)?).to_owned()))
        }));
    }
    by_risk.sort_by(|a, b| b.0.total_cmp(&a.0));
    match (by_risk.first(), by_risk.last()) {
        (Some((_, a, highest)), Some((_, b, lowest))) => {
            Ok([(a.clone(), highest.clone()), (b.clone(), lowest.clone())])
        }
        _ => Err(Failure::new(format!("{} predicted nothing", run.display()))),
    }
}

/// Copies the report one folder up, from where heatmaps have another address.
fn copy_report(folder: &Path) -> Result<(), Failure> {
    let (made, copy) = (folder.join("run/report.html"), folder.join("report.html"));
    let text = std::fs::read_to_string(&made).map_err(|error| Failure::io("read", &made, &error))?;
    let text = text.replace("../heatmaps/", "./heatmaps/");
    std::fs::write(&copy, text).map_err(|error| Failure::io("write", &copy, &error))
}

fn stage<T>(name: &str, work: impl FnOnce() -> Result<T, Failure>) -> Result<T, Failure> {
    let begun = Instant::now();
    let made = work()?;
    println!("{name:<9}{}", shown_time(begun.elapsed()));
    Ok(made)
}

/// Where Cargo put a release binary.
pub(crate) fn release_binary(root: &Path, name: &str) -> Result<PathBuf, Failure> {
    built_binary(root, "release", name)
}

/// Where Cargo put the binary of a profile: the target folder may be set by the environment or a config file.
pub(crate) fn built_binary(root: &Path, profile: &str, name: &str) -> Result<PathBuf, Failure> {
    let folder = target_directory(root)?.join(profile);
    let binary = folder.join(name).with_extension(std::env::consts::EXE_EXTENSION);
    if binary.is_file() {
        Ok(binary)
    } else {
        Err(Failure::new(format!("{} is missing after the build", binary.display())))
    }
}

/// Where Cargo puts what it builds.
pub(crate) fn target_directory(root: &Path) -> Result<PathBuf, Failure> {
    let metadata = Step::cargo(root, &["metadata", "--no-deps", "--format-version", "1"]).stdout()?;
    let metadata: Value = serde_json::from_str(&metadata)
        .map_err(|error| Failure::new(format!("`cargo metadata` printed no JSON: {error}")))?;
    metadata["target_directory"]
        .as_str()
        .map(PathBuf::from)
        .ok_or_else(|| Failure::new("`cargo metadata` names no target directory"))
}

/// An empty folder of this name under `target`, whatever was there before.
pub(crate) fn fresh_folder(root: &Path, name: &str) -> Result<PathBuf, Failure> {
    let folder = root.join("target").join(name);
    if folder.exists() {
        std::fs::remove_dir_all(&folder).map_err(|error| Failure::io("remove", &folder, &error))?;
    }
    make_folder(&folder)?;
    Ok(folder)
}

/// What the latent risk itself scores, averaged over the folds like a model's C-index.
fn ceiling(truth: &Value) -> Option<f64> {
    let ceilings = truth["ceilings"].as_array()?;
    ceilings.iter().find(|ceiling| ceiling["truth"] == "z")?["fold_mean"].as_f64()
}

fn json(path: &Path) -> Result<Value, Failure> {
    let text = std::fs::read_to_string(path).map_err(|error| Failure::io("read", path, &error))?;
    serde_json::from_str(&text)
        .map_err(|error| Failure::new(format!("{} is no JSON: {error}", path.display())))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_ends_of_a_run_are_found_in_whichever_fold() {
        let dir = std::env::temp_dir().join(format!("xtask-extremes-{}", std::process::id()));
        for (fold, rows) in [(0, "a,-2\nb,-1"), (1, "c,-3.5"), (2, ""), (3, "d,-2"), (4, "e,-1.5")] {
            let fold = dir.join(format!("fold_{fold}"));
            std::fs::create_dir_all(&fold).unwrap();
            std::fs::write(fold.join("predictions.csv"), format!("slide_id,risk\n{rows}\n")).unwrap();
        }
        let found = extremes(&dir).unwrap();
        std::fs::remove_dir_all(&dir).unwrap();
        assert_eq!(found, [("0".to_owned(), "b".to_owned()), ("1".to_owned(), "c".to_owned())]);
    }

    #[test]
    fn the_ceiling_is_that_of_the_latent_risk() {
        let truth = serde_json::json!({"ceilings": [
            {"truth": "share5", "fold_mean": 0.6},
            {"truth": "z", "fold_mean": 0.87},
        ]});
        assert_eq!(ceiling(&truth), Some(0.87));
        assert_eq!(ceiling(&serde_json::json!({})), None);
    }
}
