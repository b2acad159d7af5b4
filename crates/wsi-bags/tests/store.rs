//! Directories of bags: detection, listing, presence, reading.
#![cfg(feature = "store")]
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::fs;
use std::path::Path;

use wsi_bags::Magnification::{X5, X10, X20};
use wsi_bags::{
    Bag, BagStore, Converter, ErrorKind, FeatureMatrix, Layout, Magnification, PatchSet, SlideInfo, native,
    pt, safetensors,
};

const SLIDE: &str = "TCGA-2F-A9KO-01Z-00-DX1.195576CF-B739-4BD9";

fn features(n_patches: usize) -> FeatureMatrix {
    FeatureMatrix::new((0..n_patches * 2).map(|i| i as f32).collect(), n_patches, 2).unwrap()
}

fn put_tensor(root: &Path, backbone: &str, magnification: Magnification, slide: &str, n_patches: usize) {
    let directory = root.join(backbone).join(magnification.label()).join("pt_files");
    fs::create_dir_all(&directory).unwrap();
    pt::write_features(&directory.join(format!("{slide}.pt")), &features(n_patches)).unwrap();
}

fn put_native(root: &Path, encoder: &str, magnification: Magnification, slide: &str) {
    let coords = vec![[0, 0], [512, 0], [0, 512]];
    let set = PatchSet::new(features(3)).with_coords(coords).unwrap();
    let bag = Bag::new(slide, [(magnification, set)]).unwrap();
    native::write(&root.join(format!("{slide}.h5")), &bag, encoder, &SlideInfo::default()).unwrap();
}

#[test]
fn the_released_layout_is_detected_listed_and_read() {
    let root = tempfile::tempdir().unwrap();
    let root = root.path();
    put_tensor(root, "uni", X10, SLIDE, 2);
    put_tensor(root, "uni", X20, SLIDE, 5);
    put_tensor(root, "uni", X5, "another", 1);
    put_tensor(root, "resnet50", X5, "of another backbone", 1);
    fs::write(root.join("uni/x5/pt_files/notes.txt"), "").unwrap();
    fs::write(root.join("uni/x5/pt_files/.half.pt.1-2.tmp"), "").unwrap();

    let store = BagStore::open(root, None, "uni").unwrap();
    assert_eq!(store.layout(), Some(Layout::Crossfusion));
    assert_eq!(store.slide_ids(), [SLIDE, "another"]);
    for slide_id in [SLIDE.to_owned(), format!("{SLIDE}.svs"), format!("{SLIDE}.SVS")] {
        let presence = store.presence(&slide_id).unwrap();
        assert_eq!(presence.magnifications().collect::<Vec<_>>(), [X10, X20]);
        assert!(!presence.at(X5) && presence.at(X20));
        let bag = store.read(&slide_id, &[X20, X10]).unwrap();
        assert_eq!(bag.slide_id(), SLIDE);
        assert_eq!(bag.at(X10).unwrap().features(), &features(2));
        assert_eq!(bag.at(X20).unwrap().features(), &features(5));
        assert_eq!(store.path_of(&slide_id, X20), root.join("uni/x20/pt_files").join(format!("{SLIDE}.pt")));
    }
}

#[test]
fn the_native_layout_is_detected_listed_and_read() {
    let root = tempfile::tempdir().unwrap();
    let root = root.path();
    put_native(root, "uni", X20, SLIDE);
    put_native(root, "conch", X5, "another");

    let store = BagStore::open(root, None, "uni").unwrap();
    assert_eq!(store.layout(), Some(Layout::Native));
    assert_eq!(store.slide_ids(), [SLIDE, "another"]);
    let slide_id = format!("{SLIDE}.svs");
    assert_eq!(store.presence(&slide_id).unwrap().magnifications().collect::<Vec<_>>(), [X20]);
    assert_eq!(store.presence("another").unwrap().magnifications().count(), 0, "features of another encoder");
    let bag = store.read(&slide_id, &[X20]).unwrap();
    assert_eq!(bag.slide_id(), SLIDE);
    assert_eq!(bag.at(X20).unwrap().coords(), Some(&[[0, 0], [512, 0], [0, 512]][..]));
    assert_eq!(store.path_of(&slide_id, X5), root.join(format!("{SLIDE}.h5")));
    assert!(matches!(store.read("another", &[X5]).unwrap_err().kind(), ErrorKind::MissingEncoder { .. }));
}

