//! The models of a run on another cohort: risks slide by slide, what is computed of them, and what is refused.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod support;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::atomic::AtomicBool;

use candle_core::Device;
use cf_model::kernels::device::DeviceName;
use cf_train::external::{self, ExternalSummary, Overlap, TestOptions};
use cf_train::{Error, ExternalConfig};
use support::{cf_train, cohort, fail, path, predicted, simulate, succeed};
use survival_metrics::{
    BootstrapConfig, CoxTies, CoxVariance, FoldRisks, Outcome, RiskGroup, RiskTies, Status, SurvivalData,
    cluster_bootstrap_mean_c_index, concordance_index, cox_model, log_rank_test,
};
use wsi_bags::{Bag, FeatureMatrix, Magnification, PatchSet, Provenance, SlideInfo, native};

/// A cohort of other patients, some of them with two slides, and its configuration.
struct Elsewhere {
    dir: PathBuf,
    config: PathBuf,
}

impl Elsewhere {
    fn new(dir: &Path, patients: usize, backbone_dim: usize) -> Self {
        let out = dir.join(format!("elsewhere-{backbone_dim}"));
        simulate(&out, patients, backbone_dim, &["--seed", "31"]);
        for entry in std::fs::read_dir(out.join("bags")).unwrap() {
            let bag = entry.unwrap().path();
            let name = bag.file_name().unwrap().to_str().unwrap().replace("SIM-", "EXT-");
            std::fs::rename(&bag, bag.with_file_name(name)).unwrap();
        }
        let table = std::fs::read_to_string(out.join("clinical.csv")).unwrap().replace("SIM-", "EXT-");
        let mut rows: Vec<Vec<String>> =
            table.lines().map(|line| line.split(',').map(str::to_owned).collect()).collect();
        // The slides of lines 2 and 3, and those of 5 and 6, are of one patient each.
        for (first, second) in [(1, 2), (4, 5)] {
            let [case, _, time, censorship] = <[String; 4]>::try_from(rows[first].clone()).unwrap();
            (rows[second][0], rows[second][2], rows[second][3]) = (case, time, censorship);
        }
        let table: String = rows.iter().map(|row| row.join(",") + "\n").collect();
        std::fs::write(out.join("clinical.csv"), table).unwrap();
        let config = out.join("cohort.toml");
        let text = "[cohort]\nname = \"elsewhere\"\nclinical = \"clinical.csv\"\npreset = \"mcat\"\n\
                    [features]\ndir = \"bags\"\nbackbone = \"simulated\"\n";
        std::fs::write(&config, text).unwrap();
        Self { dir: out, config }
    }

    fn test(&self, run: &Path, out: &Path, more: &[&str]) -> ExternalSummary {
        let mut arguments = self.arguments(run, out);
        arguments.extend(more.iter().map(|&argument| argument.to_owned()));
        arguments.push("--json".to_owned());
        let text = succeed(&arguments.iter().map(String::as_str).collect::<Vec<_>>());
        assert_eq!(text, std::fs::read_to_string(out.join("summary.json")).unwrap());
        serde_json::from_str(&text).unwrap()
    }

    #[track_caller]
    fn refused(&self, run: &Path, more: &[&str], code: i32, texts: &[&str]) {
        let out = self.dir.join("refused");
        let mut arguments = self.arguments(run, &out);
        arguments.extend(more.iter().map(|&argument| argument.to_owned()));
        fail(&arguments.iter().map(String::as_str).collect::<Vec<_>>(), code, texts);
        assert!(!out.exists(), "something was left");
        let left = std::fs::read_dir(&self.dir).unwrap().map(|entry| entry.unwrap().path());
        assert_eq!(left.filter(|path| path.extension().is_some_and(|at| at == "tmp")).count(), 0);
    }

    fn arguments(&self, run: &Path, out: &Path) -> Vec<String> {
        ["test", "--run", path(run), "--config", path(&self.config), "--out", path(out)]
            .map(str::to_owned)
            .into()
    }

    /// Writes the clinical table with the lines that `change` makes of its own.
    fn rewrite_table(&self, change: impl Fn(usize, &str) -> String) {
        let file = self.dir.join("clinical.csv");
        let text = std::fs::read_to_string(&file).unwrap();
        let lines: Vec<String> = text.lines().enumerate().map(|(at, line)| change(at, line)).collect();
        std::fs::write(&file, lines.join("\n") + "\n").unwrap();
    }
}

