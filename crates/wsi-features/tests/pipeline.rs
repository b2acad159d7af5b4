//! Slides to bags: rows in their places, resume, shards, bad slides and tiles.

#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "a test that panics has failed")]

use std::cell::Cell;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Barrier};

use patch_encoders::{Encoder, EncoderName, RgbImage};
use wsi_bags::scores::{self, ScoredPatches};
use wsi_bags::{Bag, FeatureMatrix, Magnification, PatchSet, RowOrder, native};
use wsi_features::{
    BadTiles, BatchOptions, EncodeOptions, Event, ExtractOptions, LatticeKind, Outcome, PatchEncoder,
    PixelSource, SlideList, encode, run,
};
use wsi_slides::render::{Base, RenderOptions, render};
use wsi_slides::tissue::{PenMarks, Preset, Threshold, TissueParams};
use wsi_slides::{ResolutionOverride, open};

/// Mean colours, and a count of what it was asked.
struct MeanColour {
    name: &'static str,
    n_calls: AtomicUsize,
    /// Others that begin when this does.
    start: Option<Arc<Barrier>>,
}

impl Default for MeanColour {
    fn default() -> Self {
        Self::named("mean-colour")
    }
}

impl MeanColour {
    fn named(name: &'static str) -> Self {
        Self { name, n_calls: AtomicUsize::new(0), start: None }
    }

    fn n_calls(&self) -> usize {
        self.n_calls.load(Ordering::Relaxed)
    }
}

impl PatchEncoder for MeanColour {
    fn name(&self) -> &str {
        self.name
    }

    fn patch_side(&self) -> usize {
        256
    }

    fn feature_dim(&self) -> usize {
        3
    }

    fn encode(&self, patches: &[RgbImage]) -> patch_encoders::Result<Vec<f32>> {
        if self.n_calls.fetch_add(1, Ordering::Relaxed) == 0
            && let Some(start) = &self.start
        {
            start.wait();
        }
        Ok(patches.iter().flat_map(|patch| mean_colour(patch.pixels())).collect())
    }
}

fn mean_colour(pixels: &[u8]) -> [f32; 3] {
    let mut sums = [0.0f64; 3];
    for pixel in pixels.chunks_exact(3) {
        for (sum, value) in sums.iter_mut().zip(pixel) {
            *sum += f64::from(*value);
        }
    }
    sums.map(|sum| (sum / (pixels.len() / 3) as f64) as f32)
}

fn rendered(dir: &Path, name: &str, seed: u64, base: Base) -> PathBuf {
    let path = dir.join(name);
    render(&path, &RenderOptions { seed, n_cells: 3, base, ..RenderOptions::default() }).unwrap();
    path
}

fn batch(dir: &Path, extract: ExtractOptions) -> BatchOptions {
    BatchOptions::new(dir.join("bags"), extract)
}

#[test]
fn every_row_is_the_patch_at_its_coordinates() {
    let dir = tempfile::tempdir().unwrap();
    let path = rendered(dir.path(), "slide-1.svs", 1, Base::X20);
    let slides = SlideList::find(std::slice::from_ref(&path)).unwrap();
    for lattice in [LatticeKind::Nested, LatticeKind::Clam] {
        // From level 0, 20x patches are pixels of the slide without any resizing.
        let extract = ExtractOptions { lattice, pixels: PixelSource::Level0, ..ExtractOptions::default() };
        let options = BatchOptions::new(dir.path().join(format!("{lattice:?}")), extract);
        let n_encoded = Cell::new(0);
        let statuses = run(&slides, &MeanColour::default(), &options, &|event| {
            if let wsi_features::Event::Patches(n) = event {
                n_encoded.set(n_encoded.get() + n);
            }
        })
        .unwrap();
        let Outcome::Done(done) = &statuses[0].outcome else { panic!("{statuses:?}") };
        assert_eq!(done.n_patches.iter().sum::<usize>(), n_encoded.get());

        let bag = native::read(&options.out.join("slide-1.h5"), "mean-colour", &Magnification::ALL).unwrap();
        let slide = open(&path).unwrap();
        for (magnification, side) in Magnification::ALL.into_iter().zip([1024u32, 512, 256]) {
            let set = bag.at(magnification).unwrap();
            assert_eq!(set.geometry().patch_size_level0, Some(side));
            assert_eq!(set.geometry().mpp, Some(0.5 * f64::from(side) / 256.0));
            if lattice == LatticeKind::Nested {
                assert_eq!(set.row_order(), RowOrder::RowMajor);
            }
            for (row, corner) in set.coords().unwrap().iter().enumerate() {
                let region = slide.read_region(0, *corner, [side; 2]).unwrap();
                let expected = mean_colour(region.as_raw());
                for (found, expected) in set.features().row(row).unwrap().iter().zip(expected) {
                    // Shrinking keeps the mean but for rounding and what the kernel does at the edge.
                    let tolerance = if side == 256 { 1e-3 } else { 1.5 };
                    assert!(
                        (found - expected).abs() < tolerance,
                        "{magnification} {corner:?}: {found} {expected}"
                    );
                }
            }
        }
        assert!(bag.at(Magnification::X5).unwrap().parents().is_none());
        for magnification in [Magnification::X10, Magnification::X20] {
            let set = bag.at(magnification).unwrap();
            assert!(set.parents().unwrap().iter().all(Option::is_some));
        }
    }
}

