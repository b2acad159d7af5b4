//! A continuous distribution of survival times, as SCMIL ends with (Yang et al., 2024): a mixture of normal distributions of
//! `g(t) = ln(e^t - 1)`, the inverse softplus of the time in months.

use candle_core::{D, Tensor};
use candle_nn::{Init, VarBuilder};
use cf_layers::{ForwardCtx, Linear, dropout, kernels};

use crate::error::Result;

/// Parts of the mixture.
const N_PARTS: usize = 100;
const HIDDEN: usize = 256;
const DROPOUT: f64 = 0.1;
/// Keeps logs finite, as published.
const FLOOR: f64 = 1e-6;
/// Range of the means, and of the deviations.
const LARGEST_MEAN: f64 = 200.0;
const DEVIATIONS: (f64, f64) = (0.01, 100.0);

/// The mixture of one slide: `n` log weights, `n` means and `n` deviations.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct TimeMixture<'a> {
    log_weights: &'a [f64],
    means: &'a [f64],
    deviations: &'a [f64],
}

/// A mixture's loss for one outcome and its gradient by each of its numbers.
#[derive(Debug, Clone, PartialEq)]
pub struct MixtureLoss {
    /// The loss.
    pub loss: f64,
    /// Its derivative by log weights, means and deviations, each for itself.
    pub gradient: Vec<f64>,
}

/// `g(t)` and its derivative, finite for any `t > 0`: `e^t` alone overflows.
fn inverse_softplus(time: f64) -> (f64, f64) {
    let decay = (-time).exp();
    let rest = 1.0 - decay + FLOOR * decay;
    (time + rest.ln(), 1.0 / rest)
}

/// The density of the standard normal distribution.
fn density(x: f64) -> f64 {
    (-0.5 * x * x).exp() / std::f64::consts::TAU.sqrt()
}

/// Its cumulative distribution.
fn cumulative(x: f64) -> f64 {
    0.5 * libm::erfc(-x * std::f64::consts::FRAC_1_SQRT_2)
}

impl<'a> TimeMixture<'a> {
    /// The mixture of so many numbers; `None` if they are not three for each part.
    pub fn new(values: &'a [f64]) -> Option<Self> {
        let n = values.len() / 3;
        if n == 0 || !values.len().is_multiple_of(3) {
            return None;
        }
        let (log_weights, rest) = values.split_at(n);
        let (means, deviations) = rest.split_at(n);
        Some(Self { log_weights, means, deviations })
    }

    /// Weight, and `(g - mean) / deviation`, and the deviation of each part at `g`.
    fn parts(self, g: f64) -> impl Iterator<Item = (f64, f64, f64)> + use<'a> {
        let parts = self.log_weights.iter().zip(self.means).zip(self.deviations);
        parts.map(move |((log_weight, mean), deviation)| {
            (log_weight.exp(), (g - mean) / deviation, *deviation)
        })
    }

    /// The probability of no event up to `time` months.
    pub fn survival(self, time: f64) -> f64 {
        let (g, _) = inverse_softplus(time);
        // A sum of upper tails: 1 less the sum of lower tails would lose what is small.
        self.parts(g).map(|(weight, x, _)| weight * cumulative(-x)).sum()
    }

    /// The log of the density of an event at `time` months.
    pub fn log_density(self, time: f64) -> f64 {
        let (g, slope) = inverse_softplus(time);
        let sum: f64 = self.parts(g).map(|(weight, x, deviation)| weight * density(x) / deviation).sum();
        (sum + FLOOR).ln() + slope.ln()
    }

    /// The censored negative log-likelihood of an outcome at `time` months, floored as published:
    /// `-(1 - c) ln((f + 1e-6) / (S + 1e-6)) - ln(S + 1e-6)`.
    pub fn loss(self, time: f64, is_event: bool) -> MixtureLoss {
        let (g, slope) = inverse_softplus(time);
        // Minus its log is the loss: f for an event, S for a censoring.
        let likelihood = FLOOR + if is_event { self.log_density(time).exp() } else { self.survival(time) };
        let n = self.means.len();
        let mut gradient = vec![0.0; 3 * n];
        for (part, (weight, x, deviation)) in self.parts(g).enumerate() {
            let at_x = weight * density(x) / deviation;
            // The derivatives of f or S, times that of the loss by it.
            let by = if is_event {
                let factor = -slope / likelihood;
                [at_x, at_x * x / deviation, at_x * (x * x - 1.0) / deviation].map(|d| factor * d)
            } else {
                let factor = -1.0 / likelihood;
                [weight * cumulative(-x), at_x, at_x * x].map(|d| factor * d)
            };
            for (kind, by) in by.into_iter().enumerate() {
                gradient[kind * n + part] = by;
            }
        }
        MixtureLoss { loss: -likelihood.ln(), gradient }
    }
}

