//! Folders as CLAM, TRIDENT, STAMP, AtlasPatch, MMP and CrossFusion leave them, and safetensors, written by h5py,
//! PyTorch and safetensors (`fixtures/generate/layouts.py`): found, paired and read with the right values.
#![cfg(feature = "store")]
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod cohort;

use std::path::Path;

use cohort::{Order, SLIDES, check, layouts, side};
use wsi_bags::Magnification::{X5, X10, X20};
use wsi_bags::{BagStore, ErrorKind, Layout, Magnification, PatchGeometry, Provenance, RowOrder};

/// Every folder, its layout, backbone and width, and the order of its coordinates where it has any.
const COHORTS: [(&str, Layout, &str, usize, Option<Order>); 11] = [
    ("crossfusion", Layout::Crossfusion, "uni", 4, None),
    ("clam", Layout::Clam, "any name", 4, Some(Order::Columns)),
    ("trident", Layout::Trident, "uni_v1", 4, Some(Order::Rows)),
    ("trident", Layout::Trident, "conch_v1", 3, Some(Order::Rows)),
    ("stamp", Layout::Stamp, "uni2", 4, None),
    ("atlaspatch", Layout::Atlaspatch, "uni", 4, Some(Order::Rows)),
    ("atlaspatch", Layout::Atlaspatch, "resnet50", 3, Some(Order::Rows)),
    ("mmp", Layout::Mmp, "uni", 4, Some(Order::Columns)),
    ("mmp_pt", Layout::Mmp, "uni", 4, None),
    ("safetensors", Layout::Safetensors, "uni", 4, Some(Order::Rows)),
    ("safetensors_scales", Layout::Safetensors, "uni", 4, Some(Order::Rows)),
];

#[test]
fn every_layout_is_detected_and_read() {
    for (folder, layout, backbone, dim, order) in COHORTS {
        let store = BagStore::open(&layouts(folder), None, backbone).unwrap();
        assert_eq!(store.layout(), Some(layout), "{folder}");
        assert_eq!(store.slide_ids(), SLIDES, "{folder}: names are not cut at their dots");
        for (slide_idx, slide) in SLIDES.iter().enumerate() {
            let present = store.presence(&format!("{slide}.svs")).unwrap();
            assert_eq!(present.magnifications().collect::<Vec<_>>(), Magnification::ALL, "{folder}");
            let bag = store.read(&format!("{slide}.svs"), &Magnification::ALL).unwrap();
            assert_eq!(bag.slide_id(), *slide);
            check(&bag, slide_idx, dim, order, folder);
            for (magnification, set) in bag.sets() {
                let described = store.describe(slide, magnification).unwrap();
                assert_eq!((described.n_patches, described.dim), (set.n_patches(), dim), "{folder}");
                assert_eq!(described.row_order, set.row_order(), "{folder}");
                assert_eq!(described.has_coords, order.is_some(), "{folder}");
                assert_eq!(&described.provenance, set.provenance(), "{folder}");
                assert!(described.path.is_file(), "{folder}");
                assert_eq!(described.path, store.path_of(slide, magnification), "{folder}");
            }
        }
        let only = BagStore::open(&layouts(folder), Some(layout), backbone).unwrap();
        assert_eq!(only.slide_ids(), SLIDES, "{folder}");
    }
}

/// Cut at any byte, a file of h5py is damaged or ends early: nothing says that it holds something else, and nothing is read of it that
/// was not in it.
#[test]
fn a_copy_that_broke_off_is_no_file_of_another_kind() {
    let directory = tempfile::tempdir().unwrap();
    let mut n_beyond = 0;
    for (folder, place) in [("clam", "x20/h5_files"), ("atlaspatch", "x20/patches"), ("trident", "")] {
        let whole = match place {
            "" => {
                let store = BagStore::open(&layouts(folder), None, "uni_v1").unwrap();
                store.path_of(SLIDES[0], X20)
            }
            place => layouts(folder).join(place).join(format!("{}.h5", SLIDES[0])),
        };
        let bytes = std::fs::read(&whole).unwrap();
        let file = directory.path().join("slide.h5");
        for keep in (0..bytes.len()).step_by(61) {
            std::fs::write(&file, &bytes[..keep]).unwrap();
            let roots = [(X20, directory.path().to_owned())];
            let read = BagStore::open_roots(&roots, "uni").and_then(|store| store.read("slide", &[X20]));
            let Err(error) = read else { panic!("{folder}: read with {keep} of {} bytes", bytes.len()) };
            match error.kind() {
                ErrorKind::BeyondFile { end, file_len } => {
                    assert!(*file_len == keep as u64 && end > file_len, "{error}");
                    assert!(error.is_damage(), "{error}");
                    n_beyond += 1;
                }
                // Of less than its superblock nothing is known.
                ErrorKind::FileKind { .. } | ErrorKind::Hdf5 { .. } if keep < 100 => {}
                // What the C library says of a file that is shorter than it states.
                ErrorKind::Hdf5 { .. } if cfg!(feature = "hdf5") => n_beyond += 1,
                _ => panic!("{folder}, {keep} of {} bytes: {error}", bytes.len()),
            }
        }
    }
    assert!(n_beyond > 10, "{n_beyond}");
}

