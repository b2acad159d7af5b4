//! One cohort in the layouts of seven tools: the same predictions to the byte, and a warning where rows lie in another
//! order.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod support;

use std::path::{Path, PathBuf};

use support::{cohort, path, succeed};
use wsi_bags::{
    BagStore, Converter, FeatureMatrix, Layout, Magnification, PatchSet, RowOrder, SlideInfo, native,
    safetensors,
};

/// Converts every bag of the cohort.
fn converted(cohort: &Path, layout: Layout, out: &Path) -> PathBuf {
    let store = BagStore::open(&cohort.join("bags"), Some(Layout::Native), "simulated").unwrap();
    let mut converter = Converter::new(&store, layout, out).unwrap();
    for slide in store.slide_ids() {
        converter.convert(slide).unwrap();
    }
    out.to_owned()
}

/// CLAM's HDF5 files in folders named `folder(magnification)`: what other tools write differs in names and attributes.
fn renamed(clam: &Path, out: &Path, folder: impl Fn(u32) -> String) -> PathBuf {
    for magnification in Magnification::ALL {
        let times = magnification.power();
        let to = out.join(folder(times));
        std::fs::create_dir_all(&to).unwrap();
        for entry in std::fs::read_dir(clam.join(magnification.label()).join("h5_files")).unwrap() {
            let entry = entry.unwrap();
            std::fs::copy(entry.path(), to.join(entry.file_name())).unwrap();
        }
    }
    out.to_owned()
}

/// Trains on the bags of `features` and returns the predictions of every fold.
fn predictions(cohort: &Path, run: &Path, features: &Path, layout: Option<&str>) -> Vec<Vec<u8>> {
    let config = cohort.join("config.toml");
    let dir = format!("features.dir={}", path(features));
    let layout = format!("features.layout={}", layout.unwrap_or("native"));
    succeed(&[
        "cv",
        "--config",
        path(&config),
        "--out",
        path(run),
        "--set",
        &dir,
        "--set",
        &layout,
        "--set",
        "training.max_epochs=2",
    ]);
    (0..5).map(|fold| std::fs::read(run.join(format!("fold_{fold}/predictions.csv"))).unwrap()).collect()
}

#[test]
fn a_cohort_in_seven_layouts_gives_the_same_predictions() {
    let dir = tempfile::tempdir().unwrap();
    let cohort = cohort(dir.path(), 20);
    let place = |name: &str| dir.path().join(name);
    let native = predictions(&cohort, &place("run-simulated"), &cohort.join("bags"), None);
    let clam = converted(&cohort, Layout::Clam, &place("clam"));
    let layouts = [
        ("clam", clam.clone()),
        ("crossfusion", converted(&cohort, Layout::Crossfusion, &place("crossfusion"))),
        ("safetensors", converted(&cohort, Layout::Safetensors, &place("safetensors"))),
        ("native", converted(&cohort, Layout::Native, &place("native"))),
        (
            "trident",
            renamed(&clam, &place("trident"), |times| {
                format!("{times}x_256px_0px_overlap/features_simulated")
            }),
        ),
        (
            "mmp",
            renamed(&clam, &place("mmp"), |times| {
                format!("extracted_mag{times}x_patch256_fp/extracted-simulated/feats_h5")
            }),
        ),
    ];
    for (layout, features) in layouts {
        let found = predictions(&cohort, &place(&format!("run-{layout}")), &features, Some(layout));
        assert!(found == native, "{layout} gives other predictions than the simulated bags");
    }
}

/// The patches from left to right, column by column, as CLAM cuts them.
fn by_columns(set: &PatchSet) -> PatchSet {
    let coords = set.coords().unwrap();
    let mut order: Vec<usize> = (0..coords.len()).collect();
    order.sort_by_key(|&row| coords[row]);
    let rows = order.iter().flat_map(|&row| set.features().row(row).unwrap()).copied().collect();
    let features = FeatureMatrix::new(rows, order.len(), set.features().dim()).unwrap();
    PatchSet::new(features).with_coords(order.iter().map(|&row| coords[row]).collect()).unwrap()
}

#[test]
fn rows_in_another_order_than_the_model_was_trained_on_are_warned_of() {
    let dir = tempfile::tempdir().unwrap();
    let cohort = cohort(dir.path(), 20);
    let (config, run) = (cohort.join("config.toml"), dir.path().join("run"));
    succeed(&["cv", "--config", path(&config), "--out", path(&run), "--folds", "0"]);
    let store = BagStore::open(&cohort.join("bags"), None, "simulated").unwrap();
    let slide = store.slide_ids()[0].clone();
    let bag =
        native::read(&cohort.join(format!("bags/{slide}.h5")), "simulated", &Magnification::ALL).unwrap();
    let columns = dir.path().join("columns");
    for (at, set) in bag.sets() {
        assert_eq!(set.row_order(), RowOrder::RowMajor);
        let folder = columns.join("simulated").join(at.label());
        std::fs::create_dir_all(&folder).unwrap();
        let file = folder.join(format!("{slide}.safetensors"));
        safetensors::write(&file, &by_columns(set), "simulated", &SlideInfo::default()).unwrap();
    }
    let checkpoint = run.join("fold_0/best.safetensors");
    let predicted = |features: &Path| {
        let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_cf-train"));
        command.args(["predict", "--checkpoint", path(&checkpoint), "--model", "crossfusion", "--json"]);
        command.args(["--features", path(features), "--backbone", "simulated", "--slide", &slide]);
        let output = command.output().unwrap();
        let stderr = String::from_utf8(output.stderr).unwrap();
        assert!(output.status.success(), "{stderr}");
        (String::from_utf8(output.stdout).unwrap(), stderr)
    };
    let (as_trained, silence) = predicted(&cohort.join("bags"));
    assert!(!silence.contains("order"), "{silence}");
    let (otherwise, warning) = predicted(&columns);
    for wanted in ["WARN", "another order", "file", "row-major", &slide] {
        assert!(warning.contains(wanted), "`{wanted}` is not in: {warning}");
    }
    assert_ne!(as_trained, otherwise, "the model folds rows into a grid");
}
