//! What each subject and each event time adds to a fitted model, and the test of proportional hazards.

use super::moments::Moments;
use super::pass::Subject;
use super::{CoxModel, CoxTest};
use crate::error::{Error, Result};
use crate::kaplan_meier::KaplanMeier;
use crate::survival_data::SurvivalData;
use crate::symmetric::{Cholesky, dot, times_vector};
use crate::wald::Contrast;

/// Share of all that subjects do to a coefficient up to which what clusters do is rounding, and what is left of the score at the maximum.
const ROUNDING: f64 = 1e-10;

/// The events of one time in one stratum.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct EventTime {
    time: f64,
    pub(super) log_likelihood: f64,
    /// Covariates of those with events minus what was expected: the Schoenfeld residuals of the time, summed.
    pub(super) score: Vec<f64>,
    pub(super) information: Vec<Vec<f64>>,
    /// Expected covariates, averaged over the steps of Efron's method.
    mean: Vec<f64>,
    /// Hazard of a subject that survives the time, and the expected covariates in it.
    hazard: Moments,
    /// The same of a subject with an event at the time, which in Efron's method is at risk in part.
    own_hazard: Moments,
}

impl EventTime {
    pub(super) fn new(time: f64, p: usize) -> Self {
        Self {
            time,
            log_likelihood: 0.0,
            score: vec![0.0; p],
            information: vec![vec![0.0; p]; p],
            mean: vec![0.0; p],
            hazard: Moments::none(p),
            own_hazard: Moments::none(p),
        }
    }

    /// Adds a subject with an event.
    ///
    /// - `tied`: all with events at the time. Both parts of the score are counted from their mean: near 0 they would otherwise be the
    ///   rounding of larger numbers.
    pub(super) fn add_observed(&mut self, eta: f64, z: &[f64], tied: &Moments) {
        self.log_likelihood += eta;
        for ((score, z), origin) in self.score.iter_mut().zip(z).zip(&tied.mean) {
            *score += z - origin;
        }
    }

    /// Adds what was expected of one event among `others` and what is left of those `tied`.
    ///
    /// - `gone`: the share of the latter that counts as gone. `part`: that of this event among those of the time.
    pub(super) fn add_expected(&mut self, others: &Moments, tied: &Moments, gone: f64, part: f64) {
        let mut all = others.clone();
        let of_others = all.add(tied, (1.0 - gone).ln(), &vec![0.0; tied.mean.len()]);
        self.log_likelihood -= all.ln_sum;
        let one = Moments::empty_set(tied.mean.len());
        self.hazard.add(&one, -all.ln_sum, &all.mean);
        self.own_hazard.add(&one, (1.0 - gone).ln() - all.ln_sum, &all.mean);
        for (k, m) in all.mean.iter().enumerate() {
            self.score[k] -= of_others * (others.mean[k] - tied.mean[k]);
            self.mean[k] += part * m;
            for (cell, v) in self.information[k].iter_mut().zip(&all.covariance[k]) {
                *cell += v;
            }
        }
    }
}

#[derive(Debug, Clone, PartialEq)]
pub(super) struct Residuals {
    /// By the caller's order.
    pub(super) martingale: Vec<f64>,
    score: Vec<Vec<f64>>,
    pub(super) baseline: Vec<(f64, f64)>,
    /// Log hazard of a subject with mean covariates against one at the origin of the standardised ones.
    at_means: f64,
    n_strata: usize,
    events: Vec<EventTime>,
    /// Of all subjects, for the scale of time in the test of proportional hazards.
    survival: KaplanMeier,
}

impl Residuals {
    pub(super) fn new(data: &SurvivalData, p: usize, at_means: f64) -> Self {
        Self {
            martingale: vec![0.0; data.len()],
            score: vec![vec![0.0; p]; data.len()],
            baseline: Vec::new(),
            at_means,
            n_strata: 0,
            events: Vec::new(),
            survival: KaplanMeier::fit_sample(data),
        }
    }

    /// Adds a stratum: its subjects, latest first, and its event times, earliest first.
    pub(super) fn add_stratum(&mut self, subjects: &[Subject], beta: &[f64], events: Vec<EventTime>) {
        let p = beta.len();
        let unmoved = vec![0.0; p];
        let mut hazard = Moments::none(p);
        let mut next = events.iter().peekable();
        let mut reversed = subjects.iter().rev().peekable();
        let mut baseline = Vec::new();
        while let Some(time) = reversed.peek().map(|s| s.time) {
            let event = next.next_if(|e| e.time == time);
            let own_hazard = event.map(|event| {
                let mut own_hazard = hazard.clone();
                own_hazard.add(&event.own_hazard, 0.0, &unmoved);
                hazard.add(&event.hazard, 0.0, &unmoved);
                baseline.push((time, (hazard.ln_sum + self.at_means).exp()));
                own_hazard
            });
            while let Some(subject) = reversed.next_if(|s| s.time == time) {
                let own = event.filter(|_| subject.is_event);
                let passed = own_hazard.as_ref().filter(|_| subject.is_event).unwrap_or(&hazard);
                // A subject's own weight is among those that its hazard is divided by, so that the product is small.
                let expected = (dot(beta, &subject.z) + passed.ln_sum).exp();
                self.martingale[subject.index] = f64::from(u8::from(subject.is_event)) - expected;
                for (k, cell) in self.score[subject.index].iter_mut().enumerate() {
                    let z = subject.z[k];
                    *cell = own.map_or(0.0, |event| z - event.mean[k]) - expected * (z - passed.mean[k]);
                }
            }
        }
        if self.n_strata == 0 {
            self.baseline = baseline;
        }
        self.n_strata += 1;
        self.events.extend(events);
    }

