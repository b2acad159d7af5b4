//! What is planted where, before anything is drawn.

use wsi_bags::Magnification;

use crate::render::{RenderOptions, value_noise};

/// Pixels at 20x of a cell of each magnification's patch.
const CELL_5X: u32 = 1024;
const CELLS_10X: usize = 4;
const CELLS_20X: usize = 16;
/// Half range of an additive share, and of the interaction's contrast.
const SHARE_RANGE: f64 = 0.35;
const CONTRAST_RANGE: f64 = 0.45;
/// Purposes of random numbers.
const GROWTH: u64 = 1;
const ARCHITECTURE: u64 = 2;
const VACUOLES: u64 = 3;
const MORPHOLOGY: u64 = 4;

/// How the latent risk shows in the tissue. Each number is a standard normal variable where a cohort is drawn.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Signal {
    /// Parts of the risk at 5x, 10x and 20x: each moves the share of glands among cells, of vacuoles among quarter
    /// cells and of large nuclei among sixteenths: 0.5 + 0.35 tanh(part).
    Additive([f64; 3]),
    /// The share of large nuclei inside glands less that outside is 0.45 tanh(z), while neither share alone moves.
    Interaction(f64),
}

/// What was planted in one cell of tissue.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CellTruth {
    /// Top left corner in level-0 pixels.
    pub corner: [i64; 2],
    /// Whether the tissue forms glands, to be seen at 5x; else it is stroma.
    pub is_glandular: bool,
    /// Whether each quarter, row by row, is full of vacuoles, to be seen at 10x.
    pub has_vacuoles: [bool; CELLS_10X],
    /// Whether the nuclei of each sixteenth, row by row, are large and pale, to be seen at 20x; else small and dark.
    pub has_large_nuclei: [bool; CELLS_20X],
}

/// What was planted in one patch of tissue.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct PatchTruth {
    /// Which lattice it belongs to.
    pub magnification: Magnification,
    /// Top left corner in level-0 pixels.
    pub corner: [i64; 2],
    /// Its side in level-0 pixels.
    pub side: u32,
    /// Whether its tissue forms glands.
    pub is_glandular: bool,
    /// Share of its area that is full of vacuoles, 0 to 1.
    pub vacuoles: f64,
    /// Share of its area whose nuclei are large, 0 to 1.
    pub large_nuclei: f64,
}

/// What was planted in a slide.
#[derive(Debug, Clone, PartialEq)]
pub struct SlideTruth {
    /// Width in level-0 pixels.
    pub width: u32,
    /// Height in level-0 pixels.
    pub height: u32,
    /// Level-0 pixels of a cell's side: the side of a 5x patch.
    pub cell_side: u32,
    /// Every cell of tissue, row by row.
    pub cells: Vec<CellTruth>,
    /// The seed of everything that is not in this truth.
    pub(super) seed: u64,
}

impl CellTruth {
    /// The patch at place `part` of `n_side` times `n_side`, row by row.
    fn patch(&self, magnification: Magnification, n_side: usize, part: usize, cell_side: u32) -> PatchTruth {
        let (column, row) = (part % n_side, part / n_side);
        let side = cell_side / n_side as u32;
        let offset = |place: usize| i64::from(side) * place as i64;
        PatchTruth {
            magnification,
            corner: [self.corner[0] + offset(column), self.corner[1] + offset(row)],
            side,
            is_glandular: self.is_glandular,
            vacuoles: share_within(&self.has_vacuoles, 2, n_side, [column, row]),
            large_nuclei: share_within(&self.has_large_nuclei, 4, n_side, [column, row]),
        }
    }
}

/// The share of flags, `of` times `of` of them row by row, in one of `n_side` times `n_side` equal squares.
fn share_within(flags: &[bool], of: usize, n_side: usize, [column, row]: [usize; 2]) -> f64 {
    let fine = of.max(n_side);
    let set = |x: usize, y: usize| flags.get((y * of / fine) * of + x * of / fine).copied().unwrap_or(false);
    let per_patch = fine / n_side;
    let inside = (0..per_patch * per_patch)
        .map(|place| set(column * per_patch + place % per_patch, row * per_patch + place / per_patch));
    inside.filter(|flag| *flag).count() as f64 / (per_patch * per_patch) as f64
}

