//! From the plan to pixels: densities of two stains at each place, then their colour.

use image::RgbImage;

use crate::render::nuclei::{self, Morphology, Nucleus};
use crate::render::plan::{CellTruth, SlideTruth};
use crate::render::value_noise::{at, floor, smooth};

/// The colour of bare glass.
const GLASS: [u8; 3] = [243, 243, 245];
/// Absorption of red, green and blue by haematoxylin and eosin (Ruifrok and Johnston 2001).
const HAEMATOXYLIN: [f32; 3] = [0.650, 0.704, 0.286];
const EOSIN: [f32; 3] = [0.072, 0.990, 0.105];
/// Densities from 0 to 2.55 are told apart in steps of a hundredth.
const STEPS: f32 = 100.0;
/// Pixels at 20x of a cell's side, of glands and of vacuoles.
const CELL: f32 = 1024.0;
const GLAND: f32 = 256.0;
const VACUOLE: f32 = 42.0;
/// Purposes of random numbers.
const EDGE: u64 = 10;
const FIBRES: u64 = 11;
const CLOUDS: u64 = 12;
const GLANDS: u64 = 13;
const VACUOLES: u64 = 14;

/// Where a coordinate lies within its cell.
fn within_cell(x: f32) -> f32 {
    x - CELL * floor(x / CELL)
}

/// Glass alone.
pub(super) fn bare(side: u32) -> RgbImage {
    RgbImage::from_pixel(side, side, image::Rgb(GLASS))
}

/// Draws any tile of a slide.
pub(super) struct Painter<'a> {
    truth: &'a SlideTruth,
    /// Level-0 pixels per pixel at 20x.
    scale: f32,
    n_columns: usize,
    /// The index of the cell of tissue in each cell of the slide, row by row.
    cells: Vec<Option<usize>>,
    /// Colour by densities of haematoxylin and eosin.
    colours: Vec<[u8; 3]>,
}

impl<'a> Painter<'a> {
    pub(super) fn new(truth: &'a SlideTruth, scale: u32) -> Self {
        let n_columns = (truth.width / truth.cell_side) as usize;
        let n_rows = (truth.height / truth.cell_side) as usize;
        let mut cells = vec![None; n_columns * n_rows];
        for (idx, cell) in truth.cells.iter().enumerate() {
            let [column, row] = cell.corner.map(|at| (at / i64::from(truth.cell_side)) as usize);
            cells[row * n_columns + column] = Some(idx);
        }
        let colour = |density: usize| {
            let (h, e) = ((density / 256) as f32 / STEPS, (density % 256) as f32 / STEPS);
            [0, 1, 2].map(|channel| {
                let absorbed = h * HAEMATOXYLIN[channel] + e * EOSIN[channel];
                (f32::from(GLASS[channel]) * (-absorbed).exp()).round() as u8
            })
        };
        let colours = (0..65_536).map(colour).collect();
        Self { truth, scale: scale as f32, n_columns, cells, colours }
    }

    /// The tile of `side` level-0 pixels at a corner; `None` if it is bare glass.
    pub(super) fn tile(&self, left: u32, top: u32, side: u32) -> Option<RgbImage> {
        let place = |at: u32| at as f32 / self.scale;
        let window = [
            place(left) - nuclei::REACH,
            place(top) - nuclei::REACH,
            place(left + side) + nuclei::REACH,
            place(top + side) + nuclei::REACH,
        ];
        if !self.touches_tissue(window) {
            return None;
        }
        let mut tile = bare(side);
        let mut haematoxylin = vec![0.0f32; (side * side) as usize];
        for nucleus in nuclei::within(self.truth.seed, window, |x, y| self.morphology(x, y)) {
            self.stamp(&mut haematoxylin, &nucleus, [left, top], side);
        }
        for (x, y, pixel) in tile.enumerate_pixels_mut() {
            let (at_x, at_y) = (place(left + x), place(top + y));
            let Some(cell) = self.tissue_at(at_x, at_y) else { continue };
            let (eosin, shade) = self.background(cell, at_x, at_y);
            let nuclear = haematoxylin[(y * side + x) as usize];
            let h = if shade < 0.0 { 0.0 } else { (nuclear + shade).min(2.55) };
            let index = (h * STEPS) as usize * 256 + (eosin.clamp(0.0, 2.55) * STEPS) as usize;
            *pixel = image::Rgb(self.colours[index.min(self.colours.len() - 1)]);
        }
        Some(tile)
    }

    fn stamp(&self, densities: &mut [f32], nucleus: &Nucleus, corner: [u32; 2], side: u32) {
        let range = |centre: f32, start: u32| {
            let low = (centre - nuclei::REACH) * self.scale - start as f32;
            let high = (centre + nuclei::REACH) * self.scale - start as f32;
            (low.max(0.0) as u32)..(high.max(0.0) as u32 + 1).min(side)
        };
        for y in range(nucleus.y, corner[1]) {
            for x in range(nucleus.x, corner[0]) {
                let place = |at: u32, start: u32| (start + at) as f32 / self.scale;
                let density = nucleus.density(place(x, corner[0]), place(y, corner[1]));
                let held = &mut densities[(y * side + x) as usize];
                *held = held.max(density);
            }
        }
    }

