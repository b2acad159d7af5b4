//! What this crate writes is read by h5py, safetensors and PyTorch: run where `CF_PYTHON` names a Python that has the
//! first two, and the third if it can.
#![cfg(feature = "store")]
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod cohort;

use std::path::Path;
use std::process::Command;

use cohort::{SLIDES, layouts};
use wsi_bags::{BagStore, Converter, FeatureType, Layout};

#[test]
fn python_reads_what_was_written() {
    let Some(python) = std::env::var_os("CF_PYTHON") else {
        eprintln!("skipped: CF_PYTHON is not set");
        return;
    };
    let directory = tempfile::tempdir().unwrap();
    let store = BagStore::open(&layouts("trident"), None, "uni_v1").unwrap();
    for feature_type in FeatureType::ALL {
        for layout in Layout::WRITABLE {
            let out = directory.path().join(feature_type.label()).join(layout.label());
            let converter = Converter::new(&store, layout, &out).unwrap();
            let mut converter = converter.with_feature_type(feature_type);
            for slide in SLIDES {
                converter.convert(slide).unwrap();
            }
        }
    }
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/python/read_back.py");
    let output = Command::new(python).arg(script).arg(directory.path()).output().unwrap();
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{text}{}", String::from_utf8_lossy(&output.stderr));
    eprintln!("{}", text.trim());
}