#[test]
fn slides_of_either_base_give_the_same_field_of_view() {
    let dir = tempfile::tempdir().unwrap();
    rendered(dir.path(), "a.svs", 4, Base::X20);
    rendered(dir.path(), "b.svs", 4, Base::X40);
    let slides = SlideList::find(&[dir.path().to_owned()]).unwrap();
    let options = batch(dir.path(), ExtractOptions::default());
    run(&slides, &MeanColour::default(), &options, &|_| {}).unwrap();
    let [a, b] = ["a", "b"].map(|id| {
        native::read(&options.out.join(format!("{id}.h5")), "mean-colour", &Magnification::ALL).unwrap()
    });
    for magnification in Magnification::ALL {
        let [a, b] = [&a, &b].map(|bag| bag.at(magnification).unwrap());
        let doubled: Vec<[i64; 2]> =
            a.coords().unwrap().iter().map(|corner| corner.map(|at| 2 * at)).collect();
        // The edge is drawn in other pixels, so single patches may differ; the same places look the same.
        let there: Vec<_> = b.coords().unwrap().to_vec();
        let mut n_shared = 0;
        for (row, corner) in doubled.iter().enumerate() {
            let Some(other) = there.iter().position(|found| found == corner) else { continue };
            n_shared += 1;
            let pair = a.features().row(row).unwrap().iter().zip(b.features().row(other).unwrap());
            assert!(pair.into_iter().all(|(a, b)| (a - b).abs() < 4.0), "{magnification} {corner:?}");
        }
        assert!(n_shared as f64 > 0.9 * doubled.len() as f64);
    }
}

#[test]
fn a_bad_slide_never_stops_the_others_and_a_second_run_does_only_what_is_left() {
    let dir = tempfile::tempdir().unwrap();
    rendered(dir.path(), "good.svs", 2, Base::X20);
    std::fs::write(dir.path().join("empty.svs"), "").unwrap();
    std::fs::write(dir.path().join("paper.svs"), "%PDF-1.7").unwrap();
    let glass = image::RgbImage::from_pixel(600, 600, image::Rgb([240, 240, 240]));
    glass.save(dir.path().join("glass.png")).unwrap();
    let slides = SlideList::find(&[dir.path().to_owned()]).unwrap();
    let options = batch(dir.path(), ExtractOptions::default());
    let encoder = MeanColour::default();
    let statuses = run(&slides, &encoder, &options, &|_| {}).unwrap();
    let reason = |id: &str| match &statuses.iter().find(|status| status.slide == id).unwrap().outcome {
        Outcome::Failed(reason) => reason.clone(),
        other => other.label().to_owned(),
    };
    assert_eq!(reason("good"), "done");
    assert!(reason("empty").contains("an empty file"), "{}", reason("empty"));
    assert!(reason("paper").contains("a PDF"), "{}", reason("paper"));
    assert!(reason("glass").contains("no resolution"), "{}", reason("glass"));
    assert!(reason("glass").contains("--slides-csv"), "{}", reason("glass"));
    let left: Vec<String> = std::fs::read_dir(&options.out)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().to_string_lossy().into_owned())
        .collect();
    assert_eq!(left.len(), 3, "a bag, the table and its lock: {left:?}");
    let table = std::fs::read_to_string(options.out.join("status.csv")).unwrap();
    assert_eq!(table.lines().count(), 5);
    assert!(table.contains("\ngood,done,,"), "{table}");

    let n_calls = encoder.n_calls();
    let given = ResolutionOverride { mpp: Some(0.5), magnification: None };
    let again = run(&slides.with_resolution(given), &encoder, &options, &|_| {}).unwrap();
    assert_eq!(encoder.n_calls(), n_calls, "nothing is encoded again");
    let outcome = |id: &str| &again.iter().find(|status| status.slide == id).unwrap().outcome;
    assert_eq!(outcome("good"), &Outcome::Present);
    assert!(matches!(outcome("glass"), Outcome::Failed(reason) if reason.contains("no tissue")));
    let row = |table: &str| table.lines().find(|line| line.starts_with("good,")).unwrap().to_owned();
    let after = std::fs::read_to_string(options.out.join("status.csv")).unwrap();
    assert_eq!(row(&after), row(&table).replace("done", "present"), "what was said of it stays");
}

