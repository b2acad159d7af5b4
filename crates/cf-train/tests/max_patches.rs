//! Runs whose training sees a part of large bags: `training.max_patches`.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod support;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};

use candle_core::Device;
use cf_model::kernels::device::DeviceName;
use cf_train::evaluate::{Prediction, Summary};
use cf_train::event::Event;
use cf_train::{Error, RunConfig, RunOptions, cross_validate};
use support::{fail, path, predicted, succeed};
use wsi_bags::{Bag, FeatureMatrix, Magnification, PatchSet, SlideInfo, native};

const LIMIT: &str = "training.max_patches=60";

/// Bags of about 40 to 200 patches at 20x, and a configuration that trains in a second.
fn cohort(dir: &Path) -> PathBuf {
    let out = dir.join("cohort");
    succeed(&[
        "simulate",
        "--patients",
        "24",
        "--scale",
        "0.01",
        "--backbone-dim",
        "12",
        "--out",
        path(&out),
    ]);
    let config = out.join("config.toml");
    let text = std::fs::read_to_string(&config).unwrap();
    let text = text
        .replace("embed_dim = 32", "embed_dim = 8")
        .replace("num_heads = 4", "num_heads = 2")
        .replace("max_epochs = 16", "max_epochs = 2");
    std::fs::write(&config, text).unwrap();
    out
}

fn run(cohort: &Path, run: &Path, settings: &[&str], more: &[&str]) -> String {
    let config = cohort.join("config.toml");
    let mut arguments = vec!["cv", "--folds", "0", "--config", path(&config), "--out", path(run)];
    arguments.extend(settings.iter().flat_map(|setting| ["--set", setting]));
    arguments.extend(more);
    succeed(&arguments)
}

/// What a fold leaves, but for seconds and settings.
fn bytes(run: &Path) -> Vec<Vec<u8>> {
    let files = ["predictions.csv", "predictions_last.csv", "predictions_train.csv", "order.csv"];
    let mut bytes: Vec<_> = files.map(|file| std::fs::read(run.join("fold_0").join(file)).unwrap()).into();
    bytes.push(weights(run));
    bytes
}

/// Of the last checkpoint, without what it says of its run.
fn weights(run: &Path) -> Vec<u8> {
    let bytes = std::fs::read(run.join("fold_0/last.safetensors")).unwrap();
    let header = u64::from_le_bytes(bytes[..8].try_into().unwrap()) as usize;
    bytes[8 + header..].to_vec()
}

#[test]
fn a_run_with_a_limit_is_the_same_twice_and_with_other_threads() {
    let dir = tempfile::tempdir().unwrap();
    let cohort = cohort(dir.path());
    let runs = ["a", "b", "none", "high"].map(|name| dir.path().join(name));
    run(&cohort, &runs[0], &[LIMIT], &["--threads", "1"]);
    run(&cohort, &runs[1], &[LIMIT], &["--threads", "2"]);
    run(&cohort, &runs[2], &[], &[]);
    run(&cohort, &runs[3], &["training.max_patches=100000"], &[]);
    assert!(bytes(&runs[0]) == bytes(&runs[1]), "one and two threads differ");
    assert!(bytes(&runs[2]) == bytes(&runs[3]), "a limit that no bag exceeds changes the run");
    assert!(weights(&runs[0]) != weights(&runs[2]), "a limit changes nothing");

    // The key is in the settings of a run that has it, and what it does in its report.
    let text = |run: &Path, file: &str| std::fs::read_to_string(run.join(file)).unwrap();
    assert!(!text(&runs[2], "config.toml").contains("max_patches"));
    assert!(
        !text(&runs[2], "folds.json").contains("drawn")
            && !text(&runs[2], "report.html").contains("each visit")
    );
    let store = wsi_bags::BagStore::open(&cohort.join("bags"), None, "simulated").unwrap();
    let folds: serde_json::Value = serde_json::from_str(&text(&runs[0], "folds.json")).unwrap();
    let train: Vec<String> = serde_json::from_value(folds["folds"][0]["train"].clone()).unwrap();
    let more = |slide: &&String| {
        store.read(slide, &[Magnification::X20]).unwrap().at(Magnification::X20).unwrap().n_patches() > 60
    };
    let n_more = train.iter().filter(more).count();
    assert!(n_more > 3 && n_more < train.len(), "{n_more}");
    assert_eq!(folds["folds"][0]["n_train_drawn"], n_more);
    let report = text(&runs[0], "report.html");
    assert!(report.contains("raining sees at most 60 patches of a slide per magnification"), "{report}");
    assert!(report.contains(&format!("training slides {n_more} of {} have more", train.len())));
    assert!(text(&runs[0], "summary.json").contains("training.max_patches"), "the protocol is modified");
}