fn train(cohort: &Path, run: &Path, more: &[&str]) {
    let config = cohort.join("config.toml");
    let mut arguments = vec!["cv", "--config", path(&config), "--out", path(run)];
    arguments.extend(more);
    succeed(&arguments);
}

/// A row of `predictions.csv` or `patients.csv`.
struct Row {
    /// The first two cells.
    ids: [String; 2],
    outcome: Outcome,
    by_model: Vec<f64>,
    risk: f64,
}

/// Survival at the months that were asked for, row by row.
fn survival_at(file: &Path, month: &str) -> Vec<f64> {
    let mut reader = csv::Reader::from_path(file).unwrap();
    let column = format!("survival_{month}_months");
    let rows = reader.deserialize::<BTreeMap<String, String>>();
    rows.map(|row| row.unwrap()[&column].parse().unwrap()).collect()
}

fn rows(file: &Path, folds: &[usize]) -> Vec<Row> {
    let mut reader = csv::Reader::from_path(file).unwrap();
    let header: Vec<String> = reader.headers().unwrap().iter().skip(2).map(str::to_owned).collect();
    let mut expected = vec!["event_time_months".to_owned(), "status".to_owned()];
    expected.extend(folds.iter().map(|fold| format!("risk_fold_{fold}")));
    expected.push("risk".to_owned());
    assert_eq!(header, expected);
    let rows = reader.records().map(|record| {
        let record = record.unwrap();
        let numbers: Vec<f64> = record.iter().skip(4).map(|cell| cell.parse().unwrap()).collect();
        let (risk, by_model) = numbers.split_last().unwrap();
        let status = if &record[3] == "event" { Status::Event } else { Status::Censored };
        assert!(["event", "censored"].contains(&&record[3]));
        Row {
            ids: [record[0].to_owned(), record[1].to_owned()],
            outcome: Outcome::new(record[2].parse().unwrap(), status).unwrap(),
            by_model: by_model.to_vec(),
            risk: *risk,
        }
    });
    rows.collect()
}

/// The risk that `cf-train predict` says of a slide, by the model of one fold.
fn predicted_risk(elsewhere: &Elsewhere, (run, model): (&Path, &str), fold: usize, slide: &str) -> f64 {
    let fold = run.join(format!("fold_{fold}"));
    predicted(&fold, model, &elsewhere.dir.join("bags"), slide)["risk"].as_f64().unwrap()
}

fn c_index(rows: &[Row], risk: impl Fn(&Row) -> f64) -> f64 {
    let outcomes: Vec<Outcome> = rows.iter().map(|row| row.outcome).collect();
    let risk: Vec<f64> = rows.iter().map(risk).collect();
    concordance_index(&outcomes, &risk, RiskTies::default()).unwrap().c_index()
}

fn mean(values: &[f64]) -> f64 {
    values.iter().sum::<f64>() / values.len() as f64
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    let n = values.len();
    mean(&values[(n - 1) / 2..=n / 2])
}

/// The median of the risks of patients trained on, the mean over folds of it.
fn learned_patient_cut(run: &Path, folds: &[usize]) -> f64 {
    let medians: Vec<f64> = folds
        .iter()
        .map(|fold| {
            let mut reader =
                csv::Reader::from_path(run.join(format!("fold_{fold}/predictions_train.csv"))).unwrap();
            let mut patients: BTreeMap<String, Vec<f64>> = BTreeMap::new();
            for row in reader.deserialize::<cf_train::evaluate::Prediction>() {
                let row = row.unwrap();
                patients.entry(row.case_id).or_default().push(row.risk);
            }
            median(patients.values().map(|risks| mean(risks)).collect())
        })
        .collect();
    mean(&medians)
}

