//! The six cohorts of the paper: real tables, outcomes and folds, simulated bags. Needs `CF_TEST_DATA`.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod support;

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use cf_train::RunConfig;
use cf_train::cohort::{ClinicalTable, Cohort, CohortConfig, PatientGroups, StatusColumn, site_of};
use cf_train::splits::{
    self, Grouping, HeldOutPart, HeldOutUse, MakeOptions, Part, PartCounts, SplitSet, SplitsCheck,
};
use cf_train::status_suspicion::{self, NameSign, StatusSuspicion, Verdict};
use cf_train::time_bins::TimeBins;
use support::{path, succeed, test_data};
use survival_metrics::{Outcome, Status};

/// A clinical table with its preset, and further settings of `[cohort]`.
fn cohort_config(clinical: &Path, settings: &[(&str, &str)]) -> CohortConfig {
    let settings: Vec<(String, String)> = [("cohort.name", "real"), ("cohort.clinical", path(clinical))]
        .iter()
        .chain(settings)
        .map(|(key, value)| ((*key).to_owned(), (*value).to_owned()))
        .collect();
    RunConfig::cohort_of_settings(&settings).unwrap().0
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
        let mut seen = BTreeSet::new();
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

const COHORTS: [&str; 6] = ["blca", "brca", "coad", "gbmlgg", "luad", "ucec"];

#[test]
fn every_table_and_split_has_the_counts_of_its_index() {
    let Some(data) = test_data() else { return };
    let tcga = data.join("tcga");
    for cohort in COHORTS {
        let config = cohort_config(
            &tcga.join(format!("clinical/{cohort}.csv")),
            &[("cohort.preset", "mcat"), ("cohort.splits", path(&tcga.join("splits").join(cohort)))],
        );
        let table = ClinicalTable::read(&config).unwrap();
        let cases = table.cases();
        let whole = index_rows(&data, &cohort.to_uppercase(), 10).remove(0);
        let count = |cell: usize| whole[cell].parse::<usize>().unwrap();
        assert_eq!(
            cases.iter().map(|case| case.n_slides.unwrap()).sum::<usize>(),
            count(1),
            "{cohort}: slides"
        );
        assert_eq!(cases.len(), count(3), "{cohort}: cases");
        assert_eq!(table.patient_outcomes().len(), count(4), "{cohort}: patients");
        assert_eq!(
            cases.iter().filter(|case| case.outcome.is_event()).count(),
            count(6),
            "{cohort}: event cases"
        );
        assert!(table.dropped().is_empty());

        let set = splits::read(&config.splits).unwrap();
        let check =
            splits::check(&table, &set, HeldOutUse::Evaluate(HeldOutPart::Val), &PatientGroups::Sites)
                .unwrap();
        assert_eq!(check.errors, [""; 0], "{cohort}");
        let folds = index_rows(&data, cohort, 8);
        assert_eq!((check.folds.len(), folds.len()), (5, 5));
        for (found, wanted) in check.folds.iter().zip(&folds) {
            let matched = format!(
                "{} / {}",
                found.train.n_ids - unmatched(&check, &set, found.fold, Part::Train),
                found.validation.n_ids - unmatched(&check, &set, found.fold, Part::Val)
            );
            let (train, validation) = (found.train.n_slides.unwrap(), found.validation.n_slides.unwrap());
            assert_eq!(
                [found.train.n_ids.to_string(), found.validation.n_ids.to_string(), matched],
                wanted[2..5],
                "{cohort} fold {}",
                found.fold
            );
            assert_eq!(
                [train.to_string(), validation.to_string()],
                wanted[5..7],
                "{cohort} fold {}",
                found.fold
            );
            assert!(found.shared_patients.is_empty());
        }
        let n_unmatched = if cohort == "luad" { 9 } else { 0 };
        assert_eq!(check.ids_without_row.len(), n_unmatched, "{cohort}: {:?}", check.ids_without_row);
    }
}

fn unmatched(check: &SplitsCheck, set: &SplitSet, fold: usize, part: Part) -> usize {
    let in_part = set.folds[fold].entries.iter().filter(|entry| entry.part == part);
    in_part.filter(|entry| check.ids_without_row.contains(&entry.id)).count()
}

/// The table with its 0 and 1 exchanged in one column.
fn inverted(clinical: &Path, column: &str, to: &Path) {
    let mut reader = csv::Reader::from_path(clinical).unwrap();
    let header = reader.headers().unwrap().clone();
    let index = header.iter().position(|name| name == column).unwrap();
    let mut writer = csv::Writer::from_path(to).unwrap();
    writer.write_record(&header).unwrap();
    for record in reader.records() {
        let record = record.unwrap();
        let cell = |(i, cell): (usize, &str)| match (i == index, cell) {
            (true, cell) if cell.parse() == Ok(0.0) => "1".to_owned(),
            (true, _) => "0".to_owned(),
            (false, cell) => cell.to_owned(),
        };
        writer.write_record(record.iter().enumerate().map(cell)).unwrap();
    }
    writer.flush().unwrap();
}

fn suspicion(clinical: &Path, settings: &[(&str, &str)]) -> StatusSuspicion {
    let table = ClinicalTable::read(&cohort_config(clinical, settings)).unwrap();
    status_suspicion::examine(table.status_column(), &table.patient_outcomes())
}

#[test]
fn an_inverted_copy_of_every_cohort_is_caught_and_no_true_one() {
    let Some(data) = test_data() else { return };
    let dir = tempfile::tempdir().unwrap();
    for cohort in COHORTS {
        let clinical = data.join(format!("tcga/clinical/{cohort}.csv"));
        let preset = [("cohort.preset", "mcat")];
        let truth = suspicion(&clinical, &preset);
        assert_eq!(truth.verdict, Verdict::Plausible, "{cohort}: {}", truth.explanation);

        let copy = dir.path().join(format!("{cohort}.csv"));
        inverted(&clinical, "censorship", &copy);
        let found = suspicion(&copy, &preset);
        assert_eq!(found.verdict, Verdict::LooksInverted, "{cohort}: {}", found.explanation);
        assert!((found.event_share + truth.event_share - 1.0).abs() < 1e-12);

        // The true table, read with the wrong sign.
        let misread = suspicion(&clinical, &[("cohort.columns.event", "censorship")]);
        assert_eq!(
            (misread.verdict, misread.name_sign),
            (Verdict::LooksInverted, NameSign::Contradicts),
            "{cohort}"
        );
        println!("{cohort}: {}", found.explanation);
    }
}

#[test]
fn classical_studies_are_told_from_their_inverted_copies_but_for_complete_follow_up() {
    let Some(data) = test_data() else { return };
    let plain = ["actg320", "bmt_cr", "gbsg2", "larynx", "leukemia", "macs", "rossi"];
    let complete = ["veteran", "waltons"];
    for name in plain.into_iter().chain(complete) {
        let mut reader = csv::Reader::from_path(data.join(format!("survival/datasets/{name}.csv"))).unwrap();
        let header = reader.headers().unwrap().clone();
        let column = |name: &str| header.iter().position(|found| found == name).unwrap();
        let (time, event) = (column("time"), column("event"));
        let rows: Vec<(f64, bool)> = reader
            .records()
            .map(|record| record.unwrap())
            .map(|record| (record[time].parse().unwrap(), record[event].parse::<f64>().unwrap() > 0.0))
            .collect();
        let verdict = |inverted: bool| {
            let outcome = |&(time, event): &(f64, bool)| {
                Outcome::new(time, if event != inverted { Status::Event } else { Status::Censored }).unwrap()
            };
            let column = StatusColumn {
                name: "status".to_owned(),
                one: Status::Event,
                event_values: Vec::new(),
                censored_values: Vec::new(),
            };
            status_suspicion::examine(&column, &rows.iter().map(outcome).collect::<Vec<_>>()).verdict
        };
        let wanted = match complete.contains(&name) {
            true => (Verdict::Unclear, Verdict::Plausible),
            false => (Verdict::Plausible, Verdict::LooksInverted),
        };
        assert_eq!((verdict(false), verdict(true)), wanted, "{name}");
    }
}

#[test]
fn site_grouped_folds_of_the_real_cohorts_share_no_site() {
    let Some(data) = test_data() else { return };
    for cohort in COHORTS {
        let clinical = data.join(format!("tcga/clinical/{cohort}.csv"));
        let table = ClinicalTable::read(&cohort_config(&clinical, &[("cohort.preset", "mcat")])).unwrap();
        let options = MakeOptions { n_folds: 5, grouping: Grouping::Groups(PatientGroups::Sites), seed: 7 };
        let check = splits::check(
            &table,
            &splits::make(&table, &options).unwrap(),
            HeldOutUse::Evaluate(HeldOutPart::Val),
            &PatientGroups::Sites,
        )
        .unwrap();
        assert!(check.errors.is_empty() && check.warnings.is_empty(), "{cohort}: {check:?}");
        assert!(
            check.folds.iter().all(|fold| fold.shared_sites.is_empty() && fold.n_validation_sites >= Some(1))
        );
        let counts = |of: fn(&PartCounts) -> usize| {
            let counts: Vec<usize> = check.folds.iter().map(|fold| of(&fold.validation)).collect();
            (counts.iter().sum::<usize>(), counts)
        };
        let mut seen = BTreeSet::new();
        let (n_patients, patients) = counts(|part| part.n_patients);
        let (n_events, events) = counts(|part| part.n_event_patients);
        println!("{cohort}: patients {patients:?}, events {events:?}");
        assert_eq!(n_patients, table.patient_outcomes().len());
        assert_eq!(n_events, table.patient_outcomes().iter().filter(|outcome| outcome.is_event()).count());
        // Whole sites are coarse: a fold has half to one and a half even shares, or the largest site.
        let mut sites: BTreeMap<String, (usize, usize)> = BTreeMap::new();
        for case in table.cases().iter().filter(|case| seen.insert(case.patient_id.clone())) {
            let site = sites.entry(site_of(&case.patient_id).unwrap().to_owned()).or_default();
            *site = (site.0 + 1, site.1 + usize::from(case.outcome.is_event()));
        }
        let largest = |of: fn(&(usize, usize)) -> usize| sites.values().map(of).max().unwrap();
        for (counts, n, largest) in
            [(&patients, n_patients, largest(|s| s.0)), (&events, n_events, largest(|s| s.1))]
        {
            let most = (n * 3).div_ceil(10).max(largest);
            assert!(
                counts.iter().all(|&count| count <= most && count * 10 >= n),
                "{cohort}: {counts:?}, {largest}"
            );
        }
    }
}
