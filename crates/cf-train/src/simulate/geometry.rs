//! Tissue, regions and nested lattices of a simulated slide.
//!
//! A slide is a square of 5x cells. Tissue is the set of cells where a smooth random field, lowered
//! towards the edge, is highest: blobs with bays and sometimes holes or islands. Every tissue cell holds
//! 2 x 2 patches at 10x and 4 x 4 at 20x.

use std::f64::consts::TAU;

use rand::Rng;
use rand_chacha::ChaCha8Rng;
use rand_distr::StandardNormal;

/// Mean number of 5x patches per slide in the paper's cohorts (section 4.1).
const PAPER_MEAN_CELLS: f64 = 895.0;
/// Standard deviation of the log of a slide's number of cells.
const LOG_SIZE_SD: f64 = 0.4;
/// A share inside and one outside a region need a cell each.
const FEWEST_CELLS: usize = 2;
/// Cells of glass per cell of tissue, about half of the slide.
const SLIDE_CELLS_PER_TISSUE_CELL: f64 = 2.2;
/// Cosine waves in a random field; enough that no two slides look alike.
const N_WAVES: usize = 8;

/// Side of a 20x patch in level-0 pixels: the simulated scanner works at 20x.
pub(super) const SIDE_X20_PX: i64 = 256;
/// Level-0 resolution in micrometres per pixel.
pub(super) const BASE_MPP: f64 = 0.5;

/// Patches of one magnification, in row-major order of their position on the slide.
#[derive(Debug, Default)]
pub(super) struct Level {
    /// Top left corner in level-0 pixels, (x, y).
    pub coords: Vec<[i64; 2]>,
    /// Index of the patch of the next coarser magnification that holds this one; empty at 5x.
    pub parent: Vec<usize>,
    /// Index of the 5x patch that holds this one; itself at 5x.
    pub cell: Vec<usize>,
}

/// Three lattices on one tissue.
#[derive(Debug)]
pub(super) struct Lattice {
    pub x5: Level,
    pub x10: Level,
    pub x20: Level,
    /// Width and height in level-0 pixels.
    pub slide_px: i64,
}

/// Number of 5x cells of a slide: log-normal with mean `895 scale`, at least two.
pub(super) fn draw_n_cells(scale: f64, rng: &mut ChaCha8Rng) -> usize {
    let normal: f64 = rng.sample(StandardNormal);
    // The mean of a log-normal is exp(mu + sd^2 / 2).
    let log_size = (PAPER_MEAN_CELLS * scale).ln() - LOG_SIZE_SD * LOG_SIZE_SD / 2.0 + LOG_SIZE_SD * normal;
    (log_size.exp().round() as usize).max(FEWEST_CELLS)
}

impl Lattice {
    /// Grows tissue of `n_cells` 5x cells.
    pub(super) fn grow(n_cells: usize, rng: &mut ChaCha8Rng) -> Self {
        let side = (n_cells as f64 * SLIDE_CELLS_PER_TISSUE_CELL).sqrt().ceil() as usize + 2;
        let field = SmoothField::draw(side as f64, rng);
        let middle = (side - 1) as f64 / 2.0;
        let height = |col: usize, row: usize| {
            let (x, y) = (col as f64, row as f64);
            let from_middle = ((x - middle).powi(2) + (y - middle).powi(2)) / (middle * middle);
            field.at(x, y) - 1.5 * from_middle
        };
        let mut cells: Vec<(f64, usize)> =
            (0..side * side).map(|cell| (height(cell % side, cell / side), cell)).collect();
        cells.sort_by(|a, b| b.0.total_cmp(&a.0).then(a.1.cmp(&b.1)));
        let mut tissue: Vec<usize> = cells.into_iter().take(n_cells).map(|(_, cell)| cell).collect();
        tissue.sort_unstable();

        let side_px = 4 * SIDE_X20_PX;
        let x5 = Level {
            coords: tissue
                .iter()
                .map(|cell| [cell % side, cell / side].map(|k| k as i64 * side_px))
                .collect(),
            parent: Vec::new(),
            cell: (0..tissue.len()).collect(),
        };
        let x10 = x5.split(side_px / 2);
        let x20 = x10.split(side_px / 4);
        Self { x5, x10, x20, slide_px: side as i64 * side_px }
    }

