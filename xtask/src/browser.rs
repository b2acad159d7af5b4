//! `cargo xtask browser`: the pages of a small run in headless Chromium, by `xtask/browser/*.py`.

use std::path::{Path, PathBuf};

use crate::demo::{built_binary, fresh_folder};
use crate::failure::Failure;
use crate::slides::{Programs, SlideCohort};
use crate::step::Step;

/// Names under which systems install it.
const CHROMIUMS: [&str; 4] = ["chromium", "chromium-browser", "google-chrome", "google-chrome-stable"];
/// Enough patients for every statistic of the report to be defined, and bags that train in a second.
const COHORT: [&str; 8] = ["--patients", "60", "--scale", "0.004", "--backbone-dim", "12", "--seed", "7"];
/// Settings of a small model. The paper's protocol, which chooses an epoch, has more to show.
const SETTINGS: [&str; 6] = [
    "model.embed_dim=8",
    "model.num_heads=2",
    "training.protocol=paper",
    "training.max_epochs=8",
    "training.learning_rate=0.003",
    "training.accumulation=4",
];

/// Slides for the web viewer, few and small.
const SLIDES: SlideCohort<'_> =
    SlideCohort { folder: "target/browser/slides", kind: "additive", patients: "30", seed: "7", base: "20" };
/// The slide whose place a real one takes, and that one.
const TAKEN: &str = "SIM-0003-01Z-00-DX1";
const REAL_SLIDE: &str = "wsi/CMU-1-Small-Region.svs";

/// Two cohorts, three models, two seeds: what a study's tables are made of, on settings that train in a moment.
const STUDY: &str = r#"[study]
name = "Two simulated cohorts"
cohorts = ["cohort", "other"]
models = ["crossfusion", "amil", "dsmil"]
backbones = ["simulated"]
seeds = [7, 8]

[cohort]
clinical = "{cohort}/clinical.csv"
preset = "mcat"
splits = "{cohort}/splits"

[features]
dir = "{cohort}/bags"

[training]
protocol = "sound"
max_epochs = 2
accumulation = 4

[models.crossfusion]
embed_dim = 8
num_heads = 2
"#;

/// Makes a run and a study under `target/browser` and tests their reports; says why it skips where the machine has no Chromium or no
/// Playwright.
pub(crate) fn run(root: &Path) -> Result<(), Failure> {
    let starts = |name: &&&str| Step::new(root, name, &["--version"]).succeeds();
    let Some(chromium) = CHROMIUMS.iter().find(starts) else {
        println!("skipped: no Chromium (Debian: chromium)");
        return Ok(());
    };
    let chromium = executable(chromium)?;
    let python = std::env::var("CF_PYTHON").unwrap_or_else(|_| "python3".to_owned());
    if !Step::new(root, &python, &["-c", "import playwright"]).succeeds() {
        println!(
            "skipped: {python} has no `playwright` (pip install playwright; CF_PYTHON names another Python)"
        );
        return Ok(());
    }
    // With the features of the whole workspace, as its tests have just built it.
    let build = ["build", "--workspace", "--bin", "cf-train", "--bin", "wsi-extract", "--bin", "cf-heatmap"];
    Step::cargo(root, &build).run()?;
    let cf_train = built_binary(root, "debug", "cf-train")?;
    let folder = fresh_folder(root, "browser")?;
    let simulate = [&["simulate", "--out", "target/browser/cohort"][..], &COHORT].concat();
    Step::new(root, &cf_train, &simulate).run_logged(&folder.join("simulate.log"))?;
    let mut cv = vec!["cv", "--config", "target/browser/cohort/config.toml", "--out", "target/browser/run"];
    cv.extend(SETTINGS.iter().flat_map(|setting| ["--set", setting]));
    Step::new(root, &cf_train, &cv).run_logged(&folder.join("cv.log"))?;
    Step::new(root, &python, &["xtask/browser/report.py", &chromium, "target/browser/run"]).run()?;

    let other =
        [&["simulate", "--kind", "interaction", "--out", "target/browser/other"][..], &COHORT].concat();
    Step::new(root, &cf_train, &other).run_logged(&folder.join("simulate-other.log"))?;
    let file = folder.join("study.toml");
    std::fs::write(&file, STUDY).map_err(|error| Failure::io("write", &file, &error))?;
    for (action, arguments) in [
        ("plan", &["target/browser/study.toml", "--out", "target/browser/study"][..]),
        ("run", &["target/browser/study"]),
        ("collect", &["target/browser/study"]),
    ] {
        let study = [&["study", action][..], arguments].concat();
        Step::new(root, &cf_train, &study).run_logged(&folder.join(format!("study-{action}.log")))?;
    }
    Step::new(root, &python, &["xtask/browser/study.py", &chromium, "target/browser/study"]).run()?;

    let programs = Programs { cf_train, wsi_extract: built_binary(root, "debug", "wsi-extract")? };
    viewer(root, &programs, &chromium, &python)
}

/// Draws slides, trains on them and tests the web viewer; with test data, one of the slides is a real one.
fn viewer(root: &Path, programs: &Programs, chromium: &str, python: &str) -> Result<(), Failure> {
    let folder = root.join(SLIDES.folder);
    programs.draw(root, &SLIDES)?;
    let real = std::env::var_os("CF_TEST_DATA").map(|data| PathBuf::from(data).join(REAL_SLIDE));
    if let Some(real) = &real {
        let takes = folder.join(format!("slides/{TAKEN}.svs"));
        std::fs::copy(real, &takes).map_err(|error| Failure::io("copy", real, &error))?;
    }
    let bags = ["run", "target/browser/slides/slides", "--out", "target/browser/slides/bags"];
    let with = ["--encoder", "stain-texture", "--preset", "bwh_biopsy"];
    Step::new(root, &programs.wsi_extract, &[&bags[..], &with].concat())
        .run_logged(&folder.join("bags.log"))?;
    let mut cv =
        vec!["cv", "--config", "target/browser/slides/config.toml", "--out", "target/browser/slides/run"];
    cv.extend(SETTINGS.iter().flat_map(|setting| ["--set", setting]));
    Step::new(root, &programs.cf_train, &cv).run_logged(&folder.join("cv.log"))?;
    let cf_heatmap = built_binary(root, "debug", "cf-heatmap")?.display().to_string();
    let mut test = vec!["xtask/browser/viewer.py", chromium, &cf_heatmap, "target/browser/slides/run"];
    test.extend(["target/browser/slides/bags", "target/browser/slides/slides"]);
    test.extend(real.is_some().then_some(TAKEN));
    Step::new(root, python, &test).run()
}

/// The path of a program that is on the search path.
fn executable(name: &str) -> Result<String, Failure> {
    let folders = std::env::var_os("PATH").unwrap_or_default();
    let found =
        std::env::split_paths(&folders).map(|folder: PathBuf| folder.join(name)).find(|path| path.is_file());
    found
        .map(|path| path.display().to_string())
        .ok_or_else(|| Failure::new(format!("`{name}` is not on the path")))
}