    /// Whether any cell of tissue reaches into a window; edges are ragged inwards only.
    fn touches_tissue(&self, [left, top, right, bottom]: [f32; 4]) -> bool {
        [[left, top], [right, top], [left, bottom], [right, bottom]]
            .iter()
            .any(|[x, y]| self.cell_at(*x, *y).is_some())
    }

    fn cell_at(&self, x: f32, y: f32) -> Option<&CellTruth> {
        let (column, row) = (floor(x / CELL), floor(y / CELL));
        if column < 0.0 || row < 0.0 || column as usize >= self.n_columns {
            return None;
        }
        let idx = *self.cells.get(row as usize * self.n_columns + column as usize)?;
        idx.and_then(|idx| self.truth.cells.get(idx))
    }

    /// The cell at a place, unless the tissue's ragged edge leaves it bare.
    fn tissue_at(&self, x: f32, y: f32) -> Option<&CellTruth> {
        const RAGGED: f32 = 72.0;
        let cell = self.cell_at(x, y)?;
        let (in_x, in_y) = (within_cell(x), within_cell(y));
        let near_edge = in_x < RAGGED || in_y < RAGGED || in_x > CELL - RAGGED || in_y > CELL - RAGGED;
        if near_edge {
            let reach = RAGGED * smooth(self.truth.seed, EDGE, x, y, 60.0);
            let bare = |dx: f32, dy: f32| self.cell_at(x + dx * reach, y + dy * reach).is_none();
            if bare(1.0, 0.0) || bare(-1.0, 0.0) || bare(0.0, 1.0) || bare(0.0, -1.0) {
                return None;
            }
        }
        Some(cell)
    }

    fn morphology(&self, x: f32, y: f32) -> Option<Morphology> {
        let cell = self.tissue_at(x, y)?;
        let part = (within_cell(y) / (CELL / 4.0)) as usize * 4 + (within_cell(x) / (CELL / 4.0)) as usize;
        let large = cell.has_large_nuclei.get(part)?;
        Some(if *large { Morphology::Large } else { Morphology::Small })
    }

    /// Eosin and diffuse haematoxylin between the nuclei; a negative second number is a hole in the tissue.
    fn background(&self, cell: &CellTruth, x: f32, y: f32) -> (f32, f32) {
        let seed = self.truth.seed;
        let clouds = smooth(seed, CLOUDS, x, y, 90.0);
        if let Some(empty) = self.vacuole(cell, x, y) {
            return (empty, -1.0);
        }
        if cell.is_glandular {
            // A ring of dense epithelium around a pale lumen, one in each square of the gland lattice.
            let (column, row) = (floor(x / GLAND), floor(y / GLAND));
            let jitter = |purpose| 0.3 * (at(seed, purpose, column as i64, row as i64) - 0.5);
            let dx = x / GLAND - column - 0.5 - jitter(GLANDS);
            let dy = y / GLAND - row - 0.5 - jitter(GLANDS + 100);
            let distance = (dx * dx + dy * dy).sqrt() + 0.05 * (clouds - 0.5);
            match distance {
                d if d < 0.14 => (0.05, -1.0),
                d if d < 0.34 => (0.32 + 0.1 * clouds, 0.38),
                _ => (0.30 + 0.12 * clouds, 0.06),
            }
        } else {
            // Fibres along a direction that turns slowly.
            let turn = 1.5 * smooth(seed, FIBRES, x, y, 400.0);
            let across = x * turn.cos() + y * turn.sin();
            let fibre = smooth(seed, FIBRES + 100, across, (y - x) * 0.08, 7.0);
            (0.34 + 0.42 * fibre + 0.1 * clouds, 0.04)
        }
    }

    /// Eosin inside a vacuole, or `None` outside and where the quarter has none.
    fn vacuole(&self, cell: &CellTruth, x: f32, y: f32) -> Option<f32> {
        let part = (within_cell(y) / (CELL / 2.0)) as usize * 2 + (within_cell(x) / (CELL / 2.0)) as usize;
        if !cell.has_vacuoles.get(part).copied().unwrap_or(false) {
            return None;
        }
        let (column, row) = (floor(x / VACUOLE), floor(y / VACUOLE));
        let random = |number: u64| at(self.truth.seed, VACUOLES + 100 * number, column as i64, row as i64);
        if random(0) > 0.55 {
            return None;
        }
        let radius = 7.0 + 5.0 * random(1);
        let dx = x - (column + 0.35 + 0.3 * random(2)) * VACUOLE;
        let dy = y - (row + 0.35 + 0.3 * random(3)) * VACUOLE;
        (dx * dx + dy * dy < radius * radius).then_some(0.06)
    }
}
