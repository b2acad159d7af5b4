//! Graphs of patches whose features are near each other, and their Laplacians (DeepGraphSurv; Li et al., 2018).

use candle_core::{Error, Result};
use rayon::prelude::*;

/// The share of all pairs that the threshold lies above, as a fraction.
const NEAR_SHARE: (usize, usize) = (3, 10);

/// Rows whose distances to another are computed while that one is in the cache.
const BLOCK_ROWS: usize = 8;

/// Sums that a distance is split into, so that they can be made side by side.
const LANES: usize = 8;

/// An undirected graph with an edge between any two patches that are nearer to each other than a threshold: about 30 % of all
/// pairs. A patch and itself are a pair, too, as published: the nearest there is.
#[derive(Debug, Clone, PartialEq)]
pub struct DistanceGraph {
    n: usize,
    threshold: f64,
    /// Pairs (i, j) with i >= j, in that order.
    edges: Vec<[u32; 2]>,
}

impl DistanceGraph {
    /// The graph of `n` patches from their `features`, row-major `[n, d]` and finite.
    ///
    /// Of the Euclidean distances of all `n (n + 1) / 2` pairs in rising order, the threshold is that at `floor(0.3 count)`; an edge
    /// is a pair strictly below it. Where too many pairs are at no distance, as in bags of five patches or less, there is no edge.
    ///
    /// Differences are exact sums in f64, so that equal rows are at distance 0. Cost: `n^2 d` operations; memory `n^2` numbers.
    ///
    /// # Errors
    /// If there is no patch, or `features` does not have `n * d` values.
    pub fn new(features: &[f64], n: usize, d: usize) -> Result<Self> {
        if n == 0 || n.checked_mul(d) != Some(features.len()) {
            return Err(Error::Msg(format!("distances of {n} patches of {d} features: {}", features.len())));
        }
        let squares = squared_distances(features, n, d);
        let mut in_order = squares.concat();
        let (share, of) = NEAR_SHARE;
        let at = share * in_order.len() / of;
        let (_, threshold, _) = in_order.select_nth_unstable_by(at, f64::total_cmp);
        let threshold = *threshold;
        let is_edge = |(j, square): (u32, &f64)| (*square < threshold).then_some(j);
        let edges = (0_u32..)
            .zip(&squares)
            .flat_map(|(i, row)| (0..).zip(row).filter_map(is_edge).map(move |j| [i, j]));
        Ok(Self { n, threshold: threshold.sqrt(), edges: edges.collect() })
    }

    /// The distance below which two patches are joined.
    pub fn threshold(&self) -> f64 {
        self.threshold
    }

    /// Pairs that are joined, patches with themselves among them.
    pub fn n_edges(&self) -> usize {
        self.edges.len()
    }

    /// The Laplacian `diag(rowsum(Â)) - Â` of `Â = D^-1/2 (A + I) D^-1/2`, `D` the row sums of `A + I`: row-major `[n, n]`,
    /// symmetric, rows adding up to 0. A patch without edges has a row of zeros.
    pub fn laplacian(&self) -> Vec<f64> {
        let n = self.n;
        let places = || self.edges.iter().map(|&[i, j]| (i as usize, j as usize));
        let mut degrees = vec![1.0_f64; n];
        for (i, j) in places() {
            degrees[i] += 1.0;
            if i != j {
                degrees[j] += 1.0;
            }
        }
        let scales: Vec<f64> = degrees.iter().map(|degree| degree.sqrt().recip()).collect();
        let mut laplacian = vec![0.0; n * n];
        // What a patch has from itself is in its row sum and in the diagonal, and cancels.
        for (i, j) in places().filter(|(i, j)| i != j) {
            let weight = scales[i] * scales[j];
            laplacian[i * n + j] = -weight;
            laplacian[j * n + i] = -weight;
            laplacian[i * n + i] += weight;
            laplacian[j * n + j] += weight;
        }
        laplacian
    }
}

/// Squares of the distances of each row to itself and those before it.
fn squared_distances(features: &[f64], n: usize, d: usize) -> Vec<Vec<f64>> {
    let row = |index: usize| &features[index * d..(index + 1) * d];
    let mut squares: Vec<Vec<f64>> = (0..n).map(|i| vec![0.0; i + 1]).collect();
    squares.par_chunks_mut(BLOCK_ROWS).for_each(|block| {
        for j in 0..block.last().map_or(0, Vec::len) {
            for of_row in block.iter_mut().filter(|of_row| j < of_row.len()) {
                of_row[j] = squared_distance(row(of_row.len() - 1), row(j));
            }
        }
    });
    squares
}

