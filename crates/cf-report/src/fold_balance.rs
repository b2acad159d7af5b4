//! How patients, events and time bins are spread over the folds.

use crate::patients::Subject;
use crate::report::{CrossValidationReport, FoldReport};

/// The validation patients of one fold.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct FoldBalance {
    pub(crate) fold: usize,
    pub(crate) n_patients: usize,
    pub(crate) n_event_patients: usize,
    /// One entry per time bin of the fold.
    pub(crate) bins: Vec<BinCount>,
}

/// The patients whose time lies in a bin; times outside all bins count in the outer ones, as in training.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct BinCount {
    pub(crate) n_events: usize,
    pub(crate) n_censored: usize,
}

impl FoldBalance {
    /// One entry per fold of the report.
    pub(crate) fn of(report: &CrossValidationReport, patients: &[Subject<'_>]) -> Vec<Self> {
        report.folds.iter().map(|fold| Self::of_fold(fold, patients)).collect()
    }

    fn of_fold(fold: &FoldReport, patients: &[Subject<'_>]) -> Self {
        let edges = &fold.time_bin_edges_months;
        let mut bins = vec![BinCount::default(); edges.len().saturating_sub(1)];
        let (mut n_patients, mut n_event_patients) = (0, 0);
        for patient in patients.iter().filter(|patient| patient.fold == fold.fold) {
            n_patients += 1;
            n_event_patients += usize::from(patient.outcome.is_event());
            let inner = edges.get(1..edges.len().saturating_sub(1)).unwrap_or_default();
            let bin = inner.iter().filter(|&&edge| patient.outcome.time() >= edge).count();
            if let Some(bin) = bins.get_mut(bin) {
                if patient.outcome.is_event() { bin.n_events += 1 } else { bin.n_censored += 1 }
            }
        }
        Self { fold: fold.fold, n_patients, n_event_patients, bins }
    }
}

#[cfg(test)]
mod tests {
    use survival_metrics::Outcome;

    use super::*;

    #[test]
    fn bins_hold_their_left_edge_and_the_outer_ones_all_beyond() {
        let fold = FoldReport {
            fold: 3,
            train_outcomes: Vec::new(),
            n_train_slides: 0,
            n_train_events: 0,
            n_validation_slides: 0,
            n_validation_patients: 0,
            n_validation_events: 0,
            time_bin_edges_months: vec![1.0, 5.0, 9.0],
            sites: None,
            selected_epoch: 0,
            c_index: None,
            patient_c_index: None,
            last_epoch_c_index: None,
            c_index_note: None,
            history: Vec::new(),
        };
        let patient = |fold, outcome: survival_metrics::Result<Outcome>| Subject {
            patient_id: "p",
            fold,
            folds: vec![fold],
            outcome: outcome.expect("a valid time"),
            risk: 0.0,
            survival: vec![0.5, 0.5],
        };
        let patients = [
            patient(3, Outcome::event(0.5)),
            patient(3, Outcome::event(5.0)),
            patient(3, Outcome::censored(99.0)),
            patient(4, Outcome::event(6.0)),
        ];
        let balance = FoldBalance::of_fold(&fold, &patients);
        assert_eq!((balance.n_patients, balance.n_event_patients), (3, 2));
        let bin = |n_events, n_censored| BinCount { n_events, n_censored };
        assert_eq!(balance.bins, [bin(1, 0), bin(1, 1)]);
    }
}