#[test]
fn row_order_is_that_of_the_tool() {
    for (folder, backbone, x20) in [
        ("clam", "uni", RowOrder::File),
        ("trident", "uni_v1", RowOrder::RowMajor),
        ("crossfusion", "uni", RowOrder::File),
    ] {
        let store = BagStore::open(&layouts(folder), None, backbone).unwrap();
        assert_eq!(store.describe(SLIDES[1], X20).unwrap().row_order, x20, "{folder}");
    }
}

#[test]
fn what_files_say_of_their_making_is_kept() {
    let of = |folder: &str, backbone: &str| {
        BagStore::open(&layouts(folder), None, backbone).unwrap().describe(SLIDES[0], X20).unwrap()
    };
    let text = |text: &str| Some(text.to_owned());
    let trident = of("trident", "uni_v1");
    assert_eq!(
        trident.provenance,
        Provenance { tool: text("trident"), encoder: text("uni_v1"), ..Provenance::default() }
    );
    assert_eq!(trident.geometry, PatchGeometry { patch_size_level0: Some(512), mpp: None });
    assert_eq!((trident.slide.width, trident.slide.height), (Some(4096), Some(3000)));
    assert_eq!(trident.element_type, "float16");
    let stamp = of("stamp", "uni2");
    assert_eq!(
        stamp.provenance,
        Provenance {
            tool: text("stamp"),
            tool_version: text("2.4.0"),
            encoder: text("uni2"),
            ..Provenance::default()
        }
    );
    assert_eq!(stamp.geometry, PatchGeometry { patch_size_level0: None, mpp: Some(0.5) });
    assert_eq!(of("atlaspatch", "uni").geometry.patch_size_level0, Some(512));
    assert_eq!(of("safetensors", "uni").provenance.encoder, text("uni"));
    assert_eq!(of("safetensors_scales", "uni").element_type, "float64");
    assert!(of("clam", "uni").provenance.is_empty());
}

#[test]
fn micrometres_become_pixels_where_the_resolution_is_known() {
    let store = BagStore::open(&layouts("stamp"), None, "uni2").unwrap().with_slide_mpp(0.25).unwrap();
    let bag = store.read(SLIDES[1], &Magnification::ALL).unwrap();
    check(&bag, 1, 4, Some(Order::Rows), "stamp at 0.25");
    for (magnification, set) in bag.sets() {
        assert_eq!(set.geometry().patch_size_level0, Some(side(magnification) as u32));
        assert_eq!(set.geometry().mpp, Some(10.0 / f64::from(magnification.power())));
    }
    for bad in [0.0, -1.0, f64::NAN] {
        assert!(store.clone().with_slide_mpp(bad).is_err());
    }
}

#[test]
fn every_spelling_of_stamp_is_read() {
    let store = BagStore::open(&layouts("stamp_keys"), None, "uni2").unwrap();
    let store = store.with_slide_mpp(0.25).unwrap();
    for slide in ["multiplex", "features", "tile_size"] {
        let bag = store.read(slide, &[X10]).unwrap();
        let set = bag.at(X10).unwrap();
        assert_eq!(set.features().as_slice(), cohort::features(0, X10, 4), "{slide}");
        assert_eq!(set.coords(), Some(&*cohort::coords(X10, Order::Rows)), "{slide}");
        assert_eq!(set.geometry().patch_size_level0, Some(1024), "{slide}");
    }
    // 224 units are 256 micrometres, which at 0.25 are 1024 pixels.
    let bag = store.read("old", &[X10]).unwrap();
    let old = bag.at(X10).unwrap();
    assert_eq!(old.coords(), Some(&*cohort::coords(X10, Order::Lattice)));
    assert_eq!(old.geometry(), PatchGeometry { patch_size_level0: Some(1024), mpp: Some(256.0 / 224.0) });
    for slide in ["unit_unknown", "unit_none"] {
        let error = store.read(slide, &[X10]).unwrap_err();
        assert!(matches!(error.kind(), ErrorKind::Attribute { name: "unit", .. }), "{error}");
    }
}

