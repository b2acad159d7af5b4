//! Every configuration of a run in `examples/configs` parses, names the paper's settings, and plans a run.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod support;

use std::path::PathBuf;

use cf_model::ModelName;
use cf_train::RunConfig;
use cf_train::protocol::Protocol;
use support::{path, succeed};

fn configs() -> Vec<PathBuf> {
    let dir = concat!(env!("CARGO_MANIFEST_DIR"), "/../../examples/configs");
    let mut paths: Vec<PathBuf> = std::fs::read_dir(dir)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "toml"))
        .filter(|path| !std::fs::read_to_string(path).unwrap().contains("[study]"))
        .collect();
    paths.sort();
    paths
}

#[test]
fn every_cohort_and_variant_has_the_paper_s_settings() {
    let paths = configs();
    assert_eq!(paths.len(), 18 + 10);
    for path in paths {
        let config = RunConfig::read(&path, &[]).unwrap();
        let stem = path.file_stem().unwrap().to_str().unwrap();
        assert_eq!(stem, format!("{}-{}", config.cohort.name, config.model.name()));
        assert_eq!(config.training.protocol, Protocol::Paper);
        assert_eq!(cf_train::protocol::describe(&config), "paper");
        let wanted = match config.model.name() {
            ModelName::Crossfusion => 24_536_584,
            ModelName::CrossfusionWoCp => 25_147_908,
            ModelName::CrossfusionWoFc => 9_730_564,
            ModelName::Amil => 1_314_053,
            ModelName::Dsmil => 319_752,
            ModelName::TransMil => 3_197_460,
            ModelName::DeepGraphSurv => 1_052_165,
            ModelName::PatchGcn => 1_515_528,
            ModelName::Scmil => 18_367_750,
            ModelName::ProtoSurv => 72_652_039,
            ModelName::ZoomMil => 4_463_881,
            ModelName::MustMil => 1_797_408,
            ModelName::CsMil => 137_574,
        };
        assert_eq!(config.model, cf_model::ModelConfig::default_of(config.model.name()), "{stem}");
        assert_eq!(config.model.n_parameters(2048).unwrap(), wanted, "{stem}");
    }
}

#[test]
fn every_configuration_plans_a_run_on_bags_that_are_there() {
    let dir = tempfile::tempdir().unwrap();
    let cohort = support::cohort(dir.path(), 20);
    for config in configs() {
        let set = |key: &str, value: &str| format!("{key}={value}");
        let settings = [
            set("cohort.clinical", path(&cohort.join("clinical.csv"))),
            set("cohort.splits", path(&cohort.join("splits"))),
            set("features.dir", path(&cohort.join("bags"))),
            set("features.layout", "native"),
            set("features.backbone", "simulated"),
        ];
        let mut arguments = vec!["cv", "--dry-run", "--config", path(&config)];
        for setting in &settings {
            arguments.extend(["--set", setting]);
        }
        if path(&config).ends_with("scmil.toml") {
            // Its heads divide the features, which are narrow here.
            arguments.extend(["--set", "model.num_heads=2"]);
        }
        let plan = succeed(&arguments);
        assert!(plan.contains("protocol paper") && plan.contains("20 slides"), "{plan}");
        assert_eq!(plan.matches("\nfold ").count(), 5, "{plan}");
    }
}
