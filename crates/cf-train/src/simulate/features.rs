//! Features of simulated patches: class prototype, signature of the 5x cell, noise.

use rand::Rng;
use rand_chacha::ChaCha8Rng;
use rand_distr::StandardNormal;

use super::classes::Classes;
use super::geometry::{Lattice, Level};
use super::options::CohortKind;

/// How far a class lies from the middle along its unit direction, and its complement on the other side.
pub(super) const CLASS_AMPLITUDE: f64 = 2.0;
/// Units of a cell's signature.
pub(super) const SIGNATURE_DIM: usize = 8;
/// Standard deviation that one signature unit adds to a feature, times the root of the width.
pub(super) const SIGNATURE_SD: f64 = 0.6;
/// Standard deviation of the noise of a feature, times the root of the width.
pub(super) const NOISE_SD: f64 = 1.0;

/// Directions that all slides of a cohort share, as one encoder would.
pub(super) struct FeatureSpace {
    /// Columns of a feature matrix.
    width: usize,
    /// Orthogonal unit vectors, one per planted class.
    directions: [Vec<f64>; 3],
    /// `[width, SIGNATURE_DIM]`, row-major: from signature to features.
    signature_map: Vec<f64>,
}

/// The features of one slide, `[n, width]` row-major, f32.
pub(super) struct SlideFeatures {
    pub x5: Vec<f32>,
    pub x10: Vec<f32>,
    pub x20: Vec<f32>,
}

impl FeatureSpace {
    /// Draws the directions; `width` is at least 3.
    pub(super) fn draw(width: usize, rng: &mut ChaCha8Rng) -> Self {
        let mut directions: [Vec<f64>; 3] = Default::default();
        for k in 0..directions.len() {
            let mut direction = normals(width, 1.0, rng);
            // Twice: one Gram-Schmidt pass leaves components of the order of the rounding errors that it
            // removed, which matter when few dimensions are left.
            for _ in 0..2 {
                for earlier in &directions[..k] {
                    let along = dot(&direction, earlier);
                    direction.iter_mut().zip(earlier).for_each(|(x, e)| *x -= along * e);
                }
            }
            let length = dot(&direction, &direction).sqrt();
            direction.iter_mut().for_each(|x| *x /= length);
            directions[k] = direction;
        }
        let signature_map = normals(width * SIGNATURE_DIM, SIGNATURE_SD / (width as f64).sqrt(), rng);
        Self { width, directions, signature_map }
    }

    /// Columns of a feature matrix.
    pub(super) fn width(&self) -> usize {
        self.width
    }

    /// Draws the features of a slide's patches.
    ///
    /// Additive: each magnification shows its own class. Interaction: 5x shows the region, 20x the
    /// morphology, 10x the region and the mean morphology of its children, both at full amplitude.
    pub(super) fn draw_slide(
        &self,
        kind: CohortKind,
        lattice: &Lattice,
        classes: &Classes,
        rng: &mut ChaCha8Rng,
    ) -> SlideFeatures {
        let signatures: Vec<Vec<f64>> = (0..lattice.x5.n_patches())
            .map(|_| {
                let units = normals(SIGNATURE_DIM, 1.0, rng);
                self.signature_map.chunks_exact(SIGNATURE_DIM).map(|row| dot(row, &units)).collect()
            })
            .collect();
        let region = |cell: usize| f64::from(u8::from(classes.region[cell]));
        let morphology = |patch: usize| f64::from(u8::from(classes.x20[patch]));
        let [first, second, third] = [0, 1, 2];
        let x5 = self.draw_level(&lattice.x5, &signatures, rng, |cell| vec![(first, region(cell))]);
        let x10 = self.draw_level(&lattice.x10, &signatures, rng, |patch| match kind {
            CohortKind::Additive => vec![(second, classes.x10[patch])],
            CohortKind::Interaction => {
                vec![(first, region(lattice.x10.cell[patch])), (second, classes.x10[patch])]
            }
        });
        let x20 = self.draw_level(&lattice.x20, &signatures, rng, |patch| match kind {
            CohortKind::Additive => vec![(third, morphology(patch))],
            CohortKind::Interaction => vec![(second, morphology(patch))],
        });
        SlideFeatures { x5, x10, x20 }
    }

