//! The prefetching loader: order, errors in place, bounds, early end.
#![cfg(feature = "store")]
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::fs;
use std::path::Path;
use std::sync::Arc;

use wsi_bags::Magnification::X20;
use wsi_bags::{BagStore, ErrorKind, FeatureMatrix, OrderedLoader, pt};

/// Slides `s0`, `s1`, ... where `s<i>` has `i + 1` patches.
fn store(root: &Path, n_slides: usize) -> Arc<BagStore> {
    let directory = root.join("uni/x20/pt_files");
    fs::create_dir_all(&directory).unwrap();
    for i in 0..n_slides {
        let features = FeatureMatrix::new(vec![i as f32; i + 1], i + 1, 1).unwrap();
        pt::write_features(&directory.join(format!("s{i}.pt")), &features).unwrap();
    }
    Arc::new(BagStore::open(root, None, "uni").unwrap())
}

#[test]
fn bags_come_in_the_asked_order_with_repeats_and_names_as_given() {
    let root = tempfile::tempdir().unwrap();
    let store = store(root.path(), 8);
    let order = [3, 0, 7, 7, 1, 6, 2, 0, 5, 4, 3];
    let slide_ids: Vec<_> = order.iter().map(|i| format!("s{i}.svs")).collect();
    for ahead in [0, 1, 3, 100] {
        let loader = OrderedLoader::new(Arc::clone(&store), slide_ids.clone(), vec![X20], ahead);
        assert_eq!(loader.len(), order.len());
        let found: Vec<_> =
            loader.map(|(slide_id, bag)| (slide_id, bag.unwrap().at(X20).unwrap().n_patches())).collect();
        let expected: Vec<_> = order.iter().map(|i| (format!("s{i}.svs"), i + 1)).collect();
        assert_eq!(found, expected, "ahead {ahead}");
    }
}

#[test]
fn an_error_takes_its_place_and_does_not_end_the_rest() {
    let root = tempfile::tempdir().unwrap();
    let store = store(root.path(), 3);
    let slide_ids = ["s0", "absent", "s2"].map(str::to_owned).to_vec();
    let results: Vec<_> = OrderedLoader::new(store, slide_ids, vec![X20], 1).collect();
    assert!(results[0].1.is_ok());
    assert_eq!(results[1].0, "absent");
    assert!(matches!(results[1].1.as_ref().unwrap_err().kind(), ErrorKind::MissingSlide { .. }));
    assert_eq!(results[2].1.as_ref().unwrap().at(X20).unwrap().n_patches(), 3);
}

#[test]
fn dropping_early_ends_the_thread() {
    let root = tempfile::tempdir().unwrap();
    let store = store(root.path(), 4);
    for n_taken in 0..4 {
        let slide_ids = (0..1000).map(|i| format!("s{}", i % 4)).collect();
        let mut loader = OrderedLoader::new(Arc::clone(&store), slide_ids, vec![X20], 2);
        for _ in 0..n_taken {
            assert!(loader.next().unwrap().1.is_ok());
        }
        drop(loader);
        assert_eq!(Arc::strong_count(&store), 1, "the thread has let go of the store");
    }
}

#[test]
fn an_empty_list_yields_nothing() {
    let root = tempfile::tempdir().unwrap();
    let mut loader = OrderedLoader::new(store(root.path(), 1), Vec::new(), vec![X20], 2);
    assert!(loader.next().is_none());
    assert!(loader.next().is_none());
}
