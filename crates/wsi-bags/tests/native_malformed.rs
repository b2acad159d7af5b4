//! Native files with something wrong in them, one test for each thing; and files cut short or changed.
#![cfg(feature = "store")]
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod craft;

use std::fs;
use std::path::Path;

use craft::fixture;
use rust_hdf5::{H5File, H5Group};
use wsi_bags::Magnification::{X10, X20};
use wsi_bags::{Error, ErrorKind, FileKind, Magnification, native};

/// A file with group `x20` of two patches, changed by `change`, and the error of reading it.
fn refused(change: impl FnOnce(&H5Group)) -> Error {
    refused_file(|path| {
        let file = H5File::create(path).unwrap();
        change(&file.create_group("x20").unwrap());
        file.close().unwrap();
    })
}

fn refused_file(write: impl FnOnce(&Path)) -> Error {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("slide.h5");
    write(&path);
    let error = native::read(&path, "uni", &[X20]).unwrap_err();
    assert_eq!(error.path(), Some(path.as_path()));
    error
}

fn put<T: rust_hdf5::H5Type>(group: &H5Group, name: &str, shape: &[usize], values: &[T]) {
    group.new_dataset::<T>().shape(shape).create(name).unwrap().write_raw(values).unwrap();
}

fn put_features(group: &H5Group) {
    put(&group.create_group("features").unwrap(), "uni", &[2, 2], &[1.0f32, 2.0, 3.0, 4.0]);
}

fn put_coords(group: &H5Group) {
    put(group, "coords", &[2, 2], &[0i64, 0, 512, 0]);
}

/// Everything a reader demands.
fn put_all(group: &H5Group) {
    put_coords(group);
    put_features(group);
}

#[test]
fn the_crafted_file_is_read_when_nothing_is_wrong() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("slide.h5");
    let file = H5File::create(&path).unwrap();
    put_all(&file.create_group("x20").unwrap());
    file.close().unwrap();
    assert_eq!(native::read(&path, "uni", &[X20]).unwrap().feature_dim(), 2);
}

#[test]
fn a_file_of_another_kind_is_named_as_what_it_is() {
    for (bytes, kind) in
        [(&b""[..], FileKind::Empty), (b"PK\x03\x04", FileKind::Zip), (b"hello", FileKind::Unknown)]
    {
        let error = refused_file(|path| fs::write(path, bytes).unwrap());
        assert!(matches!(error.kind(), ErrorKind::FileKind { found, .. } if *found == kind), "{error}");
    }
}

#[test]
fn missing_coordinates_are_refused() {
    let error = refused(put_features);
    assert!(matches!(error.kind(), ErrorKind::MissingDataset { name, .. } if name == "coords"), "{error}");
    assert_eq!(error.place(), Some("x20/coords"));
}

#[test]
fn a_missing_encoder_is_refused() {
    let error = refused(put_coords);
    assert!(matches!(error.kind(), ErrorKind::MissingEncoder { found, .. } if found.is_empty()), "{error}");
}

#[test]
fn coordinates_of_three_columns_are_refused() {
    let error = refused(|group| {
        put_features(group);
        put(group, "coords", &[2, 3], &[0i64; 6]);
    });
    assert!(matches!(error.kind(), ErrorKind::Shape { found, .. } if found == &[2, 3]), "{error}");
}

#[test]
fn fractional_coordinates_are_refused() {
    let error = refused(|group| {
        put_features(group);
        put(group, "coords", &[2, 2], &[0.5f64; 4]);
    });
    assert!(matches!(error.kind(), ErrorKind::ElementType { found, .. } if found == "float64"), "{error}");
    assert_eq!(error.place(), Some("x20/coords"));
}

#[test]
fn coordinates_of_another_number_of_patches_are_refused() {
    let error = refused(|group| {
        put_features(group);
        put(group, "coords", &[3, 2], &[0i64; 6]);
    });
    assert!(matches!(error.kind(), ErrorKind::RowCount { what: "coords", expected: 2, found: 3 }), "{error}");
}

#[test]
fn features_of_one_axis_are_refused() {
    let error = refused(|group| {
        put_coords(group);
        put(&group.create_group("features").unwrap(), "uni", &[4], &[1.0f32; 4]);
    });
    assert!(matches!(error.kind(), ErrorKind::Shape { found, .. } if found == &[4]), "{error}");
}