#[test]
fn a_slide_that_fails_has_a_way_out() {
    let dir = tempfile::tempdir().unwrap();
    let path = rendered(dir.path(), "slide.svs", 2, Base::X20);
    let options = batch(dir.path(), ExtractOptions::default());
    let encoder = MeanColour::default();
    let failed = |given: ResolutionOverride| {
        let slides = SlideList::find(std::slice::from_ref(&path)).unwrap().with_resolution(given);
        match run(&slides, &encoder, &options, &|_| {}).unwrap().remove(0).outcome {
            Outcome::Failed(reason) => reason,
            other => other.label().to_owned(),
        }
    };
    let as_10x = ResolutionOverride { mpp: None, magnification: Some(10.0) };
    let reason = failed(as_10x);
    assert!(reason.contains("above the slide's own magnification, 10x"), "{reason}");
    assert!(reason.ends_with("; --magnifications names those to cut, such as x5,x10"), "{reason}");

    assert_eq!(failed(ResolutionOverride::default()), "done");
    let bag = options.out.join("slide.h5");
    let whole = std::fs::read(&bag).unwrap();
    for damaged in [&whole[..whole.len() / 2], b"not a bag"] {
        std::fs::write(&bag, damaged).unwrap();
        let reason = failed(ResolutionOverride::default());
        assert!(reason.contains("slide.h5"), "{reason}");
        assert!(
            reason.ends_with("; the bag is damaged: remove it, and `wsi-extract run` makes it again"),
            "{reason}"
        );
    }
}

#[test]
fn what_a_person_should_look_at_in_a_slide_is_in_the_table() {
    let dir = tempfile::tempdir().unwrap();
    let path = rendered(dir.path(), "slide.svs", 2, Base::X20);
    let mut bytes = std::fs::read(&path).unwrap();
    let at = bytes.windows(6).position(|text| text == b"MPP = ").unwrap();
    bytes[at + 6] = b'?';
    std::fs::write(&path, bytes).unwrap();
    let slides = SlideList::find(&[path]).unwrap();
    let options = batch(dir.path(), ExtractOptions::default());
    let statuses = run(&slides, &MeanColour::default(), &options, &|_| {}).unwrap();
    let Outcome::Done(done) = &statuses[0].outcome else { panic!("{:?}", statuses[0].outcome) };
    assert!(done.warnings[0].starts_with("`MPP` is `?"), "{:?}", done.warnings);
    let table = std::fs::read_to_string(options.out.join("status.csv")).unwrap();
    assert!(table.contains(&done.warnings[0]), "{table}");
    // So it is where features join the patches of a bag.
    let again = encode(&slides, &MeanColour::named("other"), &encode_options(&options), &|_| {}).unwrap();
    let Outcome::Done(joined) = &again[0].outcome else { panic!("{:?}", again[0].outcome) };
    assert_eq!(joined.warnings, done.warnings);
}

#[test]
#[cfg(unix)]
fn a_link_that_leads_nowhere_is_a_slide_that_failed() {
    let dir = tempfile::tempdir().unwrap();
    let folder = dir.path().join("slides");
    std::fs::create_dir(&folder).unwrap();
    std::os::unix::fs::symlink(dir.path().join("gone.svs"), folder.join("slide.svs")).unwrap();
    let slides = SlideList::find(&[folder]).unwrap();
    let options = batch(dir.path(), ExtractOptions::default());
    let statuses = run(&slides, &MeanColour::default(), &options, &|_| {}).unwrap();
    let Outcome::Failed(reason) = &statuses[0].outcome else { panic!("{:?}", statuses[0].outcome) };
    assert!(reason.contains("slide.svs: cannot open the file: No such file"), "{reason}");
}

#[test]
fn features_of_a_second_encoder_join_those_of_the_first() {
    let dir = tempfile::tempdir().unwrap();
    let path = rendered(dir.path(), "slide-1.svs", 3, Base::X20);
    let slides = SlideList::find(&[path]).unwrap();
    let options = batch(dir.path(), ExtractOptions::default());
    run(&slides, &MeanColour::default(), &options, &|_| {}).unwrap();
    let stain_texture = Encoder::open(EncoderName::StainTexture, None).unwrap();
    run(&slides, &stain_texture, &options, &|_| {}).unwrap();
    let bag = options.out.join("slide-1.h5");
    assert_eq!(native::encoders(&bag).unwrap(), ["mean-colour", "stain-texture"]);
    let [a, b] = ["mean-colour", "stain-texture"]
        .map(|encoder| native::read(&bag, encoder, &Magnification::ALL).unwrap());
    for magnification in Magnification::ALL {
        assert_eq!(a.at(magnification).unwrap().coords(), b.at(magnification).unwrap().coords());
    }
}

