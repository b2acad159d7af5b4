//! What bags state of how their features were made, and how their patches belong together.

#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "a test that panics has failed")]

use std::cell::RefCell;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};

use patch_encoders::{Encoder, EncoderName, RgbImage};
use wsi_bags::{Magnification, PatchSet, native};
use wsi_features::{
    BatchOptions, EncodeOptions, Event, ExtractOptions, LatticeKind, Outcome, PatchEncoder, PixelSource,
    SlideList, SlideStatus, encode, run, way_out,
};
use wsi_slides::lattice::PatchSides;
use wsi_slides::render::{RenderOptions, render};
use wsi_slides::tissue::Preset;
use wsi_slides::{Resolution, ResolutionOverride, Rule};

/// One feature, and weights that are nothing but their hash.
#[derive(Default)]
struct Weighted {
    weights: Option<&'static str>,
    warnings: Vec<String>,
    n_calls: AtomicUsize,
}

impl PatchEncoder for Weighted {
    fn name(&self) -> &str {
        "weighted"
    }

    fn patch_side(&self) -> usize {
        256
    }

    fn feature_dim(&self) -> usize {
        1
    }

    fn weights_sha256(&self) -> Option<&str> {
        self.weights
    }

    fn warnings(&self) -> &[String] {
        &self.warnings
    }

    fn encode(&self, patches: &[RgbImage]) -> patch_encoders::Result<Vec<f32>> {
        self.n_calls.fetch_add(1, Ordering::Relaxed);
        Ok(vec![0.5; patches.len()])
    }
}

fn rendered(dir: &Path, seed: u64) -> PathBuf {
    let path = dir.join("slide-1.svs");
    render(&path, &RenderOptions { seed, n_cells: 5, ..RenderOptions::default() }).unwrap();
    path
}

fn told(statuses: &[SlideStatus]) -> String {
    match &statuses[0].outcome {
        Outcome::Failed(reason) => reason.clone(),
        other => other.label().to_owned(),
    }
}

#[test]
fn features_of_other_weights_or_pixels_do_not_mix() {
    let dir = tempfile::tempdir().unwrap();
    let slides = SlideList::find(&[rendered(dir.path(), 1)]).unwrap();
    let out = dir.path().join("bags");
    let options =
        |pixels| BatchOptions::new(out.clone(), ExtractOptions { pixels, ..ExtractOptions::default() });
    let encoding = |pixels| EncodeOptions { pixels, ..EncodeOptions::new(out.clone()) };
    let of = |weights| Weighted { weights: Some(weights), ..Weighted::default() };
    let (first, second) = (of("11aa11aa11aa11aa"), of("22bb22bb22bb22bb"));
    let (nearest, level0) = (PixelSource::NearestLevel, PixelSource::Level0);

    let coarse = BatchOptions {
        extract: ExtractOptions { magnifications: vec![Magnification::X5], ..ExtractOptions::default() },
        ..options(nearest)
    };
    assert_eq!(told(&run(&slides, &first, &coarse, &|_| {}).unwrap()), "done");
    let bag = out.join("slide-1.h5");
    let stated = native::provenances(&bag, "weighted").unwrap();
    let [(Magnification::X5, made)] = stated.as_slice() else { panic!("{stated:?}") };
    assert_eq!(
        (made.weights_sha256.as_deref(), made.pixels.as_deref()),
        (Some("11aa11aa11aa11aa"), Some("nearest"))
    );
    let before = std::fs::read(&bag).unwrap();

    // Also where something is left to be done, and where nothing is.
    let weights = "slide-1.h5: its x5 features of weighted were made with weights of SHA-256 11aa11aa11aa.., and this run has weights of \
                   SHA-256 22bb22bb22bb..; features made otherwise want a directory of their own (--out), or remove the bag";
    let pixels = "made with --pixels nearest, and this run has --pixels level0; ";
    for options in [&coarse, &options(nearest)] {
        let reason = told(&run(&slides, &second, options, &|_| {}).unwrap());
        assert!(reason.ends_with(weights), "{reason}");
    }
    let reason = told(&encode(&slides, &second, &encoding(nearest), &|_| {}).unwrap());
    assert!(reason.ends_with(weights), "{reason}");
    let reason = told(&run(&slides, &first, &options(level0), &|_| {}).unwrap());
    assert!(reason.contains(pixels), "{reason}");
    let reason = told(&encode(&slides, &first, &encoding(level0), &|_| {}).unwrap());
    assert!(reason.contains(pixels), "{reason}");
    assert_eq!(second.n_calls.load(Ordering::Relaxed), 0, "nothing is encoded");
    assert!(std::fs::read(&bag).unwrap() == before);

    assert_eq!(told(&run(&slides, &first, &coarse, &|_| {}).unwrap()), "present");
    assert_eq!(told(&encode(&slides, &first, &encoding(nearest), &|_| {}).unwrap()), "present");
    // Another encoder has weights of its own, and may see other pixels.
    let stain_texture = Encoder::open(EncoderName::StainTexture, None).unwrap();
    assert_eq!(told(&encode(&slides, &stain_texture, &encoding(level0), &|_| {}).unwrap()), "done");
    let stated = native::provenances(&bag, "stain-texture").unwrap();
    let [(Magnification::X5, made)] = stated.as_slice() else { panic!("{stated:?}") };
    assert_eq!((made.weights_sha256.as_deref(), made.pixels.as_deref()), (None, Some("level0")));
}

