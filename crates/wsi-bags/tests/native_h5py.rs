//! Native bags that h5py wrote (`tests/data/generate.py`): read with the right values, or refused for the right reason.
#![cfg(feature = "store")]
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod craft;

use craft::{fixture, rule};
use wsi_bags::Magnification::{X5, X10, X20};
use wsi_bags::{Bag, Error, ErrorKind, Magnification, PatchGeometry, RowOrder, SlideInfo, native};

fn read(name: &str, encoder: &str) -> Bag {
    native::read(&fixture(name), encoder, &Magnification::ALL).unwrap()
}

fn refused(name: &str) -> Error {
    let path = fixture(name);
    let error = native::read(&path, "uni", &[X20]).unwrap_err();
    assert_eq!(error.path(), Some(path.as_path()), "the error names the file");
    assert_eq!(error.place(), Some("x20/features/uni"), "the error names the dataset");
    error
}

#[test]
fn every_kind_of_file_gives_the_same_bag() {
    for name in [
        "native_f32.h5",
        "native_f16.h5",
        "native_f64.h5",
        "native_big_endian.h5",
        "native_latest.h5",
        "native_dense.h5",
        "native_ordered.h5",
        "native_user_block.h5",
        "native_gzip.h5",
        "native_lzf.h5",
    ] {
        let bag = read(name, "uni");
        assert_eq!(format!("{}.h5", bag.slide_id()), name);
        for (magnification, n_patches) in [(X5, 1), (X10, 2), (X20, 3)] {
            let patches = bag.at(magnification).unwrap();
            assert_eq!(patches.features().as_slice(), rule(n_patches * 4), "{name} {magnification}");
            let side = i64::from(512 * 20 / magnification.power());
            let coords: Vec<_> = (0..n_patches as i64).map(|i| [i * side, 0]).collect();
            assert_eq!(patches.coords(), Some(&coords[..]), "{name} {magnification}");
            let geometry = PatchGeometry {
                patch_size_level0: Some(u32::try_from(side).unwrap()),
                mpp: Some(0.25 * side as f64 / 256.0),
            };
            assert_eq!(patches.geometry(), geometry, "{name} {magnification}");
            assert_eq!(patches.row_order(), RowOrder::RowMajor);
        }
        assert_eq!(bag.at(X5).unwrap().parents(), None);
        assert_eq!(bag.at(X10).unwrap().parents(), Some(&[Some(0), None][..]), "{name}");
        assert_eq!(bag.at(X20).unwrap().parents(), Some(&[Some(0), Some(1), Some(1)][..]), "{name}");
        assert_eq!(bag.at(X20).unwrap().tissue(), Some(&[2, 0, 1][..]), "{name}");
    }
}

#[test]
fn only_contiguous_little_endian_singles_stay_in_the_file() {
    for (name, in_place) in [
        ("native_f32.h5", true),
        ("native_latest.h5", true),
        ("native_dense.h5", true),
        ("native_user_block.h5", true),
        ("native_f16.h5", false),
        ("native_f64.h5", false),
        ("native_big_endian.h5", false),
        ("native_gzip.h5", false),
    ] {
        let bag = read(name, "uni");
        assert!(bag.sets().all(|(_, patches)| patches.features().is_mapped() == in_place), "{name}");
    }
}

#[test]
fn the_slide_is_described_by_attributes_of_any_number_type() {
    for name in
        ["native_f32.h5", "native_latest.h5", "native_dense.h5", "native_ordered.h5", "native_user_block.h5"]
    {
        let slide = native::slide_info(&fixture(name)).unwrap();
        assert_eq!(slide, SlideInfo { width: Some(40_000), height: Some(30_000), mpp: Some(0.25) }, "{name}");
    }
}

#[test]
fn a_file_without_attributes_has_neither_slide_nor_geometry() {
    let bag = read("native_bare.h5", "uni");
    assert_eq!(bag.at(X20).unwrap().geometry(), PatchGeometry::default());
    assert_eq!(bag.at(X20).unwrap().features().as_slice(), rule(12));
    assert_eq!(native::slide_info(&fixture("native_bare.h5")).unwrap(), SlideInfo::default());
}

