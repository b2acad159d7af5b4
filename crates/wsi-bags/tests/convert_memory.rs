//! Converting holds the features of one magnification once. One test to a process: it measures the process.
#![cfg(all(feature = "store", target_os = "linux"))]
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use wsi_bags::Magnification::{X10, X20};
use wsi_bags::{BagStore, Converter, Layout};

/// Largest resident size of this process so far, in bytes.
fn peak() -> usize {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
    line.trim().trim_end_matches(" kB").parse::<usize>().unwrap() * 1024
}

/// A compressed CLAM file: small on disk, so that what is resident is what was decoded.
fn put(root: &std::path::Path, label: &str, n_patches: usize, dim: usize) {
    let folder = root.join(label).join("h5_files");
    std::fs::create_dir_all(&folder).unwrap();
    let file = rust_hdf5::H5File::create(folder.join("slide.h5")).unwrap();
    let features = file
        .new_dataset::<f32>()
        .shape([0, dim])
        .chunk(&[64, dim])
        .max_shape(&[None, Some(dim)])
        .deflate(1)
        .create("features")
        .unwrap();
    for _ in 0..n_patches / 64 {
        features.append(&vec![0.5f32; 64 * dim]).unwrap();
    }
    let coords: Vec<i32> = (0..n_patches as i32).flat_map(|i| [i % 100 * 512, i / 100 * 512]).collect();
    file.new_dataset::<i32>().shape([n_patches, 2]).create("coords").unwrap().write_raw(&coords).unwrap();
    file.close().unwrap();
}

#[test]
fn a_bag_is_never_held_twice() {
    const N_PATCHES: usize = 32_768;
    const DIM: usize = 1024;
    let one_set = N_PATCHES * DIM * size_of::<f32>();
    let directory = tempfile::tempdir().unwrap();
    put(&directory.path().join("in"), "x10", N_PATCHES, DIM);
    put(&directory.path().join("in"), "x20", N_PATCHES, DIM);
    let store = BagStore::open(&directory.path().join("in"), None, "uni").unwrap();
    let before = peak();
    for layout in Layout::WRITABLE {
        let out = directory.path().join(layout.label());
        Converter::new(&store, layout, &out).unwrap().convert("slide").unwrap();
        let grown = peak() - before;
        // Two magnifications of 128 MiB; decoding and the libraries' caches need some room beside.
        assert!(grown < one_set * 7 / 4, "{layout}: {} MiB for sets of {} MiB", grown >> 20, one_set >> 20);
        std::fs::remove_dir_all(&out).unwrap();
    }
    assert!(store.presence("slide").unwrap().at(X10) && store.presence("slide").unwrap().at(X20));
}