#[test]
fn bags_that_do_not_state_weights_and_pixels_are_taken() {
    let dir = tempfile::tempdir().unwrap();
    let slides = SlideList::find(&[rendered(dir.path(), 1)]).unwrap();
    let options = BatchOptions::new(dir.path().join("bags"), ExtractOptions::default());
    let encoder = Weighted { weights: Some("11aa"), ..Weighted::default() };
    run(&slides, &encoder, &options, &|_| {}).unwrap();
    let bag = options.out.join("slide-1.h5");
    // As versions before these statements left them.
    let read = native::read(&bag, "weighted", &Magnification::ALL).unwrap();
    let bare = read.sets().map(|(magnification, set)| {
        let bare = PatchSet::new(set.features().clone()).with_coords(set.coords().unwrap().to_vec()).unwrap();
        (magnification, bare)
    });
    let bare = wsi_bags::Bag::new("slide-1", bare).unwrap();
    native::write(&bag, &bare, "weighted", &native::slide_info(&bag).unwrap()).unwrap();
    let other = Weighted { weights: Some("22bb"), ..Weighted::default() };
    let level0 = ExtractOptions { pixels: PixelSource::Level0, ..ExtractOptions::default() };
    let options = BatchOptions { extract: level0, ..options };
    assert_eq!(told(&run(&slides, &other, &options, &|_| {}).unwrap()), "present");
}

#[test]
fn what_an_encoder_warns_of_is_said_once() {
    let dir = tempfile::tempdir().unwrap();
    let folder = dir.path().join("slides");
    std::fs::create_dir(&folder).unwrap();
    std::fs::copy(rendered(dir.path(), 1), folder.join("slide-2.svs")).unwrap();
    std::fs::rename(dir.path().join("slide-1.svs"), folder.join("slide-1.svs")).unwrap();
    let slides = SlideList::find(&[folder]).unwrap();
    let encoder = Weighted { warnings: vec!["it guesses".to_owned()], ..Weighted::default() };
    let options = BatchOptions::new(dir.path().join("bags"), ExtractOptions::default());
    let encoding = EncodeOptions::new(options.out.clone());
    let said = RefCell::new(Vec::new());
    let hear = |event: Event<'_>| match event {
        Event::Warning(text) => said.borrow_mut().push(text.to_owned()),
        Event::Begun(slide, ..) => said.borrow_mut().push(slide.to_owned()),
        _ => {}
    };
    run(&slides, &encoder, &options, &hear).unwrap();
    encode(&slides, &encoder, &encoding, &hear).unwrap();
    let once = ["it guesses", "slide-1", "slide-2"];
    assert_eq!(*said.borrow(), [once, once].concat());
}

/// Patches whose parent does not hold their centre, by looking at all.
fn n_not_held(fine: &PatchSet, coarse: &PatchSet) -> usize {
    let side = |set: &PatchSet| f64::from(set.geometry().patch_size_level0.unwrap());
    let holds = |corner: &[i64; 2], middle: [f64; 2]| {
        (0..2).all(|axis| (0.0..side(coarse)).contains(&(middle[axis] - corner[axis] as f64)))
    };
    let mut n = 0;
    for (corner, parent) in fine.coords().unwrap().iter().zip(fine.parents().unwrap()) {
        let middle = corner.map(|at| at as f64 + side(fine) / 2.0);
        let held_by_any = coarse.coords().unwrap().iter().any(|corner| holds(corner, middle));
        assert_eq!(holds(&coarse.coords().unwrap()[parent.unwrap() as usize], middle), held_by_any);
        n += usize::from(!held_by_any);
    }
    n
}

