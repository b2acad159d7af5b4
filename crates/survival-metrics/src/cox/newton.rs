//! Newton's method on the log partial likelihood.

use super::pass::{Likelihood, Pass};
use crate::error::{Error, Result};
use crate::symmetric::Cholesky;

const MAX_ITERATIONS: usize = 60;
/// On standardised covariates; the next step would be its square.
const STEP_TOLERANCE: f64 = 1e-9;
/// Information that has shrunk this far belongs to a coefficient on its way to infinity.
const VANISHED: f64 = 1e-9;

pub(super) struct Fit {
    pub(super) beta: Vec<f64>,
    pub(super) state: Likelihood,
    pub(super) iterations: usize,
}

/// The maximum, from 0.
pub(super) fn maximise(pass: &Pass, null: &Likelihood) -> Result<Fit> {
    let mut beta = vec![0.0; null.score.len()];
    let mut state = null.clone();
    for iterations in 1..=MAX_ITERATIONS {
        let step = Cholesky::new(&state.information)
            .map_err(|index| Error::Separation { index })?
            .solve(&state.score);
        let mut share = 1.0;
        let (next, next_state) = loop {
            let next: Vec<f64> = beta.iter().zip(&step).map(|(b, s)| b + share * s).collect();
            let next_state = pass.likelihood(&next);
            // The likelihood is concave: a lower value is a step too far, up to rounding.
            let floor = state.log_likelihood - 1e-12 * state.log_likelihood.abs();
            if next_state.log_likelihood >= floor || share < 1e-10 {
                break (next, next_state);
            }
            share /= 2.0;
        };
        let diagonals = next_state.information.iter().zip(&null.information).enumerate();
        let vanished = diagonals
            .filter_map(|(k, (now, then))| Some((k, *now.get(k)?, *then.get(k)?)))
            .find(|(_, now, then)| *now <= VANISHED * then);
        if let Some((index, ..)) = vanished {
            return Err(Error::Separation { index });
        }
        (beta, state) = (next, next_state);
        if step.iter().all(|s| (share * s).abs() < STEP_TOLERANCE) {
            return Ok(Fit { beta, state, iterations });
        }
    }
    Err(Error::NotConverged { what: "Cox model", iterations: MAX_ITERATIONS })
}
