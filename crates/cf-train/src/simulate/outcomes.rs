//! Outcomes given the latent risk, and the latent risk given an outcome.
//!
//! The law is Weibull proportional hazards: `H(t | z) = (t / scale)^1.3 exp(2.5 z)`, z standard normal.

use rand::Rng;
use rand_chacha::ChaCha8Rng;
use survival_metrics::{KaplanMeier, Outcome, Status};

/// Shape of the Weibull law of event times.
pub(super) const WEIBULL_SHAPE: f64 = 1.3;
/// Scale of the law at z = 0, in months. It only sets the unit: no rank depends on it.
pub(super) const WEIBULL_SCALE_MONTHS: f64 = 36.0;
/// Log hazard per unit of latent risk.
pub(super) const LOG_HAZARD_PER_Z: f64 = 2.5;
/// Share of drawn patients whose time is censored.
pub(super) const CENSORED_SHARE: f64 = 0.45;

/// A patient's event time in months, and its censoring time in units yet to be chosen.
#[derive(Debug, Clone, Copy)]
pub(super) struct Times {
    event_months: f64,
    /// Standard exponential, independent of the risk.
    censoring_units: f64,
}

impl Times {
    /// Draws both times of a patient with latent risk `z`.
    pub(super) fn draw(z: f64, rng: &mut ChaCha8Rng) -> Self {
        let cumulative_hazard = standard_exponential(rng);
        Self {
            event_months: WEIBULL_SCALE_MONTHS
                * (cumulative_hazard / (LOG_HAZARD_PER_Z * z).exp()).powf(1.0 / WEIBULL_SHAPE),
            censoring_units: standard_exponential(rng),
        }
    }

    /// What is observed if a unit of censoring time is `unit_months` long, rounded to 0.01 months as
    /// clinical tables are, at least 0.01.
    fn observe(self, unit_months: f64) -> Outcome {
        let censored_at = unit_months * self.censoring_units;
        let (months, status) = if self.event_months <= censored_at {
            (self.event_months, Status::Event)
        } else {
            (censored_at, Status::Censored)
        };
        // Beyond any lifetime; keeps the two decimals exact.
        let months = (months.clamp(0.01, 1e9) * 100.0).round() / 100.0;
        Outcome::new(months, status).expect("a clamped time is finite and positive")
    }
}

/// Censors exponential times so that [`CENSORED_SHARE`] of the patients, rounded up to one, are censored.
///
/// The mean censoring time is found by bisection on its logarithm.
pub(super) fn censor(times: &[Times]) -> Vec<Outcome> {
    let n_censored = |log_unit: f64| {
        let unit = log_unit.exp();
        times.iter().filter(|times| times.event_months > unit * times.censoring_units).count() as f64
    };
    let wanted = CENSORED_SHARE * times.len() as f64;
    // exp(-100) months censors everyone, exp(100) months nobody.
    let (mut low, mut high) = (-100.0, 100.0);
    for _ in 0..200 {
        let middle = 0.5 * (low + high);
        if n_censored(middle) >= wanted {
            low = middle;
        } else {
            high = middle;
        }
    }
    times.iter().map(|times| times.observe(low.exp())).collect()
}

/// Draws latent risks given real outcomes.
///
/// A real table's times follow no Weibull law, but proportional hazards leave the clock free: the
/// cumulative baseline hazard `H(t)` is chosen so that the law's marginal survival
/// `M(H) = E[exp(-H exp(2.5 z))]` equals the table's Kaplan-Meier curve. The latent risk then follows its
/// posterior, `phi(z) exp(2.5 z d - H(t) exp(2.5 z))` with d = 1 for an event and 0 for a censored time,
/// so over the cohort it is about standard normal and as strongly tied to the outcomes as in a drawn cohort.
pub(super) struct RiskGivenOutcome {
    survival: KaplanMeier,
    /// Points of the integrals over z.
    z: Vec<f64>,
    /// Log cumulative baseline hazards, and the marginal survival at each.
    log_hazard: Vec<f64>,
    marginal: Vec<f64>,
}

/// Points of z: -8 to 8, at distance 0.02.
const N_Z: usize = 801;
/// Points of the log cumulative hazard: -25 to 25, at distance 0.05.
const N_LOG_HAZARD: usize = 1001;

impl RiskGivenOutcome {
    /// Fits the clock to the outcomes of a cohort's patients.
    ///
    /// # Errors
    /// If `outcomes` is empty.
    pub(super) fn fit(outcomes: &[Outcome]) -> Result<Self, survival_metrics::Error> {
        let survival = KaplanMeier::fit(outcomes)?;
        let z: Vec<f64> = (0..N_Z).map(|k| k as f64 * 0.02 - 8.0).collect();
        let prior: Vec<f64> = z.iter().map(|z| (-0.5 * z * z).exp()).collect();
        let total: f64 = prior.iter().sum();
        let log_hazard: Vec<f64> = (0..N_LOG_HAZARD).map(|k| k as f64 * 0.05 - 25.0).collect();
        let marginal = log_hazard
            .iter()
            .map(|log_hazard| {
                let survivors: f64 = z
                    .iter()
                    .zip(&prior)
                    .map(|(z, weight)| weight * (-(log_hazard + LOG_HAZARD_PER_Z * z).exp()).exp())
                    .sum();
                survivors / total
            })
            .collect();
        Ok(Self { survival, z, log_hazard, marginal })
    }