#[test]
fn encoders_of_two_processes_join_in_one_bag() {
    let dir = tempfile::tempdir().unwrap();
    let path = rendered(dir.path(), "slide-1.svs", 3, Base::X20);
    let slides = SlideList::find(&[path]).unwrap();
    let options = batch(dir.path(), ExtractOptions::default());
    // None of them has written the bag when the other looks for it.
    let start = Arc::new(Barrier::new(2));
    std::thread::scope(|scope| {
        for name in ["a", "b"] {
            let encoder = MeanColour { start: Some(Arc::clone(&start)), ..MeanColour::named(name) };
            let (slides, options) = (&slides, &options);
            scope.spawn(move || {
                let statuses = run(slides, &encoder, options, &|_| {}).unwrap();
                assert!(matches!(statuses[0].outcome, Outcome::Done(_)), "{statuses:?}");
            });
        }
    });
    let bag = options.out.join("slide-1.h5");
    assert_eq!(native::encoders(&bag).unwrap(), ["a", "b"]);
    for encoder in ["a", "b"] {
        assert_eq!(native::magnifications(&bag, encoder).unwrap(), Magnification::ALL);
    }
}

#[test]
fn what_a_bag_cannot_take_is_said_before_anything_is_encoded() {
    let dir = tempfile::tempdir().unwrap();
    let path = rendered(dir.path(), "slide-1.svs", 3, Base::X20);
    let slides = SlideList::find(&[path]).unwrap();
    let all = batch(dir.path(), ExtractOptions::default());
    let at_20x = ExtractOptions { magnifications: vec![Magnification::X20], ..ExtractOptions::default() };
    let refused = |encoder: &MeanColour, options: &BatchOptions| {
        let n_calls = encoder.n_calls();
        let statuses = run(&slides, encoder, options, &|_| {}).unwrap();
        assert_eq!(encoder.n_calls(), n_calls);
        match &statuses[0].outcome {
            Outcome::Failed(reason) => reason.clone(),
            other => panic!("{other:?}"),
        }
    };

    let a = MeanColour::named("a");
    run(&slides, &a, &BatchOptions { extract: at_20x.clone(), ..all.clone() }, &|_| {}).unwrap();
    let reason = refused(&a, &all);
    assert!(reason.contains("x5 patches: it has none; `wsi-extract encode`"), "{reason}");
    std::fs::remove_file(all.out.join("slide-1.h5")).unwrap();

    run(&slides, &a, &all, &|_| {}).unwrap();
    let clam = ExtractOptions { lattice: LatticeKind::Clam, ..ExtractOptions::default() };
    let b = MeanColour::named("b");
    let reason = refused(&b, &BatchOptions { extract: clam, ..all.clone() });
    assert!(reason.contains("cut as a `nested` lattice, and these settings give a `clam` one"), "{reason}");

    // Only what is missing is encoded.
    run(&slides, &b, &BatchOptions { extract: at_20x, ..all.clone() }, &|_| {}).unwrap();
    let statuses = run(&slides, &b, &all, &|_| {}).unwrap();
    let Outcome::Done(done) = &statuses[0].outcome else { panic!("{statuses:?}") };
    assert!(done.n_patches[0] > 0 && done.n_patches[1] > 0 && done.n_patches[2] == 0, "{done:?}");
    let bag = all.out.join("slide-1.h5");
    let [a, b] = ["a", "b"].map(|encoder| native::read(&bag, encoder, &Magnification::ALL).unwrap());
    for magnification in Magnification::ALL {
        let [a, b] = [&a, &b].map(|bag| bag.at(magnification).unwrap());
        assert_eq!((a.coords(), a.parents(), a.features()), (b.coords(), b.parents(), b.features()));
    }
}

