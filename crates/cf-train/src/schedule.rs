//! Learning rates over a run.

use std::f64::consts::PI;

use crate::protocol::Protocol;

/// Epochs in which the `paper` schedule falls from its peak to 0, to rise again in as many.
const HALF_PERIOD_EPOCHS: f64 = 10.0;

/// Share of the steps in which the `sound` schedule warms up.
const WARM_UP: f64 = 0.2;

/// The learning rate of every optimiser step.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Schedule {
    protocol: Protocol,
    peak: f64,
    n_steps: usize,
}

impl Schedule {
    /// `n_steps` optimiser steps will be made in all (`sound` only).
    pub fn new(protocol: Protocol, peak: f64, n_steps: usize) -> Self {
        Self { protocol, peak, n_steps }
    }

    /// The rate of optimiser step `step` in `epoch`, both from 0.
    ///
    /// - `paper`: `peak (1 + cos(pi epoch / 10)) / 2`, without restarts: 0 at epoch 10, the peak at epoch 20.
    /// - `sound`, of S steps with `W = ceil(S / 5)`: `peak (step + 1) / W` below W, then a cosine from the peak to a tenth of it.
    pub fn rate(&self, epoch: usize, step: usize) -> f64 {
        match self.protocol {
            Protocol::Paper => self.peak * 0.5 * (1.0 + (PI * epoch as f64 / HALF_PERIOD_EPOCHS).cos()),
            Protocol::Sound => {
                let warm_up = (WARM_UP * self.n_steps as f64).ceil();
                let step = step as f64;
                if step < warm_up {
                    return self.peak * (step + 1.0) / warm_up;
                }
                let least = self.peak / 10.0;
                let done = (step - warm_up) / (self.n_steps as f64 - warm_up);
                least + (self.peak - least) * 0.5 * (1.0 + (PI * done).cos())
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_paper_schedule_falls_for_ten_epochs_and_rises_for_ten() {
        let schedule = Schedule::new(Protocol::Paper, 1e-4, 0);
        assert_eq!(schedule.rate(0, 0), 1e-4);
        assert!((schedule.rate(5, 99) - 5e-5).abs() < 1e-18);
        assert_eq!(schedule.rate(10, 0), 0.0);
        assert_eq!(schedule.rate(20, 0), 1e-4);
    }
}
