//! One cohort in the layouts of seven tools: the same predictions to the byte, and a word where rows lie in another order.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod support;

use std::path::{Path, PathBuf};

use support::{cohort, path, succeed};
use wsi_bags::{BagStore, Converter, Layout, Magnification};

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