impl SlideTruth {
    pub(super) fn plan(options: &RenderOptions) -> Self {
        let cells = grow(options.seed, options.n_cells as usize);
        // A margin of one cell of glass all around.
        let extent = |axis: usize| cells.iter().map(|cell| cell[axis]).max().unwrap_or(0) as u32 + 2;
        let cell_side = CELL_5X * options.base.scale();
        let mut truth = Self {
            width: extent(0) * cell_side,
            height: extent(1) * cell_side,
            cell_side,
            cells: Vec::new(),
            seed: options.seed,
        };
        let n = cells.len();
        let flat = |shares: [f64; 3]| -> [Vec<bool>; 3] {
            let glands = coherent(options.seed, &cells, shares[0]);
            let vacuoles = chosen(options.seed, VACUOLES, n * CELLS_10X, shares[1]);
            let nuclei = chosen(options.seed, MORPHOLOGY, n * CELLS_20X, shares[2]);
            [glands, vacuoles, nuclei]
        };
        let [glands, vacuoles, nuclei] = match options.signal {
            Signal::Additive(parts) => flat(parts.map(|part| 0.5 + SHARE_RANGE * part.tanh())),
            Signal::Interaction(z) => {
                let [glands, vacuoles, _] = flat([0.5; 3]);
                let nuclei = contrasted(options.seed, &glands, CONTRAST_RANGE * z.tanh());
                [glands, vacuoles, nuclei]
            }
        };
        for (idx, cell) in cells.iter().enumerate() {
            truth.cells.push(CellTruth {
                corner: cell.map(|at| at * i64::from(cell_side)),
                is_glandular: glands[idx],
                has_vacuoles: std::array::from_fn(|part| vacuoles[idx * CELLS_10X + part]),
                has_large_nuclei: std::array::from_fn(|part| nuclei[idx * CELLS_20X + part]),
            });
        }
        truth
    }

    /// What was planted in every patch of tissue, at 5x, then at 10x and at 20x, row by row within each cell.
    #[must_use]
    pub fn patches(&self) -> Vec<PatchTruth> {
        let at = |magnification, n_side: usize| {
            let places =
                self.cells.iter().flat_map(move |cell| (0..n_side * n_side).map(move |part| (cell, part)));
            places.map(move |(cell, part)| cell.patch(magnification, n_side, part, self.cell_side))
        };
        at(Magnification::X5, 1).chain(at(Magnification::X10, 2)).chain(at(Magnification::X20, 4)).collect()
    }

    /// The share of glandular cells, of quarters with vacuoles and of sixteenths with large nuclei.
    #[must_use]
    pub fn shares(&self) -> [f64; 3] {
        let share = |n: usize, of: usize| n as f64 / (self.cells.len() * of).max(1) as f64;
        let count = |each: fn(&CellTruth) -> usize| self.cells.iter().map(each).sum::<usize>();
        [
            share(count(|cell| usize::from(cell.is_glandular)), 1),
            share(count(|cell| cell.has_vacuoles.iter().filter(|flag| **flag).count()), CELLS_10X),
            share(count(|cell| cell.has_large_nuclei.iter().filter(|flag| **flag).count()), CELLS_20X),
        ]
    }

    /// The share of large nuclei inside glands less that outside; `None` unless there are both.
    #[must_use]
    pub fn contrast(&self) -> Option<f64> {
        let share = |glandular: bool| {
            let cells: Vec<_> = self.cells.iter().filter(|cell| cell.is_glandular == glandular).collect();
            let n: usize =
                cells.iter().map(|cell| cell.has_large_nuclei.iter().filter(|flag| **flag).count()).sum();
            (!cells.is_empty()).then(|| n as f64 / (cells.len() * CELLS_20X) as f64)
        };
        Some(share(true)? - share(false)?)
    }
}

/// An island of cells: from one cell, neighbours are added, those first whom a random number prefers. One cell of
/// margin is left at the top and left.
fn grow(seed: u64, n_cells: usize) -> Vec<[i64; 2]> {
    let mut island = vec![[0, 0]];
    while island.len() < n_cells {
        let neighbours = island
            .iter()
            .flat_map(|[x, y]| [[x + 1, *y], [x - 1, *y], [*x, y + 1], [*x, y - 1]])
            .filter(|cell| !island.contains(cell));
        // Cells near the start are preferred, so that islands are round rather than branched.
        let rank = |cell: &[i64; 2]| {
            let distance = ((cell[0] * cell[0] + cell[1] * cell[1]) as f32).sqrt();
            distance + 2.0 * value_noise::at(seed, GROWTH, cell[0], cell[1])
        };
        let Some(next) = neighbours.min_by(|a, b| rank(a).total_cmp(&rank(b))) else { break };
        island.push(next);
    }
    let least = |axis: usize| island.iter().map(|cell| cell[axis]).min().unwrap_or(0);
    let [left, top] = [least(0), least(1)];
    let mut cells: Vec<[i64; 2]> = island.iter().map(|[x, y]| [x - left + 1, y - top + 1]).collect();
    cells.sort_by_key(|[x, y]| [*y, *x]);
    cells
}

/// How many of `n` a share is.
fn count(n: usize, share: f64) -> usize {
    (share * n as f64).round().clamp(0.0, n as f64) as usize
}

/// Flags for a share of the cells that lie together: those where smooth noise is highest.
fn coherent(seed: u64, cells: &[[i64; 2]], share: f64) -> Vec<bool> {
    let noise = |[x, y]: &[i64; 2]| value_noise::smooth(seed, ARCHITECTURE, *x as f32, *y as f32, 2.5);
    let mut order: Vec<usize> = (0..cells.len()).collect();
    order.sort_by(|a, b| noise(&cells[*b]).total_cmp(&noise(&cells[*a])).then(a.cmp(b)));
    flags(&order, count(cells.len(), share))
}

