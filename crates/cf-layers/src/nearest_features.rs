//! Exact nearest neighbours of patches by their features, through blocked matrix products.

use candle_core::{Device, Error, Result, Tensor};
use rayon::prelude::*;

/// Rows of one block of distances; a block has as many columns as there are patches.
const BLOCK_ROWS: usize = 256;

/// The `min(k, n - 1)` nearest other rows of each row of `features` by Euclidean distance, the lower index first of equals.
///
/// - `features`: row-major `[n, d]`, finite. Returns row-major `[n, min(k, n - 1)]`, nearest first.
///
/// Products in f32 find candidates, with a margin for all that rounding can do; their distances are then computed in f64.
/// Cost: `n^2 d` multiply-adds; memory `256 n` numbers.
///
/// # Errors
/// If `d` is 0, or `features` does not have `n * d` values, or one of them is not finite.
pub fn nearest_features(features: &[f32], n: usize, d: usize, k: usize) -> Result<Vec<u32>> {
    let k = k.min(n.saturating_sub(1));
    if d == 0 || features.len() != n * d || !features.iter().all(|x| x.is_finite()) {
        return Err(Error::Msg(format!(
            "nearest rows among {} features, expected {n} x {d} finite numbers",
            features.len()
        )));
    }
    if k == 0 {
        return Ok(Vec::new());
    }
    let centred = centred(features, n, d);
    let rows = Tensor::from_slice(&centred, (n, d), &Device::Cpu)?;
    let columns = rows.t()?;
    let squares: Vec<f32> =
        centred.chunks(d).map(|row| row.iter().map(|&x| f64::from(x).powi(2)).sum::<f64>() as f32).collect();
    let longest = squares.iter().fold(0.0_f32, |a, &b| a.max(b)).sqrt();
    let search = Search { features, squares: &squares, longest, d, k };
    let mut neighbours = vec![0; n * k];
    for start in (0..n).step_by(BLOCK_ROWS) {
        let n_rows = BLOCK_ROWS.min(n - start);
        let products = rows.narrow(0, start, n_rows)?.matmul(&columns)?.flatten_all()?.to_vec1::<f32>()?;
        neighbours[start * k..(start + n_rows) * k]
            .par_chunks_mut(k)
            .zip(products.par_chunks(n))
            .enumerate()
            .for_each(|(offset, (row, products))| search.nearest(start + offset, products, row));
    }
    Ok(neighbours)
}

/// The rows without their mean, over the largest number of the result: the order of distances stays, rounding is relative to the
/// norms, and squares neither overflow nor vanish.
fn centred(features: &[f32], n: usize, d: usize) -> Vec<f32> {
    let mut means = vec![0.0; d];
    for row in features.chunks(d) {
        means.iter_mut().zip(row).for_each(|(mean, &x)| *mean += f64::from(x) / n as f64);
    }
    let apart = || features.iter().zip(means.iter().cycle()).map(|(&x, mean)| f64::from(x) - mean);
    let largest = apart().fold(0.0_f64, |largest, x| largest.max(x.abs()));
    let scale = if largest > 0.0 { 1.0 / largest } else { 1.0 };
    apart().map(|x| (x * scale) as f32).collect()
}

struct Search<'a> {
    features: &'a [f32],
    /// Squared norm of each row of [`centred`].
    squares: &'a [f32],
    longest: f32,
    d: usize,
    k: usize,
}

