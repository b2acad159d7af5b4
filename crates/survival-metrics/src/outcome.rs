//! What was observed of a subject: a time and whether it ended in the event.

use crate::error::{Error, Result};

/// Whether follow-up ended in the event or before it.
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Status {
    /// The event was observed at the time.
    Event,
    /// Follow-up ended at the time without the event.
    Censored,
}

/// Time and status of one subject.
///
/// The time is in whatever unit the caller uses throughout (months in CrossFusion): no statistic of
/// this crate depends on the unit, but every time that it returns is in it. A valid outcome has a
/// finite time of at least 0; an event at time 0 is legal.
///
/// ```
/// use survival_metrics::{Outcome, Status};
///
/// let outcome = Outcome::new(12.5, Status::Event)?;
/// assert_eq!(outcome.time(), 12.5);
/// assert!(outcome.is_event());
/// assert!(Outcome::new(f64::NAN, Status::Censored).is_err());
/// assert!(Outcome::new(-1.0, Status::Event).is_err());
/// # Ok::<(), survival_metrics::Error>(())
/// ```
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Outcome {
    time: f64,
    status: Status,
}

impl Outcome {
    /// An outcome with a checked time.
    ///
    /// # Errors
    /// [`Error::InvalidTime`] if `time` is NaN, infinite or negative.
    pub fn new(time: f64, status: Status) -> Result<Self> {
        if !time.is_finite() || time < 0.0 {
            return Err(Error::InvalidTime { time });
        }
        // -0.0 becomes 0.0, so that equality and the total order used for sorting agree.
        Ok(Self { time: time + 0.0, status })
    }

    /// An observed event at `time`.
    ///
    /// # Errors
    /// As [`Outcome::new`].
    pub fn event(time: f64) -> Result<Self> {
        Self::new(time, Status::Event)
    }

    /// Follow-up that ended at `time` without the event.
    ///
    /// # Errors
    /// As [`Outcome::new`].
    pub fn censored(time: f64) -> Result<Self> {
        Self::new(time, Status::Censored)
    }

    /// Time of the event or of censoring, in the caller's unit.
    pub fn time(self) -> f64 {
        self.time
    }

    /// Whether [`time`](Self::time) is that of the event or of censoring.
    pub fn status(self) -> Status {
        self.status
    }

    /// Whether the event was observed.
    pub fn is_event(self) -> bool {
        self.status == Status::Event
    }
}

/// Fails unless `found` values run in parallel with `expected` subjects.
pub(crate) fn check_length(what: &'static str, found: usize, expected: usize) -> Result<()> {
    if found == expected { Ok(()) } else { Err(Error::LengthMismatch { what, found, expected }) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn negative_zero_is_zero() {
        let outcome = Outcome::event(-0.0).expect("0 is a legal time");
        assert!(outcome.time().is_sign_positive());
    }

    #[test]
    fn infinite_time_is_refused_with_its_value() {
        let error = Outcome::censored(f64::INFINITY).expect_err("infinite");
        assert_eq!(error, Error::InvalidTime { time: f64::INFINITY });
        assert_eq!(error.to_string(), "time is inf, expected a finite number of at least 0");
    }
}
