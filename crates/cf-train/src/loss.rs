//! The losses, in f64, with their gradients by the logits.
//!
//! A loss of four numbers needs no graph: its value and gradient are computed here, and the gradient is what the model's
//! backward pass starts from.

use cf_model::{DiscreteSurvival, N_BINS};
use survival_metrics::Status;

/// Logs are taken of `max(x, FLOOR)`; below it a term has no gradient, as in the released code.
const FLOOR: f64 = 1e-7;

/// A loss and its gradient by the logits of one slide.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct LossGradient {
    /// The loss.
    pub loss: f64,
    /// Its derivative by each logit.
    pub gradient: [f64; N_BINS],
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
        self.loss += weight * survival.max(FLOOR).ln();
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
        self.loss += weight * death.max(FLOOR).ln();
        if death > FLOOR {
            for j in 0..n {
                self.gradient[j] += weight * survival / death * self.distribution.hazards[j];
            }
        }
    }

    /// `weight * ln h_bin`; `d ln h / dz = 1 - h`.
    fn add_log_hazard(&mut self, weight: f64, bin: usize) {
        let hazard = self.distribution.hazards[bin];
        self.loss += weight * hazard.max(FLOOR).ln();
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
