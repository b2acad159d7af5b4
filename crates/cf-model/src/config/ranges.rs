//! What settings of any model may be.

use crate::error::{Error, Result};

/// A setting that describes no model.
pub(crate) fn reject<T>(field: &'static str, found: impl ToString, expected: &'static str) -> Result<T> {
    Err(Error::Config { field, found: found.to_string(), expected })
}

pub(crate) fn check_probability(field: &'static str, p: f64) -> Result<()> {
    if (0.0..1.0).contains(&p) { Ok(()) } else { reject(field, p, "a probability in [0, 1)") }
}

pub(crate) fn check_at_least_one(field: &'static str, n: usize) -> Result<()> {
    if n > 0 { Ok(()) } else { reject(field, n, "at least 1") }
}

/// Refuses a number by which time and memory of a pass grow: a checkpoint, which anyone may have made, states it.
pub(crate) fn check_costly_count(field: &'static str, n: usize) -> Result<()> {
    if (1..=10_000).contains(&n) { Ok(()) } else { reject(field, n, "1 to 10000") }
}

/// Refuses anything but rising finite numbers from 0 on: ends of time bins, cumulative hazards.
pub(crate) fn check_rising<const N: usize>(field: &'static str, numbers: Option<[f64; N]>) -> Result<()> {
    let Some(numbers) = numbers else { return Ok(()) };
    let rises = numbers.iter().all(|x| x.is_finite() && *x >= 0.0) && numbers.is_sorted();
    if rises {
        Ok(())
    } else {
        reject(field, format!("{numbers:?}"), "finite numbers from 0 on that do not fall")
    }
}
