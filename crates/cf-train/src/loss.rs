//! The losses, in f64, with their gradients by the logits.
//!
//! A loss of four numbers needs no graph: its value and gradient are computed here, and the gradient is what the model's
//! backward pass starts from.

use cf_model::{DiscreteSurvival, Head, HeadOutput, N_BINS};
use survival_metrics::Status;

use crate::config::LossKind;
use crate::error::Result;

/// Logs are taken of `max(x, FLOOR)`; below it a term has no gradient, as in the released code.
const FLOOR: f64 = 1e-7;

/// `max(x, FLOOR)`, and NaN where `x` is: a network that diverged is not to look like one that fits.
fn floored(x: f64) -> f64 {
    if x < FLOOR { FLOOR } else { x }
}

/// A loss and its gradient by the logits of one slide.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct LossGradient {
    /// The loss.
    pub loss: f64,
    /// Its derivative by each logit.
    pub gradient: [f64; N_BINS],
}

/// What became of a slide's patient.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Outcome {
    /// Time bin, from 0.
    pub bin: usize,
    /// Time, in months.
    pub time_months: f64,
    /// Whether the event was seen.
    pub status: Status,
}

/// The loss of one slide by the numbers of its model's head, and its derivative by each of them.
///
/// # Errors
/// If the head is of another kind than the loss is about; [`LossKind::Cox`] couples slides and is none of one.
pub fn of_output(
    kind: LossKind,
    output: &HeadOutput,
    outcome: Outcome,
    alpha: f64,
) -> Result<(f64, Vec<f64>)> {
    let Outcome { bin, time_months, status } = outcome;
    if let (LossKind::Likelihood, Some(mixture)) = (kind, output.mixture()) {
        let at = mixture.loss(time_months, status == Status::Event);
        return Ok((at.loss, at.gradient));
    }
    let logits = output.logits()?;
    let at = match kind {
        LossKind::CrossEntropy => cross_entropy(logits, bin, status, alpha),
        LossKind::Nll | LossKind::Cox | LossKind::Likelihood => nll(logits, bin, status, alpha),
    };
    Ok((at.loss, at.gradient.to_vec()))
}

/// Discrete-time negative log-likelihood (Zadeh and Schmid, 2020), `alpha` down-weighting the censored part.
///
/// With `S_0 = 1`: an event in bin `Y` costs `-(ln S_Y + ln h_Y)`, a censoring `-(1 - alpha) ln S_{Y+1}` (bins from 0,
/// `S_k` the survival of the first `k` bins).
///
/// ```
/// use survival_metrics::Status;
///
/// let at = cf_train::loss::nll([0.2, -0.4, 0.1, 0.9], 1, Status::Censored, 0.2);
/// assert!((at.loss - 1.048923).abs() < 1e-6);
/// ```
///
/// # Panics
/// If `bin` is not below 4.
pub fn nll(logits: [f64; N_BINS], bin: usize, status: Status, alpha: f64) -> LossGradient {
    let mut total = Total::new(logits);
    match status {
        Status::Event => {
            total.add_log_survival(-1.0, bin);
            total.add_log_hazard(-1.0, bin);
        }
        Status::Censored => total.add_log_survival(-(1.0 - alpha), bin + 1),
    }
    total.into()
}

/// Discrete-time cross-entropy of the released code: `(1 - alpha) ce + alpha reg` with `reg` the event's part of [`nll`] and
/// `ce` = `-ln(1 - S_{Y+1})` for an event, `-ln S_{Y+1}` for a censoring.
///
/// # Panics
/// If `bin` is not below 4.
pub fn cross_entropy(logits: [f64; N_BINS], bin: usize, status: Status, alpha: f64) -> LossGradient {
    let mut total = Total::new(logits);
    match status {
        Status::Event => {
            total.add_log_death(-(1.0 - alpha), bin + 1);
            total.add_log_survival(-alpha, bin);
            total.add_log_hazard(-alpha, bin);
        }
        Status::Censored => total.add_log_survival(-(1.0 - alpha), bin + 1),
    }
    total.into()
}

/// Cox partial likelihood (Breslow's form for ties) of risk scores: mean over events of
/// `ln sum_{j at risk} exp(risk_j) - risk_i`, and its gradient by each risk. Zero where nobody has an event.
///
/// The slides of one accumulation group are the risk sets, so a group of one contributes nothing.
pub fn cox(risk: &[f64], time: &[f64], status: &[Status]) -> (f64, Vec<f64>) {
    let n_events = status.iter().filter(|&&status| status == Status::Event).count();
    let mut gradient = vec![0.0; risk.len()];
    if n_events == 0 {
        return (0.0, gradient);
    }
    let largest = risk.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    let mut loss = 0.0;
    for i in (0..risk.len()).filter(|&i| status[i] == Status::Event) {
        let at_risk = || (0..risk.len()).filter(|&j| time[j] >= time[i]);
        let total: f64 = at_risk().map(|j| (risk[j] - largest).exp()).sum();
        loss += total.ln() + largest - risk[i];
        gradient[i] -= 1.0;
        for j in at_risk() {
            gradient[j] += (risk[j] - largest).exp() / total;
        }
    }
    let n_events = n_events as f64;
    (loss / n_events, gradient.into_iter().map(|g| g / n_events).collect())
}