#[test]
fn integer_features_are_refused() {
    let error = refused(|group| {
        put_coords(group);
        put(&group.create_group("features").unwrap(), "uni", &[2, 2], &[1i32; 4]);
    });
    assert!(matches!(error.kind(), ErrorKind::ElementType { .. }), "{error}");
}

#[test]
fn nan_features_are_refused_with_their_place() {
    let error = refused(|group| {
        put_coords(group);
        put(&group.create_group("features").unwrap(), "uni", &[2, 2], &[1.0, 2.0, f32::NAN, 4.0]);
    });
    assert!(matches!(error.kind(), ErrorKind::NonFinite { row: 1, column: 0 }), "{error}");
    assert_eq!(error.place(), Some("x20/features/uni"));
}

#[test]
fn parents_of_another_number_of_patches_are_refused() {
    let error = refused(|group| {
        put_all(group);
        put(group, "parent", &[1], &[0i64]);
    });
    assert!(matches!(error.kind(), ErrorKind::RowCount { what: "parent", .. }), "{error}");
}

#[test]
fn a_parent_below_minus_one_is_refused() {
    let error = refused(|group| {
        put_all(group);
        put(group, "parent", &[2], &[-1i64, -2]);
    });
    assert!(matches!(error.kind(), ErrorKind::Parent { patch_idx: 1, parent: -2, .. }), "{error}");
}

#[test]
fn a_tissue_class_beyond_a_byte_is_refused() {
    let error = refused(|group| {
        put_all(group);
        put(group, "tissue", &[2], &[0i64, 256]);
    });
    assert!(matches!(error.kind(), ErrorKind::Limit { found: 256, .. }), "{error}");
}

#[test]
fn an_unknown_row_order_is_refused() {
    let error = refused(|group| {
        put_all(group);
        group.set_attr_string("row_order", "spiral").unwrap();
    });
    assert_eq!(error.place(), Some("x20"));
    assert!(
        error.to_string().ends_with("attribute `row_order` is \"spiral\", wanted `row-major` or `file`"),
        "{error}"
    );
}

#[test]
fn a_row_order_that_the_coordinates_contradict_is_refused() {
    let error = refused(|group| {
        put_features(group);
        put(group, "coords", &[2, 2], &[512i64, 0, 0, 0]);
        group.set_attr_string("row_order", "row-major").unwrap();
    });
    assert!(matches!(error.kind(), ErrorKind::RowOrder { patch_idx: 1 }), "{error}");
    assert_eq!(error.place(), Some("x20"));
}

#[test]
fn half_of_a_geometry_is_kept_and_impossible_fallbacks_are_refused() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("slide.h5");
    let file = H5File::create(&path).unwrap();
    let group = file.create_group("x20").unwrap();
    put_all(&group);
    group.set_attr_numeric("mpp", &0.5f64).unwrap();
    file.close().unwrap();
    let bag = native::read(&path, "uni", &[X20]).unwrap();
    let geometry = bag.at(X20).unwrap().geometry();
    assert_eq!((geometry.patch_size_level0, geometry.mpp), (None, Some(0.5)));

    let error = refused(|group| {
        put_all(group);
        put(group, "parent", &[2], &[0i64, -1]);
        group.set_attr_numeric("parent_fallbacks", &3u64).unwrap();
    });
    assert!(matches!(error.kind(), ErrorKind::Limit { found: 3, limit: 2, .. }), "{error}");
}

#[test]
fn negative_coordinates_and_those_beyond_the_slide_are_refused() {
    let negative = refused(|group| {
        put_features(group);
        put(group, "coords", &[2, 2], &[0i64, 0, -512, 0]);
    });
    assert!(matches!(negative.kind(), ErrorKind::Coords { patch_idx: 1, .. }), "{negative}");
    let beyond = refused_file(|path| {
        let file = H5File::create(path).unwrap();
        file.set_attr_numeric("slide_width", &512u64).unwrap();
        put_all(&file.create_group("x20").unwrap());
        file.close().unwrap();
    });
    assert!(
        beyond
            .to_string()
            .ends_with("x20: patch 1 lies at (512, 0): the slide is 512 pixels wide at level 0"),
        "{beyond}"
    );
}