#[test]
fn roots_of_any_form_make_one_store() {
    let roots = [
        (X20, layouts("trident/20x_256px_0px_overlap")),
        (X5, layouts("mmp_pt/extracted_mag5x_patch256_fp")),
        (X10, layouts("safetensors_scales/uni/x10")),
    ];
    let store = BagStore::open_roots(&roots, "uni").unwrap_err();
    assert!(matches!(store.kind(), ErrorKind::Layout { looked_for, .. } if looked_for.len() == 7), "{store}");

    let roots = [
        (X20, layouts("clam/x20")),
        (X5, layouts("mmp_pt/extracted_mag5x_patch256_fp")),
        (X10, layouts("safetensors_scales/uni/x10")),
    ];
    let store = BagStore::open_roots(&roots, "uni").unwrap();
    assert_eq!((store.layout(), store.backbone()), (None, "uni"));
    assert_eq!(store.slide_ids(), SLIDES);
    let bag = store.read(SLIDES[0], &Magnification::ALL).unwrap();
    for (magnification, set) in bag.sets() {
        assert_eq!(set.features().as_slice(), cohort::features(0, magnification, 4));
    }
    let more = [
        ("atlaspatch/x5", "uni"),
        ("stamp/x5", "uni2"),
        ("trident/5x_256px_0px_overlap", "uni_v1"),
        ("trident/5x_256px_0px_overlap/features_uni_v1", "uni_v1"),
        ("crossfusion/uni/x5/pt_files", "uni"),
    ];
    for (root, backbone) in more {
        let store = BagStore::open_roots(&[(X5, layouts(root))], backbone).unwrap();
        let bag = store.read(SLIDES[1], &[X5]).unwrap();
        assert_eq!(bag.at(X5).unwrap().features().as_slice(), cohort::features(1, X5, 4), "{root}");
    }
    let twice = [(X5, layouts("clam/x5")), (X5, layouts("clam/x5"))];
    let error = BagStore::open_roots(&twice, "uni").unwrap_err();
    assert!(matches!(error.kind(), ErrorKind::DuplicateMagnification { magnification: X5 }));
    assert!(matches!(BagStore::open_roots(&[], "uni").unwrap_err().kind(), ErrorKind::EmptyBag));
}

#[test]
fn two_folders_for_one_magnification_are_named_with_the_way_out() {
    for (folder, backbone, wanted) in [
        ("mmp_two", "uni", "extracted_mag20x_patch512_fp/extracted-uni/feats_h5"),
        ("stamp_two", "uni2", "x20/uni2-11111111"),
    ] {
        let error = BagStore::open(&layouts(folder), None, backbone).unwrap_err();
        match error.kind() {
            ErrorKind::AmbiguousFolder { found, .. } => assert_eq!(found.len(), 2, "{error}"),
            other => panic!("{other}"),
        }
        let text = error.to_string();
        assert!(text.contains(wanted) && text.contains("name the folder of each magnification"), "{text}");
    }
    let full = BagStore::open(&layouts("stamp_two"), None, "uni2-11111111").unwrap();
    assert_eq!(full.slide_ids(), ["slide-2"]);
}

#[test]
fn where_there_are_folders_of_other_encoders_these_are_told() {
    for (folder, wanted) in
        [("trident", vec!["conch_v1", "uni_v1"]), ("stamp", vec!["uni2-0a1b2c3d"]), ("mmp", vec!["uni"])]
    {
        let error = BagStore::open(&layouts(folder), None, "virchow").unwrap_err();
        assert_eq!(error.path(), Some(layouts(folder).as_path()));
        match error.kind() {
            ErrorKind::MissingEncoder { encoder, found } => {
                assert_eq!(
                    (encoder.as_str(), found),
                    ("virchow", &wanted.into_iter().map(str::to_owned).collect())
                );
            }
            other => panic!("{other}"),
        }
    }
    let stated = BagStore::open(&layouts("clam"), Some(Layout::Stamp), "virchow").unwrap_err();
    assert!(matches!(stated.kind(), ErrorKind::Layout { .. }), "no encoder is called h5_files: {stated}");
}