#[test]
fn a_bag_cut_by_other_settings_is_not_taken_for_done() {
    let dir = tempfile::tempdir().unwrap();
    let path = rendered(dir.path(), "slide-1.svs", 3, Base::X20);
    let slides = SlideList::find(std::slice::from_ref(&path)).unwrap();
    let options = batch(dir.path(), ExtractOptions::default());
    let encoder = MeanColour::default();
    run(&slides, &encoder, &options, &|_| {}).unwrap();
    let bag = options.out.join("slide-1.h5");
    let origin = native::origin(&bag).unwrap();
    let bytes = std::fs::metadata(&path).unwrap().len();
    assert_eq!(
        (
            origin.lattice.as_deref(),
            origin.tissue.as_deref(),
            origin.slide_file.as_deref(),
            origin.slide_bytes
        ),
        (Some("nested"), Some("preset bwh_biopsy, ink removed"), Some("slide-1.svs"), Some(bytes))
    );
    let n_calls = encoder.n_calls();
    let again = |given: ResolutionOverride, extract: ExtractOptions| {
        let options = BatchOptions { extract, ..options.clone() };
        let statuses = run(&slides.clone().with_resolution(given), &encoder, &options, &|_| {}).unwrap();
        match &statuses[0].outcome {
            Outcome::Failed(reason) => reason.clone(),
            other => other.label().to_owned(),
        }
    };
    let by_mpp = |mpp| ResolutionOverride { mpp: Some(mpp), magnification: None };
    let none = ResolutionOverride::default();
    let all = ExtractOptions::default;
    assert_eq!(again(by_mpp(0.503), all()), "present", "tools round");
    let reason = again(by_mpp(0.25), all());
    assert!(
        reason.contains(
            "cut at 0.5 um/px with x5 patches of 1024 px, and these settings give 0.25 um/px with x5 patches of 2048 px"
        ),
        "{reason}"
    );
    assert!(reason.contains("a directory of their own (--out), or remove the bag"), "{reason}");
    let at_10x = again(by_mpp(1.0), all());
    assert!(at_10x.contains("these settings give 1 um/px;"), "no 20x patches are to be had: {at_10x}");
    let given = ResolutionOverride { mpp: None, magnification: Some(40.0) };
    let reason = again(given, all());
    assert!(reason.contains("these settings give x5 patches of 2048 px"), "{reason}");
    let reason = again(none, ExtractOptions { target_mpp: Some(1.0), ..all() });
    assert!(reason.contains("x5 patches of 2048 px"), "{reason}");
    let clam = ExtractOptions { lattice: LatticeKind::Clam, ..all() };
    let reason = again(none, clam.clone());
    assert!(reason.contains("cut as a `nested` lattice, and these settings give a `clam` one"), "{reason}");

    let tcga = TissueParams { pen_marks: PenMarks::Remove, ..Preset::Tcga.params() };
    let reason = again(none, ExtractOptions { tissue: tcga, ..all() });
    let wanted =
        "cut on tissue by preset bwh_biopsy, ink removed, and these settings give preset tcga, ink removed;";
    assert!(reason.contains(wanted), "{reason}");
    let threshold = TissueParams { threshold: Threshold::Fixed(60), ..tcga };
    let reason = again(none, ExtractOptions { tissue: threshold, ..all() });
    assert!(reason.contains("give threshold 60, median 7, closing 4, area above 16"), "{reason}");

    // Bags of earlier versions and of other tools do not say how their patches were laid.
    let read = native::read(&bag, "mean-colour", &Magnification::ALL).unwrap();
    native::write(&bag, &read, "mean-colour", &native::slide_info(&bag).unwrap()).unwrap();
    assert_eq!(native::origin(&bag).unwrap(), native::Origin::default());
    assert_eq!(again(none, clam.clone()), "present");
    let other = BatchOptions { extract: clam, ..options.clone() };
    let statuses = run(&slides, &MeanColour::named("b"), &other, &|_| {}).unwrap();
    let Outcome::Failed(reason) = &statuses[0].outcome else { panic!("{statuses:?}") };
    assert!(reason.contains("patches: it has others than these settings lay"), "{reason}");
    assert_eq!(encoder.n_calls(), n_calls, "nothing is encoded");
}

#[test]
fn another_slide_of_the_same_name_is_not_taken_for_done() {
    let dir = tempfile::tempdir().unwrap();
    let path = rendered(dir.path(), "slide-1.svs", 3, Base::X20);
    let options = batch(dir.path(), ExtractOptions::default());
    let told = |path: &Path, encoder: &MeanColour| {
        let slides = SlideList::find(&[path.to_owned()]).unwrap();
        let by_run = run(&slides, encoder, &options, &|_| {}).unwrap().remove(0).outcome;
        match by_run {
            Outcome::Failed(reason) => reason,
            other => other.label().to_owned(),
        }
    };
    let first = MeanColour::default();
    assert_eq!(told(&path, &first), "done");
    // The same file elsewhere is the same slide; one of another extension or size is not.
    let elsewhere = dir.path().join("elsewhere");
    std::fs::create_dir(&elsewhere).unwrap();
    let at = |name: &str| elsewhere.join(name);
    std::fs::copy(&path, at("slide-1.svs")).unwrap();
    assert_eq!(told(&at("slide-1.svs"), &first), "present");
    std::fs::copy(&path, at("slide-1.tif")).unwrap();
    let reason = told(&at("slide-1.tif"), &first);
    let bytes = std::fs::metadata(&path).unwrap().len();
    let wanted = format!(
        "is of the slide file slide-1.svs, {bytes} bytes, and this one is slide-1.tif, {bytes} bytes"
    );
    assert!(reason.contains(&wanted) && reason.contains("--out"), "{reason}");
    let mut longer = std::fs::read(&path).unwrap();
    longer.push(0);
    std::fs::write(at("slide-1.svs"), longer).unwrap();
    assert!(told(&at("slide-1.svs"), &MeanColour::named("b")).contains("this one is slide-1.svs"));
    // Features at the patches of the bag may come from a copy in another format, which is told.
    let slides = SlideList::find(&[at("slide-1.tif")]).unwrap();
    let statuses = encode(&slides, &MeanColour::named("b"), &encode_options(&options), &|_| {}).unwrap();
    let Outcome::Done(done) = &statuses[0].outcome else { panic!("{statuses:?}") };
    assert!(
        done.warnings
            .iter()
            .any(|warning| warning.contains("its features at these patches now of slide-1.tif")),
        "{done:?}"
    );
}

