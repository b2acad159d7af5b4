//! Every layout into every layout that is written, and back by its reader.
#![cfg(feature = "store")]
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod cohort;

use std::path::Path;

use cohort::{Order, SLIDES, check, layouts};
use wsi_bags::Magnification::{X5, X10, X20};
use wsi_bags::{
    BagStore, Converter, ErrorKind, FeatureMatrix, FeatureType, Layout, Magnification, PatchGeometry,
    PatchSet, Provenance, SlideInfo, native, pt, safetensors,
};

const SOURCES: [(&str, &str, usize, Order); 8] = [
    ("clam", "uni", 4, Order::Columns),
    ("trident", "uni_v1", 4, Order::Rows),
    ("trident", "conch_v1", 3, Order::Rows),
    ("stamp", "uni2", 4, Order::Rows),
    ("atlaspatch", "uni", 4, Order::Rows),
    ("mmp", "uni", 4, Order::Columns),
    ("safetensors", "uni", 4, Order::Rows),
    ("safetensors_scales", "uni", 4, Order::Rows),
];

fn open(folder: &str, backbone: &str) -> BagStore {
    BagStore::open(&layouts(folder), None, backbone).unwrap().with_slide_mpp(0.25).unwrap()
}

#[test]
fn any_layout_becomes_any_other() {
    for (folder, backbone, dim, order) in SOURCES {
        for layout in Layout::WRITABLE {
            let directory = tempfile::tempdir().unwrap();
            let source = open(folder, backbone);
            let mut converter = Converter::new(&source, layout, directory.path()).unwrap();
            for slide in SLIDES {
                let written = converter.convert(slide).unwrap();
                assert!(written.files.iter().all(|file| file.is_file()), "{folder} to {layout}");
                assert_eq!(written.sets.len(), 3);
                assert_eq!(converter.files(slide, &Magnification::ALL).unwrap(), written.files);
            }
            let read = BagStore::open(directory.path(), Some(layout), backbone).unwrap();
            assert_eq!(read.slide_ids(), SLIDES);
            let detected = BagStore::open(directory.path(), None, backbone).unwrap();
            assert_eq!(detected.layout(), Some(layout), "{folder}");
            for (slide_idx, slide) in SLIDES.iter().enumerate() {
                let bag = read.read(slide, &Magnification::ALL).unwrap();
                let order = (layout != Layout::Crossfusion).then_some(order);
                check(&bag, slide_idx, dim, order, &format!("{folder} to {layout}"));
                let original = source.read(slide, &Magnification::ALL).unwrap();
                for (magnification, set) in bag.sets() {
                    let before = original.at(magnification).unwrap();
                    if order.is_some() {
                        let side = before.geometry().patch_size_level0;
                        assert_eq!(set.geometry().patch_size_level0, side, "{folder} to {layout}");
                        assert_eq!(set.row_order(), before.row_order(), "{folder} to {layout}");
                    }
                    if layout == Layout::Native {
                        assert_eq!(set.provenance(), before.provenance(), "{folder}");
                    }
                }
            }
        }
    }
}

#[test]
fn half_precision_stays_so_and_either_type_can_be_asked_for() {
    let stored = |store: &BagStore| {
        Magnification::ALL.map(|at| store.describe(SLIDES[0], at).unwrap().element_type.to_owned())
    };
    // TRIDENT's files here are f16, CLAM's f32.
    for (folder, backbone, asked, wanted) in [
        ("trident", "uni_v1", None, "float16"),
        ("trident", "uni_v1", Some(FeatureType::F32), "float32"),
        ("clam", "uni", None, "float32"),
        ("clam", "uni", Some(FeatureType::F16), "float16"),
        ("safetensors_scales", "uni", None, "float32"),
    ] {
        let source = open(folder, backbone);
        let original = source.read(SLIDES[0], &Magnification::ALL).unwrap();
        for layout in Layout::WRITABLE {
            let directory = tempfile::tempdir().unwrap();
            let mut converter = Converter::new(&source, layout, directory.path()).unwrap();
            if let Some(asked) = asked {
                converter = converter.with_feature_type(asked);
            }
            converter.convert(SLIDES[0]).unwrap();
            let written = BagStore::open(directory.path(), Some(layout), backbone).unwrap();
            assert_eq!(stored(&written), [wanted; 3], "{folder} to {layout} as {asked:?}");
            // The values are eighths of small integers, which both types hold exactly.
            let read = written.read(SLIDES[0], &Magnification::ALL).unwrap();
            for (at, set) in read.sets() {
                let before = original.at(at).unwrap();
                assert_eq!(set.features(), before.features(), "{folder} to {layout}");
            }
        }
    }
}