#[test]
fn encoders_are_listed_and_told_apart() {
    let path = fixture("native_f32.h5");
    assert_eq!(native::encoders(&path).unwrap(), ["resnet50", "uni"]);
    assert_eq!(read("native_f32.h5", "resnet50").feature_dim(), 2);
    assert_eq!(native::magnifications(&path, "uni").unwrap(), Magnification::ALL);
    assert_eq!(native::magnifications(&path, "conch").unwrap(), []);
    let error = native::read(&path, "conch", &[X5]).unwrap_err();
    assert!(
        error.to_string().ends_with("native_f32.h5: x5: no features of encoder `conch`; found resnet50, uni"),
        "{error}"
    );
}

#[test]
fn features_that_were_never_written_are_not_zeros() {
    let error = refused("wrong_native_unwritten.h5");
    assert!(
        matches!(error.kind(), ErrorKind::Content { found, .. } if found == "a dataset to which nothing was written"),
        "{error}"
    );
}

#[test]
fn chunks_that_were_never_written_are_not_zeros() {
    for name in ["wrong_native_chunks.h5", "wrong_native_chunks_v4.h5"] {
        let path = fixture(name);
        for filters in ["plain", "gzip"] {
            for (encoder, wanted) in [
                ("never", "a dataset to which nothing was written"),
                ("single", "a dataset to which nothing was written"),
                ("grown_extensible", "a dataset with a chunk to which nothing was written"),
                ("grown_tree", "a dataset with a chunk to which nothing was written"),
                ("hole", "a dataset with a chunk to which nothing was written"),
                ("columns", "a dataset with a chunk to which nothing was written"),
            ] {
                let encoder = format!("{encoder}_{filters}");
                let error = native::read(&path, &encoder, &[X20]).unwrap_err();
                let told = matches!(error.kind(), ErrorKind::Content { found, .. } if found == wanted);
                assert!(told, "{name} {encoder}: {error}");
                assert_eq!(error.place(), Some(format!("x20/features/{encoder}").as_str()), "{name}");
            }
            for encoder in ["zeros", "zeros_single"] {
                let bag = native::read(&path, &format!("{encoder}_{filters}"), &[X20]).unwrap();
                assert_eq!(bag.at(X20).unwrap().features().as_slice(), [0.0; 70 * 4], "{name} {encoder}");
            }
        }
    }
}

#[test]
fn a_dataset_far_larger_than_its_file_is_refused_before_memory_is_set_aside() {
    let error = refused("wrong_native_sparse.h5");
    assert!(matches!(error.kind(), ErrorKind::Limit { found, .. } if *found == 1 << 52), "{error}");
}

#[test]
fn values_that_lie_in_another_file_are_refused() {
    for name in ["wrong_native_virtual.h5", "wrong_native_external.h5"] {
        let error = refused(name);
        assert!(
            matches!(error.kind(), ErrorKind::Content { found, .. } if found == "values that lie in another file"),
            "{name}: {error}"
        );
    }
}

#[test]
fn a_link_into_another_file_is_not_a_dataset() {
    let error = native::read(&fixture("wrong_native_linked.h5"), "uni", &[X20]).unwrap_err();
    assert!(matches!(error.kind(), ErrorKind::MissingEncoder { found, .. } if found.is_empty()), "{error}");
}

/// The C library notices damage of such chunks, which the one in Rust does not.
#[cfg(not(feature = "hdf5"))]
#[test]
fn szip_is_refused_by_its_name() {
    let error = refused("wrong_native_szip.h5");
    assert!(
        matches!(error.kind(), ErrorKind::Hdf5Feature { feature } if feature == "SZIP compression"),
        "{error}"
    );
    assert!(error.to_string().contains("`h5repack` rewrites a file without it"), "{error}");
}

#[test]
fn text_is_not_features() {
    assert!(matches!(refused("wrong_native_text.h5").kind(), ErrorKind::ElementType { .. }));
}

#[test]
fn a_missing_magnification_names_those_present() {
    let error = native::read(&fixture("wrong_native_text.h5"), "uni", &[X10]).unwrap_err();
    assert!(
        matches!(error.kind(), ErrorKind::MissingMagnification { wanted: X10, present } if present == &[X20]),
        "{error}"
    );
}
