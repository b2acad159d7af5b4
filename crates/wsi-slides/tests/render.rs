//! Rendered slides: the same bytes for the same seed, a pyramid that the reader opens, and truth that shows.

#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "a test that panics has failed")]

use std::path::Path;

use wsi_bags::Magnification;
use wsi_slides::lattice::{PatchSides, nested};
use wsi_slides::render::{Base, RenderOptions, Signal, SlideTruth, render};
use wsi_slides::tissue::{self, PenMarks, Preset, TissueParams};
use wsi_slides::{Preference, ResolutionOverride, SlideReader, open, resolve};

fn rendered(dir: &Path, name: &str, options: RenderOptions) -> (SlideTruth, Box<dyn SlideReader>) {
    let path = dir.join(name);
    let truth = render(&path, &options).unwrap();
    (truth, open(&path).unwrap())
}

#[test]
fn the_same_seed_gives_the_same_bytes_and_another_does_not() {
    let dir = tempfile::tempdir().unwrap();
    let options = RenderOptions { n_cells: 1, ..RenderOptions::default() };
    for (name, seed) in [("a", 3), ("b", 3), ("c", 4)] {
        render(&dir.path().join(name), &RenderOptions { seed, ..options }).unwrap();
    }
    let [a, b, c] = ["a", "b", "c"].map(|name| std::fs::read(dir.path().join(name)).unwrap());
    assert!(a == b && a != c);
    assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 3, "nothing is left beside them");
}

#[test]
fn either_base_is_a_pyramid_with_its_magnification() {
    let dir = tempfile::tempdir().unwrap();
    for (base, power, mpp) in [(Base::X20, 20.0, 0.5), (Base::X40, 40.0, 0.25)] {
        let options = RenderOptions { n_cells: 2, base, ..RenderOptions::default() };
        let (truth, slide) = rendered(dir.path(), "slide.svs", options);
        let resolution =
            resolve(slide.stated_resolution(), ResolutionOverride::default(), Preference::Mpp).unwrap();
        assert_eq!((resolution.base, resolution.mpp), (power, Some(mpp)));
        assert!(resolution.warnings.is_empty());
        assert_eq!((slide.levels()[0].width, slide.levels()[0].height), (truth.width, truth.height));
        let downsamples: Vec<f64> = slide.levels().iter().map(|level| level.downsample).collect();
        assert_eq!(&downsamples[..2], &[1.0, 4.0]);
    }
}

#[test]
fn the_nested_lattice_finds_the_planted_cells() {
    let dir = tempfile::tempdir().unwrap();
    let options = RenderOptions { seed: 5, n_cells: 6, ..RenderOptions::default() };
    let (truth, slide) = rendered(dir.path(), "slide.svs", options);
    let params = TissueParams { pen_marks: PenMarks::Remove, ..Preset::BwhBiopsy.params() };
    let found = tissue::find(slide.as_ref(), &params).unwrap();
    assert_eq!(found.ink.n_pixels, 0, "stains are no ink");
    let resolution =
        resolve(slide.stated_resolution(), ResolutionOverride::default(), Preference::Mpp).unwrap();
    let sides = PatchSides::nominal(&resolution, Magnification::X20).unwrap();
    let scales = nested(&found.contours, [truth.width, truth.height], sides, &Magnification::ALL);
    let cells: Vec<[i64; 2]> = truth.cells.iter().map(|cell| cell.corner).collect();
    assert_eq!(scales[0].patches.side, truth.cell_side);
    assert_eq!(scales[0].patches.corners, cells);
    assert_eq!(scales[1].patches.corners.len(), 4 * cells.len());
    // Ragged edges may cost a few of the finest patches.
    let n_fine = scales[2].patches.corners.len();
    assert!((15 * cells.len()..=16 * cells.len()).contains(&n_fine), "{n_fine}");
}

/// Mean of the red channel over a square.
fn mean_red(slide: &dyn SlideReader, corner: [i64; 2], side: u32) -> f64 {
    let region = slide.read_region(0, corner, [side, side]).unwrap();
    region.pixels().map(|pixel| f64::from(pixel.0[0])).sum::<f64>() / f64::from(side * side)
}

/// The share of pixels as bright as glass over a square.
fn bright(slide: &dyn SlideReader, corner: [i64; 2], side: u32) -> f64 {
    let region = slide.read_region(0, corner, [side, side]).unwrap();
    let n = region.pixels().filter(|pixel| pixel.0[1] > 215).count();
    n as f64 / f64::from(side * side)
}

#[test]
fn every_planted_class_shows_in_the_pixels() {
    let dir = tempfile::tempdir().unwrap();
    let signal = Signal::Additive([0.0; 3]);
    let options = RenderOptions { seed: 2, n_cells: 8, base: Base::X20, signal };
    let (truth, slide) = rendered(dir.path(), "slide.svs", options);
    let mean = |values: &[f64]| values.iter().sum::<f64>() / values.len() as f64;

    // Vacuoles are bright, and glands have lumina; compare quarters of one architecture.
    let mut by_vacuoles = [Vec::new(), Vec::new()];
    let mut by_nuclei = [Vec::new(), Vec::new()];
    for cell in truth.cells.iter().filter(|cell| !cell.is_glandular) {
        for (part, has) in cell.has_vacuoles.iter().enumerate() {
            let corner = [
                cell.corner[0] + 512 * (part as i64 % 2) + 80,
                cell.corner[1] + 512 * (part as i64 / 2) + 80,
            ];
            by_vacuoles[usize::from(*has)].push(bright(slide.as_ref(), corner, 350));
        }
        for (part, has) in cell.has_large_nuclei.iter().enumerate() {
            let (column, row) = (part as i64 % 4, part as i64 / 4);
            if !cell.has_vacuoles[(row / 2 * 2 + column / 2) as usize]
                && (1..3).contains(&column)
                && (1..3).contains(&row)
            {
                let corner = [cell.corner[0] + 256 * column, cell.corner[1] + 256 * row];
                by_nuclei[usize::from(*has)].push(mean_red(slide.as_ref(), corner, 256));
            }
        }
    }
    assert!(mean(&by_vacuoles[1]) > mean(&by_vacuoles[0]) + 0.05, "{by_vacuoles:?}");
    // Large pale nuclei cover more of the red light than small dark ones.
    assert!(mean(&by_nuclei[0]) > mean(&by_nuclei[1]) + 1.0, "{by_nuclei:?}");
    let lumina = |glandular: bool| {
        let cells = truth.cells.iter().filter(|cell| cell.is_glandular == glandular);
        mean(
            &cells
                .map(|cell| bright(slide.as_ref(), cell.corner.map(|at| at + 100), 800))
                .collect::<Vec<_>>(),
        )
    };
    assert!(lumina(true) > lumina(false) + 0.01, "{} {}", lumina(true), lumina(false));
}

#[test]
fn a_number_of_cells_out_of_range_names_the_end_that_it_passed() {
    let dir = tempfile::tempdir().unwrap();
    let fault = |n_cells| {
        let options = RenderOptions { n_cells, ..RenderOptions::default() };
        render(&dir.path().join("slide.svs"), &options).unwrap_err().to_string()
    };
    assert!(fault(0).contains("the number of cells is 0, at least 1 is taken"), "{}", fault(0));
    assert!(fault(1025).contains("the number of cells is 1025, at most 1024 is taken"), "{}", fault(1025));
}