#[test]
fn what_half_precision_cannot_hold_is_refused() {
    let directory = tempfile::tempdir().unwrap();
    let folder = directory.path().join("in/uni/x20/pt_files");
    std::fs::create_dir_all(&folder).unwrap();
    let features = FeatureMatrix::new(vec![1.0, 2.0, 3.0, 7e4], 2, 2).unwrap();
    pt::write_features(&folder.join("slide.pt"), &features).unwrap();
    let source = BagStore::open(&directory.path().join("in"), None, "uni").unwrap();
    for layout in [Layout::Crossfusion, Layout::Safetensors] {
        let out = directory.path().join(layout.label());
        let mut converter =
            Converter::new(&source, layout, &out).unwrap().with_feature_type(FeatureType::F16);
        let error = converter.convert("slide").unwrap_err();
        assert!(matches!(error.kind(), ErrorKind::BeyondHalf { row: 1, column: 1, .. }), "{error}");
        assert!(error.path().is_some());
        assert!(BagStore::open(&out, Some(layout), "uni").is_err(), "nothing is left under a final name");
    }
}

#[test]
fn native_bags_get_parents_and_count_fallbacks() {
    let directory = tempfile::tempdir().unwrap();
    let source = open("clam", "uni");
    let written =
        Converter::new(&source, Layout::Native, directory.path()).unwrap().convert(SLIDES[0]).unwrap();
    let parents = |magnification| written.sets.iter().find(|set| set.magnification == magnification).unwrap();
    assert_eq!((parents(X5).has_parents, parents(X5).parent_fallbacks), (false, None));
    // Of the 10x patches, the one at (0, 1024) lies in the coarse patch at (0, 0) of side 2048, as all do.
    assert_eq!((parents(X10).has_parents, parents(X10).parent_fallbacks), (true, Some(0)));
    assert_eq!((parents(X20).has_parents, parents(X20).parent_fallbacks), (true, Some(0)));
    let native = BagStore::open(directory.path(), None, "uni").unwrap();
    let bag = native.read(SLIDES[0], &Magnification::ALL).unwrap();
    let (fine, coarse) = (bag.at(X20).unwrap(), bag.at(X10).unwrap());
    assert_eq!(fine.parent_fallbacks(), Some(0));
    for (corner, parent) in fine.coords().unwrap().iter().zip(fine.parents().unwrap()) {
        let parent = coarse.coords().unwrap()[parent.unwrap() as usize];
        assert!((0..2).all(|axis| (parent[axis]..parent[axis] + 1024).contains(&corner[axis])));
    }
    // Once there, they are kept as they are.
    let again = directory.path().join("again");
    Converter::new(&native, Layout::Safetensors, &again).unwrap().convert(SLIDES[0]).unwrap();
    let safetensors = BagStore::open(&again, None, "uni").unwrap();
    assert_eq!(safetensors.read(SLIDES[0], &Magnification::ALL).unwrap(), with_encoder(&bag));
}

/// The bag with the encoder that a safetensors file states.
fn with_encoder(bag: &wsi_bags::Bag) -> wsi_bags::Bag {
    let provenance = Provenance { encoder: Some("uni".to_owned()), ..Provenance::default() };
    let sets = bag.sets().map(|(at, set)| (at, set.clone().with_provenance(provenance.clone())));
    wsi_bags::Bag::new(bag.slide_id(), sets.collect::<Vec<_>>()).unwrap()
}