#[test]
fn risks_are_those_of_predict_and_all_that_is_computed_of_them_is_right() {
    let dir = tempfile::tempdir().unwrap();
    let (home, run) = (cohort(dir.path(), 30), dir.path().join("run"));
    train(&home, &run, &[]);
    let (elsewhere, out) = (Elsewhere::new(dir.path(), 26, 12), dir.path().join("test"));
    let summary = elsewhere.test(&run, &out, &[]);
    let folds = [0, 1, 2, 3, 4];

    let slides = rows(&out.join("predictions.csv"), &folds);
    assert_eq!((slides.len(), summary.n_slides, summary.n_patients), (26, 26, 24));
    for row in &slides {
        assert_eq!(row.risk, mean(&row.by_model), "{}", row.ids[1]);
    }
    for (at, row) in slides.iter().enumerate().filter(|(at, _)| at % 4 == 0) {
        for fold in folds {
            let expected = predicted_risk(&elsewhere, (&run, "crossfusion"), fold, &row.ids[1]);
            assert_eq!(row.by_model[fold], expected, "slide {at}, fold {fold}");
        }
    }
    assert!(slides.iter().any(|row| row.by_model[0] != row.by_model[1]), "the models are alike");

    let patients = rows(&out.join("patients.csv"), &folds);
    let mut of_patient: BTreeMap<&str, Vec<&Row>> = BTreeMap::new();
    for row in &slides {
        of_patient.entry(&row.ids[0]).or_default().push(row);
    }
    assert_eq!(patients.len(), 24);
    for (row, (patient, slides)) in patients.iter().zip(&of_patient) {
        assert_eq!((row.ids[0].as_str(), row.ids[1].parse()), (*patient, Ok(slides.len())));
        assert_eq!(row.risk, mean(&slides.iter().map(|slide| slide.risk).collect::<Vec<_>>()));
        assert_eq!(row.by_model[3], mean(&slides.iter().map(|slide| slide.by_model[3]).collect::<Vec<_>>()));
        assert_eq!(row.outcome, slides[0].outcome);
    }
    assert_eq!(patients.iter().filter(|row| row.ids[1] == "2").count(), 2);

    for (rows, found) in [(&slides, &summary.c_index), (&patients, &summary.patient_c_index)] {
        assert_eq!(found.averaged, Some(c_index(rows, |row| row.risk)));
        let each: Vec<f64> = folds.iter().map(|&fold| c_index(rows, |row| row.by_model[fold])).collect();
        assert_eq!(found.folds, each.iter().copied().map(Some).collect::<Vec<_>>());
        assert!((found.mean.unwrap() - mean(&each)).abs() < 1e-15);
        let squares: Vec<f64> = each.iter().map(|value| (value - mean(&each)).powi(2)).collect();
        assert!((found.sd.unwrap() - mean(&squares).sqrt()).abs() < 1e-15);

        let outcomes: Vec<Outcome> = rows.iter().map(|row| row.outcome).collect();
        let risk: Vec<f64> = rows.iter().map(|row| row.risk).collect();
        let clusters: Vec<String> = rows.iter().map(|row| row.ids[0].clone()).collect();
        let fold = FoldRisks { outcomes: &outcomes, risk: &risk, clusters: &clusters };
        let interval =
            cluster_bootstrap_mean_c_index(&[fold], BootstrapConfig { seed: 7, ..Default::default() })
                .unwrap();
        assert_eq!(found.ci95, Some((interval.lower, interval.upper)));
    }

    let groups = &summary.patient_risk_groups;
    let cut = learned_patient_cut(&run, &folds);
    assert!((groups.cut - cut).abs() < 1e-12, "{} and {cut}", groups.cut);
    let outcomes: Vec<Outcome> = patients.iter().map(|row| row.outcome).collect();
    let is_high: Vec<bool> = patients.iter().map(|row| row.risk >= cut).collect();
    let sides: Vec<RiskGroup> =
        is_high.iter().map(|&high| if high { RiskGroup::High } else { RiskGroup::Low }).collect();
    assert_eq!(groups.high.n, is_high.iter().filter(|&&high| high).count());
    assert_eq!(groups.high.n + groups.low.n, 24);
    match log_rank_test(&outcomes, &sides) {
        Ok(test) => assert_eq!(groups.log_rank.chi_square, Some(test.chi_square)),
        Err(_) => assert!(groups.no_log_rank.is_some()),
    }
    let covariate: Vec<f64> = is_high.iter().map(|&high| f64::from(u8::from(high))).collect();
    let data = SurvivalData::new(&outcomes).unwrap();
    match cox_model(&data, &[&covariate], CoxTies::Efron) {
        Ok(model) => {
            let ratio = model.hazard_ratio(0, 0.95, CoxVariance::Model).unwrap();
            let found = groups.hazard_ratio.unwrap();
            assert_eq!((found.value, found.ci95), (ratio.hazard_ratio, (ratio.lower, ratio.upper)));
        }
        Err(_) => assert!(groups.no_hazard_ratio.is_some()),
    }

    assert_eq!(summary.run.cohort, "simulated-additive");
    assert_eq!(summary.run.checkpoints.iter().map(|model| model.fold).collect::<Vec<_>>(), folds);
    // Models that were hardly trained have next to no spread, each another one.
    let of_spread = |remark: &String| remark.contains("times as far") && remark.contains("trained on");
    assert!(
        summary.remarks.iter().all(of_spread) && summary.patients_of_run.is_empty(),
        "{:?}",
        summary.remarks
    );
    let over_time: serde_json::Value =
        serde_json::from_slice(&std::fs::read(out.join("over_time.json")).unwrap()).unwrap();
    assert_eq!(over_time["calibration"]["n_patients"], summary.n_patients);
    assert_eq!(over_time["folds"].as_array().unwrap().len(), 1);
    let page = std::fs::read_to_string(out.join("report.html")).unwrap();
    assert!(page.contains("<h1>crossfusion of simulated-additive, tested on elsewhere</h1>"));
    assert!(
        page.contains(&format!(
            "data-summary=\"c_index.averaged\">{:.3}<",
            summary.c_index.averaged.unwrap()
        ))
    );
    assert!(out.join("figures/kaplan-meier-patients.png").is_file());
    assert!(page.contains("each predicted by the mean over the models."), "calibration is there");
    let d_calibration = std::fs::read_dir(out.join("figures")).unwrap().map(|file| file.unwrap().file_name());
    assert!(d_calibration.into_iter().any(|name| name.to_str().unwrap().starts_with("d-calibration")));
    let environment = std::fs::read_to_string(out.join("environment.json")).unwrap();
    assert!(environment.contains("checkpoint fold_4/best.safetensors"), "{environment}");
    assert!(environment.contains(&summary.run.checkpoints[4].sha256));
}