#[test]
fn bags_named_after_the_slide_file_are_read_by_either_name_of_the_slide() {
    let root = tempfile::tempdir().unwrap();
    put_tensor(root.path(), "uni", X20, "a.svs", 5);
    put_tensor(root.path(), "uni", X20, "b", 4);
    put_tensor(root.path(), "uni", X20, "b.svs", 3);
    let tensors = BagStore::open(root.path(), None, "uni").unwrap();
    for (slide, n_patches) in [("a.svs", 5), ("a.svs.svs", 5), ("b", 4), ("b.tif", 4), ("b.svs", 3)] {
        assert!(tensors.presence(slide).unwrap().at(X20), "{slide}");
        let bag = tensors.read(slide, &[X20]).unwrap();
        assert_eq!(bag.at(X20).unwrap().n_patches(), n_patches, "{slide}");
        assert!(tensors.path_of(slide, X20).is_file(), "{slide}");
        assert_eq!(tensors.describe(slide, X20).unwrap().n_patches, n_patches);
    }
    assert_eq!(tensors.slide_ids(), ["a.svs", "b", "b.svs"]);

    let root = tempfile::tempdir().unwrap();
    // Sorted by the file's whole name, `a-1.svs.h5` comes first.
    for slide in ["a.svs", "a-1.svs", "a"] {
        put_native(root.path(), "uni", X20, slide);
    }
    let bags = BagStore::open(root.path(), None, "uni").unwrap();
    assert_eq!(bags.slide_ids(), ["a", "a-1.svs", "a.svs"]);
    for slide in bags.slide_ids() {
        assert_eq!(bags.read(slide, &[X20]).unwrap().slide_id(), slide);
        assert_eq!(bags.path_of(slide, X20), root.path().join(format!("{slide}.h5")));
    }
}

/// A matrix of one magnification, in the folder of files that hold all of them.
#[test]
fn features_that_do_not_say_their_magnification_are_not_those_of_each() {
    let root = tempfile::tempdir().unwrap();
    let home = root.path().join("uni");
    fs::create_dir(&home).unwrap();
    let file = home.join("slide-1.safetensors");
    safetensors::write(&file, &PatchSet::new(features(3)), "uni", &SlideInfo::default()).unwrap();
    let store = BagStore::open(root.path(), None, "uni").unwrap();
    assert_eq!(store.slide_ids(), ["slide-1"]);
    let presence = store.presence("slide-1").unwrap_err();
    let read = store.read("slide-1", &[X5, X10, X20]).unwrap_err();
    let out = root.path().join("bags");
    let convert = Converter::new(&store, Layout::Crossfusion, &out).unwrap().convert("slide-1").unwrap_err();
    for error in [presence, read, convert] {
        assert_eq!(
            error.to_string(),
            format!(
                "{}: found `features` without a magnification, wanted `xM/features`, or the file in the folder of its \
                 magnification, `<backbone>/xM/`",
                file.display()
            )
        );
    }

    fs::create_dir(home.join("x20")).unwrap();
    fs::rename(&file, home.join("x20/slide-1.safetensors")).unwrap();
    let store = BagStore::open(root.path(), None, "uni").unwrap();
    assert_eq!(store.presence("slide-1").unwrap().magnifications().collect::<Vec<_>>(), [X20]);
    assert_eq!(store.read("slide-1", &[X20]).unwrap().at(X20).unwrap().features(), &features(3));
}