/// The derivative of the risk score by each logit: `d(-sum S_k) / dz_j = h_j (S_j + .. + S_n)`.
pub fn risk_gradient(logits: [f64; N_BINS]) -> [f64; N_BINS] {
    let DiscreteSurvival { hazards, survival } = DiscreteSurvival::from_logits(logits);
    std::array::from_fn(|j| hazards[j] * survival[j..].iter().sum::<f64>())
}

/// The derivative of an output's risk by each of its numbers.
///
/// # Errors
/// If the head is a mixture of times, which no loss of risks trains.
pub fn risk_gradient_of(output: &HeadOutput) -> Result<Vec<f64>> {
    match output.head {
        Head::LogRisk { .. } => Ok(vec![1.0; output.values.len()]),
        Head::Hazards | Head::TimeMixture { .. } => Ok(risk_gradient(output.logits()?).to_vec()),
    }
}

/// The cumulative hazard at each of `ends` of a slide whose log risk is 0, given the log risks of others (Breslow, 1974): the sum
/// over events up to then of `1 / sum_{j at risk} exp(risk_j)`.
///
/// ```
/// use survival_metrics::Status::{Censored, Event};
///
/// let hazard = cf_train::loss::breslow(&[0.0, 0.0, 0.0], &[1.0, 2.0, 3.0], &[Event, Censored, Event], [0.5, 1.0, 2.5, 3.0]);
/// assert_eq!(hazard, [0.0, 1.0 / 3.0, 1.0 / 3.0, 4.0 / 3.0]);
/// ```
pub fn breslow(risk: &[f64], time: &[f64], status: &[Status], ends: [f64; N_BINS]) -> [f64; N_BINS] {
    let largest = risk.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    let steps: Vec<(f64, f64)> = (0..risk.len())
        .filter(|&i| status[i] == Status::Event)
        .map(|i| {
            let at_risk = (0..risk.len()).filter(|&j| time[j] >= time[i]);
            (time[i], (-largest).exp() / at_risk.map(|j| (risk[j] - largest).exp()).sum::<f64>())
        })
        .collect();
    ends.map(|end| steps.iter().filter(|(time, _)| *time <= end).map(|(_, step)| step).sum())
}

/// A sum of weighted logs with its gradient by the logits.
struct Total {
    distribution: DiscreteSurvival,
    loss: f64,
    gradient: [f64; N_BINS],
}

impl Total {
    fn new(logits: [f64; N_BINS]) -> Self {
        Self { distribution: DiscreteSurvival::from_logits(logits), loss: 0.0, gradient: [0.0; N_BINS] }
    }

    /// Survival of the first `n` bins.
    fn survival(&self, n: usize) -> f64 {
        if n == 0 { 1.0 } else { self.distribution.survival[n - 1] }
    }

    /// `weight * ln S_n`; `d ln S_n / dz_j = -h_j` for the first n bins.
    fn add_log_survival(&mut self, weight: f64, n: usize) {
        let survival = self.survival(n);
        self.loss += weight * floored(survival).ln();
        if survival > FLOOR {
            for j in 0..n {
                self.gradient[j] -= weight * self.distribution.hazards[j];
            }
        }
    }

    /// `weight * ln(1 - S_n)`.
    fn add_log_death(&mut self, weight: f64, n: usize) {
        let survival = self.survival(n);
        let death = 1.0 - survival;
        self.loss += weight * floored(death).ln();
        if death > FLOOR {
            for j in 0..n {
                self.gradient[j] += weight * survival / death * self.distribution.hazards[j];
            }
        }
    }

    /// `weight * ln h_bin`; `d ln h / dz = 1 - h`.
    fn add_log_hazard(&mut self, weight: f64, bin: usize) {
        let hazard = self.distribution.hazards[bin];
        self.loss += weight * floored(hazard).ln();
        if hazard > FLOOR {
            self.gradient[bin] += weight * (1.0 - hazard);
        }
    }
}

impl From<Total> for LossGradient {
    fn from(total: Total) -> Self {
        Self { loss: total.loss, gradient: total.gradient }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn logits_that_are_no_numbers_give_no_loss() {
        for at in 0..N_BINS {
            let mut logits = [0.5; N_BINS];
            logits[at] = f64::NAN;
            for status in [Status::Event, Status::Censored] {
                // Of the last bin's patient every logit counts.
                let losses = [nll(logits, 3, status, 0.2), cross_entropy(logits, 3, status, 0.2)];
                assert!(losses.iter().all(|at| at.loss.is_nan()), "{at} {status:?}: {losses:?}");
            }
        }
        // A certain and wrong prediction has a loss, of the floor.
        assert_eq!(nll([1e4; N_BINS], 3, Status::Censored, 0.0).loss, -FLOOR.ln());
    }
}