    /// `shown(patch)`: the classes that the features of a patch show, each as the index of its direction and
    /// the share of the patch that belongs to it.
    fn draw_level(
        &self,
        level: &Level,
        signatures: &[Vec<f64>],
        rng: &mut ChaCha8Rng,
        shown: impl Fn(usize) -> Vec<(usize, f64)>,
    ) -> Vec<f32> {
        let noise_sd = NOISE_SD / (self.width as f64).sqrt();
        let mut features = Vec::with_capacity(level.n_patches() * self.width);
        for (patch, cell) in level.cell.iter().enumerate() {
            let shown = shown(patch);
            for (column, signature) in signatures[*cell].iter().enumerate() {
                let prototype: f64 = shown
                    .iter()
                    .map(|(class, share)| (2.0 * share - 1.0) * self.directions[*class][column])
                    .sum();
                let noise: f64 = rng.sample(StandardNormal);
                features.push((CLASS_AMPLITUDE * prototype + signature + noise_sd * noise) as f32);
            }
        }
        features
    }
}

fn normals(n: usize, sd: f64, rng: &mut ChaCha8Rng) -> Vec<f64> {
    (0..n)
        .map(|_| {
            let normal: f64 = rng.sample(StandardNormal);
            sd * normal
        })
        .collect()
}

fn dot(a: &[f64], b: &[f64]) -> f64 {
    a.iter().zip(b).map(|(x, y)| x * y).sum()
}

#[cfg(test)]
mod tests {
    use super::super::latent::Latent;
    use super::*;
    use crate::seed::stream;

    #[test]
    fn directions_are_orthonormal_even_when_they_fill_the_space() {
        for width in [3, 64] {
            let space = FeatureSpace::draw(width, &mut stream(1, "space"));
            for (i, a) in space.directions.iter().enumerate() {
                for (j, b) in space.directions.iter().enumerate() {
                    let expected = if i == j { 1.0 } else { 0.0 };
                    assert!((dot(a, b) - expected).abs() < 1e-12, "{i} {j}");
                }
            }
        }
    }

    #[test]
    fn fine_features_do_not_show_the_region() {
        let width = 64;
        let mut rng = stream(6, "leak");
        let space = FeatureSpace::draw(width, &mut rng);
        let lattice = Lattice::grow(400, &mut rng);
        let latent = Latent::given(0.0, &mut rng);
        let classes = Classes::plant(CohortKind::Interaction, &latent, &lattice, &mut rng);
        let features = space.draw_slide(CohortKind::Interaction, &lattice, &classes, &mut rng);
        // Mean over the patches of a region of how far they lie towards "B".
        let towards_b = |matrix: &[f32], level: &Level, inside: bool| {
            let (mut sum, mut n) = (0.0, 0.0);
            for (row, cell) in matrix.chunks_exact(width).zip(&level.cell) {
                if classes.region[*cell] == inside {
                    let row: Vec<f64> = row.iter().map(|x| f64::from(*x)).collect();
                    sum += dot(&row, &space.directions[0]);
                    n += 1.0;
                }
            }
            sum / n
        };
        let gap =
            |matrix: &[f32], level: &Level| towards_b(matrix, level, true) - towards_b(matrix, level, false);
        // Two amplitudes lie between the regions; signatures of 400 cells leave a standard error of about 0.02.
        assert!((gap(&features.x5, &lattice.x5) - 4.0).abs() < 0.2);
        assert!((gap(&features.x10, &lattice.x10) - 4.0).abs() < 0.2);
        assert!(gap(&features.x20, &lattice.x20).abs() < 0.2);
    }

    #[test]
    fn noise_and_signature_have_the_stated_spread() {
        let width = 64;
        let mut rng = stream(8, "spread");
        let space = FeatureSpace::draw(width, &mut rng);
        let lattice = Lattice::grow(500, &mut rng);
        let latent = Latent::given(0.3, &mut rng);
        let classes = Classes::plant(CohortKind::Additive, &latent, &lattice, &mut rng);
        let features = space.draw_slide(CohortKind::Additive, &lattice, &classes, &mut rng);
        // Two 20x patches of one cell and one class differ by noise alone: variance 2 / width per column.
        let rows: Vec<&[f32]> = features.x20.chunks_exact(width).collect();
        let (mut squares, mut n) = (0.0, 0.0);
        for b in 1..rows.len() {
            let a = b - 1;
            if lattice.x20.cell[a] == lattice.x20.cell[b] && classes.x20[a] == classes.x20[b] {
                squares += rows[a].iter().zip(rows[b]).map(|(x, y)| f64::from(x - y).powi(2)).sum::<f64>();
                n += 1.0;
            }
        }
        assert!((squares / n - 2.0).abs() < 0.05, "{}", squares / n);
        // A signature adds 8 units of variance 0.36 / width to each of `width` columns; the drawn map
        // itself strays from that by about 6 %.
        let map_norm = dot(&space.signature_map, &space.signature_map);
        assert!((map_norm - 8.0 * 0.36).abs() < 0.6, "{map_norm}");
    }
}
