//! The models of a run on slides without outcomes: risks, patients, groups, and what is left out or refused.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod support;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::atomic::AtomicBool;

use candle_core::Device;
use cf_model::kernels::device::DeviceName;
use cf_train::Error;
use cf_train::apply::{self, ApplyOptions, ApplySummary, NewSlides};
use support::{cf_train, cohort, fail, path, predicted, simulate, succeed};
use wsi_bags::{BagStore, Converter, Layout};

/// A run of two folds, and the bags of patients who were not in it.
struct Place {
    dir: tempfile::TempDir,
    run: PathBuf,
    bags: PathBuf,
}

impl Place {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let (home, run) = (cohort(dir.path(), 30), dir.path().join("run"));
        let config = home.join("config.toml");
        succeed(&["cv", "--config", path(&config), "--folds", "0,2", "--out", path(&run)]);
        let new = dir.path().join("new");
        simulate(&new, 12, 12, &["--seed", "31"]);
        // Nothing but bags is left of them.
        let bags = dir.path().join("new-bags");
        std::fs::create_dir(&bags).unwrap();
        for entry in std::fs::read_dir(new.join("bags")).unwrap() {
            let bag = entry.unwrap().path();
            let name = bag.file_name().unwrap().to_str().unwrap().replace("SIM-", "NEW-");
            std::fs::rename(&bag, bags.join(name)).unwrap();
        }
        Self { dir, run, bags }
    }

    fn apply(&self, name: &str, more: &[&str]) -> (PathBuf, ApplySummary) {
        let out = self.dir.path().join(name);
        let arguments = ["apply", "--run", path(&self.run), "--out", path(&out), "--json"];
        let text = succeed(&[&arguments, more].concat());
        assert_eq!(text, std::fs::read_to_string(out.join("summary.json")).unwrap());
        (out, serde_json::from_str(&text).unwrap())
    }

    #[track_caller]
    fn refused(&self, more: &[&str], code: i32, texts: &[&str]) {
        let out = self.dir.path().join("refused");
        fail(&[&["apply", "--run", path(&self.run), "--out", path(&out)], more].concat(), code, texts);
        assert!(!out.exists(), "something was left");
    }

    /// What is said where nothing can be applied.
    fn refusal(&self, more: &[&str]) -> String {
        let out = self.dir.path().join("refused");
        let output = cf_train(&[&["apply", "--run", path(&self.run), "--out", path(&out)], more].concat());
        assert_eq!((output.status.code(), out.exists()), (Some(3), false));
        String::from_utf8(output.stderr).unwrap()
    }

    fn table(&self, text: &str) -> PathBuf {
        let table = self.dir.path().join("slides.csv");
        std::fs::write(&table, text).unwrap();
        table
    }

    /// Medians of the risks that each model was trained on, of slides, and their mean.
    fn learned_cut(&self) -> f64 {
        let median = |fold: usize| {
            let file = self.run.join(format!("fold_{fold}/predictions_train.csv"));
            let mut reader = csv::Reader::from_path(file).unwrap();
            let rows = reader.deserialize::<cf_train::evaluate::Prediction>();
            let mut risks: Vec<f64> = rows.map(|row| row.unwrap().risk).collect();
            risks.sort_by(f64::total_cmp);
            (risks[(risks.len() - 1) / 2] + risks[risks.len() / 2]) / 2.0
        };
        (median(0) + median(2)) / 2.0
    }
}

/// Rows of a table, by their names of columns.
fn rows(file: &Path) -> Vec<BTreeMap<String, String>> {
    csv::Reader::from_path(file).unwrap().deserialize().map(|row| row.unwrap()).collect()
}

fn number(row: &BTreeMap<String, String>, column: &str) -> f64 {
    row[column].parse().unwrap()
}

/// Survival at `months` between the ends of the bins that `predict` tells, from 1 at time 0.
fn on_straight_lines(prediction: &serde_json::Value, months: f64) -> f64 {
    let numbers = |key: &str| -> Vec<f64> {
        prediction[key].as_array().unwrap().iter().map(|number| number.as_f64().unwrap()).collect()
    };
    let (edges, survival) = (numbers("time_bin_edges_months"), numbers("survival"));
    let mut before = (0.0, 1.0);
    for (end, survival) in edges[1..].iter().copied().zip(survival) {
        if months <= end {
            return before.1 + (survival - before.1) * (months - before.0) / (end - before.0);
        }
        before = (end, survival);
    }
    panic!("{months} months are beyond the last bin");
}