#[test]
fn a_batch_that_is_stopped_leaves_whole_bags_and_goes_on() {
    let dir = tempfile::tempdir().unwrap();
    let paths = [1, 2].map(|at| rendered(dir.path(), &format!("slide-{at}.svs"), 3, Base::X20));
    let slides = SlideList::find(&paths).unwrap();
    let options = batch(dir.path(), ExtractOptions::default());
    let encoder = MeanColour::default();
    // Within the second slide.
    let stopped = run(&slides, &encoder, &options, &|event| {
        if matches!(event, Event::Begun("slide-2", ..)) {
            options.stop.store(true, Ordering::Relaxed);
        }
    });
    let error = stopped.unwrap_err();
    assert!(matches!(error, wsi_features::Error::Interrupted) && error.is_temporary());
    let mut names: Vec<_> =
        std::fs::read_dir(&options.out).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    names.sort();
    assert_eq!(names, [".lock", "slide-1.h5", "status.csv"], "nothing half done");
    let going_on = BatchOptions { stop: Arc::default(), ..options.clone() };
    let statuses = run(&slides, &encoder, &going_on, &|_| {}).unwrap();
    let labels: Vec<_> = statuses.iter().map(|status| status.outcome.label()).collect();
    assert_eq!(labels, ["present", "done"]);
    assert!(matches!(run(&slides, &encoder, &options, &|_| {}), Err(wsi_features::Error::Interrupted)));
}

#[test]
fn pieces_too_small_for_a_preset_have_another_preset() {
    let dir = tempfile::tempdir().unwrap();
    let path = rendered(dir.path(), "slide-1.svs", 3, Base::X20);
    let slides = SlideList::find(&[path]).unwrap();
    let reason = |tissue| {
        let extract = ExtractOptions { tissue, ..ExtractOptions::default() };
        let statuses = run(&slides, &MeanColour::default(), &batch(dir.path(), extract), &|_| {}).unwrap();
        match &statuses[0].outcome {
            Outcome::Failed(reason) => reason.clone(),
            other => panic!("{other:?}"),
        }
    };
    let told = reason(Preset::BwhResection.params());
    assert!(told.contains("no piece is large enough for the preset; --preset bwh_biopsy takes"), "{told}");
    let glass = TissueParams { threshold: Threshold::Fixed(255), ..Preset::BwhBiopsy.params() };
    let told = reason(glass);
    assert!(told.ends_with("nothing is coloured as tissue is"), "{told}");
}

#[test]
fn equal_runs_write_equal_bytes() {
    let dir = tempfile::tempdir().unwrap();
    let path = rendered(dir.path(), "slide-1.svs", 6, Base::X20);
    let slides = SlideList::find(&[path]).unwrap();
    let encoder = Encoder::open(EncoderName::StainTexture, None).unwrap();
    let bytes: Vec<Vec<u8>> = ["one", "two"]
        .iter()
        .map(|name| {
            let options = BatchOptions::new(dir.path().join(name), ExtractOptions::default());
            run(&slides, &encoder, &options, &|_| {}).unwrap();
            std::fs::read(options.out.join("slide-1.h5")).unwrap()
        })
        .collect();
    assert!(bytes[0] == bytes[1]);
}

