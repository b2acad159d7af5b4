//! What is written to a native file is read back unchanged.
#![cfg(feature = "store")]
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::fs;
use std::path::Path;

use proptest::prelude::*;
use wsi_bags::Magnification::{X5, X10, X20};
use wsi_bags::{
    Bag, BagStore, ErrorKind, FeatureMatrix, Magnification, PatchGeometry, PatchSet, Provenance, SlideInfo,
    native, safetensors,
};

fn patches(n_patches: usize, dim: usize) -> PatchSet {
    let values = (0..n_patches * dim).map(|i| i as f32 / 4.0).collect();
    let coords = (0..n_patches as i64).map(|i| [512 * (i % 7), 512 * (i / 7)]).collect();
    PatchSet::new(FeatureMatrix::new(values, n_patches, dim).unwrap()).with_coords(coords).unwrap()
}

fn write(directory: &Path, bag: &Bag) -> std::path::PathBuf {
    let path = directory.join(format!("{}.h5", bag.slide_id()));
    native::write(&path, bag, "uni", &SlideInfo::default()).unwrap();
    path
}

prop_compose! {
    fn any_set(n_parents: u32)(n_patches in 1usize..30, dim in Just(5usize))(
        values in prop::collection::vec(prop::num::f32::NORMAL | prop::num::f32::ZERO, n_patches * dim),
        coords in prop::collection::vec(prop::array::uniform2(0i64..1 << 40), n_patches),
        parents in prop::option::of(prop::collection::vec(prop::option::of(0..n_parents), n_patches)),
        tissue in prop::option::of(prop::collection::vec(any::<u8>(), n_patches)),
        geometry in prop::option::of((1u32.., 1e-3f64..1e3)),
        dim in Just(dim), n_patches in Just(n_patches),
    ) -> PatchSet {
        let mut set = PatchSet::new(FeatureMatrix::new(values, n_patches, dim).unwrap()).with_coords(coords).unwrap();
        if let (Some(parents), true) = (parents, n_parents > 0) {
            set = set.with_parents(parents).unwrap();
        }
        if let Some(tissue) = tissue {
            set = set.with_tissue(tissue).unwrap();
        }
        if let Some((patch_size_level0, mpp)) = geometry {
            set = set.with_geometry(PatchGeometry { patch_size_level0: Some(patch_size_level0), mpp: Some(mpp) }).unwrap();
        }
        set
    }
}

#[test]
fn coordinates_that_would_not_be_read_are_not_written() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("slide.h5");
    for corner in [[-1, 0], [0, 512]] {
        let features = FeatureMatrix::new(vec![1.0], 1, 1).unwrap();
        let set = PatchSet::new(features).with_coords(vec![corner]).unwrap();
        let bag = Bag::new("slide", [(X20, set)]).unwrap();
        let slide = SlideInfo { width: None, height: Some(512), mpp: None };
        let error = native::write(&path, &bag, "uni", &slide).unwrap_err();
        assert!(matches!(error.kind(), ErrorKind::Coords { patch_idx: 0, .. }), "{error}");
        assert!(!path.exists());
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn a_bag_is_read_back_whole_and_in_place(
        // Parents of 20x patches point into 10x, which has at least one patch.
        (fine, middle, coarse) in (any_set(1), any_set(1), any_set(1).prop_map(without_parents)),
        width in prop::option::of(1u64 << 40..1 << 53), mpp in prop::option::of(1e-3f64..10.0),
    ) {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("slide.h5");
        let bag = Bag::new("slide", [(X20, fine), (X5, coarse), (X10, middle)]).unwrap();
        let slide = SlideInfo { width, height: None, mpp };
        native::write(&path, &bag, "uni", &slide).unwrap();
        let read = native::read(&path, "uni", &Magnification::ALL).unwrap();
        prop_assert_eq!(&read, &bag);
        prop_assert!(read.sets().all(|(_, set)| set.features().is_mapped()));
        prop_assert_eq!(native::slide_info(&path).unwrap(), slide);
    }
}

fn without_parents(set: PatchSet) -> PatchSet {
    PatchSet::new(set.features().clone()).with_coords(set.coords().unwrap().to_vec()).unwrap()
}

#[test]
fn some_magnifications_of_a_file_can_be_read() {
    let directory = tempfile::tempdir().unwrap();
    let bag = Bag::new("slide", [(X5, patches(2, 3)), (X20, patches(9, 3))]).unwrap();
    let path = write(directory.path(), &bag);
    let read = native::read(&path, "uni", &[X20]).unwrap();
    assert_eq!(read.magnifications().collect::<Vec<_>>(), [X20]);
    assert_eq!(read.at(X20).unwrap(), bag.at(X20).unwrap());
}