    /// Chooses `n_chosen` 5x cells that lie together: those where a second smooth field is highest.
    pub(super) fn draw_region(&self, n_chosen: usize, rng: &mut ChaCha8Rng) -> Vec<bool> {
        let side_px = (4 * SIDE_X20_PX) as f64;
        let field = SmoothField::draw(self.slide_px as f64 / side_px, rng);
        let mut cells: Vec<(f64, usize)> = self
            .x5
            .coords
            .iter()
            .enumerate()
            .map(|(cell, [x, y])| (field.at(*x as f64 / side_px, *y as f64 / side_px), cell))
            .collect();
        cells.sort_by(|a, b| b.0.total_cmp(&a.0).then(a.1.cmp(&b.1)));
        let mut chosen = vec![false; cells.len()];
        for (_, cell) in cells.into_iter().take(n_chosen) {
            chosen[cell] = true;
        }
        chosen
    }
}

impl Level {
    /// Number of patches.
    pub(super) fn n_patches(&self) -> usize {
        self.coords.len()
    }

    /// The 2 x 2 children of every patch, `child_px` wide, in row-major order of the slide.
    fn split(&self, child_px: i64) -> Self {
        let mut children: Vec<([i64; 2], usize)> = Vec::with_capacity(4 * self.n_patches());
        for (parent, [x, y]) in self.coords.iter().enumerate() {
            for (dx, dy) in [(0, 0), (1, 0), (0, 1), (1, 1)] {
                children.push(([x + dx * child_px, y + dy * child_px], parent));
            }
        }
        children.sort_unstable_by_key(|([x, y], _)| (*y, *x));
        Self {
            coords: children.iter().map(|(corner, _)| *corner).collect(),
            parent: children.iter().map(|(_, parent)| *parent).collect(),
            cell: children.iter().map(|(_, parent)| self.cell[*parent]).collect(),
        }
    }
}

/// A sum of cosine waves about as long as the slide is wide; mean 0, variance 1.
struct SmoothField {
    waves: Vec<[f64; 3]>,
}

impl SmoothField {
    /// `side`: width of the slide in the unit of the coordinates given to [`SmoothField::at`].
    fn draw(side: f64, rng: &mut ChaCha8Rng) -> Self {
        let waves = (0..N_WAVES)
            .map(|_| {
                let frequency = TAU / (side * rng.random_range(0.5..1.5));
                let angle = rng.random_range(0.0..TAU);
                [frequency * angle.cos(), frequency * angle.sin(), rng.random_range(0.0..TAU)]
            })
            .collect();
        Self { waves }
    }

    fn at(&self, x: f64, y: f64) -> f64 {
        let sum: f64 = self.waves.iter().map(|[kx, ky, phase]| (kx * x + ky * y + phase).cos()).sum();
        sum * (2.0 / N_WAVES as f64).sqrt()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::seed::stream;

    #[test]
    fn sizes_are_log_normal_around_the_scaled_mean() {
        let mut rng = stream(1, "sizes");
        let n = 20_000;
        let logs: Vec<f64> = (0..n).map(|_| (draw_n_cells(1.0, &mut rng) as f64).ln()).collect();
        let mean_log = logs.iter().sum::<f64>() / n as f64;
        let sd_log = (logs.iter().map(|log| (log - mean_log).powi(2)).sum::<f64>() / n as f64).sqrt();
        // Standard errors are 0.003 and 0.002.
        assert!((mean_log - (895f64.ln() - 0.08)).abs() < 0.012);
        assert!((sd_log - 0.4).abs() < 0.01);
    }

    #[test]
    fn smallest_slide_has_two_cells() {
        let mut rng = stream(1, "smallest");
        assert_eq!(draw_n_cells(1e-9, &mut rng), 2);
        let lattice = Lattice::grow(2, &mut rng);
        assert_eq!(lattice.x20.n_patches(), 32);
    }

    #[test]
    fn neighbours_share_a_region_more_often_than_chance() {
        let mut rng = stream(5, "regions");
        let lattice = Lattice::grow(900, &mut rng);
        let chosen = lattice.draw_region(450, &mut rng);
        assert_eq!(chosen.iter().filter(|cell| **cell).count(), 450);
        let (mut same, mut pairs) = (0, 0);
        for (a, left) in lattice.x5.coords.iter().enumerate() {
            let right = [left[0] + 4 * SIDE_X20_PX, left[1]];
            if let Some(b) = lattice.x5.coords.iter().position(|corner| *corner == right) {
                pairs += 1;
                same += usize::from(chosen[a] == chosen[b]);
            }
        }
        assert!(same * 10 > pairs * 8, "{same} of {pairs} neighbours agree");
    }
}