impl Search<'_> {
    /// Fills `row` with the nearest other rows of `index`, whose products with all rows are given.
    fn nearest(&self, index: usize, products: &[f32], row: &mut [u32]) {
        let of = |other: usize| self.squares[other] - 2.0 * products[other];
        // The k smallest, in rising order; one insertion per improvement.
        let mut smallest = vec![f32::INFINITY; self.k];
        for other in (0..products.len()).filter(|&other| other != index) {
            let found = of(other);
            if self.k > 0 && found < smallest[self.k - 1] {
                let at = smallest.partition_point(|&known| known <= found);
                smallest[at..].rotate_right(1);
                smallest[at] = found;
            }
        }
        // A product of d terms is off by at most d eps |a| |b|, twice that counts; centring adds a rounding per value.
        let norm = self.squares[index].sqrt();
        let margin = (2 * self.d + 16) as f32 * f32::EPSILON * self.longest * (norm + self.longest);
        let limit = smallest[self.k - 1] + 2.0 * margin;
        let mut found: Vec<(f64, u32)> = (0..products.len())
            .filter(|&other| other != index && of(other) <= limit)
            .map(|other| (self.squared_distance(index, other), other as u32))
            .collect();
        let by_distance = |a: &(f64, u32), b: &(f64, u32)| a.0.total_cmp(&b.0).then(a.1.cmp(&b.1));
        if found.len() > self.k {
            found.select_nth_unstable_by(self.k - 1, by_distance);
            found.truncate(self.k);
        }
        found.sort_unstable_by(by_distance);
        for (neighbour, (_, other)) in row.iter_mut().zip(found) {
            *neighbour = other;
        }
    }

    fn squared_distance(&self, a: usize, b: usize) -> f64 {
        let row = |index: usize| &self.features[index * self.d..(index + 1) * self.d];
        row(a).iter().zip(row(b)).map(|(&a, &b)| (f64::from(a) - f64::from(b)).powi(2)).sum()
    }
}

#[cfg(test)]
mod tests {
    use rand::Rng;

    use super::*;

    fn by_sorting(features: &[f32], n: usize, d: usize, k: usize) -> Vec<u32> {
        let search = Search { features, squares: &[], longest: 0.0, d, k };
        let rows = (0..n).map(|index| {
            let mut others: Vec<(f64, u32)> = (0..n)
                .filter(|&other| other != index)
                .map(|other| (search.squared_distance(index, other), other as u32))
                .collect();
            others.sort_by(|a, b| a.0.total_cmp(&b.0).then(a.1.cmp(&b.1)));
            others.into_iter().take(k).map(|(_, other)| other).collect::<Vec<_>>()
        });
        rows.flatten().collect()
    }

    #[test]
    fn neighbours_are_those_of_a_full_sort_at_any_offset() {
        let mut rng = crate::random::stream(7, "nearest features test");
        for (n, d) in [(1, 3), (2, 3), (9, 1), (300, 5), (520, 33)] {
            for offset in [0.0, 1000.0] {
                let features: Vec<f32> =
                    (0..n * d).map(|_| offset + rng.random_range(-1.0..1.0f32)).collect();
                for k in [1, 8] {
                    assert_eq!(
                        nearest_features(&features, n, d, k).unwrap(),
                        by_sorting(&features, n, d, k),
                        "n {n} d {d} k {k} offset {offset}"
                    );
                }
            }
        }
    }

    #[test]
    fn neighbours_are_those_of_a_full_sort_however_large_or_small_the_features_are() {
        let (n, d, k) = (300, 5, 8);
        for scale in [1e-44, 1e-38, 3e-23, 1e-22, 1e-19, 1e18, 5e18, 1e25, 3e38_f32] {
            let mut rng = crate::random::stream(7, "nearest features test");
            let features: Vec<f32> = (0..n * d).map(|_| scale * rng.random_range(-1.0..1.0f32)).collect();
            let found = nearest_features(&features, n, d, k).unwrap();
            assert_eq!(found, by_sorting(&features, n, d, k), "scale {scale}");
            // Beside a column of ordinary size that says nothing.
            let beside: Vec<f32> = features.chunks(d).flat_map(|row| [row, &[1.0]].concat()).collect();
            let found = nearest_features(&beside, n, d + 1, k).unwrap();
            assert_eq!(found, by_sorting(&beside, n, d + 1, k), "scale {scale} beside 1");
        }
    }

    #[test]
    fn features_that_are_not_finite_or_not_all_there_are_errors() {
        for features in [[1.0, f32::NAN, 2.0, 3.0].as_slice(), &[1.0, f32::INFINITY, 2.0, 3.0], &[1.0; 3]] {
            let error = nearest_features(features, 2, 2, 1).unwrap_err().to_string();
            assert!(error.contains("expected 2 x 2 finite numbers"), "{error}");
        }
    }

    #[test]
    fn identical_patches_are_neighbours_in_the_order_of_their_indices() {
        let found = nearest_features(&vec![0.3; 20 * 7], 20, 7, 8).unwrap();
        assert_eq!(found[..8], [1, 2, 3, 4, 5, 6, 7, 8]);
        assert_eq!(found[19 * 8..], [0, 1, 2, 3, 4, 5, 6, 7]);
    }
}