/// The layers from a slide's vector to its mixture. Parameters `layers.{0,1,2}`, `mean`, `mean_start`, `deviation`,
/// `deviation_start`; the last two of each kind make means and deviations that all slides share.
#[derive(Debug, Clone)]
pub(crate) struct MixtureHead {
    layers: [Linear; 3],
    mean: Linear,
    mean_start: Tensor,
    deviation: Linear,
    deviation_start: Tensor,
}

impl MixtureHead {
    pub(crate) fn new(d: usize, vb: VarBuilder<'_>) -> Result<Self> {
        let layers = vb.pp("layers");
        Ok(Self {
            layers: [
                Linear::uniform(d, HIDDEN, layers.pp(0))?,
                Linear::uniform(HIDDEN, HIDDEN, layers.pp(1))?,
                Linear::uniform(HIDDEN, N_PARTS, layers.pp(2))?,
            ],
            mean: Linear::uniform(N_PARTS, N_PARTS, vb.pp("mean"))?,
            // Kept as the difference from where it starts: weight decay draws it there, where as published it draws it to 0.
            mean_start: vb.get_with_hints(N_PARTS, "mean_start", Init::Const(0.0))?,
            deviation: Linear::uniform(N_PARTS, N_PARTS, vb.pp("deviation"))?,
            deviation_start: vb.get_with_hints(N_PARTS, "deviation_start", Init::Const(1.0))?,
        })
    }

    /// `[1, d]` to the numbers of a [`TimeMixture`].
    pub(crate) fn forward(&self, x: &Tensor, ctx: &mut ForwardCtx) -> Result<Tensor> {
        let [first, second, last] = &self.layers;
        let hidden = dropout(&kernels::gelu(&first.forward(x)?, None)?, "mixture hidden 1", DROPOUT, ctx)?;
        let hidden =
            dropout(&kernels::gelu(&second.forward(&hidden)?, None)?, "mixture hidden 2", DROPOUT, ctx)?;
        let log_weights = candle_nn::ops::log_softmax(&last.forward(&hidden)?, D::Minus1)?;
        let evenly = (0..N_PARTS).map(|part| LARGEST_MEAN * part as f64 / (N_PARTS - 1) as f64);
        let evenly = Tensor::from_iter(evenly, x.device())?.to_dtype(x.dtype())?;
        let means = self.mean.forward(&(&self.mean_start + evenly)?.unsqueeze(0)?)?;
        let means = means.clamp(-LARGEST_MEAN, LARGEST_MEAN)?;
        let deviations = softplus(&self.deviation.forward(&self.deviation_start.unsqueeze(0)?)?)?;
        let deviations = deviations.clamp(DEVIATIONS.0, DEVIATIONS.1)?;
        for (name, value) in [("log_weights", &log_weights), ("mu", &means), ("sg", &deviations)] {
            ctx.tap(name, value);
        }
        Ok(Tensor::cat(&[log_weights, means, deviations], 1)?.squeeze(0)?)
    }
}

/// `ln(1 + e^x)`.
#[expect(
    clippy::disallowed_methods,
    reason = "with the slope of Candle's `abs` at 0, 1, its `relu` must have 1 there, too: their sum has 1/2"
)]
fn softplus(x: &Tensor) -> Result<Tensor> {
    Ok((x.relu()? + (x.abs()?.neg()?.exp()? + 1.0)?.log()?)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Three parts whose numbers have no pattern.
    const VALUES: [f64; 9] = [-1.2, -0.7, -1.6, 0.3, 2.5, 11.0, 0.6, 1.7, 4.0];

    #[test]
    fn survival_is_what_the_density_leaves() {
        let mixture = TimeMixture::new(&VALUES).unwrap();
        // The weights of these parts add up to what survival starts from.
        let total: f64 = VALUES[..3].iter().map(|x| x.exp()).sum();
        let step = 1e-3;
        let integral: f64 = (0..20_000)
            .map(|at| (f64::from(at) + 0.5) * step)
            .map(|time| step * (mixture.log_density(time).exp() - FLOOR * inverse_softplus(time).1))
            .sum();
        assert!((mixture.survival(20.0) + integral - total).abs() < 1e-4);
    }

    #[test]
    fn gradients_of_the_loss_are_its_differences() {
        for time in [0.03, 1.0, 12.5, 87.0, 89.0, 220.0] {
            for is_event in [false, true] {
                let loss = |values: &[f64]| TimeMixture::new(values).unwrap().loss(time, is_event).loss;
                let found = TimeMixture::new(&VALUES).unwrap().loss(time, is_event).gradient;
                for (at, found) in found.into_iter().enumerate() {
                    let moved = |by: f64| {
                        let mut values = VALUES;
                        values[at] += by;
                        loss(&values)
                    };
                    let wanted = (moved(1e-5) - moved(-1e-5)) / 2e-5;
                    assert!(
                        (found - wanted).abs() < 1e-6 * wanted.abs().max(1.0),
                        "{time} {is_event} {at}: {found} {wanted}"
                    );
                }
            }
        }
    }
}