#[test]
fn a_geometry_that_is_text_negative_or_fractional_is_refused() {
    let geometry = |put: &dyn Fn(&H5Group)| {
        refused(|group| {
            put_all(group);
            put(group);
        })
    };
    let errors = [
        geometry(&|group| group.set_attr_string("mpp", "0.5").unwrap()),
        geometry(&|group| group.set_attr_numeric("mpp", &-0.5f64).unwrap()),
        geometry(&|group| group.set_attr_numeric("mpp", &f64::NAN).unwrap()),
        geometry(&|group| group.set_attr_numeric("patch_size_level0", &0u64).unwrap()),
        geometry(&|group| group.set_attr_numeric("patch_size_level0", &0.5f64).unwrap()),
        geometry(&|group| {
            group.set_attr_numeric("mpp", &0.5f64).unwrap();
            group.set_attr_numeric("patch_size_level0", &(1u64 << 32)).unwrap();
        }),
    ];
    for error in errors {
        assert!(matches!(error.kind(), ErrorKind::Attribute { .. }), "{error}");
        assert_eq!(error.place(), Some("x20"));
    }
}

#[test]
fn a_parent_outside_the_coarser_magnification_is_refused() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("slide.h5");
    let file = H5File::create(&path).unwrap();
    put_all(&file.create_group("x10").unwrap());
    let fine = file.create_group("x20").unwrap();
    put_all(&fine);
    put(&fine, "parent", &[2], &[0i64, 2]);
    file.close().unwrap();
    let error = native::read(&path, "uni", &[X10, X20]).unwrap_err();
    assert!(matches!(error.kind(), ErrorKind::Parent { patch_idx: 1, parent: 2, .. }), "{error}");
    assert!(native::read(&path, "uni", &[X20]).is_ok(), "without 10x there is nothing to check against");
}

fn try_all(path: &Path) -> Result<wsi_bags::Bag, Error> {
    let _ = native::slide_info(path);
    let _ = native::encoders(path);
    let _ = native::magnifications(path, "uni");
    native::read(path, "uni", &Magnification::ALL)
}

#[test]
fn a_file_cut_short_is_refused_or_whole() {
    for name in ["native_f32.h5", "native_latest.h5", "native_lzf.h5"] {
        let bytes = fs::read(fixture(name)).unwrap();
        let directory = tempfile::tempdir().unwrap();
        // The name is the slide id, which is compared as well.
        let path = directory.path().join(name);
        fs::write(&path, &bytes).unwrap();
        let whole = try_all(&path).unwrap();
        for len in (0..bytes.len()).step_by(37).chain(bytes.len() - 16..bytes.len()) {
            fs::write(&path, &bytes[..len]).unwrap();
            if let Ok(bag) = try_all(&path) {
                assert_eq!(bag, whole, "{name} cut to {len} of {} bytes", bytes.len());
            }
        }
    }
}

#[test]
#[cfg_attr(feature = "hdf5", ignore = "the C library (1.10) may crash on a damaged file")]
fn no_changed_byte_causes_a_panic() {
    for name in ["native_f32.h5", "native_latest.h5", "native_gzip.h5"] {
        let bytes = fs::read(fixture(name)).unwrap();
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join(name);
        // Every fourth byte that is not zero and some that are: the file is mostly padding.
        let positions = (0..bytes.len()).filter(|position| bytes[*position] != 0 || position % 16 == 0);
        for (i, position) in positions.step_by(4).enumerate() {
            let mut changed = bytes.clone();
            changed[position] ^= [0xff, 0x01, 0x80, 0x10][i % 4];
            fs::write(&path, changed).unwrap();
            if let Ok(bag) = try_all(&path) {
                assert!(
                    bag.sets().all(|(_, set)| set.n_patches() <= 3),
                    "{name}: byte {position} made patches up"
                );
            }
        }
    }
}

#[test]
fn sizes_whose_product_overflows_are_refused() {
    let error = refused_file(|path| {
        let mut bytes = fs::read(fixture("native_f32.h5")).unwrap();
        let sizes = |sizes: [u64; 2]| sizes.map(u64::to_le_bytes).concat();
        let (found, false_sizes) = (sizes([3, 4]), sizes([1 << 33; 2]));
        let places: Vec<usize> =
            (0..bytes.len() - found.len()).filter(|at| bytes[*at..].starts_with(&found)).collect();
        assert_eq!(places.len(), 2, "the sizes of the features, and the largest that they may become");
        for at in places {
            bytes[at..at + false_sizes.len()].copy_from_slice(&false_sizes);
        }
        fs::write(path, bytes).unwrap();
    });
    assert!(matches!(error.kind(), ErrorKind::Limit { found: u64::MAX, .. }), "{error:?}");
}

