//! The same cohort in the tables and splits of other tools gives the same folds of the same run.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod support;

use std::path::{Path, PathBuf};

use serde_json::{Value, json};
use support::{path, succeed};

struct Case {
    case_id: String,
    slide_id: String,
    months: f64,
    censored: bool,
}

/// A simulated cohort, its rows, and the validation cases of its folds.
struct Simulated {
    dir: tempfile::TempDir,
    cohort: PathBuf,
    cases: Vec<Case>,
    validation: Vec<Vec<String>>,
}

impl Simulated {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let cohort = support::cohort(dir.path(), 20);
        let mut reader = csv::Reader::from_path(cohort.join("clinical.csv")).unwrap();
        let cases = reader.records().map(|row| {
            let row = row.unwrap();
            Case {
                case_id: row[0].to_owned(),
                slide_id: row[1].trim_end_matches(".svs").to_owned(),
                months: row[2].parse().unwrap(),
                censored: &row[3] == "1",
            }
        });
        let cases = cases.collect();
        let validation = (0..5).map(|fold| {
            let mut reader =
                csv::Reader::from_path(cohort.join(format!("splits/splits_{fold}.csv"))).unwrap();
            let cells = reader.records().map(|row| row.unwrap()[2].to_owned());
            cells.filter(|cell| !cell.is_empty()).collect()
        });
        let validation = validation.collect();
        Self { dir, cohort, cases, validation }
    }

    fn write(&self, name: &str, text: &str) -> PathBuf {
        let file = self.dir.path().join(name);
        std::fs::create_dir_all(file.parent().unwrap()).unwrap();
        std::fs::write(&file, text).unwrap();
        file
    }

    fn rows(&self, header: &str, row: impl Fn(&Case) -> String) -> String {
        self.cases.iter().fold(format!("{header}\n"), |text, case| text + &row(case) + "\n")
    }

    fn is_validated(&self, fold: usize, case: &Case) -> bool {
        self.validation[fold].contains(&case.case_id)
    }

    /// `folds.json` of the run with another table and other splits.
    fn plan(&self, cohort_section: &str) -> Value {
        let text = std::fs::read_to_string(self.cohort.join("config.toml")).unwrap();
        let rest = &text[text.find("[features]").unwrap()..];
        let rest = rest.replace("dir = \"bags\"", &format!("dir = \"{}\"", path(&self.cohort.join("bags"))));
        let config =
            self.write("study.toml", &format!("[cohort]\nname = \"study\"\n{cohort_section}\n{rest}"));
        serde_json::from_str(&succeed(&["cv", "--config", path(&config), "--dry-run", "--json"])).unwrap()
    }

    fn released(&self) -> Value {
        let (clinical, splits) = (self.cohort.join("clinical.csv"), self.cohort.join("splits"));
        self.plan(&cohort_section(&clinical, "mcat", &splits))
    }
}

fn cohort_section(clinical: &Path, preset: &str, splits: &Path) -> String {
    format!("clinical = \"{}\"\npreset = \"{preset}\"\nsplits = \"{}\"\n", path(clinical), path(splits))
}

#[test]
fn a_portal_table_with_patient_splits_joins_bags_by_name() {
    let simulated = Simulated::new();
    let text = simulated.rows("PATIENT_ID\tOS_MONTHS\tOS_STATUS", |case| {
        let status = if case.censored { "0:LIVING" } else { "1:DECEASED" };
        format!("{}\t{}\t{status}", case.case_id, case.months)
    });
    let clinical = simulated.write("portal.tsv", &(text + "TCGA-XX-0000\tNA\t0:LIVING\n"));
    let ids = |fold: usize, validated: bool| -> Vec<&str> {
        let cases = simulated.cases.iter().filter(|case| simulated.is_validated(fold, case) == validated);
        cases.map(|case| case.case_id.as_str()).collect()
    };
    let lists = |fold| json!({"train_patients": ids(fold, false), "test_patients": ids(fold, true)});
    let splits = json!({"splits": (0..5).map(lists).collect::<Vec<_>>()});
    let splits = simulated.write("splits.json", &splits.to_string());
    let plan = simulated.plan(&cohort_section(&clinical, "cbioportal", &splits));
    assert_eq!(plan["folds"], simulated.released()["folds"]);
    assert_eq!(plan["folds"].as_array().unwrap().len(), 5);
    assert_eq!(
        plan["flow"][0]["dropped"],
        json!([{"reason": "row without a time or a status", "ids": ["TCGA-XX-0000"]}])
    );
}

