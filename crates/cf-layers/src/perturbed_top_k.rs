//! Differentiable choice of the k largest weights, by perturbation (Cordonnier et al., 2021; Berthet et al., 2020).

use candle_core::{DType, Result, Tensor};

/// Rows of the selection matrix in evaluation: the k largest of `weights`, the lower index first of equals, in rising order.
pub fn top_k(weights: &[f64], k: usize) -> Vec<u32> {
    let mut order: Vec<u32> = (0..weights.len() as u32).collect();
    order.sort_by(|&a, &b| weights[b as usize].total_cmp(&weights[a as usize]).then(a.cmp(&b)));
    order.truncate(k);
    order.sort_unstable();
    order
}

/// The selection matrix `[k, n]` of the k largest of `weights` `[n]`: row i is one-hot at the i-th chosen index.
///
/// # Errors
/// If `weights` is no vector of floats.
pub fn hard_selection(weights: &Tensor, k: usize) -> Result<Tensor> {
    let n = weights.dim(0)?;
    let chosen = top_k(&weights.detach().to_dtype(DType::F64)?.to_vec1::<f64>()?, k);
    let mut rows = vec![0.0_f64; k * n];
    chosen.iter().enumerate().for_each(|(row, &index)| rows[row * n + index as usize] = 1.0);
    Tensor::from_vec(rows, (k, n), weights.device())?.to_dtype(weights.dtype())
}

/// The expected selection matrix `[k, n]` of `weights` `[n]` under `noise` of standard deviation `sigma`: the mean of
/// [`hard_selection`] over draws.
///
/// - `noise`: standard normal, row-major `[draws, n]`.
/// - The gradient by the weights is the published one, `J = mean of selection * noise / sigma`, taken element by element.
///
/// # Errors
/// If `noise` is not a whole number of draws, or `weights` is no vector of floats.
pub fn perturbed_selection(weights: &Tensor, k: usize, noise: &[f32], sigma: f64) -> Result<Tensor> {
    let n = weights.dim(0)?;
    let n_draws = noise.len() / n.max(1);
    if n == 0 || n_draws == 0 || n_draws * n != noise.len() {
        let text = format!("perturbed selection of {n} weights with {} draws of noise", noise.len());
        return Err(candle_core::Error::Msg(text));
    }
    let values: Vec<f64> = weights.detach().to_dtype(DType::F64)?.to_vec1()?;
    let (mut mean, mut jacobian) = (vec![0.0_f64; k * n], vec![0.0_f64; k * n]);
    for noise in noise.chunks(n) {
        let perturbed: Vec<f64> =
            values.iter().zip(noise).map(|(&value, &e)| value + sigma * f64::from(e)).collect();
        for (row, &index) in top_k(&perturbed, k).iter().enumerate() {
            let at = row * n + index as usize;
            mean[at] += 1.0 / n_draws as f64;
            jacobian[at] += f64::from(noise[index as usize]) / (n_draws as f64 * sigma);
        }
    }
    let constant =
        |values: Vec<f64>| Tensor::from_vec(values, (k, n), weights.device())?.to_dtype(weights.dtype());
    // The difference is zero; only its gradient counts.
    let difference = (weights - weights.detach())?;
    constant(mean)? + constant(jacobian)?.broadcast_mul(&difference)?
}

#[cfg(test)]
mod tests {
    use candle_core::{Device, Var};

    use super::*;

    #[test]
    fn the_largest_are_chosen_and_equals_by_index() {
        assert_eq!(top_k(&[0.1, 0.5, 0.5, 0.2, 0.5], 2), [1, 2]);
        assert_eq!(top_k(&[0.3, 0.1], 2), [0, 1]);
    }

    #[test]
    fn rows_sum_to_one_and_the_gradient_is_the_published_one() {
        let weights = Var::from_slice(&[0.2_f64, 0.3, 0.1], 3, &Device::Cpu).unwrap();
        // Two draws: the first lifts the last weight above the first, the second changes nothing.
        let noise = [0.0_f32, 0.0, 2.0, 1.0, 0.5, 0.0];
        let selection = perturbed_selection(&weights, 2, &noise, 0.1).unwrap();
        let rows: Vec<Vec<f64>> = selection.to_vec2().unwrap();
        assert_eq!(rows, [[0.5, 0.5, 0.0], [0.0, 0.5, 0.5]]);
        let grads = selection.sum_all().unwrap().backward().unwrap();
        let found: Vec<f64> = grads.get(&weights).unwrap().to_vec1().unwrap();
        let wanted = [1.0 / 0.2, 0.5 / 0.2, 2.0 / 0.2];
        assert!(found.iter().zip(wanted).all(|(a, b)| (a - b).abs() < 1e-12), "{found:?}");
    }
}
