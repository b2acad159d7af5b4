//! What is written to `.pt` is read back unchanged.
#![cfg(feature = "pt")]
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::fs;

use proptest::prelude::*;
use wsi_bags::{FeatureMatrix, pt};

fn features() -> impl Strategy<Value = FeatureMatrix> {
    (1usize..40, 1usize..40).prop_flat_map(|(n_patches, dim)| {
        let values = prop::collection::vec(prop::num::f32::NORMAL | prop::num::f32::ZERO, n_patches * dim);
        values.prop_map(move |values| FeatureMatrix::new(values, n_patches, dim).unwrap())
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn features_are_read_back_bit_for_bit_and_in_place(features in features()) {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("slide.pt");
        pt::write_features(&path, &features).unwrap();
        let read = pt::read_features(&path).unwrap();
        prop_assert_eq!((read.n_patches(), read.dim()), (features.n_patches(), features.dim()));
        let bits = |features: &FeatureMatrix| features.as_slice().iter().map(|v| v.to_bits()).collect::<Vec<_>>();
        prop_assert_eq!(bits(&read), bits(&features));
        prop_assert!(read.is_mapped());
    }
}

#[test]
fn equal_features_give_equal_bytes() {
    let directory = tempfile::tempdir().unwrap();
    let features = FeatureMatrix::new(vec![0.5; 70_000], 700, 100).unwrap();
    let paths = ["a.pt", "b.pt"].map(|name| directory.path().join(name));
    for path in &paths {
        pt::write_features(path, &features).unwrap();
    }
    assert_eq!(fs::read(&paths[0]).unwrap(), fs::read(&paths[1]).unwrap());
}

#[test]
fn a_file_can_be_rewritten_from_its_own_mapped_values() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("slide.pt");
    let features = FeatureMatrix::new(vec![1.0, 2.0, 3.0, 4.0], 2, 2).unwrap();
    pt::write_features(&path, &features).unwrap();
    let mapped = pt::read_features(&path).unwrap();
    pt::write_features(&path, &mapped).unwrap();
    assert_eq!(pt::read_features(&path).unwrap(), features);
    assert_eq!(mapped, features, "the replaced file stays readable through its map");
    assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 1, "nothing is left beside it");
}
