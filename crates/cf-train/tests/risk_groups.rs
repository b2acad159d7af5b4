//! Under `sound` all that a run says of risk groups is of the cut that is learned on each fold's training part.

#![allow(
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "a test fails by panicking and prints why it skips"
)]

mod support;

use std::collections::BTreeMap;
use std::path::Path;
use std::process::Command;

use serde_json::{Value, json};
use support::{cohort, cohort_of_several_slides, fail, path, succeed};

/// The folds of the runs here: two of five are left out.
const FOLDS: [usize; 3] = [0, 1, 3];

fn cv(cohort: &Path, run: &Path, more: &[&str]) -> String {
    let config = cohort.join("config.toml");
    let arguments = ["cv", "--config", path(&config), "--out", path(run), "--folds", "0,1,3"];
    succeed(&[&arguments, more].concat())
}

fn read_json(file: &Path) -> Value {
    serde_json::from_str(&std::fs::read_to_string(file).unwrap()).unwrap()
}

/// Risks of a predictions file, by case.
fn risks(file: &Path) -> BTreeMap<String, Vec<f64>> {
    let mut risks: BTreeMap<String, Vec<f64>> = BTreeMap::new();
    for row in csv::Reader::from_path(file).unwrap().deserialize() {
        let row: BTreeMap<String, String> = row.unwrap();
        risks.entry(row["case_id"].clone()).or_default().push(row["risk"].parse().unwrap());
    }
    risks
}

fn means(risks: &BTreeMap<String, Vec<f64>>) -> Vec<f64> {
    risks.values().map(|slides| slides.iter().sum::<f64>() / slides.len() as f64).collect()
}

fn median(mut risks: Vec<f64>) -> f64 {
    risks.sort_by(f64::total_cmp);
    (risks[(risks.len() - 1) / 2] + risks[risks.len() / 2]) / 2.0
}

#[test]
fn risk_groups_of_a_sound_run_are_cut_on_its_training_part() {
    let dir = tempfile::tempdir().unwrap();
    let cohort = cohort_of_several_slides(dir.path(), 60);
    let run = dir.path().join("run");
    let printed = cv(&cohort, &run, &[]);
    let summary = read_json(&run.join("summary.json"));
    let (slides, patients) = (&summary["log_rank_learned_cut"], &summary["patient_log_rank_learned_cut"]);

    // Cuts and group sizes, from the files.
    let (mut cuts, mut n_high) = ([Vec::new(), Vec::new()], [0, 0]);
    for fold in FOLDS {
        let dir = run.join(format!("fold_{fold}"));
        let (train, validation) =
            (risks(&dir.join("predictions_train.csv")), risks(&dir.join("predictions.csv")));
        let levels = [
            (train.values().flatten().copied().collect(), validation.values().flatten().copied().collect()),
            (means(&train), means(&validation)),
        ];
        for (level, (train, validation)) in levels.into_iter().enumerate() {
            let cut = median(train);
            cuts[level].push(cut);
            let validation: Vec<f64> = validation;
            n_high[level] += validation.iter().filter(|&&risk| risk >= cut).count();
        }
    }
    for ((found, cuts), (n_high, n)) in
        [slides, patients].into_iter().zip(cuts).zip(n_high.into_iter().zip(["n_slides", "n_patients"]))
    {
        assert_eq!(found["cuts"], json!(cuts), "{found}");
        assert_eq!(found["n_high"], n_high, "{found}");
        assert_eq!(found["n_low"].as_u64().unwrap() as usize + n_high, summary[n].as_u64().unwrap() as usize);
    }
    assert!(summary["n_patients"].as_u64() < summary["n_slides"].as_u64());

    // What is printed, and the page.
    let evaluated = succeed(&["evaluate", "--run", path(&run), "--json"]);
    assert_eq!(serde_json::from_str::<Value>(&evaluated).unwrap(), summary);
    let page = std::fs::read_to_string(run.join("report.html")).unwrap();
    for (unit, level, found) in [("slides", "Slide", slides), ("patients", "Patient", patients)] {
        let (high, low) = (&found["n_high"], &found["n_low"]);
        let [chi_square, p] = ["chi_square", "p_value"].map(|key| found[key].as_f64().unwrap());
        let line = format!(
            "{unit} cut at each fold's training median: {high} at high and {low} at low risk, log-rank chi-square {chi_square:.2}, \
             p {p:.2e}\n"
        );
        assert!(printed.contains(&line), "`{line}` is not in: {printed}");
        assert!(succeed(&["evaluate", "--run", path(&run)]).contains(&line), "{line}");
        let caption = format!("{level} level: {high} {unit} at high and {low} at low risk.");
        assert!(page.contains(&caption), "{caption}");
        assert!(page.contains(&format!("χ² = {chi_square:.2}, 1 df")), "{unit}");
    }
    for place in ["log_rank_learned_cut.chi_square", "log_rank_learned_cut.p_value", "log_rank.p_value"] {
        let shown = page.split(&format!("data-summary=\"{place}\">")).nth(1).unwrap();
        let shown: f64 = shown.split('<').next().unwrap().parse().unwrap();
        let value = summary.pointer(&format!("/{}", place.replace('.', "/"))).unwrap().as_f64().unwrap();
        assert!((shown - value).abs() < 6e-3 * value.abs().max(0.5), "{place}: {shown}, not {value}");
    }

    agrees_with_lifelines(&run, &summary);

    // A run of a version that wrote less of the cut has its training risks all the same.
    let mut older = summary.clone();
    older.as_object_mut().unwrap().remove("patient_log_rank_learned_cut");
    older["log_rank_learned_cut"] = json!({"chi_square": slides["chi_square"], "p_value": slides["p_value"]});
    std::fs::write(run.join("summary.json"), older.to_string()).unwrap();
    succeed(&["report", "--run", path(&run)]);
    assert!(std::fs::read_to_string(run.join("report.html")).unwrap() == page, "another page");

    // A risk that has no place is told with its file, whichever part it is of.
    let file = run.join("fold_1/predictions_train.csv");
    let text = std::fs::read_to_string(&file).unwrap();
    let row = text.lines().nth(3).unwrap();
    let mut cells: Vec<&str> = row.split(',').collect();
    let slide = cells[1];
    cells[5] = "NaN";
    std::fs::write(&file, text.replace(row, &cells.join(","))).unwrap();
    let said =
        format!("fold_1/predictions_train.csv: the risk of slide {slide} is NaN, expected a finite number");
    fail(&["evaluate", "--run", path(&run)], 3, &[&said]);
}