    /// Draws the latent risk of a patient from its posterior.
    pub(super) fn draw(&self, outcome: Outcome, rng: &mut ChaCha8Rng) -> f64 {
        let events = if outcome.is_event() { 1.0 } else { 0.0 };
        let log_hazard = self.log_hazard_at(outcome);
        let log_density: Vec<f64> = self
            .z
            .iter()
            .map(|z| {
                let log_risk = LOG_HAZARD_PER_Z * z;
                -0.5 * z * z + events * log_risk - (log_hazard + log_risk).exp()
            })
            .collect();
        let highest = log_density.iter().copied().fold(f64::NEG_INFINITY, f64::max);
        let density: Vec<f64> = log_density.iter().map(|log| (log - highest).exp()).collect();
        let mut left = rng.random::<f64>() * density.iter().sum::<f64>();
        for (z, mass) in self.z.iter().zip(&density) {
            if left < *mass {
                // Even within the interval of 0.02 around the point.
                return z + 0.02 * (left / mass - 0.5);
            }
            left -= mass;
        }
        // Rounding can leave a remainder of the order of 1e-13 of the mass.
        self.z[N_Z - 1]
    }

    /// Log cumulative baseline hazard at which the marginal survival is that of the table: just after the
    /// time for a censored patient, halfway down the step for an event (so that the last one is finite).
    fn log_hazard_at(&self, outcome: Outcome) -> f64 {
        let after = self.survival.survival_at(outcome.time());
        let survival = if outcome.is_event() {
            let earlier = self.survival.times().partition_point(|time| *time < outcome.time());
            let before = earlier.checked_sub(1).map_or(1.0, |step| self.survival.survival()[step]);
            0.5 * (before + after)
        } else {
            after
        };
        // The marginal survival falls from 1 to 0 along the table.
        let next = self.marginal.partition_point(|marginal| *marginal > survival).clamp(1, N_LOG_HAZARD - 1);
        let (above, below) = (self.marginal[next - 1], self.marginal[next]);
        let step = if above > below { ((above - survival) / (above - below)).clamp(0.0, 1.0) } else { 0.0 };
        self.log_hazard[next - 1] + 0.05 * step
    }
}

fn standard_exponential(rng: &mut ChaCha8Rng) -> f64 {
    // `random` lies in [0, 1), so the logarithm's argument is never 0.
    -(1.0 - rng.random::<f64>()).ln()
}

#[cfg(test)]
mod tests {
    use rand_distr::StandardNormal;

    use super::*;
    use crate::seed::stream;

    fn cohort(n: usize) -> (Vec<f64>, Vec<Outcome>) {
        let mut rng = stream(11, "outcomes");
        let z: Vec<f64> = (0..n).map(|_| rng.sample(StandardNormal)).collect();
        let times: Vec<Times> = z.iter().map(|z| Times::draw(*z, &mut rng)).collect();
        (z, censor(&times))
    }

    #[test]
    fn censored_share_is_met_to_one_patient() {
        for n in [10, 37, 400] {
            let (_, outcomes) = cohort(n);
            let censored = outcomes.iter().filter(|outcome| !outcome.is_event()).count();
            assert_eq!(censored, (0.45 * n as f64).ceil() as usize, "{n} patients");
        }
    }

    #[test]
    fn risk_drawn_given_outcomes_is_standard_normal_and_close_to_the_one_behind_them() {
        let (truth, outcomes) = cohort(2_000);
        let given = RiskGivenOutcome::fit(&outcomes).expect("not empty");
        let mut rng = stream(12, "posterior");
        let drawn: Vec<f64> = outcomes.iter().map(|outcome| given.draw(*outcome, &mut rng)).collect();
        let n = drawn.len() as f64;
        let mean = drawn.iter().sum::<f64>() / n;
        let variance = drawn.iter().map(|z| (z - mean).powi(2)).sum::<f64>() / n;
        // Standard errors are 0.02 and 0.03; the clock is fitted to the same outcomes.
        assert!(mean.abs() < 0.1, "{mean}");
        assert!((variance - 1.0).abs() < 0.15, "{variance}");
        // Drawn and true risk are two draws from one posterior: given the outcome, E[z_drawn z_true] is
        // the variance that the outcome explains, well above half.
        let covariance = drawn.iter().zip(&truth).map(|(a, b)| a * b).sum::<f64>() / n;
        assert!((0.5..0.9).contains(&covariance), "{covariance}");
    }

    #[test]
    fn earliest_event_and_latest_censoring_have_finite_risks() {
        let outcomes =
            [(0.0, Status::Event), (5.0, Status::Event), (5.0, Status::Censored), (9.0, Status::Event)]
                .map(|(time, status)| Outcome::new(time, status).expect("valid"));
        let given = RiskGivenOutcome::fit(&outcomes).expect("not empty");
        let mut rng = stream(13, "extremes");
        for outcome in outcomes {
            for _ in 0..100 {
                assert!(given.draw(outcome, &mut rng).abs() < 8.0);
            }
        }
    }
}