#[test]
fn a_test_is_the_same_twice_and_with_one_and_two_threads() {
    let dir = tempfile::tempdir().unwrap();
    let (home, run) = (cohort(dir.path(), 30), dir.path().join("run"));
    train(&home, &run, &["--folds", "0,2"]);
    let elsewhere = Elsewhere::new(dir.path(), 20, 12);
    let files = |name: &str, threads: &str| {
        let out = dir.path().join(name);
        let summary = elsewhere.test(&run, &out, &["--threads", threads]);
        assert_eq!(summary.run.unfinished_folds, [1, 3, 4]);
        assert!(
            summary.remarks[0].contains("has no models of 3 of its folds (1, 3, 4)"),
            "{:?}",
            summary.remarks
        );
        let names = [
            "predictions.csv",
            "patients.csv",
            "summary.json",
            "cohort.toml",
            "figures/kaplan-meier-slides.png",
        ];
        names.map(|name| std::fs::read(out.join(name)).unwrap())
    };
    let first = files("a", "1");
    assert!(first == files("b", "1"), "two tests differ");
    assert!(first == files("c", "2"), "one and two threads differ");
    let report = |name: &str| std::fs::read(dir.path().join(name).join("report.html")).unwrap();
    assert!(report("a") == report("b"), "two reports differ");
    // What a test wrote of its cohort is enough for another one.
    let again = Elsewhere { config: dir.path().join("a/cohort.toml"), dir: elsewhere.dir.clone() };
    again.test(&run, &dir.path().join("d"), &[]);
    let predictions = std::fs::read(dir.path().join("d/predictions.csv")).unwrap();
    assert!(predictions == first[0]);
    // Survival is asked for.
    let at = dir.path().join("at");
    elsewhere.test(&run, &at, &["--at", "3,9"]);
    let (of_slides, of_patients) = (at.join("predictions.csv"), at.join("patients.csv"));
    let [early, late] = ["3", "9"].map(|month| survival_at(&of_slides, month));
    assert!(early.iter().zip(&late).all(|(early, late)| 1.0 > *early && early > late && *late > 0.0));
    let patients = survival_at(&of_patients, "3");
    // Slides 0 and 1 are of the first patient, the third is the second patient's.
    assert_eq!((patients[0], patients[1]), ((early[0] + early[1]) / 2.0, early[2]));
    let applied = dir.path().join("applied");
    succeed(&[
        "apply",
        "--run",
        path(&run),
        "--features",
        path(&elsewhere.dir.join("bags")),
        "--out",
        path(&applied),
        "--at",
        "9",
    ]);
    assert_eq!(survival_at(&applied.join("predictions.csv"), "9"), late, "as `apply` says");
    elsewhere.refused(&run, &["--at", "4000"], 3, &["--at asks for survival at 4000 months"]);
    // Another fold alone is another test.
    let one = elsewhere.test(&run, &dir.path().join("e"), &["--folds", "2"]);
    assert_eq!(one.c_index.folds.len(), 1);
    assert_eq!((one.c_index.averaged, one.c_index.sd), (one.c_index.folds[0], None));
}

