//! The six cohorts of the paper: real tables, outcomes and folds, simulated bags. Needs `CF_TEST_DATA`.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod support;

use std::path::Path;

use cf_train::RunConfig;
use cf_train::cohort::{ClinicalTable, Cohort, CohortConfig};
use cf_train::time_bins::TimeBins;
use support::{path, succeed, test_data};

/// A clinical table with its preset, and further settings of `[cohort]`.
fn cohort_config(clinical: &Path, settings: &[(&str, &str)]) -> CohortConfig {
    let settings: Vec<(String, String)> = [("cohort.name", "real"), ("cohort.clinical", path(clinical))]
        .iter()
        .chain(settings)
        .map(|(key, value)| ((*key).to_owned(), (*value).to_owned()))
        .collect();
    RunConfig::cohort_of_settings(&settings).unwrap()
}

fn read(clinical: &Path) -> Cohort {
    ClinicalTable::read(&cohort_config(clinical, &[("cohort.preset", "mcat")]))
        .unwrap()
        .into_cohort(&[])
        .unwrap()
}

/// The rows of a Markdown table of INDEX.md whose first cell is `cohort` and which has `n` cells.
fn index_rows(data: &Path, cohort: &str, n: usize) -> Vec<Vec<String>> {
    let text = std::fs::read_to_string(data.join("tcga/INDEX.md")).unwrap();
    text.lines()
        .map(|line| line.trim_matches('|').split('|').map(|cell| cell.trim().to_owned()).collect::<Vec<_>>())
        .filter(|cells| cells.len() == n && cells[0] == cohort)
        .collect()
}

fn cross_validate(cohort: &str) {
    let Some(data) = test_data() else { return };
    let tcga = data.join("tcga");
    let clinical = tcga.join(format!("clinical/{cohort}.csv"));
    let dir = tempfile::tempdir().unwrap();
    let simulated = dir.path().join("simulated");
    succeed(&[
        "simulate",
        "--clinical",
        path(&clinical),
        "--splits",
        path(&tcga.join("splits").join(cohort)),
        "--scale",
        "0.005",
        "--backbone-dim",
        "64",
        "--out",
        path(&simulated),
    ]);
    let run = dir.path().join("run");
    let config = simulated.join("config.toml");
    succeed(&[
        "cv",
        "--config",
        path(&config),
        "--out",
        path(&run),
        "--set",
        "training.protocol=paper",
        "--set",
        "training.max_epochs=2",
        "--threads",
        "1",
    ]);

    let folds: serde_json::Value =
        serde_json::from_str(&std::fs::read_to_string(run.join("folds.json")).unwrap()).unwrap();
    let wanted = index_rows(&data, cohort, 8);
    assert_eq!(wanted.len(), 5, "{cohort}: folds in INDEX.md");
    let mut n_validated = 0;
    let mut n_events = 0;
    for (fold, wanted) in folds["folds"].as_array().unwrap().iter().zip(&wanted) {
        let wanted: Vec<u64> = wanted[5..].iter().map(|cell| cell.parse().unwrap()).collect();
        let found = ["n_train_slides", "n_validation_slides", "n_validation_events"]
            .map(|key| fold[key].as_u64().unwrap());
        assert_eq!(found.as_slice(), wanted, "{cohort} fold {}", fold["fold"]);
        let k = fold["fold"].as_u64().unwrap();
        let rows = std::fs::read_to_string(run.join(format!("fold_{k}/predictions.csv"))).unwrap();
        assert_eq!(rows.lines().count() as u64, 1 + wanted[1]);
        assert_eq!(rows.matches(",event,").count() as u64, wanted[2]);
        n_validated += wanted[1];
        n_events += wanted[2];
    }

    // The cohort as a whole: slides, patients and event slides of the table.
    let shown = cohort.to_uppercase();
    let whole = index_rows(&data, &shown, 10).remove(0);
    let flow = &folds["flow"][0];
    assert_eq!(flow["n_slides"].to_string(), whole[1]);
    assert_eq!(flow["n_patients"].to_string(), whole[4]);
    assert_eq!(flow["n_events"].to_string(), whole[5]);

    let summary: serde_json::Value =
        serde_json::from_str(&std::fs::read_to_string(run.join("summary.json")).unwrap()).unwrap();
    assert_eq!(summary["n_slides"], n_validated);
    assert_eq!(summary["n_events"], n_events);
    assert!(
        std::fs::read_to_string(run.join("report.html"))
            .unwrap()
            .contains(&summary["cohort"].as_str().unwrap().to_owned())
    );

    // Every slide that no fold validates is listed with its reason.
    let n_dropped: usize = folds["flow"][2]["dropped"]
        .as_array()
        .unwrap()
        .iter()
        .filter(|d| d["reason"].as_str().unwrap().starts_with("slide"))
        .map(|d| d["ids"].as_array().unwrap().len())
        .sum();
    let n_table: u64 = whole[1].parse().unwrap();
    let n_once = folds["flow"][2]["n_slides"].as_u64().unwrap();
    assert_eq!(n_table - n_once, n_dropped as u64, "{cohort}: slides lost without a word");
}

#[test]
fn blca_runs_on_the_released_folds() {
    cross_validate("blca");
}

#[test]
fn brca_runs_on_the_released_folds() {
    cross_validate("brca");
}

#[test]
fn coad_runs_on_the_released_folds() {
    cross_validate("coad");
}

#[test]
fn gbmlgg_runs_on_the_released_folds() {
    cross_validate("gbmlgg");
}

#[test]
fn luad_runs_on_the_released_folds() {
    cross_validate("luad");
}

#[test]
fn ucec_runs_on_the_released_folds() {
    cross_validate("ucec");
}

#[test]
fn time_bins_are_those_of_the_reference() {
    let Some(data) = test_data() else { return };
    let text = std::fs::read_to_string(data.join("tcga/expected_time_bins.json")).unwrap();
    let expected: serde_json::Value = serde_json::from_str(&text).unwrap();
    let cohorts = expected["cohorts"].as_object().unwrap();
    let mut n_edges = 0;
    for (cohort, levels) in cohorts {
        let table = read(&data.join(format!("tcga/clinical/{cohort}.csv")));
        let mut seen = std::collections::BTreeSet::new();
        let cases: Vec<_> = table
            .slides()
            .iter()
            .filter(|slide| seen.insert(slide.case_id.clone()))
            .map(|s| s.outcome)
            .collect();
        for (level, outcomes) in [("slide_level", table.outcomes()), ("patient_level", cases)] {
            let Some(wanted) = levels.get(level) else { continue };
            let bins = TimeBins::fit(&outcomes).unwrap();
            for (found, wanted) in bins.edges_months().iter().zip(wanted["bins"].as_array().unwrap()) {
                let wanted = wanted.as_f64().unwrap();
                assert!((found - wanted).abs() < 1e-9, "{cohort} {level}: edge {found}, reference {wanted}");
                n_edges += 1;
            }
            for (label, count) in wanted["label_counts"].as_object().unwrap() {
                let label: usize = label.parse().unwrap();
                let found = outcomes.iter().filter(|outcome| bins.bin_of(outcome.time()) == label).count();
                assert_eq!(found as u64, count.as_u64().unwrap(), "{cohort} {level}: bin {label}");
            }
        }
    }
    println!("{n_edges} edges compared");
    assert_eq!((cohorts.len(), n_edges % 5), (6, 0));
    assert!(n_edges >= 30);
}
