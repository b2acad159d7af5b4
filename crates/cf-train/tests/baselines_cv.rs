//! Every method of Table 1 goes through `cf-train cv` with its configuration of `examples/configs`.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod support;

use std::path::Path;

use cf_model::ModelName;
use support::{fail, path, succeed};

/// Runs one epoch of one fold of `examples/configs/blca-<name>.toml` on the bags of `cohort`; `other` are further settings.
fn arguments(name: &str, cohort: &Path, run: &Path, other: &[&str]) -> Vec<String> {
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
    let config = format!("{configs}/blca-{name}.toml");
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
    let arguments = arguments(name.as_str(), &cohort, &run, heads);
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

#[test]
fn a_cox_loss_of_several_outputs_is_refused_before_anything_is_read() {
    let dir = tempfile::tempdir().unwrap();
    let cohort = dir.path().join("nowhere");
    let run = dir.path().join("run");
    let arguments = arguments("mustmil", &cohort, &run, &["training.loss=cox"]);
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    fail(&arguments, 3, &["training.loss is cox", "mustmil"]);
}
