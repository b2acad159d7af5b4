//! Exact nearest neighbours of patches by their features, through blocked matrix products.

use candle_core::{Device, Result, Tensor};
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
/// If `features` does not have `n * d` values.
pub fn nearest_features(features: &[f32], n: usize, d: usize, k: usize) -> Result<Vec<u32>> {
    let k = k.min(n.saturating_sub(1));
    let rows = Tensor::from_slice(features, (n, d), &Device::Cpu)?;
    if k == 0 {
        return Ok(Vec::new());
    }
    // Distances do not change, and rounding is relative to the norms.
    let rows = rows.broadcast_sub(&rows.mean_keepdim(0)?)?;
    let columns = rows.t()?;
    let centred: Vec<f32> = rows.flatten_all()?.to_vec1()?;
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

struct Search<'a> {
    features: &'a [f32],
    /// Squared norm of each centred row.
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
    fn identical_patches_are_neighbours_in_the_order_of_their_indices() {
        let found = nearest_features(&vec![0.3; 20 * 7], 20, 7, 8).unwrap();
        assert_eq!(found[..8], [1, 2, 3, 4, 5, 6, 7, 8]);
        assert_eq!(found[19 * 8..], [0, 1, 2, 3, 4, 5, 6, 7]);
    }
}
