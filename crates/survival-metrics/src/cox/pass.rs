//! One pass over the sample: the log partial likelihood with its first two derivatives.

use super::CoxTies;
use super::moments::Moments;
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
    /// Their medians, from which they are counted: beside one value far from all others, these keep their digits.
    centres: Vec<f64>,
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

impl Pass {
    pub(super) fn new(data: &SurvivalData, covariates: &[Vec<f64>], ties: CoxTies) -> Self {
        let n = data.len() as f64;
        let means: Vec<f64> = covariates.iter().map(|x| x.iter().sum::<f64>() / n).collect();
        let spread =
            |(x, m): (&Vec<f64>, &f64)| (x.iter().map(|x| (x - m) * (x - m)).sum::<f64>() / n).sqrt();
        let scales: Vec<f64> = covariates.iter().zip(&means).map(spread).collect();
        let centres: Vec<f64> = covariates.iter().map(|x| upper_median(x)).collect();
        let subject = |&i: &u32| {
            let index = i as usize;
            let of = |((x, c), s): ((&Vec<f64>, &f64), &f64)| (x[index] - c) / s;
            let outcome = data.outcome(i);
            Subject {
                time: outcome.time(),
                is_event: outcome.is_event(),
                z: covariates.iter().zip(&centres).zip(&scales).map(of).collect(),
                index,
            }
        };
        let strata = data.stratum_orders().map(|rows| rows.iter().rev().map(subject).collect()).collect();
        Self { ties, strata, means, centres, scales }
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
        let centred = self.means.iter().zip(&self.centres).zip(&self.scales).map(|((m, c), s)| (m - c) / s);
        let at_means = dot(beta, &centred.collect::<Vec<_>>());
        let mut residuals = Residuals::new(data, self.n_covariates(), at_means);
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
        let (one, unmoved) = (Moments::empty_set(p), vec![0.0; p]);
        let mut at_risk = Moments::none(p);
        for same_time in subjects.chunk_by(|a, b| a.time == b.time) {
            // Those with events are at risk in part; the others in full, as is everybody later.
            let mut tied = Moments::none(p);
            let mut n_events = 0;
            for subject in same_time {
                let eta = dot(beta, &subject.z);
                n_events += u32::from(subject.is_event);
                if subject.is_event { &mut tied } else { &mut at_risk }.add(&one, eta, &subject.z);
            }
            if n_events > 0 {
                let mut event = EventTime::new(same_time.first().map_or(0.0, |s| s.time), p);
                for subject in same_time.iter().filter(|s| s.is_event) {
                    event.add_observed(dot(beta, &subject.z), &subject.z, &tied);
                }
                for k in 0..n_events {
                    let gone =
                        if self.ties == CoxTies::Efron { f64::from(k) / f64::from(n_events) } else { 0.0 };
                    event.add_expected(&at_risk, &tied, gone, 1.0 / f64::from(n_events));
                }
                visit(event);
                at_risk.add(&tied, 0.0, &unmoved);
            }
        }
    }

    /// The most by which a change of the coefficients moves the log hazard of one subject against another's of its stratum.
    pub(super) fn spread(&self, change: &[f64]) -> f64 {
        let of_stratum = |subjects: &Vec<Subject>| {
            let moved = || subjects.iter().map(|subject| dot(change, &subject.z));
            moved().fold(f64::NEG_INFINITY, f64::max) - moved().fold(f64::INFINITY, f64::min)
        };
        self.strata.iter().map(of_stratum).fold(0.0, f64::max)
    }
}

/// The middle value, or the upper one of the middle two.
fn upper_median(values: &[f64]) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_unstable_by(f64::total_cmp);
    sorted.get(sorted.len() / 2).copied().unwrap_or(0.0)
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
    let mut sets = vec![Moments::none(p); most + 1];
    if let Some(empty) = sets.first_mut() {
        *empty = Moments::empty_set(p);
    }
    for same_time in subjects.chunk_by(|a, b| a.time == b.time) {
        for subject in same_time {
            let eta = dot(beta, &subject.z);
            for size in (1..=most).rev() {
                let (smaller, larger) = sets.split_at_mut(size);
                if let (Some(from), Some(to)) = (smaller.last(), larger.first_mut()) {
                    to.add(from, eta, &subject.z);
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