#[test]
fn risks_are_the_means_of_what_predict_says_and_cut_where_training_says() {
    let place = Place::new();
    let features = ["--features", path(&place.bags), "--at", "3,7.5"];
    let (out, summary) = place.apply("all", &features);
    assert_eq!(summary.at, [3.0, 7.5]);
    let slides = rows(&out.join("predictions.csv"));
    assert_eq!((slides.len(), summary.n_slides, summary.n_patients), (12, 12, 12));
    let cut = place.learned_cut();
    assert!((summary.cut.unwrap() - cut).abs() < 1e-12);
    for row in &slides {
        let slide = row["slide_id"].as_str();
        let (mut at_3, mut at_7) = (0.0, 0.0);
        for fold in [0, 2] {
            let alone = predicted(&place.run.join(format!("fold_{fold}")), "crossfusion", &place.bags, slide);
            assert_eq!(number(row, &format!("risk_fold_{fold}")), alone["risk"].as_f64().unwrap(), "{slide}");
            at_3 += on_straight_lines(&alone, 3.0) / 2.0;
            at_7 += on_straight_lines(&alone, 7.5) / 2.0;
        }
        for (column, expected) in [("survival_3_months", at_3), ("survival_7.5_months", at_7)] {
            let found = number(row, column);
            assert!((found - expected).abs() < 1e-12 && found < 1.0, "{slide}: {found}, expected {expected}");
        }
        let mean = (number(row, "risk_fold_0") + number(row, "risk_fold_2")) / 2.0;
        assert_eq!(number(row, "risk"), mean);
        assert_eq!(row["risk_group"], if mean >= cut { "high" } else { "low" });
        assert_eq!((row["in_run"].as_str(), row["patient_id"].as_str()), ("false", slide));
    }
    let n_high = slides.iter().filter(|row| row["risk_group"] == "high").count();
    assert_eq!(summary.n_high_slides, Some(n_high));
    assert!(
        summary.remarks.iter().any(|remark| remark.contains("nothing says which slides are of one patient"))
    );
    assert_eq!(
        (summary.run.unfinished_folds.as_slice(), summary.run.checkpoints.len()),
        ([1, 3, 4].as_slice(), 2)
    );
    let environment = std::fs::read_to_string(out.join("environment.json")).unwrap();
    assert!(environment.contains(&summary.run.checkpoints[1].sha256), "{environment}");

    let (one, _) = place.apply("one-thread", &[&features[..], &["--threads", "1"]].concat());
    for name in ["predictions.csv", "patients.csv", "summary.json"] {
        assert_eq!(std::fs::read(out.join(name)).unwrap(), std::fs::read(one.join(name)).unwrap(), "{name}");
    }
}

