//! One pass over the sample: the log partial likelihood with its first two derivatives.

use super::CoxTies;
use super::residuals::{EventTime, Residuals};
use crate::survival_data::SurvivalData;
use crate::symmetric::dot;

/// The sample in the order of the sums, with standardised covariates.
pub(super) struct Pass {
    ties: CoxTies,
    /// Per stratum: subjects by time, latest first.
    strata: Vec<Vec<Subject>>,
    /// Means of the covariates as given.
    pub(super) means: Vec<f64>,
    /// Their standard deviations.
    pub(super) scales: Vec<f64>,
}

#[derive(Debug, Clone)]
pub(super) struct Subject {
    pub(super) time: f64,
    pub(super) is_event: bool,
    pub(super) z: Vec<f64>,
    /// Position in the caller's slices.
    pub(super) index: usize,
}

#[derive(Debug, Clone)]
pub(super) struct Likelihood {
    pub(super) log_likelihood: f64,
    pub(super) score: Vec<f64>,
    pub(super) information: Vec<Vec<f64>>,
}

/// Sums of `exp(eta)`, and of it times covariates and their products.
#[derive(Debug, Clone)]
struct Moments {
    s0: f64,
    s1: Vec<f64>,
    s2: Vec<Vec<f64>>,
}

impl Moments {
    fn new(p: usize) -> Self {
        Self { s0: 0.0, s1: vec![0.0; p], s2: vec![vec![0.0; p]; p] }
    }

    fn add(&mut self, r: f64, z: &[f64]) {
        self.s0 += r;
        for (k, &a) in z.iter().enumerate() {
            self.s1[k] += r * a;
            for (cell, &b) in self.s2[k].iter_mut().zip(z) {
                *cell += r * a * b;
            }
        }
    }

    /// Mean and covariance of the covariates under these weights less `share` of `tied`.
    fn without(&self, tied: &Self, share: f64) -> (f64, Vec<f64>, Vec<Vec<f64>>) {
        let s0 = self.s0 - share * tied.s0;
        let mean: Vec<f64> = self.s1.iter().zip(&tied.s1).map(|(a, t)| (a - share * t) / s0).collect();
        let of_row = |(k, (row, tied)): (usize, (&Vec<f64>, &Vec<f64>))| {
            let cells = row.iter().zip(tied).zip(&mean);
            cells.map(|((a, t), m)| (a - share * t) / s0 - mean[k] * m).collect()
        };
        let covariance = self.s2.iter().zip(&tied.s2).enumerate().map(of_row).collect();
        (s0, mean, covariance)
    }
}

impl Pass {
    pub(super) fn new(data: &SurvivalData, covariates: &[Vec<f64>], ties: CoxTies) -> Self {
        let n = data.len() as f64;
        let means: Vec<f64> = covariates.iter().map(|x| x.iter().sum::<f64>() / n).collect();
        let spread =
            |(x, m): (&Vec<f64>, &f64)| (x.iter().map(|x| (x - m) * (x - m)).sum::<f64>() / n).sqrt();
        let scales: Vec<f64> = covariates.iter().zip(&means).map(spread).collect();
        let subject = |&i: &u32| {
            let index = i as usize;
            let of = |((x, m), s): ((&Vec<f64>, &f64), &f64)| (x[index] - m) / s;
            let outcome = data.outcome(i);
            Subject {
                time: outcome.time(),
                is_event: outcome.is_event(),
                z: covariates.iter().zip(&means).zip(&scales).map(of).collect(),
                index,
            }
        };
        let strata = data.stratum_orders().map(|rows| rows.iter().rev().map(subject).collect()).collect();
        Self { ties, strata, means, scales }
    }

    fn n_covariates(&self) -> usize {
        self.means.len()
    }

    pub(super) fn likelihood(&self, beta: &[f64]) -> Likelihood {
        let p = self.n_covariates();
        let mut sum =
            Likelihood { log_likelihood: 0.0, score: vec![0.0; p], information: vec![vec![0.0; p]; p] };
        for subjects in &self.strata {
            match self.ties {
                CoxTies::Exact => exact(subjects, beta, &mut sum),
                CoxTies::Efron | CoxTies::Breslow => self.walk(subjects, beta, &mut |event| {
                    sum.log_likelihood += event.log_likelihood;
                    for (k, part) in event.score.iter().enumerate() {
                        sum.score[k] += part;
                        for (cell, v) in sum.information[k].iter_mut().zip(&event.information[k]) {
                            *cell += v;
                        }
                    }
                }),
            }
        }
        sum
    }

    pub(super) fn residuals(&self, data: &SurvivalData, beta: &[f64]) -> Residuals {
        let mut residuals = Residuals::new(data, self.n_covariates());
        for subjects in &self.strata {
            let mut events = Vec::new();
            self.walk(subjects, beta, &mut |event| events.push(event));
            events.reverse();
            residuals.add_stratum(subjects, beta, events);
        }
        residuals
    }