#[test]
fn features_of_two_widths_are_not_written_into_one_directory() {
    let directory = tempfile::tempdir().unwrap();
    let source = open("clam_widths", "uni");
    let mut converter = Converter::new(&source, Layout::Safetensors, directory.path()).unwrap();
    converter.convert("a").unwrap();
    let error = converter.convert("b").unwrap_err();
    match error.kind() {
        ErrorKind::Disagreement { what, path, found, other, expected } => {
            assert_eq!((*what, found.as_str(), expected.as_str()), ("number of columns", "3", "4"));
            assert!(path.ends_with("b.h5") && other.ends_with("a.h5"));
        }
        other => panic!("{other}"),
    }
    let written = BagStore::open(directory.path(), None, "uni").unwrap();
    assert_eq!(written.slide_ids(), ["a"]);
}

/// Slides of `in/xM/<slide>.safetensors` below a directory, for one encoder, with `dim` columns.
fn put_source(root: &Path, backbone: &str, dim: usize, sets: &[(Magnification, i64)]) -> BagStore {
    for (magnification, first) in sets {
        let home = root.join("in").join(backbone).join(magnification.label());
        std::fs::create_dir_all(&home).unwrap();
        let values = (0..2 * dim).map(|i| i as f32 / 8.0).collect();
        let side = 512 * 20 / magnification.power();
        let geometry = PatchGeometry { patch_size_level0: Some(side), mpp: None };
        let set = PatchSet::new(FeatureMatrix::new(values, 2, dim).unwrap())
            .with_coords(vec![[*first, 0], [*first + i64::from(side), 0]])
            .and_then(|set| set.with_geometry(geometry))
            .unwrap();
        safetensors::write(&home.join("slide.safetensors"), &set, backbone, &SlideInfo::default()).unwrap();
    }
    BagStore::open(&root.join("in"), None, backbone).unwrap()
}

#[test]
fn native_files_get_the_features_of_a_second_encoder() {
    let directory = tempfile::tempdir().unwrap();
    let out = directory.path().join("bags");
    let file = out.join("slide.h5");
    let uni = put_source(directory.path(), "uni", 4, &[(X10, 0), (X20, 0)]);
    let conch = put_source(directory.path(), "conch", 3, &[(X10, 0), (X20, 0)]);
    let mut of_uni = Converter::new(&uni, Layout::Native, &out).unwrap();
    let mut of_conch = Converter::new(&conch, Layout::Native, &out).unwrap();

    assert!(!of_uni.is_done("slide").unwrap());
    assert!(!of_uni.convert("slide").unwrap().added);
    let before = native::read(&file, "uni", &[X10, X20]).unwrap();
    assert!(of_uni.is_done("slide").unwrap() && !of_conch.is_done("slide").unwrap());
    of_conch = of_conch.with_feature_type(FeatureType::F16);
    let written = of_conch.convert("slide").unwrap();
    assert!(written.added && written.sets.iter().all(|set| !set.has_parents), "parents were there before");
    assert!(of_conch.is_done("slide").unwrap());
    assert_eq!(native::encoders(&file).unwrap(), ["conch", "uni"]);
    assert_eq!(native::read(&file, "uni", &[X10, X20]).unwrap(), before);
    let added = native::read(&file, "conch", &[X10, X20]).unwrap();
    let original = conch.read("slide", &[X20]).unwrap();
    assert_eq!(added.at(X20).unwrap().features(), original.at(X20).unwrap().features());
    assert_eq!(added.at(X20).unwrap().parents(), before.at(X20).unwrap().parents());
    let described = BagStore::open(&out, None, "conch").unwrap().describe("slide", X20).unwrap();
    assert_eq!(described.element_type, "float16");

    // Written again, the file would lose the other encoder.
    let bytes = std::fs::read(&file).unwrap();
    let error = of_uni.convert("slide").unwrap_err();
    assert_eq!(
        error.to_string(),
        format!(
            "{}: found x10 features of `conch`, which would be lost, wanted a file of nothing but what is written again",
            file.display()
        )
    );
    assert_eq!(std::fs::read(&file).unwrap(), bytes);
    std::fs::remove_file(&file).unwrap();
    of_uni.convert("slide").unwrap();
    assert!(!of_uni.convert("slide").unwrap().added, "alone in its file, it is written again");
}