/// Flags for a share of `n` at random places.
fn chosen(seed: u64, purpose: u64, n: usize, share: f64) -> Vec<bool> {
    let mut order: Vec<usize> = (0..n).collect();
    order.sort_by_key(|idx| value_noise::bits(seed, purpose, *idx as i64, 0));
    flags(&order, count(n, share))
}

/// Flags for half of all sixteenths, more of them inside glands than outside by `contrast`.
fn contrasted(seed: u64, glands: &[bool], contrast: f64) -> Vec<bool> {
    let glandular_share = glands.iter().filter(|flag| **flag).count() as f64 / glands.len().max(1) as f64;
    let mut out = vec![false; glands.len() * CELLS_20X];
    for inside in [true, false] {
        let share =
            if inside { 0.5 + contrast * (1.0 - glandular_share) } else { 0.5 - contrast * glandular_share };
        let mut order: Vec<usize> = (0..out.len()).filter(|idx| glands[idx / CELLS_20X] == inside).collect();
        order.sort_by_key(|idx| value_noise::bits(seed, MORPHOLOGY, *idx as i64, 0));
        for idx in &order[..count(order.len(), share)] {
            out[*idx] = true;
        }
    }
    out
}

/// The first `n` in an order.
fn flags(order: &[usize], n: usize) -> Vec<bool> {
    let mut out = vec![false; order.len()];
    for idx in &order[..n] {
        out[*idx] = true;
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::render::Base;

    fn plan(signal: Signal) -> SlideTruth {
        SlideTruth::plan(&RenderOptions { seed: 11, n_cells: 40, base: Base::X40, signal })
    }

    #[test]
    fn additive_shares_are_those_of_the_parts() {
        let found = plan(Signal::Additive([1.0, 0.0, -2.0])).shares();
        let expected = [1.0f64, 0.0, -2.0].map(|part| 0.5 + 0.35 * part.tanh());
        for ((found, expected), n) in found.into_iter().zip(expected).zip([40.0, 160.0, 640.0]) {
            assert!((found - expected).abs() <= 0.5 / n + 1e-12, "{found} {expected}");
        }
    }

    #[test]
    fn the_interaction_moves_the_contrast_and_not_the_shares() {
        for z in [-1.5, 0.0, 2.0] {
            let truth = plan(Signal::Interaction(z));
            assert_eq!(truth.shares()[..2], [0.5, 0.5]);
            assert!((truth.shares()[2] - 0.5).abs() < 2.0 / 640.0);
            // Each half is rounded to one of 320.
            assert!((truth.contrast().unwrap() - 0.45 * z.tanh()).abs() < 2.0 / 320.0, "{z}");
        }
    }

    #[test]
    fn patches_show_what_their_cell_holds() {
        let mut truth = plan(Signal::Additive([0.3, 0.5, -0.5]));
        truth.cells.truncate(2);
        truth.cells[1].has_vacuoles = [false, true, false, false];
        truth.cells[1].has_large_nuclei = std::array::from_fn(|part| part == 0 || part == 7);
        let patches = truth.patches();
        let of = |magnification| patches.iter().filter(move |patch| patch.magnification == magnification);
        assert_eq!(Magnification::ALL.map(|magnification| of(magnification).count()), [2, 8, 32]);
        let coarse = of(Magnification::X5).nth(1).unwrap();
        assert_eq!((coarse.vacuoles, coarse.large_nuclei, coarse.side), (0.25, 0.125, 2048));
        let middle: Vec<_> =
            of(Magnification::X10).skip(4).map(|patch| (patch.vacuoles, patch.large_nuclei)).collect();
        assert_eq!(middle, [(0.0, 0.25), (1.0, 0.25), (0.0, 0.0), (0.0, 0.0)]);
        let fine: Vec<_> = of(Magnification::X20).skip(16).collect();
        let corner = truth.cells[1].corner;
        assert_eq!(fine[7].corner, [corner[0] + 3 * 512, corner[1] + 512]);
        assert_eq!((fine[7].vacuoles, fine[7].large_nuclei, fine[6].large_nuclei), (1.0, 1.0, 0.0));
        for (magnification, at) in [(Magnification::X5, 0), (Magnification::X10, 1), (Magnification::X20, 2)]
        {
            let n = of(magnification).count() as f64;
            let mean = of(magnification)
                .map(|patch| {
                    [f64::from(u8::from(patch.is_glandular)), patch.vacuoles, patch.large_nuclei][at]
                })
                .sum::<f64>()
                / n;
            assert!((mean - truth.shares()[at]).abs() < 1e-12);
        }
    }

    #[test]
    fn islands_are_connected_and_have_a_margin_of_glass() {
        let truth = plan(Signal::Interaction(0.0));
        let side = i64::from(truth.cell_side);
        assert_eq!((truth.cells.len(), side), (40, 2048));
        for cell in &truth.cells {
            assert!(cell.corner.iter().all(|at| at % side == 0 && *at >= side));
            assert!(cell.corner[0] + 2 * side <= i64::from(truth.width));
            let next_to = |other: &CellTruth| {
                (cell.corner[0] - other.corner[0]).abs() + (cell.corner[1] - other.corner[1]).abs() == side
            };
            assert!(truth.cells.iter().any(next_to));
        }
    }
}
