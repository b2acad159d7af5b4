//! What every comparison with an oracle wants: the loss as tensor ops, a tensor's numbers, and three that pin it.

use std::sync::OnceLock;

use candle_core::{DType, Tensor};

const ALPHA: f64 = 0.2;

/// The discrete-time negative log-likelihood of four logits, alpha 0.2, as tensor ops, so that autograd gives its gradient.
pub(crate) fn nll(logits: &Tensor, bin: usize, censored: bool) -> Tensor {
    let hazards = candle_nn::ops::sigmoid(logits).unwrap();
    let alive = (1.0 - &hazards).unwrap();
    let floor = |t: Tensor| t.maximum(1e-7).unwrap().log().unwrap();
    let survival = |n: usize| {
        (0..n).fold(Tensor::ones((), logits.dtype(), logits.device()).unwrap(), |s, k| {
            (s * alive.get(k).unwrap()).unwrap()
        })
    };
    if censored {
        return (floor(survival(bin + 1)) * -(1.0 - ALPHA)).unwrap();
    }
    (floor(survival(bin)) + floor(hazards.get(bin).unwrap())).unwrap().neg().unwrap()
}

/// The numbers of a tensor, row by row.
pub(crate) fn flat(tensor: &Tensor) -> Vec<f64> {
    tensor.to_dtype(DType::F64).unwrap().flatten_all().unwrap().to_vec1().unwrap()
}

/// L2 norm, and the sums of `x_i sin(0.7 i + 0.3)` and `x_i cos(1.3 i + 0.2)`.
pub(crate) fn fingerprint(values: &[f64]) -> [f64; 3] {
    // Millions of sines a model: those of the longest tensor serve all.
    static WAVES: OnceLock<(Vec<f64>, Vec<f64>)> = OnceLock::new();
    const LONGEST: usize = 1 << 20;
    let wave = |f: fn(f64) -> f64| (0..LONGEST).map(|i| f(i as f64)).collect();
    let (sines, cosines) =
        WAVES.get_or_init(|| (wave(|i| (0.7 * i + 0.3).sin()), wave(|i| (1.3 * i + 0.2).cos())));
    assert!(values.len() <= LONGEST);
    let dot = |wave: &[f64]| values.iter().zip(wave).map(|(v, w)| v * w).sum::<f64>();
    [values.iter().map(|v| v * v).sum::<f64>().sqrt(), dot(sines), dot(cosines)]
}
