//! Lloyd's k-means with k-means++ seeding (Arthur and Vassilvitskii, 2007).

use candle_core::{Result, Tensor};
use rand::Rng;
use rayon::prelude::*;

/// When [`k_means`] stops.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct KMeansConfig {
    /// Clusters asked for, at least 1.
    pub n_clusters: usize,
    /// Iterations at most.
    pub max_iterations: usize,
    /// Stop when the centres move less than this in all, as a squared distance.
    pub tolerance: f64,
}

/// The cluster of each point, below `n_clusters`. Clusters may be empty.
///
/// - `points`: `[n, d]`, f32 or f64, n >= 1.
///
/// # Errors
/// If `points` is no matrix of floats.
pub fn k_means(points: &Tensor, config: KMeansConfig, rng: &mut impl Rng) -> Result<Vec<u32>> {
    let (n, d) = points.dims2()?;
    let points = points.detach().to_dtype(candle_core::DType::F32)?.contiguous()?;
    let values: Vec<f32> = points.flatten_all()?.to_vec1()?;
    let mut centres = seeds(&values, n, d, config.n_clusters, rng);
    let mut labels = vec![0_u32; n];
    for _ in 0..config.max_iterations.max(1) {
        let n_centres = centres.len() / d.max(1);
        let squares: Vec<f32> = centres.chunks(d).map(|c| c.iter().map(|x| x * x).sum()).collect();
        let transposed = Tensor::from_slice(&centres, (n_centres, d), points.device())?.t()?;
        let products: Vec<f32> = points.matmul(&transposed)?.flatten_all()?.to_vec1()?;
        // |x|^2 is the same for every centre.
        labels.par_iter_mut().zip(products.par_chunks(n_centres)).for_each(|(label, products)| {
            let distance = |c: usize| squares[c] - 2.0 * products[c];
            let nearest =
                (1..n_centres).fold(0, |best, c| if distance(c) < distance(best) { c } else { best });
            *label = nearest as u32;
        });
        let moved = update(&mut centres, &values, &labels, d);
        if moved < config.tolerance {
            break;
        }
    }
    Ok(labels)
}

/// The first centre uniformly, each next with a probability proportional to the squared distance from those chosen.
fn seeds(values: &[f32], n: usize, d: usize, n_clusters: usize, rng: &mut impl Rng) -> Vec<f32> {
    let row = |index: usize| &values[index * d..(index + 1) * d];
    let mut centres = row(rng.random_range(0..n.max(1))).to_vec();
    let mut nearest = vec![f32::INFINITY; n];
    for chosen in 1..n_clusters.min(n) {
        let centre = &centres[(chosen - 1) * d..];
        nearest.par_iter_mut().enumerate().for_each(|(index, nearest)| {
            let distance = row(index).iter().zip(centre).map(|(a, b)| (a - b) * (a - b)).sum::<f32>();
            *nearest = nearest.min(distance);
        });
        let total: f64 = nearest.iter().map(|&x| f64::from(x)).sum();
        let mut left = rng.random::<f64>() * total;
        let pick = nearest.iter().position(|&distance| {
            left -= f64::from(distance);
            left < 0.0
        });
        // Where all points are chosen already (duplicates), any point will do: its cluster stays empty.
        centres.extend_from_slice(row(pick.unwrap_or(0)));
    }
    centres
}

/// Moves each centre to the mean of its points and returns the sum of squared moves. A centre without points stays.
fn update(centres: &mut [f32], values: &[f32], labels: &[u32], d: usize) -> f64 {
    let mut sums = vec![0.0_f64; centres.len()];
    let mut counts = vec![0_usize; centres.len() / d.max(1)];
    for (&label, row) in labels.iter().zip(values.chunks(d)) {
        let label = label as usize;
        counts[label] += 1;
        sums[label * d..(label + 1) * d].iter_mut().zip(row).for_each(|(sum, &x)| *sum += f64::from(x));
    }
    let mut moved = 0.0;
    for ((centre, sums), &count) in centres.chunks_mut(d).zip(sums.chunks(d)).zip(&counts) {
        if count == 0 {
            continue;
        }
        for (centre, sum) in centre.iter_mut().zip(sums) {
            let mean = sum / count as f64;
            moved += (mean - f64::from(*centre)).powi(2);
            *centre = mean as f32;
        }
    }
    moved
}

#[cfg(test)]
mod tests {
    use candle_core::Device;
    use rand_distr::StandardNormal;

    use super::*;
    use crate::random::stream;

    const CONFIG: KMeansConfig = KMeansConfig { n_clusters: 3, max_iterations: 20, tolerance: 1e-8 };

    #[test]
    fn clusters_that_lie_apart_are_found() {
        let mut rng = stream(7, "k-means test");
        let values: Vec<f32> = (0..300)
            .flat_map(|index| [(index % 3) as f32 * 20.0, 0.0, -5.0])
            .map(|centre| centre + rng.sample::<f32, _>(StandardNormal))
            .collect();
        let points = Tensor::from_vec(values, (300, 3), &Device::Cpu).unwrap();
        let labels = k_means(&points, CONFIG, &mut stream(1, "seeding")).unwrap();
        for index in 3..300 {
            assert_eq!(labels[index], labels[index % 3], "point {index}");
        }
        assert!(labels[0] != labels[1] && labels[1] != labels[2] && labels[0] != labels[2]);
        assert_eq!(labels, k_means(&points, CONFIG, &mut stream(1, "seeding")).unwrap());
    }

    #[test]
    fn fewer_points_than_clusters_and_equal_points_are_no_exception() {
        for n in [1, 2, 3] {
            let points = Tensor::ones((n, 2), candle_core::DType::F32, &Device::Cpu).unwrap();
            let labels = k_means(&points, CONFIG, &mut stream(1, "seeding")).unwrap();
            assert_eq!(labels, vec![0; n]);
        }
    }
}
