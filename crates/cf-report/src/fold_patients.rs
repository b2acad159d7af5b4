//! The patients of each fold with their predicted survival curves, and the patients that the fold was trained on.

use survival_metrics::{CurveLookup, Outcome, PredictedSurvival, Risk};

use crate::error::Result;
use crate::patients::Subject;
use crate::report::{CrossValidationReport, FoldReport};

/// The validation patients of one fold.
#[derive(Debug, Clone)]
pub(crate) struct FoldPatients<'a> {
    pub(crate) fold: usize,
    pub(crate) outcomes: Vec<Outcome>,
    pub(crate) risk: Risk,
    /// Straight between the ends of the time bins, from 1 at time 0: as if events were spread evenly over a bin (Kvamme &
    /// Borgan, Lifetime Data Anal. 27 (2021) 710-736). After the last bin the last value holds.
    pub(crate) curves: PredictedSurvival,
    pub(crate) train: &'a [Outcome],
}

impl<'a> FoldPatients<'a> {
    /// One entry per fold that scored patients, in the order of the report.
    ///
    /// # Errors
    /// If a predicted survival is no probability or the edges of the time bins do not ascend.
    pub(crate) fn of(report: &'a CrossValidationReport, patients: &[Subject<'_>]) -> Result<Vec<Self>> {
        let of_fold = |fold: &'a FoldReport| -> Option<Result<Self>> {
            let members: Vec<&Subject<'_>> =
                patients.iter().filter(|patient| patient.fold == fold.fold).collect();
            let ends = fold.time_bin_edges_months.get(1..).unwrap_or_default();
            (!members.is_empty() && !ends.is_empty()).then(|| Self::new(fold, ends, &members))
        };
        report.folds.iter().filter_map(of_fold).collect()
    }

    fn new(fold: &'a FoldReport, ends: &[f64], members: &[&Subject<'_>]) -> Result<Self> {
        let survival = members.iter().flat_map(|patient| patient.survival.iter().copied()).collect();
        let risk: Vec<f64> = members.iter().map(|patient| patient.risk).collect();
        Ok(Self {
            fold: fold.fold,
            outcomes: members.iter().map(|patient| patient.outcome).collect(),
            risk: Risk::new(&risk)?,
            curves: PredictedSurvival::new(ends, survival, CurveLookup::Linear)?,
            train: &fold.train_outcomes,
        })
    }

    /// Predicted survival of every patient at `months`.
    pub(crate) fn survival_at(&self, months: f64) -> impl Iterator<Item = f64> + '_ {
        (0..self.outcomes.len()).map(move |patient| self.curves.at(patient, months))
    }

    /// Predicted survival of every patient at the own time.
    pub(crate) fn survival_at_own_time(&self) -> impl Iterator<Item = f64> + '_ {
        self.outcomes.iter().enumerate().map(|(patient, outcome)| self.curves.at(patient, outcome.time()))
    }
}
