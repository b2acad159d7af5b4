//! Memory is bounded by a constant, not by the number of patches.

#![allow(clippy::unwrap_used, reason = "a test that panics has failed")]

use patch_encoders::RgbImage;
use peak_alloc::PeakAlloc;
use wsi_features::{BatchOptions, ExtractOptions, Outcome, PatchEncoder, SlideList, run};
use wsi_slides::render::{RenderOptions, render};

#[global_allocator]
static HEAP: PeakAlloc = PeakAlloc;

const N_CELLS: u32 = 64;
const DIM: usize = 65_536;

/// A quarter of a MiB of features for each patch.
struct Wide;

impl PatchEncoder for Wide {
    fn name(&self) -> &str {
        "wide"
    }

    fn patch_side(&self) -> usize {
        256
    }

    fn feature_dim(&self) -> usize {
        DIM
    }

    fn encode(&self, patches: &[RgbImage]) -> patch_encoders::Result<Vec<f32>> {
        let mut features = Vec::with_capacity(patches.len() * DIM);
        for patch in patches {
            features.resize(features.len() + DIM, f32::from(patch.pixels()[0]));
        }
        Ok(features)
    }
}

#[test]
fn a_run_takes_less_memory_than_the_features_of_its_slide() {
    let dir = tempfile::tempdir().unwrap();
    let slide = dir.path().join("slide-1.svs");
    render(&slide, &RenderOptions { n_cells: N_CELLS, ..RenderOptions::default() }).unwrap();
    let slides = SlideList::find(&[slide]).unwrap();
    let options = BatchOptions::new(dir.path().join("bags"), ExtractOptions::default());
    HEAP.reset_peak_usage();
    let before = HEAP.current_usage();
    let statuses = run(&slides, &Wide, &options, &|_| {}).unwrap();
    let peak = HEAP.peak_usage() - before;
    let Outcome::Done(done) = &statuses[0].outcome else { panic!("{statuses:?}") };
    assert_eq!(done.n_patches, [1, 4, 16].map(|n| n * N_CELLS as usize));
    // What it does take: decoded tiles (128 MiB at most), and a few batches of patches and of their features.
    let features = 21 * N_CELLS as usize * DIM * size_of::<f32>();
    assert!(peak < features * 9 / 10, "{} MiB, and the features are {} MiB", peak >> 20, features >> 20);
    eprintln!("{} MiB, and the features are {} MiB", peak >> 20, features >> 20);
}
