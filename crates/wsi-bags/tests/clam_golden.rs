//! Files in CLAM's own form from the larger test data, where `CF_TEST_DATA` says where that is.
#![cfg(feature = "store")]
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]
#![allow(clippy::print_stderr, reason = "a test that skips says why")]

use std::path::{Path, PathBuf};

use wsi_bags::Magnification::X20;
use wsi_bags::{BagStore, Converter, ErrorKind, Layout, RowOrder, pt};

/// The folder of files by other tools, or why there is none.
fn golden() -> Option<PathBuf> {
    match std::env::var_os("CF_TEST_DATA") {
        Some(data) => Some(Path::new(&data).join("wsi/golden")),
        None => {
            eprintln!("skipped: CF_TEST_DATA is not set");
            None
        }
    }
}

/// CLAM's folders with one slide.
fn clam_folders(root: &Path, h5: &Path, tensor: Option<&Path>) {
    for (folder, file, ending) in [("h5_files", Some(h5), "h5"), ("pt_files", tensor, "pt")] {
        if let Some(file) = file {
            let folder = root.join("x20").join(folder);
            std::fs::create_dir_all(&folder).unwrap();
            std::fs::copy(file, folder.join(format!("slide.{ending}"))).unwrap();
        }
    }
}

#[test]
fn clam_features_are_read_from_both_of_its_files_and_written_alike() {
    let Some(golden) = golden() else { return };
    let example = golden.join("CLAM-features-layout-example");
    let (h5, tensor) = (example.with_extension("h5"), example.with_extension("pt"));
    let directory = tempfile::tempdir().unwrap();
    clam_folders(&directory.path().join("in"), &h5, Some(&tensor));

    let store = BagStore::open(&directory.path().join("in"), None, "resnet50").unwrap();
    assert_eq!(store.layout(), Some(Layout::Clam));
    let bag = store.read("slide.svs", &[X20]).unwrap();
    let set = bag.at(X20).unwrap();
    let from_tensor = pt::read_features(&tensor).unwrap();
    assert_eq!(set.features(), &from_tensor, "both files hold the same features");
    let coords = set.coords().unwrap();
    assert_eq!(coords.len(), set.n_patches());
    assert!(coords.iter().all(|corner| corner.iter().all(|c| *c >= 0)));
    assert_eq!(set.row_order(), RowOrder::of(coords));

    let out = directory.path().join("out");
    let written = Converter::new(&store, Layout::Clam, &out).unwrap().convert("slide").unwrap();
    assert_eq!(written.files.len(), 2);
    assert_eq!(BagStore::open(&out, None, "resnet50").unwrap().read("slide", &[X20]).unwrap(), bag);
    assert_eq!(pt::read_features(&written.files[1]).unwrap(), from_tensor);
}

#[test]
fn clam_coordinates_without_features_say_what_is_missing() {
    let Some(golden) = golden() else { return };
    let directory = tempfile::tempdir().unwrap();
    clam_folders(directory.path(), &golden.join("CLAM-h5-CMU-1-Small-Region.bwh_biopsy.h5"), None);
    let error =
        BagStore::open(directory.path(), None, "resnet50").unwrap().read("slide", &[X20]).unwrap_err();
    assert!(
        matches!(error.kind(), ErrorKind::MissingDataset { found, .. } if found == &["coords"]),
        "{error}"
    );
}