#[test]
fn equal_bags_give_equal_bytes() {
    let directory = tempfile::tempdir().unwrap();
    let bag = Bag::new("slide", [(X5, patches(2, 3)), (X20, patches(9, 3))]).unwrap();
    let first = fs::read(write(directory.path(), &bag)).unwrap();
    assert_eq!(fs::read(write(directory.path(), &bag)).unwrap(), first);
    assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 1, "nothing is left beside it");
}

#[test]
fn a_bag_without_coordinates_is_not_written() {
    let directory = tempfile::tempdir().unwrap();
    let features = PatchSet::new(FeatureMatrix::new(vec![1.0], 1, 1).unwrap());
    let bag = Bag::new("slide", [(X20, features)]).unwrap();
    let error =
        native::write(&directory.path().join("slide.h5"), &bag, "uni", &SlideInfo::default()).unwrap_err();
    assert!(matches!(error.kind(), ErrorKind::MissingDataset { name, .. } if name == "coords"), "{error}");
    assert_eq!(error.place(), Some("x20"));
    assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 0, "nothing half written is left");
}

#[test]
fn impossible_slides_and_encoders_are_not_written() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("slide.h5");
    let bag = Bag::new("slide", [(X20, patches(1, 1))]).unwrap();
    for slide in [
        SlideInfo { width: Some(0), ..SlideInfo::default() },
        SlideInfo { height: Some(0), ..SlideInfo::default() },
        SlideInfo { mpp: Some(f64::NAN), ..SlideInfo::default() },
    ] {
        let error = native::write(&path, &bag, "uni", &slide).unwrap_err();
        assert!(matches!(error.kind(), ErrorKind::Geometry { .. }), "{error}");
    }
    for encoder in ["", "a/b", ".."] {
        let error = native::write(&path, &bag, encoder, &SlideInfo::default()).unwrap_err();
        assert!(matches!(error.kind(), ErrorKind::Name { what: "encoder", .. }), "{error}");
    }
    assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 0);
}

#[test]
fn a_second_encoder_is_added_without_touching_the_first() {
    let directory = tempfile::tempdir().unwrap();
    let bag = Bag::new("slide", [(X5, patches(2, 3)), (X20, patches(9, 3))]).unwrap();
    let path = write(directory.path(), &bag);
    let mapped = native::read(&path, "uni", &[X5, X20]).unwrap();
    let wider = Bag::new("slide", [(X20, patches(9, 6))]).unwrap();
    native::add_features(&path, &wider, "conch").unwrap();

    assert_eq!(native::encoders(&path).unwrap(), ["conch", "uni"]);
    assert_eq!(native::read(&path, "uni", &[X5, X20]).unwrap(), bag);
    assert_eq!(native::read(&path, "conch", &[X20]).unwrap(), wider);
    assert_eq!(native::magnifications(&path, "conch").unwrap(), [X20]);
    assert_eq!(mapped, bag, "the replaced file stays readable through its map");
}

#[test]
fn features_are_added_to_the_same_patches_only() {
    let directory = tempfile::tempdir().unwrap();
    let path = write(directory.path(), &Bag::new("slide", [(X20, patches(9, 3))]).unwrap());
    let before = fs::read(&path).unwrap();
    let add = |magnification, set, encoder: &str| {
        native::add_features(&path, &Bag::new("slide", [(magnification, set)]).unwrap(), encoder).unwrap_err()
    };
    let error = add(X20, patches(8, 3), "conch");
    assert!(matches!(error.kind(), ErrorKind::Content { wanted: "the same patches", .. }), "{error}");
    let error = add(X20, patches(9, 3), "uni");
    assert!(
        matches!(error.kind(), ErrorKind::Content { found, .. } if found == "features of `uni`"),
        "{error}"
    );
    let error = add(X10, patches(9, 3), "conch");
    assert!(matches!(error.kind(), ErrorKind::MissingMagnification { wanted: X10, .. }), "{error}");
    assert_eq!(fs::read(&path).unwrap(), before);
}