#[test]
fn a_folder_of_one_magnification_is_not_taken_for_native_bags() {
    let root = layouts("trident/20x_256px_0px_overlap/features_uni_v1");
    let error = BagStore::open(&root, None, "uni_v1").unwrap_err();
    assert!(matches!(error.kind(), ErrorKind::Layout { .. }), "{error}");
}

#[test]
fn files_of_one_slide_that_disagree_are_refused() {
    let store = BagStore::open(&layouts("clam_disagree"), None, "uni").unwrap();
    let error = store.read("slide-2", &[X20]).unwrap_err();
    match error.kind() {
        ErrorKind::Disagreement { what, path, found, other, expected } => {
            assert_eq!((*what, found.as_str(), expected.as_str()), ("number of patches", "8", "9"));
            assert!(path.ends_with("pt_files/slide-2.pt") && other.ends_with("h5_files/slide-2.h5"));
        }
        other => panic!("{other}"),
    }
}

#[test]
fn coordinates_in_a_wrong_frame_are_refused() {
    let store = BagStore::open(&layouts("trident_wrong"), None, "uni_v1").unwrap();
    let text = |slide: &str| store.read(slide, &[X20]).unwrap_err().to_string();
    let micrometres = text("micrometres");
    assert!(micrometres.contains("neighbours are 128 apart, but the file says"), "{micrometres}");
    let beyond = text("beyond");
    assert!(beyond.contains("the slide is 2048 pixels wide at level 0"), "{beyond}");
    assert!(beyond.contains("coords: patch "), "{beyond}");
}

#[test]
fn features_of_another_encoder_are_refused_by_its_name() {
    let store = BagStore::open(&layouts("trident_wrong"), None, "uni_v1").unwrap();
    let error = store.read("encoder", &[X20]).unwrap_err();
    assert!(
        matches!(error.kind(), ErrorKind::MissingEncoder { found, .. } if found == &["conch_v1"]),
        "{error}"
    );
    let error =
        BagStore::open(&layouts("atlaspatch"), None, "conch").unwrap().read("slide-2", &[X5]).unwrap_err();
    assert!(
        matches!(error.kind(), ErrorKind::MissingEncoder { found, .. } if found == &["resnet50", "uni"]),
        "{error}"
    );
}

#[test]
fn a_pickled_numpy_array_is_refused_in_clear_words() {
    let store = BagStore::open(&layouts("trident_numpy"), None, "uni_v1").unwrap();
    let text = store.read("slide-2", &[X20]).unwrap_err().to_string();
    assert!(
        text.contains("found a pickled NumPy object (`numpy.") && text.contains("wanted a bare tensor"),
        "{text}"
    );
}

#[test]
fn each_fault_of_a_file_has_its_error() {
    let store = BagStore::open(&layouts("clam_broken"), None, "uni").unwrap();
    let error = |slide: &str| store.read(slide, &[X20]).unwrap_err();
    let kind_of = |slide: &str, is: fn(&ErrorKind) -> bool| {
        let error = error(slide);
        assert!(is(error.kind()), "{slide}: {error}");
        let file = error.path().unwrap().to_owned();
        assert!(file.ends_with(Path::new("h5_files").join(format!("{slide}.h5"))), "{slide}: {error}");
    };
    kind_of("rows", |kind| matches!(kind, ErrorKind::RowCount { what: "coords", expected: 9, found: 8 }));
    kind_of("negative", |kind| matches!(kind, ErrorKind::Coords { patch_idx: 0, .. }));
    kind_of("fraction", |kind| matches!(kind, ErrorKind::Coords { patch_idx: 0, .. }));
    kind_of("empty", |kind| matches!(kind, ErrorKind::EmptyBag));
    kind_of("nan", |kind| matches!(kind, ErrorKind::NonFinite { row: 3, column: 1 }));
    assert_eq!(error("nan").place(), Some("features"));
    let bare = store.read("no_coords", &[X20]).unwrap();
    assert_eq!(bare.at(X20).unwrap().coords(), None, "features alone are enough to train");
    let none = store.describe("none", X20).unwrap();
    assert_eq!(none.provenance.encoder, None, "the text `None` is no encoder");
    assert!(store.describe("nan", X20).is_ok(), "features are not read");
}

