//! What a run or a study goes without, and what is doubtful of its outcomes, is told before hours of training.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod support;

use std::path::Path;
use std::process::Command;

use support::{cohort, fail, path, succeed};

/// What the program says on stderr with its warnings.
fn said(arguments: &[&str]) -> String {
    let output = Command::new(env!("CARGO_BIN_EXE_cf-train")).args(arguments).output().unwrap();
    let stderr = String::from_utf8(output.stderr).unwrap();
    assert!(output.status.success(), "{stderr}");
    stderr
}

fn change(file: &Path, with: impl Fn(&str) -> String) {
    let text = std::fs::read_to_string(file).unwrap();
    let changed = with(&text);
    assert_ne!(text, changed, "{}", file.display());
    std::fs::write(file, changed).unwrap();
}

/// Other ids for the first training case of every fold.
fn without_a_row(home: &Path) {
    for fold in 0..5 {
        change(&home.join(format!("splits/splits_{fold}.csv")), |text| {
            let mut lines: Vec<String> = text.lines().map(str::to_owned).collect();
            lines[1] = lines[1].replacen("SIM-", "OTHER-", 1);
            lines.join("\n") + "\n"
        });
    }
}

#[test]
fn slides_and_cases_that_do_not_join_are_told_by_runs_and_studies() {
    let dir = tempfile::tempdir().unwrap();
    let home = cohort(dir.path(), 30);
    let (config, at) = (home.join("config.toml"), |name: &str| dir.path().join(name));
    let whole = said(&["cv", "--config", path(&config), "--folds", "0", "--out", path(&at("whole"))]);
    assert!(!whole.contains("left out"), "{whole}");
    without_a_row(&home);
    let run = said(&["cv", "--config", path(&config), "--folds", "0", "--out", path(&at("run"))]);
    assert!(
        run.contains("left out: ")
            && run.contains("case of a split file without a row in the clinical table"),
        "{run}"
    );

    let study = format!(
        "[study]\nname = \"one\"\ncohorts = [\"cohort\"]\nmodels = [\"amil\", \"dsmil\"]\nbackbones = [\"simulated\"]\nfolds = [0]\n\
         {}[training]\nprotocol = \"sound\"\nmax_epochs = 1\n",
        support::COHORT_TABLES
    );
    std::fs::write(at("study.toml"), study).unwrap();
    let plan = said(&["study", "plan", path(&at("study.toml")), "--out", path(&at("study"))]);
    assert_eq!(plan.matches("case of a split file without a row").count(), 1, "once for both models: {plan}");
    let ran = said(&["study", "run", path(&at("study"))]);
    assert_eq!(ran.matches("case of a split file without a row").count(), 1, "{ran}");
}

#[test]
fn times_in_another_unit_are_told_by_runs_and_tests() {
    let dir = tempfile::tempdir().unwrap();
    let home = cohort(dir.path(), 30);
    let (config, at) = (home.join("config.toml"), |name: &str| dir.path().join(name));
    succeed(&["cv", "--config", path(&config), "--folds", "0", "--out", path(&at("run"))]);
    change(&home.join("clinical.csv"), |text| {
        let row = |line: &str| {
            let mut cells: Vec<String> = line.split(',').map(str::to_owned).collect();
            if let Ok(months) = cells[2].parse::<f64>() {
                cells[2] = (months * 100.0).to_string();
            }
            cells.join(",") + "\n"
        };
        text.lines().map(row).collect()
    });
    let run = said(&["cv", "--config", path(&config), "--folds", "0", "--out", path(&at("again"))]);
    assert!(run.contains("the longest follow-up is read as") && run.contains("time_unit"), "{run}");
    let (trained, tested) = (at("run"), at("test"));
    let test = [
        "test",
        "--run",
        path(&trained),
        "--config",
        path(&config),
        "--out",
        path(&tested),
        "--allow-overlap",
    ];
    assert!(said(&test).contains("the longest follow-up is read as"));
    let report = std::fs::read_to_string(at("test/report.html")).unwrap();
    assert!(report.contains("the longest follow-up is read as"));
}

#[test]
fn a_fold_that_was_planned_with_other_slides_is_not_trained_into_the_run() {
    let dir = tempfile::tempdir().unwrap();
    let home = cohort(dir.path(), 30);
    let (config, out) = (home.join("config.toml"), dir.path().join("run"));
    let arguments = ["cv", "--config", path(&config), "--folds", "0,1", "--out", path(&out)];
    succeed(&arguments);
    // As an interrupt before the second fold leaves it.
    std::fs::remove_dir_all(out.join("fold_1")).unwrap();
    let resume = [&arguments[..], &["--resume"]].concat();
    let splits = home.join("splits/splits_1.csv");
    let before = std::fs::read_to_string(&splits).unwrap();
    change(&splits, |text| {
        let mut lines: Vec<Vec<String>> =
            text.lines().map(|line| line.split(',').map(str::to_owned).collect()).collect();
        let (train, validation) = (lines[1][1].clone(), lines[1][2].clone());
        (lines[1][1], lines[1][2]) = (validation, train);
        lines.into_iter().map(|cells| cells.join(",") + "\n").collect()
    });
    let text =
        fail(&resume, 3, &["folds.json", "fold 1 was planned with other slides", "choose another --out"]);
    assert!(text.contains("slides changed between training and validation"), "{text}");
    std::fs::write(&splits, before).unwrap();
    succeed(&resume);
}