#[test]
fn every_head_protocol_and_precision_is_averaged_as_predict_gives_it() {
    let dir = tempfile::tempdir().unwrap();
    let home = cohort(dir.path(), 30);
    let elsewhere = Elsewhere::new(dir.path(), 20, 12);
    let settings: [(&str, &[&str]); 5] = [
        ("crossfusion", &["training.protocol=paper", "training.precision=bf16", "training.accumulation=8"]),
        ("crossfusion", &["training.loss=cox"]),
        ("amil", &["training.seed=9"]),
        ("scmil", &["model.num_heads=4", "model.head=mixture", "training.loss=likelihood"]),
        ("deepgraphsurv", &["model.form=spectral", "model.head=log-risk", "training.loss=cox"]),
    ];
    for (at, (model, settings)) in settings.into_iter().enumerate() {
        let run = dir.path().join(format!("run-{at}"));
        let config = dir.path().join(format!("run-{at}.toml"));
        let mut text = std::fs::read_to_string(home.join("config.toml")).unwrap();
        text = text.replace("clinical.csv", path(&home.join("clinical.csv")));
        text = text.replace("\"splits\"", &format!("{:?}", home.join("splits")));
        text = text.replace("\"bags\"", &format!("{:?}", home.join("bags")));
        if model != "crossfusion" {
            let (start, end) = (text.find("[model]").unwrap(), text.find("[training]").unwrap());
            text.replace_range(start..end, &format!("[model]\nname = \"{model}\"\n\n"));
        }
        std::fs::write(&config, text).unwrap();
        let mut arguments = vec!["cv", "--config", path(&config), "--out", path(&run), "--folds", "1,3"];
        settings.iter().for_each(|setting| arguments.extend(["--set", setting]));
        succeed(&arguments);
        let out = dir.path().join(format!("test-{at}"));
        elsewhere.test(&run, &out, &[]);
        let slides = rows(&out.join("predictions.csv"), &[1, 3]);
        for row in slides.iter().step_by(7) {
            for (fold, found) in [1, 3].into_iter().zip(&row.by_model) {
                let expected = predicted_risk(&elsewhere, (&run, model), fold, &row.ids[1]);
                assert_eq!(*found, expected, "{settings:?}, {}", row.ids[1]);
            }
        }
    }
}

#[test]
fn patients_of_the_run_are_refused_by_name_unless_they_are_meant() {
    let dir = tempfile::tempdir().unwrap();
    let (home, run) = (cohort(dir.path(), 30), dir.path().join("run"));
    train(&home, &run, &["--folds", "0"]);
    let elsewhere = Elsewhere::new(dir.path(), 20, 12);
    // One by the case, one by the slide alone.
    for (bag, name) in [("EXT-0003", "SIM-0003"), ("EXT-0009", "SIM-0009")] {
        let of = |id: &str| elsewhere.dir.join(format!("bags/{id}-01Z-00-DX1.h5"));
        std::fs::rename(of(bag), of(name)).unwrap();
    }
    elsewhere.rewrite_table(|_, line| {
        let line = line.replace("EXT-0003-", "SIM-0003-").replace("EXT-0009-", "SIM-0009-");
        if line.contains("SIM-0003-") { line.replace("EXT-0003,", "SIM-0003,") } else { line }
    });
    let named = ["2 of 18 patients (2 slides) were in the run ", "EXT-0009, SIM-0003", "--allow-overlap"];
    elsewhere.refused(&run, &[], 3, &named);
    let summary = elsewhere.test(&run, &dir.path().join("test"), &["--allow-overlap"]);
    assert_eq!(summary.patients_of_run, ["EXT-0009", "SIM-0003"]);
    assert!(summary.remarks.iter().any(|remark| remark.starts_with("2 patients were in the run, too")));
    let page = std::fs::read_to_string(dir.path().join("test/report.html")).unwrap();
    assert!(page.contains("2 patients of those scored here took part in the training run"));
    // The run's own cohort is no other one.
    let own = Elsewhere { dir: elsewhere.dir.clone(), config: home.join("config.toml") };
    own.refused(&run, &[], 3, &["30 of 30 patients"]);
}

