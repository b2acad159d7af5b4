//! Memory is bounded by a constant, not by the number of patches.

#![allow(clippy::unwrap_used, reason = "a test that panics has failed")]

use patch_encoders::RgbImage;
use peak_alloc::PeakAlloc;
use wsi_features::{BatchOptions, ExtractOptions, Outcome, PatchEncoder, SlideList, run};
use wsi_slides::render::{RenderOptions, render};

#[global_allocator]
static HEAP: PeakAlloc = PeakAlloc;

const N_CELLS: u32 = 64;

/// So many features for each patch.
struct Wide(usize);

impl PatchEncoder for Wide {
    fn name(&self) -> &str {
        "wide"
    }

    fn patch_side(&self) -> usize {
        256
    }

    fn feature_dim(&self) -> usize {
        self.0
    }

    fn encode(&self, patches: &[RgbImage]) -> patch_encoders::Result<Vec<f32>> {
        let mut features = Vec::with_capacity(patches.len() * self.0);
        for patch in patches {
            features.resize(features.len() + self.0, f32::from(patch.pixels()[0]));
        }
        Ok(features)
    }
}

#[test]
fn memory_does_not_grow_by_the_features_of_a_slide() {
    let dir = tempfile::tempdir().unwrap();
    let slide = dir.path().join("slide-1.svs");
    render(&slide, &RenderOptions { n_cells: N_CELLS, ..RenderOptions::default() }).unwrap();
    let slides = SlideList::find(&[slide]).unwrap();
    // Decoded tiles and batches of patches take the same in both, a few batches of features the rest.
    let [(narrow, peak_of_narrow), (wide, peak_of_wide)] = [4096, 16_384].map(|dim| {
        let options = BatchOptions::new(dir.path().join(dim.to_string()), ExtractOptions::default());
        HEAP.reset_peak_usage();
        let before = HEAP.current_usage();
        let statuses = run(&slides, &Wide(dim), &options, &|_| {}).unwrap();
        let peak = HEAP.peak_usage() - before;
        let Outcome::Done(done) = &statuses[0].outcome else { panic!("{statuses:?}") };
        assert_eq!(done.n_patches, [1, 4, 16].map(|n| n * N_CELLS as usize));
        (21 * N_CELLS as usize * dim * size_of::<f32>(), peak)
    });
    let (more_features, more_memory) = (wide - narrow, peak_of_wide.saturating_sub(peak_of_narrow));
    eprintln!("{} MiB more for {} MiB more features", more_memory >> 20, more_features >> 20);
    assert!(more_memory < more_features / 2);
}