#[test]
fn features_of_other_patches_are_not_added() {
    let directory = tempfile::tempdir().unwrap();
    let out = directory.path().join("bags");
    let uni = put_source(directory.path(), "uni", 4, &[(X20, 0)]);
    Converter::new(&uni, Layout::Native, &out).unwrap().convert("slide").unwrap();
    let bytes = std::fs::read(out.join("slide.h5")).unwrap();
    let other = put_source(directory.path(), "conch", 3, &[(X20, 512)]);
    let error = Converter::new(&other, Layout::Native, &out).unwrap().convert("slide").unwrap_err();
    assert!(matches!(error.kind(), ErrorKind::Content { wanted: "the same patches", .. }), "{error}");
    let more = put_source(directory.path(), "conch2", 3, &[(X10, 0), (X20, 0)]);
    let error = Converter::new(&more, Layout::Native, &out).unwrap().convert("slide").unwrap_err();
    assert!(matches!(error.kind(), ErrorKind::MissingMagnification { wanted: X10, .. }), "{error}");
    assert_eq!(std::fs::read(out.join("slide.h5")).unwrap(), bytes);
}

#[test]
fn a_magnification_that_came_later_is_written() {
    let directory = tempfile::tempdir().unwrap();
    let out = directory.path().join("bags");
    let source = put_source(directory.path(), "uni", 4, &[(X20, 0)]);
    Converter::new(&source, Layout::Native, &out).unwrap().convert("slide").unwrap();
    let source = put_source(directory.path(), "uni", 4, &[(X10, 0)]);
    let mut converter = Converter::new(&source, Layout::Native, &out).unwrap();
    assert!(!converter.is_done("slide").unwrap());
    converter.convert("slide").unwrap();
    assert_eq!(native::magnifications(&out.join("slide.h5"), "uni").unwrap(), [X10, X20]);
    assert!(converter.is_done("slide").unwrap());
}

#[test]
fn a_magnification_that_the_source_lacks_is_not_lost() {
    let directory = tempfile::tempdir().unwrap();
    let out = directory.path().join("bags");
    let [fine, coarse] = [("a", X20), ("b", X10)].map(|(name, magnification)| {
        put_source(&directory.path().join(name), "uni", 4, &[(magnification, 0)])
    });
    Converter::new(&fine, Layout::Native, &out).unwrap().convert("slide").unwrap();
    let error = Converter::new(&coarse, Layout::Native, &out).unwrap().convert("slide").unwrap_err();
    assert!(
        matches!(error.kind(), ErrorKind::Content { found, .. } if found == "x20 features of `uni`, which would be lost"),
        "{error}"
    );
    assert_eq!(native::magnifications(&out.join("slide.h5"), "uni").unwrap(), [X20]);
}

#[test]
fn clam_folders_of_another_encoder_are_refused_where_that_shows() {
    let directory = tempfile::tempdir().unwrap();
    let out = directory.path().join("clam");
    let uni = put_source(directory.path(), "uni", 4, &[(X20, 0)]);
    let mut of_uni = Converter::new(&uni, Layout::Clam, &out).unwrap();
    of_uni.convert("slide").unwrap();
    assert!(of_uni.is_done("slide").unwrap());
    of_uni.convert("slide").unwrap();
    let narrow = put_source(directory.path(), "conch", 3, &[(X20, 0)]);
    let mut of_narrow = Converter::new(&narrow, Layout::Clam, &out).unwrap();
    for error in [of_narrow.is_done("slide").unwrap_err(), of_narrow.convert("slide").unwrap_err()] {
        assert!(matches!(error.kind(), ErrorKind::Disagreement { found, .. } if found == "4"), "{error}");
    }

    // Some tools state the encoder.
    let file = out.join("x20/h5_files/slide.h5");
    let stated = rust_hdf5::H5File::open_rw(&file).unwrap();
    let features = stated.root_group().dataset_writer("features").unwrap();
    let attribute = features.new_attr::<rust_hdf5::VarLenUnicode>().shape(()).create("encoder").unwrap();
    attribute.write_string("uni").unwrap();
    stated.close().unwrap();
    let as_wide = put_source(directory.path(), "gigapath", 4, &[(X20, 0)]);
    let error = Converter::new(&as_wide, Layout::Clam, &out).unwrap().is_done("slide").unwrap_err();
    assert!(matches!(error.kind(), ErrorKind::MissingEncoder { found, .. } if found == &["uni"]), "{error}");
    assert!(of_uni.is_done("slide").unwrap());
}