fn squared_distance(a: &[f64], b: &[f64]) -> f64 {
    let (of_a, of_b) = (a.chunks_exact(LANES), b.chunks_exact(LANES));
    let rest: f64 = of_a.remainder().iter().zip(of_b.remainder()).map(|(a, b)| (a - b) * (a - b)).sum();
    let mut sums = [0.0; LANES];
    for (a, b) in of_a.zip(of_b) {
        for (sum, (a, b)) in sums.iter_mut().zip(a.iter().zip(b)) {
            *sum += (a - b) * (a - b);
        }
    }
    rest + sums.iter().sum::<f64>()
}

#[cfg(test)]
mod tests {
    use rand::Rng;

    use super::*;

    /// Edges and Laplacian by the definition, from whole matrices.
    fn by_definition(features: &[f64], n: usize, d: usize) -> (usize, Vec<f64>) {
        let distance = |i: usize, j: usize| -> f64 {
            (0..d).map(|k| (features[i * d + k] - features[j * d + k]).powi(2)).sum::<f64>().sqrt()
        };
        let mut pairs: Vec<f64> =
            (0..n).flat_map(|i| (0..=i).map(move |j| (i, j))).map(|(i, j)| distance(i, j)).collect();
        pairs.sort_by(f64::total_cmp);
        let threshold = pairs[(0.3 * pairs.len() as f64).floor() as usize];
        let joined = |i: usize, j: usize| f64::from(u8::from(distance(i, j) < threshold));
        let with_self = |i: usize, j: usize| joined(i, j) + f64::from(u8::from(i == j));
        let degree = |i: usize| (0..n).map(|j| with_self(i, j)).sum::<f64>();
        let normalised = |i: usize, j: usize| with_self(i, j) / (degree(i) * degree(j)).sqrt();
        let row_sum = |i: usize| (0..n).map(|j| normalised(i, j)).sum::<f64>();
        let entry =
            |i: usize, j: usize| if i == j { row_sum(i) - normalised(i, i) } else { -normalised(i, j) };
        let laplacian = (0..n * n).map(|at| entry(at / n, at % n)).collect();
        (pairs.iter().filter(|distance| **distance < threshold).count(), laplacian)
    }

    #[test]
    fn graph_and_laplacian_are_those_of_their_definition() {
        let mut rng = crate::random::stream(7, "distance graph test");
        for (n, d) in [(1, 3), (2, 1), (5, 4), (6, 8), (7, 9), (23, 17), (70, 40)] {
            let features: Vec<f64> = (0..n * d).map(|_| rng.random_range(-1.0..1.0)).collect();
            let graph = DistanceGraph::new(&features, n, d).unwrap();
            let (n_edges, laplacian) = by_definition(&features, n, d);
            assert_eq!(graph.n_edges(), n_edges, "n {n} d {d}");
            if n > 5 {
                assert_eq!(n_edges, 3 * n * (n + 1) / 2 / 10, "without ties the share is exact");
            }
            let found = graph.laplacian();
            for (at, (found, wanted)) in found.iter().zip(&laplacian).enumerate() {
                assert!((found - wanted).abs() < 1e-12, "n {n} d {d} at {at}: {found}, {wanted}");
            }
            for (i, row) in found.chunks(n).enumerate() {
                assert!(row.iter().sum::<f64>().abs() < 1e-12);
                assert!((0..n).all(|j| row[j] == found[j * n + i]), "symmetric to the bit");
            }
        }
    }

    #[test]
    fn patches_without_a_difference_have_no_edges() {
        for n in [1, 5, 40] {
            let graph = DistanceGraph::new(&vec![0.7; n * 19], n, 19).unwrap();
            assert_eq!((graph.threshold(), graph.n_edges()), (0.0, 0));
            assert!(graph.laplacian().iter().all(|entry| *entry == 0.0));
        }
    }

    #[test]
    fn no_patch_and_a_wrong_number_of_features_are_errors() {
        assert!(DistanceGraph::new(&[], 0, 3).is_err());
        assert!(DistanceGraph::new(&[1.0; 5], 2, 3).is_err());
        assert!(DistanceGraph::new(&[1.0; 5], usize::MAX, 3).is_err());
    }
}