#[test]
fn a_table_picks_slides_and_names_their_patients() {
    let place = Place::new();
    std::fs::rename(place.bags.join("NEW-0003-01Z-00-DX1.h5"), place.dir.path().join("gone.h5")).unwrap();
    let table = place.table(
        "slide_id,stain,case_id\nNEW-0007-01Z-00-DX1.svs,HE,B\nNEW-0003-01Z-00-DX1,HE,B\nNEW-0001-01Z-00-DX1,HE,A\n\
         NEW-0002-01Z-00-DX1,HE,B\n",
    );
    let (out, summary) =
        place.apply("listed", &["--features", path(&place.bags), "--slides", path(&table), "--folds", "2"]);
    let slides = rows(&out.join("predictions.csv"));
    let ids: Vec<(&str, &str)> =
        slides.iter().map(|row| (row["slide_id"].as_str(), row["patient_id"].as_str())).collect();
    assert_eq!(
        ids,
        [("NEW-0007-01Z-00-DX1", "B"), ("NEW-0001-01Z-00-DX1", "A"), ("NEW-0002-01Z-00-DX1", "B")],
        "in the order of the table"
    );
    assert_eq!(summary.left_out.len(), 1);
    assert_eq!(summary.left_out[0].ids, ["NEW-0003-01Z-00-DX1"]);
    assert_eq!(summary.left_out[0].reason, "slide without a bag");
    let patients = rows(&out.join("patients.csv"));
    let found: Vec<(&str, &str)> =
        patients.iter().map(|row| (row["patient_id"].as_str(), row["n_slides"].as_str())).collect();
    assert_eq!(found, [("A", "1"), ("B", "2")]);
    let of_b = (number(&slides[0], "risk") + number(&slides[2], "risk")) / 2.0;
    assert_eq!((number(&patients[1], "risk"), number(&patients[1], "risk_fold_2")), (of_b, of_b));
    assert_eq!(number(&patients[0], "risk"), number(&slides[1], "risk_fold_2"));
    assert!(!slides[0].contains_key("risk_fold_0"));
    assert!(summary.remarks.iter().all(|remark| !remark.contains("nothing says")), "{:?}", summary.remarks);

    // Below the header, a row is no comment for its first letter.
    place.table("# of hospital B\nslide_id,case_id\n#7,A\nNEW-0001-01Z-00-DX1,B\n");
    let (_, summary) = place.apply("hash", &["--features", path(&place.bags), "--slides", path(&table)]);
    assert_eq!((summary.n_slides, &summary.left_out[0].ids), (1, &vec!["#7".to_owned()]));

    let file = path(&table);
    let features = ["--features", path(&place.bags), "--slides", file];
    place.table("slide_id\nNEW-0001-01Z-00-DX1\nNEW-0001-01Z-00-DX1.svs\n");
    place.refused(&features, 3, &["slides.csv: slide NEW-0001-01Z-00-DX1 stands in line 2 and in line 3"]);
    place.table("slide\nNEW-0001-01Z-00-DX1\n");
    place.refused(&features, 3, &["slides.csv: found the columns slide, expected `slide_id`"]);
    place.table("slide_id\nOLD-1\n");
    let texts = ["no slide of the table of slides has a bag: the table says OLD-1, the bags are called NEW-"];
    place.refused(&features, 3, &texts);
}

#[test]
fn slides_of_the_run_are_marked_and_what_does_not_fit_is_refused() {
    let place = Place::new();
    let home = place.dir.path().join("cohort/bags");
    let (out, summary) = place.apply("home", &["--features", path(&home)]);
    let slides = rows(&out.join("predictions.csv"));
    let risk_of: BTreeMap<&str, f64> =
        slides.iter().map(|row| (row["slide_id"].as_str(), number(row, "risk_fold_2"))).collect();
    for row in rows(&place.run.join("fold_2/predictions.csv")) {
        assert_eq!(risk_of[row["slide_id"].as_str()], number(&row, "risk"), "as the run itself evaluated it");
    }
    assert_eq!(slides.iter().filter(|row| row["in_run"] == "true").count(), summary.slides_of_run.len());
    assert_eq!(summary.slides_of_run.len(), 30, "two folds train on or validate all slides");
    assert!(summary.remarks.iter().any(|remark| remark.starts_with("30 of 30 slides were in the run")));

    // Another slide of a patient of the run, of which nothing but its name is known.
    let patient = slides[0]["slide_id"].split("-01Z").next().unwrap();
    let other = place.bags.join(format!("{patient}-01Z-00-DX9.h5"));
    std::fs::copy(place.bags.join("NEW-0001-01Z-00-DX1.h5"), &other).unwrap();
    let (_, named) = place.apply("named", &["--features", path(&place.bags)]);
    assert_eq!(named.slides_of_run, [format!("{patient}-01Z-00-DX9")]);
    std::fs::remove_file(other).unwrap();

    let wide = place.dir.path().join("wide");
    simulate(&wide, 10, 16, &[]);
    place.refused(
        &["--features", path(&wide.join("bags"))],
        3,
        &["best.safetensors: reads features of 12 columns, slide SIM-0001-01Z-00-DX1 has 16"],
    );
    let features = ["--features", path(&place.bags)];
    place.refused(
        &[&features[..], &["--folds", "1"]].concat(),
        3,
        &["fold 1 was asked for, finished are 0, 2"],
    );
    let late = [&features[..], &["--at", "12,4000"]].concat();
    place.refused(&late, 3, &["were trained on times up to", "--at asks for survival at 4000 months"]);
    // What the error says may be asked for may be, and a month asked for twice is one column.
    let error = fail(&[&["apply", "--run", path(&place.run), "--out", "none"], &late[..]].concat(), 3, &[]);
    let most = error.split("expected at most ").nth(1).unwrap().trim();
    let (out, summary) =
        place.apply("latest", &[&features[..], &["--at", &format!("{most},3,3.0")]].concat());
    assert_eq!(summary.at, [most.parse().unwrap(), 3.0]);
    let header = std::fs::read_to_string(out.join("predictions.csv")).unwrap();
    assert_eq!(header.lines().next().unwrap().matches("survival_").count(), 2, "{header}");
    place.refused(&[&features[..], &["--at", "0"]].concat(), 2, &["expected a number of months above 0"]);
    let little = [&features[..], &["--memory-budget", "1MiB"]].concat();
    place.refused(&little, 4, &["a pass over which by 2 models takes", "--memory-budget SIZE"]);
    place.refused(&["--features", path(&place.dir.path().join("nowhere"))], 3, &["nowhere"]);

    let elsewhere = place.run.join("fold_0");
    let error = place.refusal(&["--features", path(&elsewhere)]);
    assert!(error.contains("no bags found") && error.contains("looked for"), "{error}");
    assert!(!error.contains("one magnification"), "weights are no features: {error}");

    let slides = NewSlides { features: place.bags.clone(), ..NewSlides::default() };
    let options = ApplyOptions {
        folds: Vec::new(),
        months: Vec::new(),
        memory_budget: None,
        device_name: DeviceName::Cpu,
        device: Device::Cpu,
    };
    let out = place.dir.path().join("stopped");
    let stopped = apply::apply(&slides, (&place.run, &out), &options, &AtomicBool::new(true), &mut |_| {});
    assert!(matches!(stopped, Err(Error::ScoringInterrupted { n_done: 0, n_slides: 12 })), "{stopped:?}");
    assert!(!out.exists());

    std::fs::remove_file(place.run.join("fold_0/predictions_train.csv")).unwrap();
    let (out, summary) = place.apply("uncut", &features);
    assert_eq!((summary.cut, summary.n_high_slides), (None, None));
    assert!(rows(&out.join("predictions.csv")).iter().all(|row| row["risk_group"].is_empty()));
    assert!(summary.remarks.iter().any(|remark| remark.contains("no cut between high and low risk")));
}

