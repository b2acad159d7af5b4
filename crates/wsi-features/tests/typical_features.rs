//! The means and standard deviations by which `stain-texture` puts its features on one scale are those of tissue.

#![allow(clippy::unwrap_used, reason = "a test that panics has failed")]

use std::path::{Path, PathBuf};

use patch_encoders::RgbImage;
use patch_encoders::stain_texture::{N_FEATURES, measure, typical_features};
use rayon::prelude::*;
use wsi_features::{ExtractOptions, Extracted, PatchEncoder, extract};
use wsi_slides::ResolutionOverride;
use wsi_slides::render::{RenderOptions, Signal, render};

/// The features as they are before they are put on one scale.
struct Measured;

impl PatchEncoder for Measured {
    fn name(&self) -> &str {
        "measured"
    }

    fn patch_side(&self) -> usize {
        256
    }

    fn feature_dim(&self) -> usize {
        N_FEATURES
    }

    fn encode(&self, patches: &[RgbImage]) -> patch_encoders::Result<Vec<f32>> {
        Ok(patches.par_iter().flat_map_iter(measure).collect())
    }
}

/// Adds up weighted values and their squares.
struct Sums {
    values: Vec<f64>,
    squares: Vec<f64>,
}

impl Sums {
    /// The slides together have `weight`, and each magnification of each slide the same part of it. Patches that reach beyond
    /// the slide, where there is black, are left out.
    fn add(&mut self, slides: &[PathBuf], weight: f64, scratch: &Path) {
        for slide in slides {
            let options = ExtractOptions::default();
            let of_slide =
                extract(slide, ResolutionOverride::default(), &Measured, &options, scratch, &|_| {});
            let Extracted { bag, info, .. } = of_slide.unwrap();
            let size = [info.width, info.height].map(|side| side.unwrap() as i64);
            assert_eq!(bag.sets().count(), 3);
            for (_, set) in bag.sets() {
                let side = i64::from(set.geometry().patch_size_level0.unwrap());
                let is_inside = |corner: &[i64; 2]| (0..2).all(|axis| corner[axis] + side <= size[axis]);
                let corners = set.coords().unwrap().iter().enumerate();
                let rows: Vec<usize> = corners.filter(|(_, at)| is_inside(at)).map(|(row, _)| row).collect();
                let part = weight / (3 * slides.len() * rows.len()) as f64;
                for row in rows {
                    for (index, value) in set.features().row(row).unwrap().iter().enumerate() {
                        let value = f64::from(*value);
                        self.values[index] += part * value;
                        self.squares[index] += part * value * value;
                    }
                }
            }
        }
    }
}

#[test]
fn typical_features_are_those_of_drawn_and_of_real_tissue() {
    let Some(data) = std::env::var_os("CF_TEST_DATA") else {
        eprintln!("skipped: CF_TEST_DATA is not set");
        return;
    };
    let dir = tempfile::tempdir().unwrap();
    let drawn: Vec<PathBuf> = (1..=8)
        .map(|seed| {
            let path = dir.path().join(format!("{seed}.svs"));
            let signal = if seed % 2 == 0 { Signal::Additive([0.0; 3]) } else { Signal::Interaction(0.0) };
            render(&path, &RenderOptions { seed, signal, ..RenderOptions::default() }).unwrap();
            path
        })
        .collect();
    let real = ["CMU-1-Small-Region.svs", "DERIVED-TCGA-CR-7395-40x-pyramid.svs"];
    let real: Vec<PathBuf> = real.iter().map(|name| Path::new(&data).join("wsi").join(name)).collect();
    let mut sums = Sums { values: vec![0.0; N_FEATURES], squares: vec![0.0; N_FEATURES] };
    for slides in [drawn, real] {
        sums.add(&slides, 0.5, dir.path());
    }

    let found: Vec<[f64; 2]> = sums
        .values
        .iter()
        .zip(&sums.squares)
        .map(|(mean, square)| [*mean, (square - mean * mean).max(0.0).sqrt().max(0.01)])
        .collect();
    let table: Vec<String> = found.iter().map(|[mean, sd]| format!("[{mean:.4}, {sd:.4}]")).collect();
    let lines: Vec<String> = table.chunks(8).map(|row| format!("    {},", row.join(", "))).collect();
    let is_typical = |(found, typical): (&[f64; 2], &[f32; 2])| {
        found.iter().zip(typical).all(|(found, typical)| (found - f64::from(*typical)).abs() < 1e-4)
    };
    assert!(found.iter().zip(typical_features()).all(is_typical), "the table is\n{}", lines.join("\n"));
}