#[test]
fn files_of_another_layout_are_not_written_beside() {
    let directory = tempfile::tempdir().unwrap();
    let uni = put_source(directory.path(), "uni", 4, &[(X20, 0)]);
    let conch = put_source(directory.path(), "conch", 4, &[(X20, 0)]);
    let pairs = [
        (Layout::Native, Layout::Clam, "*.h5 (native)"),
        (Layout::Clam, Layout::Native, "x5|x10|x20/h5_files/*.h5 or pt_files/*.pt (clam)"),
        (Layout::Native, Layout::Safetensors, "*.h5 (native)"),
        (
            Layout::Safetensors,
            Layout::Native,
            "uni/*.safetensors or uni/x5|x10|x20/*.safetensors (safetensors)",
        ),
        (Layout::Crossfusion, Layout::Clam, "uni/x5|x10|x20/pt_files/*.pt (crossfusion)"),
    ];
    for (first, second, found) in pairs {
        let out = directory.path().join(format!("{first}-{second}"));
        Converter::new(&uni, first, &out).unwrap().convert("slide").unwrap();
        for store in [&uni, &conch] {
            let error = Converter::new(store, second, &out).unwrap_err();
            let wanted = format!(
                "{}: the directory holds bags of another layout: {found}; {second} bags want a directory of their own",
                out.display()
            );
            assert_eq!(error.to_string(), wanted);
        }
        Converter::new(&uni, first, &out).unwrap();
    }
    // Each is opened by the name of its encoder.
    let out = directory.path().join("by-encoder");
    Converter::new(&uni, Layout::Crossfusion, &out).unwrap().convert("slide").unwrap();
    Converter::new(&conch, Layout::Safetensors, &out).unwrap().convert("slide").unwrap();
    for encoder in ["uni", "conch"] {
        BagStore::open(&out, None, encoder).unwrap();
    }
}

#[test]
fn a_slide_whose_files_are_there_under_another_form_of_its_name_gets_no_second_ones() {
    let directory = tempfile::tempdir().unwrap();
    let uni = put_source(directory.path(), "uni", 4, &[(X20, 0)]);
    let conch = put_source(directory.path(), "conch", 4, &[(X20, 0)]);
    let out = directory.path().join("native");
    Converter::new(&uni, Layout::Native, &out).unwrap().convert("slide").unwrap();
    let file = out.join("slide.svs.h5");
    std::fs::rename(out.join("slide.h5"), &file).unwrap();
    assert!(Converter::new(&uni, Layout::Native, &out).unwrap().is_done("slide").unwrap());
    let added = Converter::new(&conch, Layout::Native, &out).unwrap().convert("slide").unwrap();
    assert_eq!((added.files, added.added), (vec![file.clone()], true));
    assert_eq!(native::encoders(&file).unwrap(), ["conch", "uni"]);
    assert!(!out.join("slide.h5").exists());

    let out = directory.path().join("safetensors");
    Converter::new(&uni, Layout::Safetensors, &out).unwrap().convert("slide").unwrap();
    let file = |name: &str| out.join("uni/x20").join(name);
    std::fs::rename(file("slide.safetensors"), file("slide.svs.safetensors")).unwrap();
    assert!(Converter::new(&uni, Layout::Safetensors, &out).unwrap().is_done("slide").unwrap());

    // Another slide of the same cohort is no other form of the name.
    let home = directory.path().join("in/uni/x20");
    std::fs::copy(home.join("slide.safetensors"), home.join("slide.svs.safetensors")).unwrap();
    let both = BagStore::open(&directory.path().join("in"), None, "uni").unwrap();
    assert!(!Converter::new(&both, Layout::Safetensors, &out).unwrap().is_done("slide").unwrap());
}