/// No prediction names who was held out to choose the epoch, and bags tell patients of TCGA alone.
#[test]
fn a_patient_who_chose_an_epoch_was_in_the_run() {
    let dir = tempfile::tempdir().unwrap();
    let (home, run) = (cohort(dir.path(), 30), dir.path().join("run"));
    train(&home, &run, &["--folds", "0", "--set", "training.inner_validation=0.25"]);
    let folds = std::fs::read_to_string(run.join("folds.json")).unwrap();
    let folds: serde_json::Value = serde_json::from_str(&folds).unwrap();
    let slide = folds["folds"][0]["inner_validation"][0].as_str().unwrap();
    let patient = slide.get(..8).unwrap();
    let elsewhere = Elsewhere::new(dir.path(), 20, 12);
    // Another slide of theirs.
    elsewhere
        .rewrite_table(|at, line| if at == 9 { format!("{patient}{}", &line[8..]) } else { line.to_owned() });
    elsewhere.refused(&run, &[], 3, &["1 of 18 patients (1 slides) were in the run ", patient]);
    let out = dir.path().join("test/");
    let summary = elsewhere.test(&run, &out, &["--allow-overlap"]);
    assert_eq!(summary.patients_of_run, [patient]);
    let page = std::fs::read_to_string(out.join("report.html")).unwrap();
    assert!(!page.contains("Nothing was fitted or chosen on this cohort"));
}

/// Puts a bag of two patches at each magnification in place of a slide's.
fn replace_bag(bags: &Path, slide: &str, coords: [[i64; 2]; 2], weights_sha256: &str) {
    let set = |dim: usize| {
        let features = FeatureMatrix::new(vec![0.25; 2 * dim], 2, dim).unwrap();
        let provenance =
            Provenance { weights_sha256: Some(weights_sha256.to_owned()), ..Provenance::default() };
        PatchSet::new(features).with_coords(coords.to_vec()).unwrap().with_provenance(provenance)
    };
    let bag = Bag::new(slide, Magnification::ALL.map(|at| (at, set(12)))).unwrap();
    native::write(&bags.join(format!("{slide}.h5")), &bag, "simulated", &SlideInfo::default()).unwrap();
}

#[test]
fn bags_unlike_those_of_training_are_told() {
    let dir = tempfile::tempdir().unwrap();
    let (home, run) = (cohort(dir.path(), 30), dir.path().join("run"));
    train(&home, &run, &["--folds", "0,1", "--set", "model.attention_dropout_at_eval=true"]);
    let elsewhere = Elsewhere::new(dir.path(), 20, 12);
    let mut trained = csv::Reader::from_path(run.join("fold_0/predictions_train.csv")).unwrap();
    let trained: cf_train::evaluate::Prediction = trained.deserialize().next().unwrap().unwrap();
    replace_bag(&home.join("bags"), &trained.slide_id, [[0, 0], [512, 0]], &"a1".repeat(32));
    let (theirs, in_order) = (elsewhere.dir.join("bags"), [[0, 0], [512, 0]]);
    replace_bag(&theirs, "EXT-0011-01Z-00-DX1", in_order, &"b2".repeat(32));
    replace_bag(&theirs, "EXT-0012-01Z-00-DX1", [[512, 0], [0, 0]], &"b2".repeat(32));
    let remarks = elsewhere.test(&run, &dir.path().join("test"), &[]).remarks;
    let said =
        |part: &str| assert!(remarks.iter().any(|remark| remark.contains(part)), "{part}: {remarks:?}");
    said("the rows of 1 of 20 bags are in another order than those the models were trained on (row-major)");
    said("matters to models that fold rows into a grid: EXT-0012-01Z-00-DX1");
    said("state weights of SHA-256 b2b2b2b2b2b2.., those of the run weights of SHA-256 a1a1a1a1a1a1..");
    said("attention dropout (model.attention_dropout_at_eval), which is off here");
    // Where the run's bags are gone, nothing is known of them.
    std::fs::remove_dir_all(home.join("bags")).unwrap();
    let remarks = elsewhere.test(&run, &dir.path().join("again"), &[]).remarks;
    assert!(remarks.iter().all(|remark| !remark.contains("SHA-256")), "{remarks:?}");
}