#[test]
fn a_tile_that_does_not_decode_fails_the_slide_or_costs_its_patches() {
    let dir = tempfile::tempdir().unwrap();
    let path = rendered(dir.path(), "slide-1.svs", 8, Base::X20);
    // Wipes a part of the pixel data in the middle of level 0, on tissue.
    let mut bytes = std::fs::read(&path).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle..middle + 60_000].fill(0);
    std::fs::write(&path, bytes).unwrap();
    let slides = SlideList::find(&[path]).unwrap();

    let failing =
        run(&slides, &MeanColour::default(), &batch(dir.path(), ExtractOptions::default()), &|_| {}).unwrap();
    let Outcome::Failed(reason) = &failing[0].outcome else { panic!("{failing:?}") };
    assert!(reason.contains("the tile at (") && reason.contains("of level 0"), "{reason}");
    assert!(!dir.path().join("bags/slide-1.h5").exists());

    let extract = ExtractOptions { bad_tiles: BadTiles::SkipPatch, ..ExtractOptions::default() };
    let skipping = run(&slides, &MeanColour::default(), &batch(dir.path(), extract), &|_| {}).unwrap();
    let Outcome::Done(done) = &skipping[0].outcome else { panic!("{skipping:?}") };
    assert!(done.n_unreadable > 0 && done.n_unreadable < 12, "{}", done.n_unreadable);
    let bag = native::read(&dir.path().join("bags/slide-1.h5"), "mean-colour", &Magnification::ALL).unwrap();
    let n: usize = Magnification::ALL.iter().map(|m| bag.at(*m).unwrap().n_patches()).sum();
    assert_eq!(n, done.n_patches.iter().sum::<usize>());

    // Another encoder sees the patches that the bag has, none of which lies on such a tile.
    let second = MeanColour::named("second");
    let statuses = run(&slides, &second, &batch(dir.path(), ExtractOptions::default()), &|_| {}).unwrap();
    let Outcome::Done(second) = &statuses[0].outcome else { panic!("{statuses:?}") };
    assert_eq!(second.n_patches, done.n_patches);
}

fn encode_options(options: &BatchOptions) -> EncodeOptions {
    EncodeOptions::new(options.out.clone())
}

#[test]
fn a_bag_with_patches_and_no_features_is_encoded_and_one_without_patches_is_named() {
    let dir = tempfile::tempdir().unwrap();
    let path = rendered(dir.path(), "slide-1.svs", 3, Base::X20);
    let slides = SlideList::find(&[path]).unwrap();
    let options = batch(dir.path(), ExtractOptions::default());
    run(&slides, &MeanColour::default(), &options, &|_| {}).unwrap();
    let bag = options.out.join("slide-1.h5");
    let wanted = native::read(&bag, "mean-colour", &Magnification::ALL).unwrap();
    let lattices = native::lattices(&bag).unwrap();
    let slide = native::slide_info(&bag).unwrap();
    // A file of scores has the groups and coordinates of a bag.
    let bare: Vec<ScoredPatches<'_>> = lattices
        .iter()
        .map(|lattice| ScoredPatches {
            magnification: lattice.magnification,
            patch_size_level0: lattice.geometry.patch_size_level0.unwrap(),
            coords: &lattice.coords,
            modules: Vec::new(),
        })
        .collect();
    scores::write(&bag, &slide, &bare).unwrap();
    assert_eq!(native::lattices(&bag).unwrap().len(), 3);
    assert!(native::encoders(&bag).unwrap().is_empty());
    let statuses = encode(&slides, &MeanColour::default(), &encode_options(&options), &|_| {}).unwrap();
    let Outcome::Done(done) = &statuses[0].outcome else { panic!("{statuses:?}") };
    let found = native::read(&bag, "mean-colour", &Magnification::ALL).unwrap();
    for (number, lattice) in lattices.iter().enumerate() {
        let set = found.at(lattice.magnification).unwrap();
        assert_eq!((set.n_patches(), done.n_patches[number]), (lattice.coords.len(), lattice.coords.len()));
        assert_eq!(set.features(), wanted.at(lattice.magnification).unwrap().features());
    }
    let again = encode(&slides, &MeanColour::default(), &encode_options(&options), &|_| {}).unwrap();
    assert_eq!(again[0].outcome, Outcome::Present);

    scores::write(&bag, &slide, &[]).unwrap();
    let statuses = encode(&slides, &MeanColour::default(), &encode_options(&options), &|_| {}).unwrap();
    let Outcome::Failed(reason) = &statuses[0].outcome else { panic!("{statuses:?}") };
    assert!(reason.contains("slide-1.h5: it has no patches at any magnification"), "{reason}");
}