#[test]
fn models_of_the_cox_loss_rank_and_predict_no_survival() {
    let dir = tempfile::tempdir().unwrap();
    let (home, run) = (cohort(dir.path(), 30), dir.path().join("run"));
    let config = home.join("config.toml");
    let cox = ["--set", "training.loss=cox", "--folds", "0"];
    succeed(&[&["cv", "--config", path(&config), "--out", path(&run)], &cox[..]].concat());
    let (bags, out) = (home.join("bags"), dir.path().join("out"));
    let apply = ["apply", "--run", path(&run), "--features", path(&bags), "--out", path(&out)];
    fail(
        &[&apply[..], &["--at", "3"]].concat(),
        3,
        &["trained with training.loss = \"cox\", which says whose risk is higher", "leave out --at"],
    );
    succeed(&apply);
    let test = dir.path().join("test");
    let tested = ["test", "--run", path(&run), "--config", path(&config), "--allow-overlap", "--out"];
    succeed(&[&tested[..], &[path(&test)]].concat());
    let page = std::fs::read_to_string(test.join("report.html")).unwrap();
    assert_eq!(page.matches("which says whose risk is higher and not what survival is").count(), 2, "{page}");
    let over_time = |dir: &Path| -> serde_json::Value {
        serde_json::from_slice(&std::fs::read(dir.join("over_time.json")).unwrap()).unwrap()
    };
    for found in [over_time(&test), over_time(&run)] {
        assert!(found["mean"]["mean_auc"].is_number(), "risks are scored: {found}");
        assert!(found["mean"]["integrated_brier"].is_null() && found["calibration"].is_null(), "{found}");
    }
}

