//! From logits to hazards, a survival curve and a risk score, in discrete time.

/// Time bins of every model: quartiles of the uncensored survival times.
pub const N_BINS: usize = 4;

/// A discrete-time survival distribution over [`N_BINS`] intervals.
///
/// ```
/// let s = cf_model::DiscreteSurvival::from_logits([0.2, -0.4, 0.1, 0.9]);
/// assert!((s.risk() + 0.8847).abs() < 1e-4);
/// ```
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct DiscreteSurvival {
    /// `h_k = sigmoid(z_k)`: probability of the event in bin k, given survival up to it.
    pub hazards: [f64; N_BINS],
    /// `S_k = (1 - h_1) .. (1 - h_k)`: probability of surviving past bin k.
    pub survival: [f64; N_BINS],
}

impl DiscreteSurvival {
    /// The distribution that logits `z` describe.
    pub fn from_logits(logits: [f64; N_BINS]) -> Self {
        let hazards = logits.map(|z| 1.0 / (1.0 + (-z).exp()));
        let mut alive = 1.0;
        let survival = hazards.map(|hazard| {
            alive *= 1.0 - hazard;
            alive
        });
        Self { hazards, survival }
    }

    /// The distribution of a survival curve that was given at the ends of the bins.
    pub(crate) fn from_survival(survival: [f64; N_BINS]) -> Self {
        let mut alive = 1.0;
        let hazards = survival.map(|next| {
            let hazard = if alive > 0.0 { 1.0 - next / alive } else { 1.0 };
            alive = next;
            hazard
        });
        Self { hazards, survival }
    }

    /// `-(S_1 + .. + S_n)`: higher is worse.
    pub fn risk(&self) -> f64 {
        -self.survival.iter().sum::<f64>()
    }
}