#[test]
fn an_unknown_slide_is_absent_and_not_read() {
    let root = tempfile::tempdir().unwrap();
    put_tensor(root.path(), "uni", X20, SLIDE, 5);
    let tensors = BagStore::open(root.path(), None, "uni").unwrap();
    put_native(root.path(), "uni", X20, SLIDE);
    let bags = BagStore::open(root.path(), Some(Layout::Native), "uni").unwrap();
    for (store, looked_for) in [(tensors, "uni/x20/pt_files/nobody.pt"), (bags, "nobody.h5")] {
        assert_eq!(store.presence("nobody").unwrap().magnifications().count(), 0);
        let error = store.read("nobody.svs", &[X20]).unwrap_err();
        match error.kind() {
            ErrorKind::MissingSlide { slide_id, looked_for: paths } => {
                assert_eq!(slide_id, "nobody");
                assert_eq!(paths, &[root.path().join(looked_for)]);
            }
            other => panic!("{other}"),
        }
    }
}

#[test]
fn a_missing_magnification_of_a_present_slide_names_those_present() {
    let root = tempfile::tempdir().unwrap();
    put_tensor(root.path(), "uni", X20, SLIDE, 5);
    let store = BagStore::open(root.path(), None, "uni").unwrap();
    let error = store.read(SLIDE, &[X10, X20]).unwrap_err();
    assert!(
        matches!(error.kind(), ErrorKind::MissingMagnification { wanted: X10, present } if present == &[X20])
    );
    assert_eq!(error.path(), Some(store.path_of(SLIDE, X10).as_path()));
}

#[test]
fn no_magnification_at_all_is_an_empty_bag() {
    let root = tempfile::tempdir().unwrap();
    put_tensor(root.path(), "uni", X20, SLIDE, 5);
    let store = BagStore::open(root.path(), None, "uni").unwrap();
    assert!(matches!(store.read(SLIDE, &[]).unwrap_err().kind(), ErrorKind::EmptyBag));
}

#[test]
fn widths_that_differ_between_magnifications_are_refused() {
    let root = tempfile::tempdir().unwrap();
    put_tensor(root.path(), "uni", X20, SLIDE, 5);
    put_tensor(root.path(), "uni", X5, SLIDE, 5);
    let store = BagStore::open(root.path(), None, "uni").unwrap();
    let wide = FeatureMatrix::new(vec![1.0; 9], 3, 3).unwrap();
    pt::write_features(&store.path_of(SLIDE, X20), &wide).unwrap();
    let error = store.read(SLIDE, &[X5, X20]).unwrap_err();
    assert!(matches!(error.kind(), ErrorKind::FeatureDim { expected: 2, found: 3 }), "{error}");
    assert_eq!(error.place(), Some(format!("slide {SLIDE}, x20").as_str()));
}

#[test]
fn nothing_found_lists_what_was_looked_for_and_what_is_there() {
    let root = tempfile::tempdir().unwrap();
    fs::create_dir(root.path().join("resnet50")).unwrap();
    fs::write(root.path().join("notes.txt"), "").unwrap();
    let error = BagStore::open(root.path(), None, "uni").unwrap_err();
    assert_eq!(
        error.to_string(),
        format!(
            "{}: no bags found; looked for uni/x5|x10|x20/pt_files/*.pt (crossfusion), *.h5 (native), \
             x5|x10|x20/h5_files/*.h5 or pt_files/*.pt (clam), \
             5x|10x|20x_*px_*px_overlap/features_uni/*.h5 (trident), x5|x10|x20/uni[-hash]/*.h5 (stamp), \
             x5|x10|x20/patches/*.h5 (atlaspatch), \
             extracted_mag5x|10x|20x_*/extracted-uni/feats_h5 or feats_pt (mmp), \
             uni/*.safetensors or uni/x5|x10|x20/*.safetensors (safetensors); \
             the directory holds notes.txt, resnet50",
            root.path().display()
        )
    );
    let absent = root.path().join("absent");
    for error in [
        BagStore::open(&absent, None, "uni").unwrap_err(),
        BagStore::open_roots(&[(X20, absent.clone())], "uni").unwrap_err(),
    ] {
        assert_eq!(error.to_string(), format!("{}: there is no such directory", absent.display()));
    }
}