    /// What each cluster, or each subject without clusters, does to the coefficients, as an estimate of each.
    pub(super) fn influences(
        &self,
        data: &SurvivalData,
        beta: &[f64],
        covariance: &[Vec<f64>],
    ) -> Vec<Contrast> {
        let (cluster_of, n_clusters) = data.cluster_numbers();
        let none = |&estimate: &f64| Contrast { estimate, influence: vec![0.0; n_clusters], rounding: 0.0 };
        let mut contrasts: Vec<Contrast> = beta.iter().map(none).collect();
        for (score, &cluster) in self.score.iter().zip(cluster_of.iter()) {
            for (contrast, change) in contrasts.iter_mut().zip(times_vector(covariance, score)) {
                contrast.influence[cluster as usize] += change;
                contrast.rounding += ROUNDING * change.abs();
            }
        }
        contrasts
    }
}

/// Covariance of what is estimated with these influences.
pub(super) fn sandwich(contrasts: &[Contrast]) -> Vec<Vec<f64>> {
    let row = |a: &Contrast| contrasts.iter().map(|b| dot(&a.influence, &b.influence)).collect();
    contrasts.iter().map(row).collect()
}

/// Score test of coefficients that change with time.
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[derive(Debug, Clone, PartialEq)]
pub struct ProportionalHazardsTest {
    /// One test per covariate.
    pub covariates: Vec<CoxTest>,
    /// All covariates together.
    pub global: CoxTest,
}

impl CoxModel {
    /// Tests proportional hazards: whether coefficients are constant, against a slope in `1 - S(t-)`, S the Kaplan-Meier curve
    /// of the sample (R `cox.zph` with `transform = "km"`).
    ///
    /// Source: Grambsch & Therneau, Biometrika 81 (1994) 515-526, as the score test of R `survival` 3.
    ///
    /// # Errors
    /// [`Error::Unsupported`] with exact ties; [`Error::ZeroVariance`] with a single event time.
    pub fn proportional_hazards_test(&self) -> Result<ProportionalHazardsTest> {
        let residuals = self.residuals.as_ref().ok_or(Error::Unsupported {
            statistic: "the test of proportional hazards",
            attribute: "exact ties",
        })?;
        let p = self.coefficients.len();
        let elapsed = |t: f64| 1.0 - residuals.survival.survival_at(t.next_down());
        // Any origin gives the same test; the mean keeps the sums small.
        let n_events: f64 = residuals.events.len() as f64;
        let origin = residuals.events.iter().map(|e| elapsed(e.time)).sum::<f64>() / n_events;
        let mut slope_score = vec![0.0; p];
        let zeros = || vec![vec![0.0; p]; p];
        let (mut constant, mut mixed, mut slope) = (zeros(), zeros(), zeros());
        for event in &residuals.events {
            let g = elapsed(event.time) - origin;
            slope_score.iter_mut().zip(&event.score).for_each(|(sum, score)| *sum += g * score);
            for (matrix, factor) in [(&mut constant, 1.0), (&mut mixed, g), (&mut slope, g * g)] {
                for (row, added) in matrix.iter_mut().zip(&event.information) {
                    row.iter_mut().zip(added).for_each(|(cell, v)| *cell += factor * v);
                }
            }
        }
        let inverse = Cholesky::new(&constant).map_err(|_| Error::ZeroVariance)?;
        let projected: Vec<Vec<f64>> = mixed.iter().map(|row| inverse.solve(row)).collect();
        let remaining: Vec<Vec<f64>> =
            (0..p).map(|k| (0..p).map(|l| slope[k][l] - dot(&projected[k], &mixed[l])).collect()).collect();
        let factor = Cholesky::new(&remaining).map_err(|_| Error::ZeroVariance)?;
        let single = |k: usize| CoxTest::new(slope_score[k] * slope_score[k] / remaining[k][k], 1);
        Ok(ProportionalHazardsTest {
            covariates: (0..p).map(single).collect(),
            global: CoxTest::new(dot(&slope_score, &factor.solve(&slope_score)), p),
        })
    }
}
