//! Predicted survival curves: one per subject, on a common grid of times.

use crate::error::{Error, Result};

/// How a curve is read between the times of its grid.
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum CurveLookup {
    /// The value at the last grid time up to `t`; 1 before the first (pycox `post`).
    #[default]
    Post,
    /// The value at the first grid time from `t` on; the last value after the grid (pycox `pre`).
    Pre,
    /// Straight between neighbours, from 1 at time 0; the last value after the grid.
    Linear,
}

/// Survival probabilities of each subject at each time of a grid.
///
/// Discrete-time models such as CrossFusion give one value per bin: the grid then holds the ends of the bins.
///
/// ```
/// use survival_metrics::{CurveLookup, PredictedSurvival};
///
/// let curves = PredictedSurvival::new(&[12.0, 24.0], vec![0.9, 0.5, 0.8, 0.7], CurveLookup::Post)?;
/// assert_eq!((curves.n_subjects(), curves.at(0, 6.0), curves.at(1, 30.0)), (2, 1.0, 0.7));
/// let linear = PredictedSurvival::new(&[12.0, 24.0], vec![0.9, 0.5], CurveLookup::Linear)?;
/// assert_eq!((linear.at(0, 6.0), linear.at(0, 18.0)), (0.95, 0.7));
/// # Ok::<(), survival_metrics::Error>(())
/// ```
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[derive(Debug, Clone, PartialEq)]
pub struct PredictedSurvival {
    grid: Vec<f64>,
    values: Vec<f64>,
    lookup: CurveLookup,
}

impl PredictedSurvival {
    /// Curves of `values.len() / grid.len()` subjects.
    ///
    /// - `grid`: ascending times in the unit of the outcomes. `values`: `[subject, time]`, row by row, each in [0, 1].
    ///
    /// # Errors
    /// [`Error::Empty`]; [`Error::NotAscending`] and [`Error::OutOfRange`] for the grid; [`Error::ShapeMismatch`];
    /// [`Error::OutOfRange`] for a value that is no probability. That a curve falls is not required.
    pub fn new(grid: &[f64], values: Vec<f64>, lookup: CurveLookup) -> Result<Self> {
        check_grid("grid", grid)?;
        if values.is_empty() {
            return Err(Error::Empty { what: "values" });
        }
        if !values.len().is_multiple_of(grid.len()) {
            return Err(Error::ShapeMismatch {
                what: "values",
                found: values.len(),
                n_rows: values.len().div_ceil(grid.len()),
                n_columns: grid.len(),
            });
        }
        if let Some(&value) = values.iter().find(|s| !(0.0..=1.0).contains(*s)) {
            let expected = "a probability between 0 and 1";
            return Err(Error::OutOfRange { what: "survival", value, expected });
        }
        Ok(Self { grid: grid.to_vec(), values, lookup })
    }

    /// The same curve for `n_subjects`, as a Kaplan-Meier estimate without covariates predicts it.
    ///
    /// # Errors
    /// As [`PredictedSurvival::new`].
    pub fn same_for_all(grid: &[f64], values: &[f64], n_subjects: usize) -> Result<Self> {
        Self::new(grid, values.repeat(n_subjects), CurveLookup::Post)
    }

    /// Number of subjects.
    pub fn n_subjects(&self) -> usize {
        self.values.len() / self.grid.len()
    }

    /// Times of the grid.
    pub fn grid(&self) -> &[f64] {
        &self.grid
    }

    /// Survival of `subject` at `t`; 1 for a subject that does not exist.
    pub fn at(&self, subject: usize, t: f64) -> f64 {
        self.read(subject, self.locate(t))
    }

    /// Where all curves are read at `t`.
    pub(crate) fn locate(&self, t: f64) -> Place {
        let passed = self.grid.partition_point(|&u| u <= t);
        let last = self.grid.len() - 1;
        match self.lookup {
            CurveLookup::Post => Place { left: passed.checked_sub(1), right: 0, share: 0.0 },
            CurveLookup::Pre => {
                let next = self.grid.partition_point(|&u| u < t).min(last);
                Place { left: Some(next), right: 0, share: 0.0 }
            }
            CurveLookup::Linear => {
                let start = passed.checked_sub(1).and_then(|i| self.grid.get(i)).copied().unwrap_or(0.0);
                let share = self.grid.get(passed).map_or(0.0, |&end| (t - start) / (end - start));
                Place { left: passed.checked_sub(1), right: passed.min(last), share: share.max(0.0) }
            }
        }
    }

    /// Survival of `subject` at a place.
    pub(crate) fn read(&self, subject: usize, place: Place) -> f64 {
        let value = |at: usize| self.values.get(subject * self.grid.len() + at).copied().unwrap_or(1.0);
        let left = place.left.map_or(1.0, value);
        if place.share > 0.0 { left + (value(place.right) - left) * place.share } else { left }
    }
}

/// Between two grid times: the left one, if any, and the share of the way to the right one.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Place {
    left: Option<usize>,
    right: usize,
    share: f64,
}

/// Fails unless times are finite, at least 0 and ascending, and there is one.
pub(crate) fn check_grid(what: &'static str, grid: &[f64]) -> Result<()> {
    if grid.is_empty() {
        return Err(Error::Empty { what });
    }
    if let Some((index, &value)) = grid.iter().enumerate().find(|(_, t)| !t.is_finite()) {
        return Err(Error::NonFinite { what, index, value });
    }
    if let Some(&value) = grid.iter().find(|t| **t < 0.0) {
        return Err(Error::OutOfRange { what, value, expected: "a time of at least 0" });
    }
    let falls = grid.windows(2).position(|pair| matches!(pair, [a, b] if b <= a));
    if let Some((index, &value)) = falls.and_then(|i| Some((i + 1, grid.get(i + 1)?))) {
        return Err(Error::NotAscending { what, index, value });
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_of_a_grid_are_finite_not_negative_and_ascending() {
        let refused = |grid: &[f64]| check_grid("times", grid).expect_err("refused").to_string();
        assert_eq!(refused(&[-1.0, 2.0]), "`times` is -1, expected a time of at least 0");
        assert!(refused(&[0.0, f64::INFINITY]).contains("is inf, expected a finite number"));
        assert!(refused(&[1.0, 1.0]).contains("expected a time after the one before it"));
        assert_eq!(check_grid("times", &[0.0, 1.0]), Ok(()));
    }
}