#[test]
fn a_slide_without_features_is_told_apart_from_one_without_a_file() {
    let root = tempfile::tempdir().unwrap();
    put_native(root.path(), "uni", X20, SLIDE);
    let store = BagStore::open(root.path(), None, "conch").unwrap();
    let error = store.why_absent(SLIDE);
    assert!(
        matches!(error.kind(), ErrorKind::MissingEncoder { encoder, found } if encoder == "conch" && found == &["uni"]),
        "{error}"
    );
    let error = store.why_absent("nobody");
    let wanted = [root.path().join("nobody.h5")];
    assert!(
        matches!(error.kind(), ErrorKind::MissingSlide { slide_id, looked_for } if slide_id == "nobody" && *looked_for == wanted),
        "{error}"
    );
    assert!(matches!(store.why_absent("..").kind(), ErrorKind::Name { .. }));
}

#[test]
fn only_the_stated_layout_is_looked_for() {
    let root = tempfile::tempdir().unwrap();
    put_native(root.path(), "uni", X20, SLIDE);
    let error = BagStore::open(root.path(), Some(Layout::Crossfusion), "uni").unwrap_err();
    assert!(matches!(error.kind(), ErrorKind::Layout { looked_for, .. } if looked_for.len() == 1), "{error}");
}

#[test]
fn two_layouts_in_one_directory_must_be_told_apart() {
    let root = tempfile::tempdir().unwrap();
    put_native(root.path(), "uni", X20, SLIDE);
    put_tensor(root.path(), "uni", X20, SLIDE, 5);
    let error = BagStore::open(root.path(), None, "uni").unwrap_err();
    assert!(matches!(error.kind(), ErrorKind::AmbiguousLayout { .. }), "{error}");
    assert!(
        error.to_string().contains("uni/x5|x10|x20/pt_files/*.pt (crossfusion), *.h5 (native)"),
        "{error}"
    );
    for layout in [Layout::Crossfusion, Layout::Native] {
        assert_eq!(BagStore::open(root.path(), Some(layout), "uni").unwrap().layout(), Some(layout));
    }
}

#[test]
fn names_that_would_leave_the_directory_are_refused() {
    let root = tempfile::tempdir().unwrap();
    put_tensor(root.path(), "uni", X20, SLIDE, 5);
    let store = BagStore::open(root.path(), None, "uni").unwrap();
    for slide_id in ["../x20/pt_files/a", "/etc/passwd", "", ".svs", "a\0b"] {
        assert!(
            matches!(store.read(slide_id, &[X20]).unwrap_err().kind(), ErrorKind::Name { .. }),
            "{slide_id:?}"
        );
        assert!(store.presence(slide_id).is_err());
    }
    assert!(matches!(
        BagStore::open(root.path(), None, "../uni").unwrap_err().kind(),
        ErrorKind::Name { .. }
    ));
}

#[test]
fn a_sample_of_a_native_bag_tells_what_changed_and_not_what_was_added() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("a.h5");
    // 40,000 bytes of features: only three places of them are looked at.
    let set = |changed: usize, coords: [i64; 2]| {
        let mut values = vec![0.5; 1000 * 10];
        values[changed] = 0.25;
        let mut corners: Vec<[i64; 2]> = (0..1000).map(|row| [512 * row, 0]).collect();
        corners[700] = coords;
        PatchSet::new(FeatureMatrix::new(values, 1000, 10).unwrap()).with_coords(corners).unwrap()
    };
    let coarse = || {
        let set = PatchSet::new(FeatureMatrix::new(vec![0.5; 10], 1, 10).unwrap());
        set.with_coords(vec![[0, 0]]).unwrap()
    };
    let slide = SlideInfo { mpp: Some(0.25), ..SlideInfo::default() };
    let here = [512 * 700, 0];
    let write = |x5: PatchSet, x20: PatchSet, slide: &SlideInfo| {
        native::write(&path, &Bag::new("a", [(X5, x5), (X20, x20)]).unwrap(), "uni", slide).unwrap();
    };
    write(coarse(), set(5000, here), &slide);
    let store = BagStore::open(directory.path(), None, "uni").unwrap();
    let sample = |at| store.sample("a.svs", at).unwrap();
    let before = [X5, X20].map(sample);
    assert_ne!(before[0], before[1]);

    let bag = native::read(&path, "uni", &[X5, X20]).unwrap();
    native::add_features(&path, &bag, "conch").unwrap();
    assert_eq!([X5, X20].map(sample), before);
    let twins = BagStore::open(directory.path(), None, "conch").unwrap();
    assert_eq!(twins.sample("a", X20).unwrap(), before[1], "equal features");

    for (changed, coords) in [(0, here), (9999, here), (5001, here), (5000, [512 * 700, 512])] {
        write(coarse(), set(changed, coords), &slide);
        assert_eq!(sample(X5), before[0]);
        assert_ne!(sample(X20), before[1], "{changed} {coords:?}");
    }
    let other_mpp = SlideInfo { mpp: Some(0.5), ..slide };
    write(coarse(), set(5000, here), &other_mpp);
    assert_ne!(sample(X5), before[0]);
    assert!(matches!(store.sample("a", X10).unwrap_err().kind(), ErrorKind::MissingMagnification { .. }));
    assert!(matches!(store.sample("b", X20).unwrap_err().kind(), ErrorKind::MissingSlide { .. }));
}

