//! What the files of one slide say of different magnifications fits together, or is refused.
#![cfg(feature = "store")]
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::path::Path;

use wsi_bags::Magnification::{X5, X10, X20};
use wsi_bags::{
    BagStore, Converter, Error, ErrorKind, FeatureMatrix, Layout, Magnification, PatchSet, SlideInfo,
    safetensors,
};

/// Writes a slide in TRIDENT's form: a patch at the origin.
fn put_trident(root: &Path, magnification: Magnification, side: u64, width: u64, level0_magnification: u64) {
    let folder = root.join(format!("{}x_256px_0px_overlap/features_uni", magnification.power()));
    std::fs::create_dir_all(&folder).unwrap();
    let file = rust_hdf5::H5File::create(folder.join("slide.h5")).unwrap();
    file.new_dataset::<f32>().shape([1, 2]).create("features").unwrap().write_raw(&[1.0f32, 2.0]).unwrap();
    let coords = file.new_dataset::<i64>().shape([1, 2]).create("coords").unwrap();
    coords.write_raw(&[0i64, 0]).unwrap();
    for (name, value) in [
        ("patch_size_level0", side),
        ("level0_width", width),
        ("level0_height", 4096),
        ("level0_magnification", level0_magnification),
        ("target_magnification", u64::from(magnification.power())),
    ] {
        coords.new_attr::<u64>().shape(()).create(name).unwrap().write_numeric(&value).unwrap();
    }
    file.close().unwrap();
}

/// What is said by each that reads all magnifications of `slide`.
fn refused(store: &BagStore, out: &Path) -> Vec<Error> {
    let mut errors = vec![
        store.read("slide", &Magnification::ALL).unwrap_err(),
        store.check_together("slide", &Magnification::ALL).unwrap_err(),
    ];
    for layout in [Layout::Native, Layout::Safetensors] {
        let out = out.join(layout.label());
        errors.push(Converter::new(store, layout, &out).unwrap().convert("slide").unwrap_err());
        assert!(BagStore::open(&out, Some(layout), "uni").is_err(), "nothing is written");
    }
    errors
}

#[test]
fn files_of_two_scans_of_one_slide_are_refused() {
    let directory = tempfile::tempdir().unwrap();
    let root = directory.path().join("in");
    for (magnification, side, width, level0_magnification) in
        [(X5, 2048, 6144, 40), (X10, 1024, 6144, 40), (X20, 256, 3072, 20)]
    {
        put_trident(&root, magnification, side, width, level0_magnification);
    }
    let store = BagStore::open(&root, None, "uni").unwrap();
    let file = |at: &str| root.join(at).join("features_uni/slide.h5").display().to_string();
    for error in refused(&store, directory.path()) {
        assert_eq!(
            error.to_string(),
            format!(
                "the slide of {} is 3072 pixels wide at level 0, 20x at level 0 (x20 patches), but 6144 pixels wide at \
                 level 0, 40x at level 0 (x5 patches) in {}",
                file("20x_256px_0px_overlap"),
                file("5x_256px_0px_overlap")
            )
        );
    }
    store.check_together("slide", &[X5, X10]).unwrap();
    store.read("slide", &[X20]).unwrap();

    // The powers alone, of scans that were cropped to the same size.
    put_trident(&root, X20, 256, 6144, 20);
    let error = store.read("slide", &[X10, X20]).unwrap_err();
    assert!(
        matches!(error.kind(), ErrorKind::Disagreement { found, .. } if found == "20x at level 0 (x20 patches)")
    );
    put_trident(&root, X20, 512, 6144, 40);
    store.read("slide", &Magnification::ALL).unwrap();
}

#[test]
fn resolutions_of_one_slide_are_rounded_and_those_of_two_are_not_one() {
    let directory = tempfile::tempdir().unwrap();
    let root = directory.path().join("in");
    let put = |magnification: Magnification, mpp: Option<f64>| {
        let home = root.join("uni").join(magnification.label());
        std::fs::create_dir_all(&home).unwrap();
        let patches = PatchSet::new(FeatureMatrix::new(vec![0.5; 2], 1, 2).unwrap());
        let patches = patches.with_coords(vec![[0, 0]]).unwrap();
        let slide = SlideInfo { width: None, height: None, mpp };
        safetensors::write(&home.join("slide.safetensors"), &patches, "uni", &slide).unwrap();
    };
    put(X5, Some(0.2520));
    put(X10, None);
    put(X20, Some(0.2527));
    let store = BagStore::open(&root, None, "uni").unwrap();
    store.read("slide", &Magnification::ALL).unwrap();
    store.check_together("slide", &Magnification::ALL).unwrap();
    put(X20, Some(0.5));
    for error in refused(&store, directory.path()) {
        match error.kind() {
            ErrorKind::Disagreement { what, found, expected, .. } => {
                assert_eq!(*what, ErrorKind::SLIDE);
                assert_eq!(found, "0.5 micrometres per pixel (x20 patches)");
                assert_eq!(expected, "0.252 micrometres per pixel (x5 patches)");
            }
            other => panic!("{other}"),
        }
    }
}