/// Stained tissue with narrow teeth: where the points by which a coarse patch is kept miss one, a finer patch may lie on it.
fn comb(dir: &Path) -> PathBuf {
    let path = dir.join("slide-1.png");
    let is_tissue = |x: u32, y: u32| {
        (300..3700).contains(&x) && ((1700..2500).contains(&y) || ((300..1700).contains(&y) && x % 600 < 150))
    };
    // Not all the same, as in a file that is made to fill memory.
    let grain = |x: u32, y: u32| ((x.wrapping_mul(7919) ^ y.wrapping_mul(104_729)) >> 3) as u8 & 7;
    let pixel = |x, y| {
        let [r, g, b] = if is_tissue(x, y) { [180, 90, 160] } else { [240; 3] };
        image::Rgb([r + grain(x, y), g, b])
    };
    image::RgbImage::from_fn(4000, 2600, pixel).save(&path).unwrap();
    path
}

#[test]
fn parents_that_do_not_hold_their_patches_are_counted() {
    let dir = tempfile::tempdir().unwrap();
    let given = ResolutionOverride { mpp: Some(0.5), magnification: None };
    let slides = SlideList::find(&[comb(dir.path())]).unwrap().with_resolution(given);
    let n_fallbacks = |lattice| {
        let extract = ExtractOptions { lattice, ..ExtractOptions::default() };
        let options = BatchOptions::new(dir.path().join(format!("{lattice:?}")), extract);
        assert_eq!(told(&run(&slides, &Weighted::default(), &options, &|_| {}).unwrap()), "done");
        let bag = native::read(&options.out.join("slide-1.h5"), "weighted", &Magnification::ALL).unwrap();
        let sets: Vec<&PatchSet> = bag.sets().map(|(_, set)| set).collect();
        assert_eq!(sets[0].parent_fallbacks(), None);
        let counted: Vec<_> = sets.windows(2).map(|pair| n_not_held(pair[1], pair[0])).collect();
        for (set, n) in sets.iter().skip(1).zip(&counted) {
            assert_eq!(set.parent_fallbacks(), Some(*n), "{lattice:?}");
        }
        counted
    };
    assert_eq!(n_fallbacks(LatticeKind::Nested), [0, 0]);
    let in_clam = n_fallbacks(LatticeKind::Clam);
    assert!(in_clam.iter().all(|n| *n > 0), "{in_clam:?}");
}

#[test]
fn a_real_slide_in_the_grid_of_clam_has_the_fallbacks_that_were_counted_by_hand() {
    let Some(data) = std::env::var_os("CF_TEST_DATA") else {
        println!("skipped: CF_TEST_DATA is not set");
        return;
    };
    let slide = Path::new(&data).join("wsi/DERIVED-TCGA-CR-7395-40x-pyramid.svs");
    let dir = tempfile::tempdir().unwrap();
    let extract = ExtractOptions {
        tissue: Preset::Tcga.params(),
        lattice: LatticeKind::Clam,
        ..ExtractOptions::default()
    };
    let options = BatchOptions::new(dir.path().join("bags"), extract);
    run(&SlideList::find(&[slide]).unwrap(), &Weighted::default(), &options, &|_| {}).unwrap();
    let path = options.out.join("DERIVED-TCGA-CR-7395-40x-pyramid.h5");
    let bag = native::read(&path, "weighted", &Magnification::ALL).unwrap();
    let found = bag.sets().map(|(_, set)| (set.parent_fallbacks(), set.n_patches())).skip(1);
    assert_eq!(found.collect::<Vec<_>>(), [(Some(2), 15), (Some(4), 49)]);
}

#[test]
fn magnifications_are_advised_that_the_slide_has() {
    let advice = |base: f64| {
        let resolution = Resolution { base, mpp: None, rule: Rule::GivenMagnification, warnings: Vec::new() };
        let error = PatchSides::nominal(&resolution, Magnification::X20).unwrap_err();
        way_out(error.kind()).unwrap()
    };
    assert_eq!(advice(10.0), "--magnifications names those to cut, such as x5,x10");
    for base in [5.0, 8.0] {
        assert_eq!(advice(base), "--magnifications names those to cut, such as x5");
    }
    let wanted =
        "nothing can be cut of a slide below 5x; leave it out, or state its resolution if that is wrong";
    assert_eq!(advice(2.5), wanted);
}