#[test]
fn what_needs_coordinates_is_not_written_without() {
    for layout in [Layout::Native, Layout::Clam] {
        let directory = tempfile::tempdir().unwrap();
        let source = BagStore::open(&layouts("stamp"), None, "uni2").unwrap();
        let error =
            Converter::new(&source, layout, directory.path()).unwrap().convert(SLIDES[0]).unwrap_err();
        assert!(matches!(error.kind(), ErrorKind::MissingCoords), "{error}");
        assert_eq!(std::fs::read_dir(directory.path()).unwrap().count(), 0, "nothing is left behind");
    }
    let directory = tempfile::tempdir().unwrap();
    let error = Converter::new(&open("clam", "uni"), Layout::Trident, directory.path()).unwrap_err();
    assert_eq!(
        error.to_string(),
        "unknown layout to write `trident`, expected one of native, clam, crossfusion, safetensors"
    );
    let source = open("clam", "uni");
    let error =
        Converter::new(&source, Layout::Clam, directory.path()).unwrap().convert("nobody").unwrap_err();
    assert!(matches!(error.kind(), ErrorKind::MissingSlide { .. }), "{error}");
}

#[test]
fn encoders_that_are_converted_at_once_join_in_one_file() {
    const N_SLIDES: usize = 12;
    let directory = tempfile::tempdir().unwrap();
    let out = directory.path().join("bags");
    let encoders = ["a", "b", "c"];
    let stores: Vec<BagStore> = encoders
        .iter()
        .map(|encoder| {
            let root = directory.path().join(encoder);
            put_source(&root, encoder, 4, &[(X20, 0)]);
            let home = root.join("in").join(encoder).join("x20");
            for slide in 0..N_SLIDES {
                std::fs::copy(home.join("slide.safetensors"), home.join(format!("{slide}.safetensors")))
                    .unwrap();
            }
            BagStore::open(&root.join("in"), None, encoder).unwrap()
        })
        .collect();
    let start = std::sync::Barrier::new(encoders.len());
    std::thread::scope(|scope| {
        for store in &stores {
            let (out, start) = (&out, &start);
            scope.spawn(move || {
                let mut converter = Converter::new(store, Layout::Native, out).unwrap();
                for slide in 0..N_SLIDES {
                    start.wait();
                    converter.convert(&slide.to_string()).unwrap();
                }
            });
        }
    });
    for slide in 0..N_SLIDES {
        let found = native::encoders(&out.join(format!("{slide}.h5"))).unwrap();
        assert_eq!(found, encoders, "slide {slide}");
    }
}

#[test]
fn a_magnification_that_a_second_encoder_gained_is_added() {
    let directory = tempfile::tempdir().unwrap();
    let out = directory.path().join("bags");
    let uni = put_source(directory.path(), "uni", 4, &[(X10, 0), (X20, 0)]);
    Converter::new(&uni, Layout::Native, &out).unwrap().convert("slide").unwrap();
    let conch = put_source(directory.path(), "conch", 3, &[(X20, 0)]);
    Converter::new(&conch, Layout::Native, &out).unwrap().convert("slide").unwrap();
    let before = native::read(&out.join("slide.h5"), "conch", &[X20]).unwrap();

    let conch = put_source(directory.path(), "conch", 3, &[(X10, 0)]);
    let mut converter = Converter::new(&conch, Layout::Native, &out).unwrap();
    assert!(!converter.is_done("slide").unwrap());
    let error = Converter::new(&conch, Layout::Native, &out).unwrap().overwriting().convert("slide");
    assert!(
        error.unwrap_err().to_string().contains("which would be lost"),
        "what is there is to be written again"
    );
    let written = converter.convert("slide").unwrap();
    assert_eq!((written.added, written.sets.len(), written.sets[0].magnification), (true, 1, X10));
    assert!(converter.is_done("slide").unwrap());
    let file = out.join("slide.h5");
    for encoder in ["uni", "conch"] {
        assert_eq!(native::magnifications(&file, encoder).unwrap(), [X10, X20]);
    }
    assert_eq!(native::read(&file, "conch", &[X20]).unwrap(), before);
}