#[test]
fn a_tensor_of_safetensors_says_which_numbers_it_may_hold() {
    let directory = tempfile::tempdir().unwrap();
    let home = directory.path().join("uni/x20");
    std::fs::create_dir_all(&home).unwrap();
    let refused = |features: (&str, usize), coords: (&str, usize)| {
        let (start, end) = (2 * features.1, 2 * features.1 + 2 * coords.1);
        let header = format!(
            r#"{{"features":{{"dtype":"{}","shape":[1,2],"data_offsets":[0,{start}]}},"coords":{{"dtype":"{}","shape":[1,2],"data_offsets":[{start},{end}]}}}}"#,
            features.0, coords.0
        );
        let bytes = [&(header.len() as u64).to_le_bytes(), header.as_bytes(), &vec![0; end]].concat();
        std::fs::write(home.join("slide.safetensors"), bytes).unwrap();
        let store = BagStore::open(directory.path(), None, "uni").unwrap();
        store.read("slide", &[X20]).map(drop).map_err(|error| error.to_string())
    };
    assert_eq!(refused(("F32", 4), ("I32", 4)), Ok(()));
    for (coords, size, found) in
        [("I8", 1, "i8"), ("U16", 2, "u16"), ("F32", 4, "float32"), ("U64", 8, "u64")]
    {
        let text = refused(("F32", 4), (coords, size)).unwrap_err();
        let wanted = format!("coords: element type is {found}, wanted int32, int64 or uint8");
        assert!(text.ends_with(&wanted), "{text}");
    }
    let text = refused(("I32", 4), ("I32", 4)).unwrap_err();
    assert!(
        text.ends_with("features: element type is int32, wanted float16, bfloat16, float32 or float64"),
        "{text}"
    );
}

#[cfg(unix)]
#[test]
fn links_to_folders_and_files_are_followed() {
    let directory = tempfile::tempdir().unwrap();
    let link = |target: &Path, name: &str| {
        let name = directory.path().join(name);
        std::fs::create_dir_all(name.parent().unwrap()).unwrap();
        std::os::unix::fs::symlink(std::fs::canonicalize(target).unwrap(), name).unwrap();
    };
    link(&layouts("clam/x5"), "x5");
    link(&layouts("clam/x10/h5_files"), "x10/h5_files");
    link(&layouts("clam/x20/h5_files/slide-2.h5"), "x20/h5_files/slide-2.h5");
    let store = BagStore::open(directory.path(), None, "uni").unwrap();
    assert_eq!(store.layout(), Some(Layout::Clam));
    let bag = store.read("slide-2", &Magnification::ALL).unwrap();
    check(&bag, 1, 4, Some(Order::Columns), "links");
}

#[test]
fn parents_come_from_stated_or_from_plausible_patch_sizes() {
    for (folder, backbone) in [("trident", "uni_v1"), ("clam", "uni")] {
        let store = BagStore::open(&layouts(folder), None, backbone).unwrap();
        for magnification in [X10, X20] {
            let parents = store.find_parents(SLIDES[0], magnification).unwrap().unwrap();
            let described = store.describe(SLIDES[0], magnification).unwrap();
            assert_eq!(parents.index.len(), described.n_patches, "{folder}");
        }
        let parents = store.find_parents(SLIDES[0], X20).unwrap().unwrap();
        assert_eq!(parents.n_fallbacks, 0, "{folder}");
        let bag = store.read(SLIDES[0], &[X10, X20]).unwrap();
        let [coarse, fine] = [X10, X20].map(|at| bag.at(at).unwrap().coords().unwrap());
        for (corner, parent) in fine.iter().zip(parents.index) {
            assert_eq!(
                coarse[parent as usize],
                corner.map(|c| c / 1024 * 1024),
                "{folder}: the lattices nest"
            );
        }
        assert!(store.find_parents(SLIDES[0], X5).is_err(), "nothing is coarser than 5x");
    }
    let store = BagStore::open(&layouts("crossfusion"), None, "uni").unwrap();
    assert_eq!(store.find_parents(SLIDES[0], X20).unwrap(), None, "without coordinates");
}