#[test]
fn features_are_added_where_no_encoder_has_any_and_not_twice() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("slide.h5");
    let file = rust_hdf5::H5File::create(&path).unwrap();
    let coords: Vec<i64> = patches(9, 1).coords().unwrap().as_flattened().to_vec();
    for label in ["x10", "x20"] {
        let group = file.create_group(label).unwrap();
        let dataset = group.new_dataset::<i64>().shape([9, 2]).create("coords").unwrap();
        dataset.write_raw(&coords).unwrap();
        group.set_attr_numeric("patch_size_level0", &512u64).unwrap();
    }
    file.close().unwrap();
    let lattices = native::lattices(&path).unwrap();
    let found: Vec<_> = lattices
        .iter()
        .map(|lattice| (lattice.magnification, lattice.coords.len(), lattice.geometry.patch_size_level0))
        .collect();
    assert_eq!(found, [(X10, 9, Some(512)), (X20, 9, Some(512))]);

    let fine = Bag::new("slide", [(X20, patches(9, 3))]).unwrap();
    assert_eq!(native::add_lacking_features(&path, &fine, "uni").unwrap(), native::Placed::Added);
    let both = Bag::new("slide", [(X10, patches(9, 3)), (X20, patches(9, 3))]).unwrap();
    assert_eq!(native::add_lacking_features(&path, &both, "uni").unwrap(), native::Placed::Added);
    let before = fs::read(&path).unwrap();
    let slide = SlideInfo::default();
    assert_eq!(
        native::write_or_add(&path, &both, "uni", &slide, &native::Origin::default()).unwrap(),
        native::Placed::Present
    );
    // Another process made the file of another slide of the name, or laid patches in another way, meanwhile.
    let stated = |slide_file: &str, tissue: &str| native::Origin {
        lattice: Some("nested".to_owned()),
        tissue: Some(tissue.to_owned()),
        slide_file: Some(slide_file.to_owned()),
        slide_bytes: Some(17),
    };
    let of_run = directory.path().join("of-run.h5");
    let first = stated("a.svs", "preset tcga");
    let write = |origin: &native::Origin| native::write_or_add(&of_run, &both, "uni", &slide, origin);
    assert_eq!(write(&first).unwrap(), native::Placed::Written);
    assert_eq!(native::origin(&of_run).unwrap(), first);
    assert_eq!(write(&stated("A.SVS", "preset tcga")).unwrap(), native::Placed::Present);
    for (other, what) in [
        (stated("a.tif", "preset tcga"), "the slide_file a.svs, 17 bytes, and these have a.tif, 17 bytes"),
        (native::Origin { slide_bytes: Some(18), ..first.clone() }, "and these have a.svs, 18 bytes"),
        (stated("a.svs", "preset default"), "the tissue preset tcga, and these have preset default"),
    ] {
        let error = write(&other).unwrap_err();
        assert!(
            matches!(error.kind(), ErrorKind::Content { .. }) && error.to_string().contains(what),
            "{error}"
        );
    }
    assert_eq!(fs::read(&path).unwrap(), before);
    assert_eq!(native::magnifications(&path, "uni").unwrap(), [X10, X20]);
}

#[test]
fn how_features_were_made_is_kept_for_each_encoder() {
    let directory = tempfile::tempdir().unwrap();
    let text = |text: &str| Some(text.to_owned());
    let made = |weights: &str, pixels: &str| Provenance {
        tool: text("wsi-features"),
        tool_version: text("1.2.3"),
        encoder: text("resnet50"),
        weights_sha256: text(weights),
        pixels: text(pixels),
    };
    let (first, second) = (made(&"ab".repeat(32), "nearest"), made(&"cd".repeat(32), "level0"));
    let bag =
        |made: &Provenance| Bag::new("slide", [(X20, patches(9, 3).with_provenance(made.clone()))]).unwrap();
    let path = write(directory.path(), &bag(&first));
    native::add_features(&path, &bag(&second), "conch").unwrap();
    native::add_features(&path, &Bag::new("slide", [(X20, patches(9, 3))]).unwrap(), "bare").unwrap();

    let stated = |encoder: &str| native::provenances(&path, encoder).unwrap();
    assert_eq!(stated("uni"), [(X20, first.clone())]);
    assert_eq!(stated("conch"), [(X20, second)]);
    assert_eq!(stated("bare"), [(X20, Provenance::default())], "what is not stated is not made up");
    assert_eq!(stated("absent"), []);
    assert_eq!(native::read(&path, "uni", &[X20]).unwrap(), bag(&first));

    let folder = directory.path().join("copy/uni/x20");
    fs::create_dir_all(&folder).unwrap();
    let made = Provenance { encoder: text("uni"), ..first };
    let set = patches(9, 3).with_provenance(made.clone());
    safetensors::write(&folder.join("slide.safetensors"), &set, "uni", &SlideInfo::default()).unwrap();
    let copies = BagStore::open(&directory.path().join("copy"), None, "uni").unwrap();
    assert_eq!(copies.read("slide", &[X20]).unwrap().at(X20).unwrap().provenance(), &made);
}
