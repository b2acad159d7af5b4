//! `cargo xtask browser`: the pages of a small run in headless Chromium, by `xtask/browser/*.py`.

use std::path::{Path, PathBuf};

use crate::demo::{built_binary, fresh_folder};
use crate::failure::Failure;
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
    Step::cargo(root, &["build", "--workspace", "--bin", "cf-train"]).run()?;
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
    Step::new(root, &python, &["xtask/browser/study.py", &chromium, "target/browser/study"]).run()
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