#[test]
fn stamp_tables_with_slide_splits_of_clam_give_the_same_folds() {
    let simulated = Simulated::new();
    let clini = simulated.rows("PATIENT;weeks;status", |case| {
        let status = if case.censored { "Alive" } else { "Dead" };
        // A week is 7 / 30.4375 months.
        format!("{};{};{status}", case.case_id, case.months * 30.4375 / 7.0)
    });
    let clini = simulated.write("clini.csv", &clini);
    let slides = simulated.rows("PATIENT,FILENAME", |case| format!("{},{}.h5", case.case_id, case.slide_id));
    let slides = simulated.write("slide.csv", &slides);
    for fold in 0..5 {
        let header = ",train,val,test";
        let text = simulated.rows(header, |case| match simulated.is_validated(fold, case) {
            true => format!(",,,{}", case.slide_id),
            false => format!(",{},,", case.slide_id),
        });
        simulated.write(&format!("clam/splits_{fold}.csv"), &text);
    }
    let section = format!(
        "{}evaluate = \"test\"\nslides = \"{}\"\n[cohort.columns]\ntime = \"weeks\"\ntime_unit = \"weeks\"\nevent = \"status\"\n",
        cohort_section(&clini, "stamp", &simulated.dir.path().join("clam")),
        path(&slides)
    );
    let (found, wanted) = (simulated.plan(&section), simulated.released());
    for (found, wanted) in found["folds"].as_array().unwrap().iter().zip(wanted["folds"].as_array().unwrap())
    {
        for key in ["train", "validation", "n_train_events", "n_validation_events"] {
            assert_eq!(found[key], wanted[key], "{key}");
        }
        let edges = |fold: &Value| -> Vec<f64> {
            let edges = fold["time_bin_edges_months"].as_array().unwrap();
            edges.iter().map(|edge| edge.as_f64().unwrap()).collect()
        };
        // The times went to weeks and back.
        assert!(edges(found).iter().zip(edges(wanted)).all(|(a, b)| (a - b).abs() < 1e-9));
    }
}

#[test]
fn a_part_that_is_not_evaluated_is_listed() {
    let simulated = Simulated::new();
    for fold in 0..5 {
        // The first training case becomes the test part, in every fold the same.
        let first = &simulated.cases.iter().find(|case| !simulated.is_validated(fold, case)).unwrap().case_id;
        let text = simulated.rows(",train,val,test", |case| {
            match (simulated.is_validated(fold, case), &case.case_id) {
                (true, id) => format!(",,{id},"),
                (false, id) if id == first => format!(",,,{id}"),
                (false, id) => format!(",{id},,"),
            }
        });
        simulated.write(&format!("clam/splits_{fold}.csv"), &text);
    }
    let clinical = simulated.cohort.join("clinical.csv");
    let plan = simulated.plan(&cohort_section(&clinical, "mcat", &simulated.dir.path().join("clam")));
    for (found, wanted) in
        plan["folds"].as_array().unwrap().iter().zip(simulated.released()["folds"].as_array().unwrap())
    {
        assert_eq!(found["validation"], wanted["validation"]);
        assert_eq!(found["n_train_slides"].as_u64().unwrap() + 1, wanted["n_train_slides"].as_u64().unwrap());
    }

    // One fold alone: its test case is neither trained nor validated on, and is said to be.
    for fold in 1..5 {
        std::fs::remove_file(simulated.dir.path().join(format!("clam/splits_{fold}.csv"))).unwrap();
    }
    let plan = simulated.plan(&cohort_section(&clinical, "mcat", &simulated.dir.path().join("clam")));
    let dropped = plan["flow"][2]["dropped"].as_array().unwrap();
    let held_out = dropped.iter().find(|d| d["reason"].as_str().unwrap().contains("not evaluated")).unwrap();
    let first = simulated.cases.iter().find(|case| !simulated.is_validated(0, case)).unwrap();
    assert_eq!(held_out["ids"], json!([first.slide_id]));
}