#[test]
fn a_sample_of_other_files_is_of_the_whole_file() {
    let root = tempfile::tempdir().unwrap();
    put_tensor(root.path(), "uni", X20, SLIDE, 5);
    let store = BagStore::open(root.path(), None, "uni").unwrap();
    let before = store.sample(SLIDE, X20).unwrap();
    let path = store.path_of(SLIDE, X20);
    let length = std::fs::metadata(&path).unwrap().len();
    assert!(before.starts_with(length.to_string().as_bytes()));
    put_tensor(root.path(), "uni", X20, SLIDE, 6);
    assert_ne!(store.sample(SLIDE, X20).unwrap(), before);
    std::fs::remove_file(&path).unwrap();
    let error = store.sample(SLIDE, X20).unwrap_err();
    assert!(matches!(error.kind(), ErrorKind::Io { action: "read the file", .. }), "{error}");
}

#[test]
fn a_folder_that_is_called_as_a_bag_is_none() {
    for (name, layout) in [("a.h5", Layout::Native), ("uni/x20/pt_files/a.pt", Layout::Crossfusion)] {
        let directory = tempfile::tempdir().unwrap();
        fs::create_dir_all(directory.path().join(name)).unwrap();
        let error = BagStore::open(directory.path(), Some(layout), "uni").unwrap_err();
        assert!(matches!(error.kind(), ErrorKind::Layout { .. }), "{error}");
        put_native(directory.path(), "uni", X20, "b");
        put_tensor(directory.path(), "uni", X20, "b", 2);
        let store = BagStore::open(directory.path(), Some(layout), "uni").unwrap();
        assert_eq!(store.slide_ids(), ["b"]);
    }
}

#[cfg(unix)]
#[test]
fn a_link_that_leads_nowhere_is_an_error_and_no_absent_slide() {
    let directory = tempfile::tempdir().unwrap();
    let folder = directory.path().join("uni/x20/pt_files");
    std::fs::create_dir_all(&folder).unwrap();
    std::os::unix::fs::symlink("moved-away.pt", folder.join("slide.pt")).unwrap();
    let store = BagStore::open(directory.path(), None, "uni").unwrap();
    assert!(store.presence("slide").unwrap().at(X20));
    let error = store.read("slide", &[X20]).unwrap_err();
    assert!(matches!(error.kind(), ErrorKind::Io { action: "open the file", .. }), "{error}");
    assert!(error.path().unwrap().ends_with("uni/x20/pt_files/slide.pt"));
    assert!(!store.presence("other").unwrap().at(X20));
}

/// What the system said.
fn cause(error: &wsi_bags::Error) -> String {
    std::error::Error::source(error).map(ToString::to_string).unwrap_or_default()
}