/// Skips, with the reason printed, where `CF_PYTHON` names no Python with lifelines.
fn agrees_with_lifelines(run: &Path, summary: &Value) {
    let Some(python) = std::env::var_os("CF_PYTHON") else {
        println!("skipped: CF_PYTHON is not set");
        return;
    };
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/python/risk_groups.py");
    let output =
        Command::new(python).arg(script).arg(run).env("PYTHONDONTWRITEBYTECODE", "1").output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let truth: Value = serde_json::from_slice(&output.stdout).unwrap();
    if let Some(reason) = truth["skipped"].as_str() {
        println!("skipped: {reason}");
        return;
    }
    let close = |found: &Value, expected: &Value, tolerance: f64, what: &str| {
        let (found, expected) = (found.as_f64().unwrap(), expected.as_f64().unwrap());
        assert!(
            (found - expected).abs() <= tolerance * expected.abs(),
            "{what}: {found}, lifelines {expected}"
        );
    };
    for (level, found) in
        [("slides", &summary["log_rank_learned_cut"]), ("patients", &summary["patient_log_rank_learned_cut"])]
    {
        let truth = &truth[level]["learned"];
        for count in ["n_high", "n_low"] {
            assert_eq!(found[count], truth[count], "{level} {count}");
        }
        for key in ["chi_square", "p_value"] {
            close(&found[key], &truth[key], 1e-9, &format!("{level} {key}"));
        }
        for (at, cut) in truth["cuts"].as_array().unwrap().iter().enumerate() {
            close(&found["cuts"][at], cut, 1e-12, &format!("{level} cut"));
        }
        // lifelines stops its iteration earlier.
        close(&found["hazard_ratio"], &truth["hazard_ratio"], 1e-5, level);
    }
    // That of slides allows for slides of one patient, which `survival-metrics` checks against R.
    for at in 0..2 {
        let interval = |of: &Value| of["hazard_ratio_ci95"][at].clone();
        let found = interval(&summary["patient_log_rank_learned_cut"]);
        close(&found, &interval(&truth["patients"]["learned"]), 1e-4, "interval");
    }
    for key in ["chi_square", "p_value"] {
        close(&summary["log_rank"][key], &truth["slides"]["pooled"][key], 1e-9, key);
    }
}

#[test]
fn risk_groups_of_the_paper_are_cut_at_the_pooled_median() {
    let dir = tempfile::tempdir().unwrap();
    let cohort = cohort(dir.path(), 30);
    let run = dir.path().join("run");
    let printed = cv(&cohort, &run, &["--set", "training.protocol=paper"]);
    let summary = read_json(&run.join("summary.json"));
    for key in ["log_rank_learned_cut", "patient_log_rank_learned_cut"] {
        assert_eq!(summary.get(key), None, "{key}");
    }
    assert!(!printed.contains("training median") && printed.contains("log-rank of the median split: "));
    let page = std::fs::read_to_string(run.join("report.html")).unwrap();
    assert!(page.contains("Validation risks of all folds are pooled and cut at their median"));
    assert!(page.contains("data-summary=\"log_rank.chi_square\"") && !page.contains("training median"));
}