#[test]
fn what_is_left_out_is_listed_and_what_is_not_read_is_said() {
    let dir = tempfile::tempdir().unwrap();
    let (home, run) = (cohort(dir.path(), 30), dir.path().join("run"));
    train(&home, &run, &["--folds", "0,1"]);
    let elsewhere = Elsewhere::new(dir.path(), 20, 12);
    std::fs::remove_file(elsewhere.dir.join("bags/EXT-0007-01Z-00-DX1.h5")).unwrap();
    let stranger = elsewhere.dir.join("bags/stranger.h5");
    std::fs::copy(elsewhere.dir.join("bags/EXT-0008-01Z-00-DX1.h5"), stranger).unwrap();
    elsewhere.rewrite_table(|_, line| {
        if line.starts_with("EXT-0010,") {
            "EXT-0010,EXT-0010-01Z-00-DX1.svs,,1".to_owned()
        } else {
            line.to_owned()
        }
    });
    let mut text = std::fs::read_to_string(&elsewhere.config).unwrap();
    text = text.replace("[features]", "splits = \"nowhere\"\nmissing_outcome = \"skip\"\n[features]");
    std::fs::write(&elsewhere.config, text + "[model]\nname = \"amil\"\n[training]\nseed = 3\n").unwrap();
    std::fs::remove_file(run.join("fold_1/predictions_train.csv")).unwrap();

    let out = dir.path().join("test");
    let summary = elsewhere.test(&run, &out, &["--set", "training.memory_budget=4 GiB"]);
    assert_eq!((summary.model.as_str(), summary.n_slides, summary.n_patients), ("crossfusion", 18, 16));
    let left_out: Vec<(&str, Vec<String>, bool)> = summary
        .left_out()
        .map(|dropped| (dropped.reason.as_str(), dropped.ids.clone(), dropped.is_counted))
        .collect();
    let ids =
        |reason: &str| left_out.iter().find(|(found, _, _)| *found == reason).map(|(_, ids, _)| ids.clone());
    assert_eq!(ids("slide without a bag").unwrap(), ["EXT-0007-01Z-00-DX1"]);
    assert_eq!(ids("bag without a row in the clinical table").unwrap(), ["stranger"]);
    assert!(
        left_out.iter().any(|(_, ids, _)| ids.len() == 1 && ids[0].starts_with("EXT-0010")),
        "{left_out:?}"
    );
    let said = |part: &str| summary.remarks.iter().any(|remark| remark.contains(part));
    assert!(said("the configuration says cohort.splits, [model], [training], which a test does not read"));
    assert!(said("cut at the median of the tested cohort itself"), "{:?}", summary.remarks);
    let risks: Vec<f64> = rows(&out.join("patients.csv"), &[0, 1]).iter().map(|row| row.risk).collect();
    assert_eq!(summary.patient_risk_groups.cut, median(risks));
    assert_eq!(summary.patient_risk_groups.cut_from, external::CutSource::TestedCohort);

    let arguments = elsewhere.arguments(&run, &dir.path().join("again"));
    let output = cf_train(&arguments.iter().map(String::as_str).collect::<Vec<_>>());
    let text = String::from_utf8(output.stdout).unwrap();
    for part in [
        "crossfusion on elsewhere (simulated)",
        "18 slides",
        "left out: 1, slide without a bag: EXT-0007-01Z-00-DX1",
    ] {
        assert!(text.contains(part), "`{part}` is not in: {text}");
    }
}