#[test]
#[cfg(unix)]
fn a_pipe_among_the_bags_is_refused_and_not_waited_for() {
    let root = tempfile::tempdir().unwrap();
    put_native(root.path(), "uni", X5, "a");
    put_tensor(&root.path().join("tensors"), "uni", X5, "a", 2);
    let pipes =
        [root.path().join("pipe.h5"), root.path().join("tensors").join("uni/x5/pt_files").join("pipe.pt")];
    for pipe in &pipes {
        assert!(std::process::Command::new("mkfifo").arg(pipe).status().unwrap().success());
    }
    for (root, pipe) in [(root.path().to_owned(), &pipes[0]), (root.path().join("tensors"), &pipes[1])] {
        let store = BagStore::open(&root, None, "uni").unwrap();
        assert_eq!(store.slide_ids(), ["a", "pipe"]);
        for error in [store.read("pipe", &[X5]).unwrap_err(), store.sample("pipe", X5).unwrap_err()] {
            assert!(matches!(error.kind(), ErrorKind::Io { .. }), "{error}");
            assert_eq!(error.path(), Some(pipe.as_path()));
            assert_eq!(cause(&error), "found a pipe, socket or device, expected a file");
        }
        assert!(store.read("a", &[X5]).is_ok());
    }
}

#[test]
#[cfg(unix)]
#[allow(clippy::print_stdout, reason = "a skip says why")]
fn a_folder_that_may_not_be_entered_is_an_error_and_no_absent_slide() {
    use std::os::unix::fs::PermissionsExt;

    let root = tempfile::tempdir().unwrap();
    put_tensor(root.path(), "uni", X5, "a", 2);
    fs::create_dir(root.path().join("native")).unwrap();
    put_native(&root.path().join("native"), "uni", X5, "a");
    let listed_only = |folder: &Path, mode: u32| {
        fs::set_permissions(folder, fs::Permissions::from_mode(mode)).unwrap();
    };
    const DENIED: &str = "Permission denied (os error 13)";
    let enter = |folder: &Path| fs::metadata(folder.join("a.h5"));
    let (scales, native) = (root.path().join("uni"), root.path().join("native"));
    listed_only(&native, 0o400);
    let is_bound = enter(&native).is_err();
    if is_bound {
        let store = BagStore::open(&native, Some(Layout::Native), "uni").unwrap();
        assert_eq!(store.slide_ids(), ["a"]);
        let error = store.presence("a").map(|_| ()).unwrap_err();
        assert_eq!((error.path(), &*cause(&error)), (Some(&*native.join("a.h5")), DENIED));
        listed_only(&scales, 0o400);
        let error = BagStore::open(root.path(), None, "uni").map(|_| ()).unwrap_err();
        assert!(error.path().is_some_and(|path| path.starts_with(&scales)), "{error}");
        assert_eq!(cause(&error), DENIED);
        listed_only(&scales, 0o700);
    } else {
        println!("skipped: nothing is forbidden to this user");
    }
    listed_only(&native, 0o700);
}

#[test]
fn a_bag_that_bears_the_name_of_the_slide_file_is_found_by_the_slide() {
    let directory = tempfile::tempdir().unwrap();
    let set =
        PatchSet::new(FeatureMatrix::new(vec![0.5; 8], 2, 4).unwrap()).with_coords(vec![[0, 0], [512, 0]]);
    let bag = Bag::new("a", [(X20, set.unwrap())]).unwrap();
    for name in ["a.svs", "b.svs", "b.tif", "c", "c.svs"] {
        native::write(&directory.path().join(format!("{name}.h5")), &bag, "uni", &SlideInfo::default())
            .unwrap();
    }
    let store = BagStore::open(directory.path(), None, "uni").unwrap();
    for (slide, file) in
        [("a", "a.svs"), ("a.svs", "a.svs"), ("c", "c"), ("c.svs", "c.svs"), ("b.tif", "b.tif")]
    {
        assert!(store.presence(slide).unwrap().at(X20), "{slide}");
        assert_eq!(store.read(slide, &[X20]).unwrap().slide_id(), file);
        assert_eq!(store.path_of(slide, X20), directory.path().join(format!("{file}.h5")));
        assert_eq!(store.listed_as(slide), Some(file));
    }
    // Nothing tells which.
    assert_eq!(store.presence("b").unwrap().magnifications().count(), 0);
    assert_eq!(store.listed_as("b"), None);
}