#[test]
fn patches_that_the_bag_lacks_are_told_of() {
    let dir = tempfile::tempdir().unwrap();
    let path = rendered(dir.path(), "slide-1.svs", 3, Base::X20);
    let slides = SlideList::find(&[path]).unwrap();
    let options = batch(dir.path(), ExtractOptions::default());
    run(&slides, &MeanColour::default(), &options, &|_| {}).unwrap();
    let file = options.out.join("slide-1.h5");
    let bag = native::read(&file, "mean-colour", &Magnification::ALL).unwrap();
    let cut = |magnification, set: &PatchSet| {
        let n = set.n_patches() - if magnification == Magnification::X20 { 4 } else { 0 };
        let rows = (0..n).flat_map(|row| set.features().row(row).unwrap().to_vec()).collect();
        let set = PatchSet::new(FeatureMatrix::new(rows, n, 3).unwrap())
            .with_coords(set.coords().unwrap()[..n].to_vec())
            .and_then(|cut| cut.with_geometry(set.geometry()));
        (magnification, set.unwrap())
    };
    let n_laid = bag.at(Magnification::X20).unwrap().n_patches();
    let fewer = Bag::new("slide-1", bag.sets().map(|(at, set)| cut(at, set))).unwrap();
    native::write(&file, &fewer, "mean-colour", &native::slide_info(&file).unwrap()).unwrap();

    let statuses = run(&slides, &MeanColour::named("b"), &options, &|_| {}).unwrap();
    let Outcome::Done(done) = &statuses[0].outcome else { panic!("{statuses:?}") };
    let told = format!("x20: the bag has {} of the {n_laid} patches that these settings lay", n_laid - 4);
    assert!(done.warnings.iter().any(|warning| warning.starts_with(&told)), "{:?}", done.warnings);
    assert_eq!(done.warnings.len(), 1, "of the magnification that lacks some");
    let table = std::fs::read_to_string(options.out.join("status.csv")).unwrap();
    assert!(table.contains(&told), "{table}");
}

#[test]
fn a_table_of_something_else_is_found_before_a_slide_is_encoded() {
    let dir = tempfile::tempdir().unwrap();
    let path = rendered(dir.path(), "slide-1.svs", 3, Base::X20);
    let slides = SlideList::find(&[path]).unwrap();
    let options = batch(dir.path(), ExtractOptions::default());
    std::fs::create_dir(&options.out).unwrap();
    std::fs::write(options.out.join("status.csv"), "patient,age\n1,2\n").unwrap();
    let encoder = MeanColour::default();
    for result in [
        run(&slides, &encoder, &options, &|_| {}),
        encode(&slides, &encoder, &encode_options(&options), &|_| {}),
    ] {
        let text = result.unwrap_err().to_string();
        assert!(text.contains("status.csv: the columns are patient, age"), "{text}");
    }
    assert_eq!(encoder.n_calls(), 0);
}

#[test]
fn a_bag_that_bears_the_name_of_the_slide_file_is_the_slides() {
    let dir = tempfile::tempdir().unwrap();
    let path = rendered(dir.path(), "slide-1.svs", 3, Base::X20);
    let slides = SlideList::find(&[path]).unwrap();
    let options = batch(dir.path(), ExtractOptions::default());
    run(&slides, &MeanColour::named("a"), &options, &|_| {}).unwrap();
    let bag = options.out.join("slide-1.svs.h5");
    std::fs::rename(options.out.join("slide-1.h5"), &bag).unwrap();
    let again = run(&slides, &MeanColour::named("a"), &options, &|_| {}).unwrap();
    assert_eq!(again[0].outcome, Outcome::Present);
    encode(&slides, &MeanColour::named("b"), &encode_options(&options), &|_| {}).unwrap();
    run(&slides, &MeanColour::named("c"), &options, &|_| {}).unwrap();
    assert_eq!(native::encoders(&bag).unwrap(), ["a", "b", "c"]);
    assert!(!options.out.join("slide-1.h5").exists());
}

#[test]
fn the_table_has_a_row_for_each_encoder_and_counts_all_magnifications() {
    let dir = tempfile::tempdir().unwrap();
    let path = rendered(dir.path(), "slide-1.svs", 3, Base::X20);
    let slides = SlideList::find(&[path]).unwrap();
    let all = batch(dir.path(), ExtractOptions::default());
    let at_20x = ExtractOptions { magnifications: vec![Magnification::X20], ..ExtractOptions::default() };
    run(&slides, &MeanColour::named("a"), &all, &|_| {}).unwrap();
    run(&slides, &MeanColour::named("b"), &BatchOptions { extract: at_20x, ..all.clone() }, &|_| {}).unwrap();
    run(&slides, &MeanColour::named("b"), &all, &|_| {}).unwrap();
    let table = std::fs::read_to_string(all.out.join("status.csv")).unwrap();
    let rows: Vec<Vec<&str>> = table.lines().skip(1).map(|line| line.split(',').collect()).collect();
    assert_eq!(rows.len(), 2, "{table}");
    assert_eq!((rows[0][11], rows[1][11]), ("a", "b"));
    assert_eq!(rows[0][3..6], rows[1][3..6], "{table}");
}