#[test]
fn what_cannot_be_tested_is_refused_and_leaves_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let (home, run) = (cohort(dir.path(), 30), dir.path().join("run"));
    train(&home, &run, &["--folds", "0,1"]);
    let elsewhere = Elsewhere::new(dir.path(), 20, 12);
    let wide = Elsewhere::new(dir.path(), 20, 16);
    wide.refused(
        &run,
        &[],
        3,
        &["best.safetensors: reads features of 12 columns, slide EXT-0001-01Z-00-DX1 has 16"],
    );
    let other = ["--set", "features.backbone=conch"];
    elsewhere.refused(
        &run,
        &other,
        3,
        &["features.backbone is `conch`", "trained on features of `simulated`"],
    );
    elsewhere.refused(&run, &["--folds", "0,3"], 3, &["fold 3 was asked for, finished are 0, 1"]);
    elsewhere.refused(
        &run,
        &["--set", "training.seed=8"],
        3,
        &["--set training.seed: the run that is tested"],
    );
    let little = ["--set", "training.memory_budget=1 MiB"];
    elsewhere.refused(&run, &little, 4, &["a pass over which by 2 models takes", "--folds"]);
    elsewhere.refused(&home, &[], 3, &["fold_K/predictions.csv"]);
    elsewhere.refused(&home.join("bags"), &[], 3, &["found no config.toml"]);

    std::fs::create_dir(dir.path().join("occupied")).unwrap();
    std::fs::write(dir.path().join("occupied/notes"), "mine").unwrap();
    let arguments = elsewhere.arguments(&run, &dir.path().join("occupied"));
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    fail(&arguments, 3, &["not an empty directory; choose another --out"]);

    // Asked to stop before the first slide.
    let config = ExternalConfig::read(&elsewhere.config, &[]).unwrap();
    let out = dir.path().join("stopped");
    let options = TestOptions {
        folds: Vec::new(),
        overlap: Overlap::Refused,
        months: Vec::new(),
        device_name: DeviceName::Cpu,
        device: Device::Cpu,
    };
    let stopped = external::test(&config, (&run, &out), &options, &AtomicBool::new(true), &mut |_| {});
    assert!(matches!(stopped, Err(Error::ScoringInterrupted { n_done: 0, n_slides: 20 })), "{stopped:?}");
    assert!(!out.exists());

    // Weights of two runs, then none.
    let again = dir.path().join("again");
    train(&home, &again, &["--folds", "1", "--set", "training.seed=8"]);
    let weights = run.join("fold_1/best.safetensors");
    let own = std::fs::read(&weights).unwrap();
    std::fs::copy(again.join("fold_1/best.safetensors"), &weights).unwrap();
    elsewhere.refused(&run, &[], 3, &["is of another run than"]);
    std::fs::write(&weights, own.get(..own.len() / 2).unwrap()).unwrap();
    elsewhere.refused(&run, &[], 3, &["fold_1/best.safetensors"]);
    std::fs::remove_file(&weights).unwrap();
    elsewhere.refused(&run, &[], 3, &["fold_1/best.safetensors: is missing", "--folds"]);
    std::fs::write(&weights, own).unwrap();
    let risks = run.join("fold_0/predictions_train.csv");
    let whole = std::fs::read_to_string(&risks).unwrap();
    std::fs::write(&risks, whole.lines().take(3).collect::<Vec<_>>().join("\n")).unwrap();
    elsewhere.refused(&run, &[], 3, &["fold_0/predictions_train.csv: has 2 rows, expected one for each of"]);
    std::fs::write(&risks, whole).unwrap();

    let table = std::fs::read_to_string(elsewhere.dir.join("clinical.csv")).unwrap();
    elsewhere.rewrite_table(|at, line| match at {
        0 => line.to_owned(),
        _ => line.rsplit_once(',').map_or_else(String::new, |(row, _)| format!("{row},1")),
    });
    elsewhere.refused(&run, &[], 3, &["clinical.csv", "censored"]);
    elsewhere.rewrite_table(|at, line| if at == 0 { line.to_owned() } else { String::new() });
    elsewhere.refused(&run, &[], 3, &["clinical.csv: no rows"]);
    std::fs::write(elsewhere.dir.join("clinical.csv"), table.replace("EXT-", "ABC-")).unwrap();
    elsewhere.refused(&run, &[], 3, &["no slide of the clinical table has a bag"]);
}

#[test]
fn who_is_left_may_have_no_event() {
    let dir = tempfile::tempdir().unwrap();
    let (home, run) = (cohort(dir.path(), 30), dir.path().join("run"));
    train(&home, &run, &["--folds", "0,1"]);
    let elsewhere = Elsewhere::new(dir.path(), 20, 12);
    // The only event is that of a slide without a bag.
    elsewhere.rewrite_table(|at, line| match (at, line.rsplit_once(',')) {
        (0, _) | (_, None) => line.to_owned(),
        (_, Some((row, _))) => format!("{row},{}", u8::from(!line.starts_with("EXT-0007,"))),
    });
    std::fs::remove_file(elsewhere.dir.join("bags/EXT-0007-01Z-00-DX1.h5")).unwrap();
    let out = dir.path().join("test");
    let summary = elsewhere.test(&run, &out, &[]);
    assert_eq!((summary.n_events, summary.c_index.averaged, summary.patient_c_index.mean), (0, None, None));
    assert!(summary.patient_risk_groups.no_log_rank.is_some());
    assert!(summary.patient_risk_groups.no_hazard_ratio.is_some());
    let page = std::fs::read_to_string(out.join("report.html")).unwrap();
    assert!(page.contains("no two patients can be compared"));
    let arguments = elsewhere.arguments(&run, &dir.path().join("again"));
    let text = succeed(&arguments.iter().map(String::as_str).collect::<Vec<_>>());
    assert!(text.contains("no log-rank test ("), "{text}");
}
