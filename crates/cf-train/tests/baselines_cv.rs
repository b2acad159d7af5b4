//! Every method of Table 1 goes through `cf-train cv` with its configuration of `examples/configs`, in the comparison's form and
//! in its authors'.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod support;

use std::path::{Path, PathBuf};

use cf_model::ModelName;
use support::{fail, path, predicted, succeed};

/// Runs one epoch of one fold of `examples/configs/<config>.toml` on the bags of `cohort`; `other` are further settings.
fn arguments(config: &str, cohort: &Path, run: &Path, other: &[&str]) -> Vec<String> {
    let configs = concat!(env!("CARGO_MANIFEST_DIR"), "/../../examples/configs");
    let mut settings = vec![
        format!("cohort.clinical={}", path(&cohort.join("clinical.csv"))),
        format!("cohort.splits={}", path(&cohort.join("splits"))),
        format!("features.dir={}", path(&cohort.join("bags"))),
        "features.layout=native".to_owned(),
        "features.backbone=simulated".to_owned(),
        "training.max_epochs=1".to_owned(),
        "training.accumulation=4".to_owned(),
    ];
    settings.extend(other.iter().map(|&setting| setting.to_owned()));
    let config = format!("{configs}/{config}.toml");
    let mut arguments: Vec<String> =
        ["cv", "--folds", "0", "--out", path(run), "--config", config.as_str()].map(str::to_owned).to_vec();
    arguments.extend(settings.into_iter().flat_map(|setting| ["--set".to_owned(), setting]));
    arguments
}

fn trains(name: ModelName) {
    let dir = tempfile::tempdir().unwrap();
    let cohort = support::cohort(dir.path(), 20);
    let run = dir.path().join("run");
    // Eight heads do not divide the twelve columns of these bags.
    let heads: &[&str] = if name == ModelName::Scmil { &["model.num_heads=4"] } else { &[] };
    let arguments = arguments(&format!("blca-{name}"), &cohort, &run, heads);
    succeed(&arguments.iter().map(String::as_str).collect::<Vec<_>>());
    let summary = std::fs::read_to_string(run.join("summary.json")).unwrap();
    let summary: serde_json::Value = serde_json::from_str(&summary).unwrap();
    assert_eq!(summary["model"], name.as_str());
    let c_index = summary["c_index"]["folds"][0].as_f64().unwrap();
    assert!((0.0..=1.0).contains(&c_index), "{name}: C-index {c_index}");
    assert!(run.join("fold_0/best.safetensors").is_file() && run.join("report.html").is_file());
}

macro_rules! trains {
    ($($test:ident: $name:ident;)*) => {
        $(
            #[test]
            fn $test() {
                trains(ModelName::$name);
            }
        )*
    };
}

trains! {
    amil_trains: Amil;
    dsmil_trains: Dsmil;
    transmil_trains: TransMil;
    deepgraphsurv_trains: DeepGraphSurv;
    patchgcn_trains: PatchGcn;
    scmil_trains: Scmil;
    protosurv_trains: ProtoSurv;
    zoommil_trains: ZoomMil;
    mustmil_trains: MustMil;
    csmil_trains: CsMil;
}

/// One epoch with the authors' own head and loss; the run and the slides' bags.
fn trains_natively(name: &str, heads: &[&str]) -> (tempfile::TempDir, PathBuf) {
    let dir = tempfile::tempdir().unwrap();
    let cohort = support::cohort(dir.path(), 20);
    let run = dir.path().join("run");
    let arguments = arguments(&format!("native/blca-{name}"), &cohort, &run, heads);
    succeed(&arguments.iter().map(String::as_str).collect::<Vec<_>>());
    (dir, run)
}

/// Rows of a predictions file: slide, risk, and survival past each bin.
fn predictions(run: &Path) -> Vec<(String, f64, [f64; 4])> {
    let mut reader = csv::Reader::from_path(run.join("fold_0/predictions.csv")).unwrap();
    let rows = reader.deserialize::<cf_train::evaluate::Prediction>().map(Result::unwrap);
    rows.map(|row| (row.slide_id, row.risk, [row.s1, row.s2, row.s3, row.s4])).collect()
}

#[test]
fn native_heads_train_and_their_checkpoints_predict_the_same_curves() {
    for (name, heads) in [("scmil", &["model.num_heads=4"][..]), ("protosurv", &[])] {
        let (dir, run) = trains_natively(name, heads);
        let rows = predictions(&run);
        assert!(!rows.is_empty());
        for (slide, risk, survival) in rows.iter().take(3) {
            assert!(
                survival.is_sorted_by(|a, b| a >= b) && (0.0..=1.0).contains(&survival[3]),
                "{name} {slide}: {survival:?}"
            );
            let found = predicted(&run.join("fold_0"), name, &dir.path().join("cohort/bags"), slide);
            assert_eq!(found.get("logits"), None, "{name} has none");
            assert_eq!(found["risk"].as_f64().unwrap(), *risk, "{name} {slide}");
            for (bin, survival) in survival.iter().enumerate() {
                assert_eq!(found["survival"][bin].as_f64().unwrap(), *survival, "{name} {slide}");
            }
        }
        match name {
            // Minus the area under a curve in four steps; a log risk is any number.
            "scmil" => assert!(rows.iter().all(|(_, risk, s)| (risk + s.iter().sum::<f64>()).abs() < 1e-12)),
            _ => assert!(rows.iter().any(|(_, risk, s)| (risk + s.iter().sum::<f64>()).abs() > 1e-3)),
        }
        let history = std::fs::read_to_string(run.join("fold_0/history.csv")).unwrap();
        assert!(!history.contains("NaN") && !history.contains("inf"), "{history}");
    }
    for name in ["patchgcn", "deepgraphsurv", "deepgraphsurv-spectral"] {
        let (_dir, run) = trains_natively(name, &[]);
        assert!(!predictions(&run).is_empty());
    }
}

