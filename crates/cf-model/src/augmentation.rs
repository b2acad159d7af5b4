//! What ProtoSurv's authors do to a slide in training: noise on some patches, others blank, edges left out. They also show its
//! prototypes 25,000 patches at most, which is not done here.

use candle_core::Tensor;
use cf_layers::Graph;
use rand::Rng;
use rand::seq::SliceRandom;
use rand_distr::StandardNormal;

use crate::error::Result;

/// Deviation of the noise.
const NOISE: f64 = 0.1;
/// Each part of a slide that is disturbed is a share between these.
const SHARES: (f64, f64) = (0.1, 0.3);

/// How many of `n` a share is that is drawn anew.
fn draw_share(n: usize, rng: &mut impl Rng) -> usize {
    (rng.random_range(SHARES.0..SHARES.1) * n as f64).round() as usize
}

/// Features `[n, d]` of which some rows got noise and others became zero.
pub(crate) fn disturb(x: &Tensor, rng: &mut impl Rng) -> Result<Tensor> {
    let (n, d) = x.dims2()?;
    let mut rows: Vec<usize> = (0..n).collect();
    rows.shuffle(rng);
    let n_noisy = draw_share(n, rng);
    let n_blank = draw_share(n, rng).min(n - n_noisy);
    let mut kept = vec![1.0_f32; n];
    rows[n_noisy..n_noisy + n_blank].iter().for_each(|&row| kept[row] = 0.0);
    let mut noise = vec![0.0_f32; n * d];
    for &row in &rows[..n_noisy] {
        for value in &mut noise[row * d..(row + 1) * d] {
            *value = (NOISE * rng.sample::<f64, _>(StandardNormal)) as f32;
        }
    }
    let kept = Tensor::from_vec(kept, (n, 1), x.device())?.to_dtype(x.dtype())?;
    let noise = Tensor::from_vec(noise, (n, d), x.device())?.to_dtype(x.dtype())?;
    Ok((x.broadcast_mul(&kept)? + noise)?)
}

/// A graph without some of its edges.
pub(crate) fn thin(graph: &Graph, rng: &mut impl Rng) -> Graph {
    let mut dropped = vec![false; graph.n_edges()];
    let n_dropped = draw_share(dropped.len(), rng);
    dropped[..n_dropped].fill(true);
    dropped.shuffle(rng);
    let mut dropped = dropped.into_iter();
    graph.only(|_, _| !dropped.next().unwrap_or(false))
}

#[cfg(test)]
mod tests {
    use super::*;
    use candle_core::Device;
    use cf_layers::{EdgeDirection, random};

    #[test]
    fn between_a_tenth_and_three_tenths_of_the_patches_are_blank_noisy_and_without_an_edge() {
        let (n, d) = (200, 6);
        let x = Tensor::ones((n, d), candle_core::DType::F32, &Device::Cpu).unwrap();
        let neighbours: Vec<u32> =
            (0..n as u32).flat_map(|node| [(node + 1) % 200, (node + 2) % 200]).collect();
        let graph = Graph::new(&neighbours, n, EdgeDirection::ToNeighbours).unwrap();
        for seed in 0..20 {
            let mut rng = random::stream(seed, "augmentation");
            let rows: Vec<Vec<f32>> = disturb(&x, &mut rng).unwrap().to_vec2().unwrap();
            let count = |f: &dyn Fn(&[f32]) -> bool| rows.iter().filter(|row| f(row)).count();
            let blank = count(&|row| row.iter().all(|&x| x == 0.0));
            let noisy = count(&|row| row.iter().any(|&x| x != 0.0 && x != 1.0));
            assert_eq!(blank + noisy + count(&|row| row.iter().all(|&x| x == 1.0)), n);
            let thinned = thin(&graph, &mut rng);
            for found in [blank, noisy, (graph.n_edges() - thinned.n_edges()) / 2] {
                assert!(
                    (20..=60).contains(&found),
                    "{blank} blank, {noisy} noisy, {} edges",
                    thinned.n_edges()
                );
            }
        }
    }
}
