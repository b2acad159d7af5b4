//! The latent risk of a patient and the class shares that it asks for.

use rand::Rng;
use rand_chacha::ChaCha8Rng;
use rand_distr::StandardNormal;

/// Half range of the additive share: 0.15 to 0.85.
const SHARE_RANGE: f64 = 0.35;
/// Half range of the interaction's contrast.
const CONTRAST_RANGE: f64 = 0.45;

/// Latent risk of one patient; higher is worse.
#[derive(Debug, Clone, Copy)]
pub(super) struct Latent {
    /// Standard normal; the log hazard is a multiple of it.
    pub z: f64,
    /// Its three parts at 5x, 10x and 20x, each standard normal, `z = (z5 + z10 + z20) / sqrt(3)`.
    pub parts: [f64; 3],
}

impl Latent {
    /// Draws the three parts given their scaled sum.
    ///
    /// Three independent normals, moved along (1, 1, 1) until their sum is right, have exactly the
    /// distribution of three independent normals given that sum.
    pub(super) fn given(z: f64, rng: &mut ChaCha8Rng) -> Self {
        let free: [f64; 3] = std::array::from_fn(|_| rng.sample(StandardNormal));
        let shift = z / 3f64.sqrt() - free.iter().sum::<f64>() / 3.0;
        Self { z, parts: free.map(|part| part + shift) }
    }
}

/// Share of a magnification's own class in the additive kind.
pub(super) fn additive_share(part: f64) -> f64 {
    0.5 + SHARE_RANGE * part.tanh()
}

/// Share of A inside B minus share of A outside B in the interaction kind.
pub(super) fn contrast(z: f64) -> f64 {
    CONTRAST_RANGE * z.tanh()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::seed::stream;

    #[test]
    fn parts_sum_to_the_latent_risk_and_are_standard_normal() {
        let mut rng = stream(3, "test");
        let (mut sum, mut squares, mut products) = (0.0, 0.0, 0.0);
        let n = 20_000;
        for _ in 0..n {
            let z: f64 = rng.sample(StandardNormal);
            let latent = Latent::given(z, &mut rng);
            let [a, b, c] = latent.parts;
            assert!((a + b + c - z * 3f64.sqrt()).abs() < 1e-12);
            sum += a;
            squares += b * b;
            products += a * c;
        }
        // Standard errors are 0.007, 0.010 and 0.007.
        let n = f64::from(n);
        assert!((sum / n).abs() < 0.03);
        assert!((squares / n - 1.0).abs() < 0.04);
        assert!((products / n).abs() < 0.03);
    }
}