#[test]
fn a_loss_that_the_head_has_not_is_refused_with_the_one_it_has() {
    let dir = tempfile::tempdir().unwrap();
    let (cohort, run) = (dir.path().join("nowhere"), dir.path().join("run"));
    for (name, setting, wanted) in [
        (
            "native/blca-scmil",
            "training.loss=nll",
            "expected likelihood: this scmil ends with a mixture of times",
        ),
        ("native/blca-protosurv", "training.loss=nll", "expected cox: this protosurv ends with a log risk"),
        (
            "blca-amil",
            "training.loss=likelihood",
            "expected nll, cross-entropy or cox: this amil ends with hazards",
        ),
    ] {
        let arguments = arguments(name, &cohort, &run, &[setting]);
        fail(&arguments.iter().map(String::as_str).collect::<Vec<_>>(), 3, &[wanted]);
    }
}

#[test]
fn a_cox_loss_of_several_outputs_is_refused_before_anything_is_read() {
    let dir = tempfile::tempdir().unwrap();
    let cohort = dir.path().join("nowhere");
    let run = dir.path().join("run");
    let arguments = arguments("blca-mustmil", &cohort, &run, &["training.loss=cox"]);
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    fail(&arguments, 3, &["training.loss is cox", "mustmil"]);
}

#[test]
fn what_stood_in_for_missing_facts_is_counted_and_a_model_without_its_prior_says_so() {
    let dir = tempfile::tempdir().unwrap();
    let cohort = support::cohort(dir.path(), 20);
    let run = |config: &str, settings: &[&str]| {
        let run = dir.path().join(config);
        let arguments = arguments(config, &cohort, &run, settings);
        let text = succeed(&arguments.iter().map(String::as_str).collect::<Vec<_>>());
        let summary = std::fs::read_to_string(run.join("summary.json")).unwrap();
        let report = std::fs::read_to_string(run.join("report.html")).unwrap();
        (text, serde_json::from_str::<serde_json::Value>(&summary).unwrap(), report)
    };
    let (text, summary, report) = run("blca-protosurv", &["model.tissue_prior=none"]);
    assert!(text.starts_with("protosurv (no prior) on blca"), "{text}");
    assert!(
        text.contains("in place of what bags lack: the class \"other\", for patches without a tissue class"),
        "{text}"
    );
    let counted = &summary["substitutes"][0];
    assert_eq!((&counted["n"], &counted["n_slides"]), (&counted["of"], &counted["of_slides"]));
    assert_eq!(counted["of_slides"], 20);
    assert!(report.contains("protosurv (no prior)") && report.contains("In place of what bags lack"));

    // The pyramids of these bags are whole.
    let (text, summary, _) = run("blca-zoommil", &[]);
    assert!(!text.contains("in place of") && summary.get("substitutes").is_none(), "{text}");
}

#[test]
fn neighbours_by_features_are_kept_beside_the_bags_and_found_there_again() {
    let dir = tempfile::tempdir().unwrap();
    let cohort = support::cohort(dir.path(), 20);
    let kept = cohort.join("bags/.derived");
    let run = |name: &str| {
        let run = dir.path().join(name);
        let arguments = arguments("blca-deepgraphsurv", &cohort, &run, &[]);
        succeed(&arguments.iter().map(String::as_str).collect::<Vec<_>>());
        predictions(&run)
    };
    assert!(!kept.exists());
    let first = run("first");
    let files = || -> Vec<(std::ffi::OsString, std::time::SystemTime)> {
        let entries = std::fs::read_dir(&kept).unwrap().map(Result::unwrap);
        entries.map(|entry| (entry.file_name(), entry.metadata().unwrap().modified().unwrap())).collect()
    };
    let written = files();
    assert_eq!(written.len(), 20, "{written:?}");
    // A bag may hold features of several encoders.
    assert!(written.iter().all(|(name, _)| name.to_str().unwrap().ends_with(".h5.simulated.safetensors")));
    assert_eq!(run("second"), first);
    assert_eq!(files(), written, "read, not written again");
    let store = wsi_bags::BagStore::open(&cohort.join("bags"), None, "simulated").unwrap();
    assert_eq!(store.slide_ids().len(), 20, "what was kept is no bag, and hides none");
}

/// A log risk of hundreds is finite, and the curve that it makes of its baseline is not.
#[test]
fn a_survival_curve_that_is_no_number_is_not_written() {
    let dir = tempfile::tempdir().unwrap();
    let cohort = support::cohort(dir.path(), 20);
    let run = dir.path().join("run");
    let other = ["model.head=log-risk", "training.loss=cox", "training.learning_rate=10"];
    let arguments = arguments("blca-protosurv", &cohort, &run, &other);
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    fail(&arguments, 3, &["fold 0, epoch 1, slide", "the survival past time bin", "NaN"]);
    assert!(!run.join("fold_0/predictions.csv").exists());
}