#[test]
fn a_chunk_larger_than_the_file_can_hold_is_refused() {
    let error = refused_file(|path| {
        let mut bytes = fs::read(fixture("native_gzip.h5")).unwrap();
        // Version 3, chunked, three sizes: an address, then rows, columns and bytes of a value.
        let sizes = [1u32, 4, 4].map(u32::to_le_bytes).concat();
        let is_layout =
            |at: &usize| bytes[*at..].starts_with(&[3, 2, 3]) && bytes[*at + 11..].starts_with(&sizes);
        let places: Vec<usize> = (0..bytes.len() - 23).filter(is_layout).collect();
        assert_eq!(places.len(), 3, "the features of every magnification");
        for at in places {
            bytes[at + 11..at + 15].copy_from_slice(&i32::MAX.to_le_bytes());
        }
        fs::write(path, bytes).unwrap();
    });
    let size = 16 * i32::MAX as u64;
    let is_refused = match error.kind() {
        ErrorKind::Limit { what: "size of a chunk in bytes", found, .. } => *found == size,
        // The C library has a limit of its own.
        ErrorKind::Hdf5 { .. } => cfg!(feature = "hdf5"),
        _ => false,
    };
    assert!(is_refused, "{error:?}");
}

/// A dataset in chunks of 32 rows of which the one in the middle was never written.
fn put_with_hole<T: rust_hdf5::H5Type>(group: &H5Group, name: &str, shape: &[usize], bytes: [u8; 8]) {
    let chunk: Vec<usize> = std::iter::once(32).chain(shape[1..].iter().copied()).collect();
    let dataset = group.new_dataset::<T>().shape(shape).chunk(&chunk).create(name).unwrap();
    let n_values: usize = chunk.iter().product();
    let values = bytes[..size_of::<T>()].repeat(n_values);
    for index in [0, 2] {
        dataset.write_chunk(index, &values).unwrap();
    }
}

#[test]
fn coordinates_parents_and_classes_that_were_never_written_are_not_zeros() {
    const N: usize = 70;
    let one = 1i64.to_le_bytes();
    for name in ["coords", "parent", "tissue"] {
        let error = refused(|group| {
            put(&group.create_group("features").unwrap(), "uni", &[N, 2], &[1.0f32; 2 * N]);
            match name {
                "coords" => put_with_hole::<i64>(group, name, &[N, 2], one),
                "parent" => put_with_hole::<i64>(group, name, &[N], one),
                _ => put_with_hole::<u8>(group, name, &[N], one),
            }
            if name != "coords" {
                let coords: Vec<i64> = (0..N as i64).flat_map(|row| [512 * row, 0]).collect();
                put(group, "coords", &[N, 2], &coords);
            }
        });
        let told = matches!(
            error.kind(),
            ErrorKind::Content { found, .. } if found == "a dataset with a chunk to which nothing was written"
        );
        assert!(told, "{name}: {error}");
        assert_eq!(error.place(), Some(format!("x20/{name}").as_str()));
    }
}

#[test]
fn chunks_of_zeros_that_were_written_are_read() {
    const N: usize = 70;
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("slide.h5");
    let file = H5File::create(&path).unwrap();
    let group = file.create_group("x20").unwrap();
    put(&group.create_group("features").unwrap(), "uni", &[N, 2], &[1.0f32; 2 * N]);
    let coords: Vec<i64> = (0..N as i64).flat_map(|row| [512 * row, 0]).collect();
    put(&group, "coords", &[N, 2], &coords);
    let tissue = group.new_dataset::<u8>().shape([N]).chunk(&[32]).create("tissue").unwrap();
    (0..3).for_each(|index| tissue.write_chunk(index, &[0; 32]).unwrap());
    file.close().unwrap();
    let bag = native::read(&path, "uni", &[X20]).unwrap();
    assert_eq!(bag.at(X20).unwrap().tissue(), Some(&[0; N][..]));
}
