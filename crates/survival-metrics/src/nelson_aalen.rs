//! The cumulative hazard by Nelson and Aalen.

use crate::error::Result;
use crate::interval::normal_quantile;
use crate::risk_table::{RiskRow, RiskTable};
use crate::survival_data::SurvivalData;

/// How events at one time add up.
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum HazardTies {
    /// `d / n`, variance `d / n^2` (R `ctype = 1`, scikit-survival).
    #[default]
    NelsonAalen,
    /// As if tied events happened one after the other: `sum of 1 / (n - k)`, variance `sum of 1 / (n - k)^2`, over
    /// `k = 0 .. d - 1` (R `ctype = 2`, lifelines by default).
    FlemingHarrington,
    /// `d / n`, variance `(1 - d / n) (d / n) / n` (lifelines with `nelson_aalen_smoothing = False`).
    Binomial,
}

/// Cumulative hazard `H(t)` with its variance, one entry per distinct time.
///
/// Source: Nelson, Technometrics 14 (1972) 945-966; Aalen, Ann. Stat. 6 (1978) 701-726.
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[derive(Debug, Clone, PartialEq)]
pub struct NelsonAalen {
    times: Vec<f64>,
    hazard: Vec<f64>,
    variance: Vec<f64>,
}

impl NelsonAalen {
    /// Fits the cumulative hazard of a sample, with its case weights (as replicates) and entry times; strata and
    /// clusters do not enter. O(n log n) time.
    ///
    /// [`HazardTies::FlemingHarrington`] with weights takes each tied event off the risk set with the mean weight of the
    /// tied ones.
    ///
    /// ```
    /// use survival_metrics::{HazardTies, NelsonAalen, Outcome, SurvivalData};
    ///
    /// let data = SurvivalData::new(&[Outcome::event(1.0)?, Outcome::event(1.0)?, Outcome::censored(3.0)?])?;
    /// assert_eq!(NelsonAalen::fit(&data, HazardTies::NelsonAalen).hazard_at(2.0), 2.0 / 3.0);
    /// assert_eq!(NelsonAalen::fit(&data, HazardTies::FlemingHarrington).hazard_at(2.0), 1.0 / 3.0 + 1.0 / 2.0);
    /// # Ok::<(), survival_metrics::Error>(())
    /// ```
    pub fn fit(data: &SurvivalData, ties: HazardTies) -> Self {
        let table = RiskTable::of_sample(data);
        let (mut hazard, mut variance) = (0.0, 0.0);
        let mut curve = Self { times: Vec::new(), hazard: Vec::new(), variance: Vec::new() };
        for row in &table.rows {
            if row.events > 0.0 {
                let (step, square) = increments(row, ties);
                hazard += step;
                variance += square;
            }
            curve.times.push(row.time);
            curve.hazard.push(hazard);
            curve.variance.push(variance);
        }
        curve
    }

    /// Distinct observed times, ascending.
    pub fn times(&self) -> &[f64] {
        &self.times
    }

    /// H at each time, its events included.
    pub fn hazard(&self) -> &[f64] {
        &self.hazard
    }

    /// Variance of H at each time.
    pub fn variance(&self) -> &[f64] {
        &self.variance
    }

    /// H at `t`: a step function, continuous from the right, 0 before the first time and constant after the last.
    pub fn hazard_at(&self, t: f64) -> f64 {
        let passed = self.times.partition_point(|&u| u <= t).checked_sub(1);
        passed.and_then(|i| self.hazard.get(i)).copied().unwrap_or(0.0)
    }

    /// `exp(-H(t))`: the Breslow, or with Fleming-Harrington ties the Fleming-Harrington, estimate of survival.
    pub fn survival_at(&self, t: f64) -> f64 {
        (-self.hazard_at(t)).exp()
    }

    /// Pointwise limits `H exp(-/+ z sqrt(Var) / H)`, as (lower, upper) at each time; `None` while H is 0.
    ///
    /// # Errors
    /// [`Error::OutOfRange`](crate::Error::OutOfRange) unless `0 < level < 1`.
    pub fn confidence_limits(&self, level: f64) -> Result<Vec<Option<(f64, f64)>>> {
        let z = normal_quantile(level)?;
        let limits = self.hazard.iter().zip(&self.variance).map(|(&h, &v)| {
            let factor = (z * v.sqrt() / h).exp();
            (h > 0.0).then(|| (h / factor, h * factor))
        });
        Ok(limits.collect())
    }
}

/// What the events of one time add to the hazard and to its variance.
fn increments(row: &RiskRow, ties: HazardTies) -> (f64, f64) {
    let (n, d) = (row.at_risk, row.events);
    match ties {
        HazardTies::NelsonAalen => (d / n, d / (n * n)),
        HazardTies::Binomial => (d / n, (1.0 - d / n) * (d / n) / n),
        HazardTies::FlemingHarrington => {
            let mean_weight = d / row.n_events as f64;
            (0..row.n_events).fold((0.0, 0.0), |(step, square), k| {
                let left = n - k as f64 * mean_weight;
                (step + mean_weight / left, square + mean_weight / (left * left))
            })
        }
    }
}
