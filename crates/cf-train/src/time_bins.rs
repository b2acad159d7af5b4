//! Discrete time: the intervals that the model's hazards are about.

use cf_model::N_BINS;
use survival_metrics::Outcome;

/// How far the outer edges lie beyond the data, in months.
const MARGIN_MONTHS: f64 = 1e-6;

/// Four intervals of survival time, closed on the left.
#[derive(Debug, Clone, PartialEq)]
pub struct TimeBins {
    edges_months: [f64; N_BINS + 1],
}

impl TimeBins {
    /// Quartiles of the uncensored times (pandas `qcut`: linear interpolation); the outer edges are the smallest and
    /// largest time of *all* outcomes, widened by 1e-6.
    ///
    /// # Errors
    /// If nothing is uncensored, or so many events share a time that two quartiles coincide, where `qcut` refuses, too; the text says
    /// which.
    pub fn fit(outcomes: &[Outcome]) -> Result<Self, String> {
        let mut events: Vec<f64> =
            outcomes.iter().filter(|outcome| outcome.is_event()).map(|outcome| outcome.time()).collect();
        if events.is_empty() {
            return Err(format!("all {} slides are censored, expected at least one event", outcomes.len()));
        }
        events.sort_by(f64::total_cmp);
        let mut edges_months = [0.0; N_BINS + 1];
        for (k, edge) in edges_months.iter_mut().enumerate() {
            *edge = quantile(&events, k as f64 / N_BINS as f64);
        }
        // Before the outer edges move apart: where the first quartile is the first time, nothing falls into the first bin.
        if edges_months.windows(2).any(|pair| pair[0] >= pair[1]) {
            return Err(format!(
                "the quartiles of {} event times are not distinct: {edges_months:?} months",
                events.len()
            ));
        }
        let times = outcomes.iter().map(|outcome| outcome.time());
        edges_months[0] = times.clone().fold(f64::INFINITY, f64::min) - MARGIN_MONTHS;
        edges_months[N_BINS] = times.fold(f64::NEG_INFINITY, f64::max) + MARGIN_MONTHS;
        Ok(Self { edges_months })
    }

    /// The five edges, in months.
    pub fn edges_months(&self) -> &[f64; N_BINS + 1] {
        &self.edges_months
    }

    /// Where each bin ends, in months.
    pub fn ends_months(&self) -> [f64; N_BINS] {
        std::array::from_fn(|bin| self.edges_months[bin + 1])
    }

    /// The bin that holds `time_months`. Times outside the fitted range fall into the first or last bin, which happens
    /// where the bins were fitted on other slides.
    pub fn bin_of(&self, time_months: f64) -> usize {
        let inner = &self.edges_months[1..N_BINS];
        inner.iter().filter(|&&edge| time_months >= edge).count()
    }
}

/// The quantile of sorted values by linear interpolation, rounded as NumPy does.
fn quantile(sorted: &[f64], q: f64) -> f64 {
    let position = q * (sorted.len() - 1) as f64;
    let (low, share) = (position.floor() as usize, position.fract());
    let (a, b) = (sorted[low], sorted[(low + 1).min(sorted.len() - 1)]);
    if share >= 0.5 { b - (b - a) * (1.0 - share) } else { a + (b - a) * share }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn intervals_are_closed_on_the_left_and_outliers_fall_into_the_outer_bins() {
        let mut outcomes: Vec<Outcome> =
            [1.0, 2.0, 3.0, 4.0, 5.0].iter().map(|&t| Outcome::event(t).unwrap()).collect();
        outcomes.push(Outcome::censored(9.0).unwrap());
        let bins = TimeBins::fit(&outcomes).unwrap();
        assert_eq!(bins.edges_months(), &[1.0 - 1e-6, 2.0, 3.0, 4.0, 9.0 + 1e-6]);
        let labels: Vec<usize> =
            [0.0, 1.0, 2.0, 2.9, 4.0, 9.0, 50.0].iter().map(|&t| bins.bin_of(t)).collect();
        assert_eq!(labels, [0, 0, 1, 1, 3, 3, 3]);
    }

    #[test]
    fn cohorts_without_events_or_with_one_event_time_are_refused() {
        let censored = [Outcome::censored(1.0).unwrap(), Outcome::censored(2.0).unwrap()];
        assert!(TimeBins::fit(&censored).unwrap_err().contains("all 2 slides are censored"));
        let tied = [Outcome::event(3.0).unwrap(); 8];
        assert!(TimeBins::fit(&tied).unwrap_err().contains("not distinct"));
        // Shared by the first or the last quarter only, also where others lie beyond.
        let months = [1.0, 1.0, 1.0, 4.0, 5.0, 6.0, 7.0, 8.0];
        for sign in [1.0, -1.0] {
            let mut outcomes: Vec<Outcome> =
                months.iter().map(|month| Outcome::event(10.0 + sign * month).unwrap()).collect();
            outcomes.extend([Outcome::censored(0.5).unwrap(), Outcome::censored(90.0).unwrap()]);
            let error = TimeBins::fit(&outcomes).unwrap_err();
            assert!(error.starts_with("the quartiles of 8 event times are not distinct"), "{error}");
        }
    }
}