    /// Visits the event times of one stratum, latest first (Breslow and Efron).
    fn walk(&self, subjects: &[Subject], beta: &[f64], visit: &mut dyn FnMut(EventTime)) {
        let p = self.n_covariates();
        let mut at_risk = Moments::new(p);
        for same_time in subjects.chunk_by(|a, b| a.time == b.time) {
            let mut tied = Moments::new(p);
            let mut eta_sum = 0.0;
            let mut n_events = 0;
            for subject in same_time {
                let eta = dot(beta, &subject.z);
                at_risk.add(eta.exp(), &subject.z);
                if subject.is_event {
                    n_events += 1;
                    eta_sum += eta;
                    tied.add(eta.exp(), &subject.z);
                }
            }
            if n_events == 0 {
                continue;
            }
            let mut score = vec![0.0; p];
            for subject in same_time.iter().filter(|s| s.is_event) {
                score.iter_mut().zip(&subject.z).for_each(|(sum, z)| *sum += z);
            }
            let mut event = EventTime::new(same_time.first().map_or(0.0, |s| s.time), p);
            event.log_likelihood = eta_sum;
            event.score = score;
            for k in 0..n_events {
                let share =
                    if self.ties == CoxTies::Efron { f64::from(k) / f64::from(n_events) } else { 0.0 };
                let (s0, mean, covariance) = at_risk.without(&tied, share);
                event.add(s0, &mean, &covariance, share, 1.0 / f64::from(n_events));
            }
            visit(event);
        }
    }
}

/// The exact likelihood: sums over all sets of as many subjects at risk as there are events.
///
/// The sums are elementary symmetric polynomials of `exp(eta)`; they and their derivatives grow by one subject at a
/// time (Gail, Lubin & Rubinstein 1981).
fn exact(subjects: &[Subject], beta: &[f64], sum: &mut Likelihood) {
    let p = beta.len();
    let most = subjects
        .chunk_by(|a, b| a.time == b.time)
        .map(|same| same.iter().filter(|s| s.is_event).count())
        .max()
        .unwrap_or(0);
    // By size of set.
    let mut sets: Vec<Sets> = vec![Sets::none(p); most + 1];
    if let Some(empty) = sets.first_mut() {
        empty.ln_sum = 0.0;
    }
    for same_time in subjects.chunk_by(|a, b| a.time == b.time) {
        for subject in same_time {
            let eta = dot(beta, &subject.z);
            for size in (1..=most).rev() {
                let (smaller, larger) = sets.split_at_mut(size);
                if let (Some(from), Some(to)) = (smaller.last(), larger.first_mut()) {
                    to.add_with(from, eta, &subject.z);
                }
            }
        }
        let dying = || same_time.iter().filter(|s| s.is_event);
        let n_events = dying().count();
        let Some(all) = sets.get(n_events).filter(|_| n_events > 0) else { continue };
        sum.log_likelihood += dying().map(|s| dot(beta, &s.z)).sum::<f64>() - all.ln_sum;
        for (k, (score, mean)) in sum.score.iter_mut().zip(&all.mean).enumerate() {
            *score += dying().map(|s| s.z[k]).sum::<f64>() - mean;
        }
        for (row, added) in sum.information.iter_mut().zip(&all.covariance) {
            row.iter_mut().zip(added).for_each(|(cell, v)| *cell += v);
        }
    }
}

/// All sets of one size among the subjects so far, each weighted by the product of its members' `exp(eta)`.
///
/// Their sum is kept as its logarithm: 2,000 subjects have 1e325 sets of 250.
#[derive(Debug, Clone)]
struct Sets {
    ln_sum: f64,
    /// Mean and covariance over the sets of their sums of covariates.
    mean: Vec<f64>,
    covariance: Vec<Vec<f64>>,
}

impl Sets {
    fn none(p: usize) -> Self {
        Self { ln_sum: f64::NEG_INFINITY, mean: vec![0.0; p], covariance: vec![vec![0.0; p]; p] }
    }

    /// Adds the sets of `smaller` with one more subject.
    fn add_with(&mut self, smaller: &Self, eta: f64, z: &[f64]) {
        if smaller.ln_sum == f64::NEG_INFINITY {
            return;
        }
        let added = smaller.ln_sum + eta;
        let lead = self.ln_sum - added;
        let share = 1.0 / (1.0 + lead.exp());
        self.ln_sum = self.ln_sum.max(added) + (-lead.abs()).exp().ln_1p();
        let shifts = |mean: &[f64], k: usize| smaller.mean[k] + z[k] - mean[k];
        for (k, row) in self.covariance.iter_mut().enumerate() {
            for (l, cell) in row.iter_mut().enumerate() {
                let between = (1.0 - share) * shifts(&self.mean, k) * shifts(&self.mean, l);
                *cell += share * (smaller.covariance[k][l] - *cell + between);
            }
        }
        for (k, mean) in self.mean.iter_mut().enumerate() {
            *mean += share * (smaller.mean[k] + z[k] - *mean);
        }
    }
}