#[test]
fn slides_whose_bags_are_damaged_are_left_out_and_listed() {
    let place = Place::new();
    let bag = |number: usize| place.bags.join(format!("NEW-{number:04}-01Z-00-DX1.h5"));
    let (whole, _) = place.apply("whole", &["--features", path(&place.bags)]);
    // The first is no HDF5 file, the third breaks off; of the last a feature is no number.
    let length = std::fs::metadata(bag(3)).unwrap().len();
    std::fs::OpenOptions::new().write(true).open(bag(3)).unwrap().set_len(length / 2).unwrap();
    std::fs::write(bag(1), "no bag").unwrap();
    let last = 12;
    let mut bytes = std::fs::read(bag(last)).unwrap();
    let store = wsi_bags::BagStore::open(&place.bags, None, "simulated").unwrap();
    let features = store.read("NEW-0012-01Z-00-DX1", &[wsi_bags::Magnification::X10]).unwrap();
    let value = features.at(wsi_bags::Magnification::X10).unwrap().features().row(0).unwrap()[0];
    drop(features);
    let at = bytes.windows(4).position(|four| four == value.to_le_bytes()).unwrap();
    bytes[at..at + 4].copy_from_slice(&f32::NAN.to_le_bytes());
    std::fs::write(bag(last), bytes).unwrap();

    let (out, summary) = place.apply("damaged", &["--features", path(&place.bags)]);
    let ids = [1, 3, last].map(|number| format!("NEW-{number:04}-01Z-00-DX1"));
    assert_eq!(summary.left_out.len(), 1);
    assert_eq!(
        (summary.left_out[0].reason.as_str(), summary.left_out[0].ids.as_slice()),
        ("slide whose bag can't be read", &ids[..])
    );
    let faults = &summary.left_out[0].faults;
    assert!(
        faults.len() == 3 && faults[0].contains("unknown kind") && faults[2].contains("NaN"),
        "{faults:?}"
    );
    let remark = summary.remarks.iter().find(|remark| remark.starts_with("bags can't be read")).unwrap();
    assert!(ids.iter().all(|id| remark.contains(id)) && remark.contains("NaN"), "{remark}");
    // The others are scored as they are without the damaged ones.
    let (found, wanted) = (rows(&out.join("predictions.csv")), rows(&whole.join("predictions.csv")));
    let wanted: Vec<_> = wanted.into_iter().filter(|row| !ids.contains(&row["slide_id"])).collect();
    assert_eq!((found.len(), &found), (9, &wanted));
    assert_eq!((summary.n_slides, rows(&out.join("patients.csv")).len()), (9, 9));

    for (id, fault) in ids.iter().zip(["unknown kind", "ends at byte", "NaN or infinite"]) {
        let one = place.table(&format!("slide_id\n{id}\n"));
        place.refused(&["--features", path(&place.bags), "--slides", path(&one)], 3, &[id, fault]);
    }
}

/// The folders of each magnification, wherever they lie, hold the same slides as the folder above them.
#[test]
fn features_are_found_folder_by_folder() {
    let place = Place::new();
    let clam = place.dir.path().join("clam");
    let store = BagStore::open(&place.bags, Some(Layout::Native), "simulated").unwrap();
    let mut converter = Converter::new(&store, Layout::Clam, &clam).unwrap();
    for slide in store.slide_ids() {
        converter.convert(slide).unwrap();
    }
    let (whole, _) = place.apply("whole", &["--features", path(&clam)]);
    let roots = [("x5", "five"), ("x10", "ten"), ("x20", "twenty")].map(|(at, name)| {
        let moved = place.dir.path().join(name);
        std::fs::rename(clam.join(at), &moved).unwrap();
        format!("{at}={}", moved.display())
    });
    let by_root: Vec<&str> = roots.iter().flat_map(|root| ["--root", root.as_str()]).collect();
    let (apart, _) = place.apply("apart", &by_root);
    for name in ["predictions.csv", "patients.csv"] {
        assert_eq!(
            std::fs::read(whole.join(name)).unwrap(),
            std::fs::read(apart.join(name)).unwrap(),
            "{name}"
        );
    }

    let ten = place.dir.path().join("ten");
    let error = place.refusal(&["--features", path(&ten)]);
    for text in ["no bags found", "looked for", "is the folder of one magnification", "[features.roots]"] {
        assert!(error.contains(text), "{text}: {error}");
    }
    assert!(error.contains(&format!("--root x20={}", ten.display())), "{error}");
    let twice = [&by_root[..], &["--root", by_root[1]]].concat();
    assert!(place.refusal(&twice).contains("x5 was given twice"));
    place.refused(&[&by_root[..], &["--features", path(&clam)]].concat(), 2, &["cannot be used with"]);
    place.refused(&[&by_root[..], &["--layout", "clam"]].concat(), 2, &["cannot be used with"]);
    place.refused(&[], 2, &["--features <DIR>"]);
}