#[test]
fn every_patch_of_a_slide_is_evaluated() {
    let dir = tempfile::tempdir().unwrap();
    let cohort = cohort(dir.path());
    let out = dir.path().join("run");
    run(&cohort, &out, &[LIMIT], &[]);
    let bags = cohort.join("bags");
    for file in ["predictions.csv", "predictions_train.csv"] {
        let mut reader = csv::Reader::from_path(out.join("fold_0").join(file)).unwrap();
        let rows = reader.deserialize::<Prediction>().map(Result::unwrap);
        for row in rows.take(3) {
            let predicted = predicted(&out.join("fold_0"), "crossfusion", &bags, &row.slide_id);
            assert!(
                (predicted["risk"].as_f64().unwrap() - row.risk).abs() < 1e-6,
                "{predicted} {}",
                row.risk
            );
        }
    }
}

/// Trains the first fold through the library, until a bag of its second epoch if it is to be stopped there.
fn train(config: &RunConfig, out: &Path, is_stopped: bool) -> Result<Summary, Error> {
    let device_name = DeviceName::Cpu;
    let how = RunOptions { folds: vec![0], resume: out.is_dir(), device_name, device: Device::Cpu };
    let stop = AtomicBool::new(false);
    let mut epoch = 0;
    let mut observe = |event: Event| match event {
        Event::Epoch { epoch: begun, .. } => epoch = begun,
        Event::Bag { n_done: 5, .. } if is_stopped && epoch == 2 => stop.store(true, Ordering::Relaxed),
        _ => {}
    };
    cross_validate(config, out, &how, &stop, &mut observe)
}

#[test]
fn a_run_stopped_within_an_epoch_goes_on_with_the_same_patches() {
    let dir = tempfile::tempdir().unwrap();
    let cohort = cohort(dir.path());
    for (protocol, loss) in [("sound", "nll"), ("paper", "cox")] {
        let settings = [
            ("training.max_patches", "40"),
            ("training.protocol", protocol),
            ("training.loss", loss),
            ("training.accumulation", "4"),
            ("training.max_epochs", "2"),
        ];
        let settings = settings.map(|(key, value)| (key.to_owned(), value.to_owned()));
        let config = RunConfig::read(&cohort.join("config.toml"), &settings).unwrap();
        let [whole, parts] = ["whole", "parts"].map(|name| dir.path().join(format!("{name}-{protocol}")));
        train(&config, &whole, false).unwrap();
        let stopped = train(&config, &parts, true);
        assert!(matches!(stopped, Err(Error::Interrupted { fold: 0, epoch: 2, .. })), "{stopped:?}");
        train(&config, &parts, false).unwrap();
        assert!(bytes(&whole) == bytes(&parts), "{protocol}, {loss}: the resumed run differs");
    }
}

#[test]
fn models_of_graphs_and_pyramids_train_on_parts_and_leave_nothing_of_them() {
    let dir = tempfile::tempdir().unwrap();
    let cohort = cohort(dir.path());
    let configs = concat!(env!("CARGO_MANIFEST_DIR"), "/../../examples/configs");
    let train = |name: &str, model: &str, limit: &[&str]| {
        let config = format!("{configs}/blca-{model}.toml");
        let out = dir.path().join(name);
        let settings = [
            format!("cohort.clinical={}", path(&cohort.join("clinical.csv"))),
            format!("cohort.splits={}", path(&cohort.join("splits"))),
            format!("features.dir={}", path(&cohort.join("bags"))),
            "features.layout=native".to_owned(),
            "features.backbone=simulated".to_owned(),
            "training.protocol=sound".to_owned(),
            "training.max_epochs=1".to_owned(),
            "training.accumulation=4".to_owned(),
        ];
        let mut arguments = vec!["cv", "--folds", "0", "--config", &config, "--out", path(&out)];
        arguments.extend(settings.iter().flat_map(|setting| ["--set", setting.as_str()]));
        arguments.extend(limit.iter().flat_map(|setting| ["--set", setting]));
        succeed(&arguments);
        let substitutes = std::fs::read(out.join("fold_0/substitutes.csv")).ok();
        (weights(&out), substitutes)
    };
    for model in ["patchgcn", "mustmil", "protosurv"] {
        let (all, substitutes_all) = train(&format!("{model}-all"), model, &[]);
        let (part, substitutes_part) = train(&format!("{model}-part"), model, &[LIMIT]);
        assert!(all != part, "{model}");
        assert_eq!(substitutes_all, substitutes_part, "{model}: counted are whole slides");
        assert_eq!(
            substitutes_all.is_some(),
            model == "protosurv",
            "{model}: the tissue of these bags has no classes"
        );
    }
    // Neighbours that are kept beside the bags are those of whole slides, whoever found them.
    let kept = cohort.join("bags/.derived");
    let files = || -> BTreeMap<PathBuf, Vec<u8>> {
        let entries = std::fs::read_dir(&kept).unwrap().map(|entry| entry.unwrap().path());
        entries.map(|path| (path.clone(), std::fs::read(path).unwrap())).collect()
    };
    train("deepgraphsurv-part", "deepgraphsurv", &[LIMIT]);
    let of_part = files();
    std::fs::remove_dir_all(&kept).unwrap();
    train("deepgraphsurv-all", "deepgraphsurv", &[]);
    assert!(of_part == files() && of_part.len() == 24);
}