/// A bag of one slide with these numbers.
fn put_stated(root: &Path, encoder: &str, geometry: PatchGeometry, slide: SlideInfo) -> BagStore {
    let home = root.join(encoder).join(encoder).join("x20");
    std::fs::create_dir_all(&home).unwrap();
    let set = PatchSet::new(FeatureMatrix::new(vec![0.5; 8], 2, 4).unwrap())
        .with_coords(vec![[0, 0], [1024, 0]])
        .and_then(|set| set.with_geometry(geometry))
        .unwrap();
    safetensors::write(&home.join("slide.safetensors"), &set, encoder, &slide).unwrap();
    BagStore::open(&root.join(encoder), None, encoder).unwrap()
}

#[test]
fn features_of_patches_of_another_size_or_slide_are_not_added() {
    let directory = tempfile::tempdir().unwrap();
    let out = directory.path().join("bags");
    let geometry = PatchGeometry { patch_size_level0: Some(512), mpp: Some(0.5) };
    let slide = SlideInfo { width: Some(4096), height: Some(2048), mpp: Some(0.25) };
    let first = put_stated(directory.path(), "first", geometry, slide);
    Converter::new(&first, Layout::Native, &out).unwrap().convert("slide").unwrap();
    let nothing = (PatchGeometry::default(), SlideInfo::default());
    for (number, geometry, slide, wanted) in [
        (
            0,
            PatchGeometry { patch_size_level0: Some(1024), ..geometry },
            slide,
            "patch_size_level0 = 1024, of a file with patch_size_level0 = 512",
        ),
        (1, PatchGeometry { mpp: Some(1.0), ..geometry }, slide, "mpp = 1, of a file with mpp = 0.5"),
        (
            2,
            geometry,
            SlideInfo { width: Some(8192), ..slide },
            "slide_width = 8192, of a file with slide_width = 4096",
        ),
        (3, geometry, SlideInfo { height: Some(2049), ..slide }, "slide_height = 2049"),
        (4, geometry, SlideInfo { mpp: Some(0.5), ..slide }, "mpp = 0.5, of a file with mpp = 0.25"),
        // What one of them does not state, and what rounding makes of it.
        (5, nothing.0, nothing.1, ""),
        (6, PatchGeometry { mpp: Some(0.5021), ..geometry }, SlideInfo { mpp: Some(0.2521), ..slide }, ""),
    ] {
        let encoder = format!("other{number}");
        let other = put_stated(directory.path(), &encoder, geometry, slide);
        let converted = Converter::new(&other, Layout::Native, &out).unwrap().convert("slide");
        match wanted {
            "" => assert!(converted.unwrap().added),
            wanted => {
                let text = converted.unwrap_err().to_string();
                assert!(text.contains(wanted) && text.contains("the same patches"), "{text}");
            }
        }
    }
    assert_eq!(native::encoders(&out.join("slide.h5")).unwrap(), ["first", "other5", "other6"]);
}

#[test]
fn a_damaged_native_file_is_written_again_where_that_is_asked_for() {
    let directory = tempfile::tempdir().unwrap();
    let out = directory.path().join("bags");
    let file = out.join("slide.h5");
    let uni = put_source(directory.path(), "uni", 4, &[(X20, 0)]);
    Converter::new(&uni, Layout::Native, &out).unwrap().convert("slide").unwrap();
    let whole = std::fs::read(&file).unwrap();
    for damaged in [&b""[..], b"hello", &whole[..96]] {
        std::fs::write(&file, damaged).unwrap();
        let mut converter = Converter::new(&uni, Layout::Native, &out).unwrap();
        for error in [converter.is_done("slide").unwrap_err(), converter.convert("slide").unwrap_err()] {
            assert!(error.is_damage() && error.path() == Some(&file), "{error}");
        }
        assert_eq!(std::fs::read(&file).unwrap(), damaged);
        assert!(!converter.overwriting().convert("slide").unwrap().added);
        assert_eq!(std::fs::read(&file).unwrap(), whole);
    }
}
