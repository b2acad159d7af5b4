//! Newton's method on the log partial likelihood.

use super::pass::{Likelihood, Pass};
use crate::error::{Error, Result};
use crate::symmetric::{Cholesky, dot};

/// A likelihood without maximum takes about 40, one with values of many magnitudes more.
const MAX_ITERATIONS: usize = 200;
/// A step that moves no log hazard against another by more; the next one would move them by its square.
const STILL: f64 = 1e-9;
/// A step whose gain is less than this share of the log-likelihood is lost in its rounding.
const NO_GAIN: f64 = 1e-12;
/// Half of what the steps of a likelihood without maximum move log hazards by at least.
const MOVING: f64 = 0.5;

pub(super) struct Fit {
    pub(super) beta: Vec<f64>,
    pub(super) state: Likelihood,
    pub(super) iterations: usize,
}

/// The maximum, from 0.
///
/// A likelihood without maximum nears its bound as `-exp(-x)` nears 0: the gain of each step is that of the one before divided by e, and
/// yet each moves the log hazard of some subject against another's by 1 or more. How small the information has become says nothing: one
/// value far from all others can make it as large as one likes at 0.
pub(super) fn maximise(pass: &Pass, null: &Likelihood) -> Result<Fit> {
    let mut beta = vec![0.0; null.score.len()];
    let mut state = null.clone();
    let mut moved_before = f64::INFINITY;
    let mut separating = None;
    for iterations in 1..=MAX_ITERATIONS {
        let step = match Cholesky::new(&state.information) {
            Ok(factor) => factor.solve(&state.score),
            // What still moved has left no information about itself; what did not was never told from the others.
            Err(index) => return Err(separating.unwrap_or(Error::Collinear { index })),
        };
        let gain = dot(&step, &state.score);
        let moved = pass.spread(&step);
        let mut share = 1.0;
        (beta, state) = loop {
            let next: Vec<f64> = beta.iter().zip(&step).map(|(b, s)| b + share * s).collect();
            let next_state = pass.likelihood(&next);
            // The likelihood is concave: a lower value is a step too far, up to rounding.
            let floor = state.log_likelihood - 1e-12 * state.log_likelihood.abs();
            if next_state.log_likelihood >= floor || share < 1e-10 {
                break (next, next_state);
            }
            share /= 2.0;
        };
        if moved < STILL {
            return Ok(Fit { beta, state, iterations });
        }
        separating = (moved >= MOVING).then(|| Error::Separation { index: of_largest(&step) });
        // Without gain, steps shrink fast until they are rounding, or do not shrink.
        if gain <= NO_GAIN * state.log_likelihood.abs().max(1.0) && moved > moved_before / 2.0 {
            return separating.map_or(Ok(Fit { beta, state, iterations }), Err);
        }
        moved_before = moved;
    }
    Err(Error::NotConverged { what: "Cox model", iterations: MAX_ITERATIONS })
}

fn of_largest(step: &[f64]) -> usize {
    let largest = step.iter().enumerate().max_by(|(_, a), (_, b)| a.abs().total_cmp(&b.abs()));
    largest.map_or(0, |(index, _)| index)
}