#[test]
fn what_does_not_fit_is_told_with_a_limit_that_does() {
    let dir = tempfile::tempdir().unwrap();
    let cohort = cohort(dir.path());
    let config = cohort.join("config.toml");
    // The least that is predicted: so small a budget makes all again that can be.
    let predicted = |limit: &[&str]| {
        let mut arguments = vec!["doctor", "--json", "--config", path(&config)];
        arguments.extend(["training.memory_budget=1 MiB"].iter().chain(limit).flat_map(|set| ["--set", set]));
        let output = support::cf_train(&arguments);
        assert_eq!(output.status.code(), Some(4));
        serde_json::from_slice::<serde_json::Value>(&output.stdout).unwrap()
    };
    let (all, some) = (predicted(&[]), predicted(&["training.max_patches=16"]));
    let bytes = |forecast: &serde_json::Value| forecast["memory"]["predicted_peak_bytes"].as_u64().unwrap();
    assert_eq!((&all["memory"]["work"], all.get("draws")), (&"training".into(), None));
    assert_eq!((&some["draws"]["max_patches"], &some["draws"]["n_slides"]), (&16.into(), &24.into()));
    assert!(bytes(&some) < bytes(&all));
    let between = (bytes(&some) + bytes(&all)) as f64 / 2.0 / f64::from(1 << 20);
    let between = format!("training.memory_budget={between:.4} MiB");
    let out = dir.path().join("run");
    let arguments = |limit: &str| {
        let set = ["--set", &between, "--set", limit].map(str::to_owned);
        let all = ["cv", "--folds", "0", "--config", path(&config), "--out", path(&out)].map(str::to_owned);
        all.into_iter().chain(set).collect::<Vec<String>>()
    };
    let none = arguments("training.seed=7");
    let none: Vec<&str> = none.iter().map(String::as_str).collect();
    let text =
        fail(&none, 4, &["whose training step takes", "training.max_patches = ", "leave the slide out"]);
    let limit = text.split("training.max_patches = ").nth(1).unwrap().split(' ').next().unwrap();
    let limited = arguments(&format!("training.max_patches={limit}"));
    succeed(&limited.iter().map(String::as_str).collect::<Vec<_>>());

    let none = ["cv", "--config", path(&config), "--dry-run", "--set", "training.max_patches=0"];
    fail(&none, 3, &["training.max_patches is 0, expected at least 1"]);
}

#[test]
fn a_limit_makes_the_peak_of_memory_fall() {
    let dir = tempfile::tempdir().unwrap();
    let cohort = cohort(dir.path());
    // One slide is large, by 100 times.
    let bags = std::fs::read_dir(cohort.join("bags")).unwrap().map(|entry| entry.unwrap().path());
    let largest = bags.filter(|path| path.extension().is_some_and(|end| end == "h5")).max().unwrap();
    let bag = native::read(&largest, "simulated", &[Magnification::X20]).unwrap();
    let n = 15_000;
    let features = (0..n * 12).map(|at| (at % 97) as f32 / 97.0).collect();
    let coords = (0..n as i64).map(|at| [at % 100 * 256, at / 100 * 256]).collect();
    let set = PatchSet::new(FeatureMatrix::new(features, n, 12).unwrap()).with_coords(coords).unwrap();
    let set = set.with_geometry(bag.at(Magnification::X20).unwrap().geometry()).unwrap();
    let bag = Bag::new(bag.slide_id(), [(Magnification::X20, set)]).unwrap();
    let info = native::slide_info(&largest).unwrap();
    let info = SlideInfo { width: Some(100 * 256), height: Some(150 * 256), ..info };
    native::write(&largest, &bag, "simulated", &info).unwrap();
    let config = dir.path().join("amil.toml");
    let text = std::fs::read_to_string(cohort.join("config.toml")).unwrap();
    let (start, rest) = text.split_once("[model]").unwrap();
    let (_, training) = rest.split_once("[training]").unwrap();
    let text = format!("{start}[model]\nname = \"amil\"\n[training]{training}");
    let text = text.replace("\"clinical.csv\"", "\"cohort/clinical.csv\"");
    let text = text.replace("\"splits\"", "\"cohort/splits\"").replace("\"bags\"", "\"cohort/bags\"");
    std::fs::write(&config, text.replace("max_epochs = 2", "max_epochs = 1")).unwrap();
    let peak = |name: &str, more: &[&str]| {
        let out = dir.path().join(name);
        // In one of the two folds the large slide is trained on, once an epoch.
        let arguments = ["cv", "--json", "--folds", "0,1", "--set", "training.protocol=sound"];
        let arguments = [&arguments[..], &["--config", path(&config), "--out", path(&out)]].concat();
        let summary: serde_json::Value =
            serde_json::from_str(&succeed(&[&arguments[..], more].concat())).unwrap();
        summary["peak_rss_bytes"].as_u64().unwrap()
    };
    let (all, some) = (peak("all", &[]), peak("some", &["--set", "training.max_patches=1000"]));
    assert!(some * 10 < all * 7, "{some} of {all}");
}
