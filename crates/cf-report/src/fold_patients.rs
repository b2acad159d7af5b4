//! The patients of each fold with their predicted survival curves, and the patients that the fold was trained on.

use survival_metrics::{CurveLookup, Outcome, PredictedSurvival, Risk};

use crate::error::Result;
use crate::external::ExternalReport;
use crate::number::{counted, fixed};
use crate::patients::Subject;
use crate::report::{CrossValidationReport, FoldReport};

/// Whose follow-up says how likely it is to be censored, which the scores are weighted by.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum FollowUp {
    /// That of the patients trained on.
    Trained,
    /// That of the patients scored: another cohort is followed otherwise than the one trained on.
    Scored,
}

/// The validation patients of one fold, or those of an external test.
#[derive(Debug, Clone)]
pub(crate) struct FoldPatients<'a> {
    pub(crate) fold: usize,
    pub(crate) patient_ids: Vec<&'a str>,
    pub(crate) outcomes: Vec<Outcome>,
    pub(crate) risk: Risk,
    /// Straight between the ends of the time bins, from 1 at time 0: as if events were spread evenly over a bin (Kvamme &
    /// Borgan, Lifetime Data Anal. 27 (2021) 710-736). After the last bin the last value holds.
    /// `None` where no survival is predicted.
    pub(crate) curves: Option<PredictedSurvival>,
    pub(crate) train: &'a [Outcome],
    pub(crate) follow_up: FollowUp,
    /// Patients of an external test whose follow-up ends here when the predictions do.
    pub(crate) n_followed_longer: usize,
}

impl<'a> FoldPatients<'a> {
    /// One entry per fold that scored patients, in the order of the report; `patients` are those of each fold.
    ///
    /// # Errors
    /// If a predicted survival is no probability or the edges of the time bins do not ascend.
    pub(crate) fn of(report: &'a CrossValidationReport, patients: &[Subject<'a>]) -> Result<Vec<Self>> {
        let of_fold = |fold: &'a FoldReport| -> Option<Result<Self>> {
            let members: Vec<&Subject<'a>> =
                patients.iter().filter(|patient| patient.fold == fold.fold).collect();
            let ends = fold.time_bin_edges_months.get(1..).unwrap_or_default();
            let ends = report.no_survival.is_none().then_some(ends);
            (!members.is_empty() && ends.is_none_or(|ends| !ends.is_empty()))
                .then(|| Self::new(fold.fold, ends, &members, (&fold.train_outcomes, FollowUp::Trained)))
        };
        report.folds.iter().filter_map(of_fold).collect()
    }

    /// The patients of an external test; `None` where there are none. Who was followed for longer than curves are predicted is
    /// censored when they end: what the models say nothing of is not held against them.
    ///
    /// # Errors
    /// As [`FoldPatients::of`], of the months of the curves.
    pub(crate) fn tested(report: &'a ExternalReport, patients: &[Subject<'a>]) -> Result<Option<Self>> {
        if patients.is_empty() {
            return Ok(None);
        }
        let members: Vec<&Subject<'a>> = patients.iter().collect();
        let train = (report.train_outcomes.as_slice(), FollowUp::Scored);
        let months = (!report.survival_months.is_empty()).then_some(report.survival_months.as_slice());
        let mut tested = Self::new(0, months, &members, train)?;
        let end = report.survival_months.last().copied().unwrap_or(f64::INFINITY);
        for outcome in tested.outcomes.iter_mut().filter(|outcome| outcome.time() > end) {
            *outcome = Outcome::censored(end)?;
            tested.n_followed_longer += 1;
        }
        Ok(Some(tested))
    }

    /// That patients of an external test were followed for longer than their curves are predicted, if so.
    pub(crate) fn reach(&self) -> Option<String> {
        let end = self.curves.as_ref().and_then(|curves| curves.grid().last().copied()).unwrap_or_default();
        (self.n_followed_longer > 0).then(|| {
            format!(
                "All models predict survival up to {} months, the times that they were trained on. {} for longer; scores over time and \
                 calibration take what is known of them until then.",
                fixed(end, 1),
                counted(self.n_followed_longer, "patient was followed", "patients were followed")
            )
        })
    }

    fn new(
        fold: usize,
        ends: Option<&[f64]>,
        members: &[&Subject<'a>],
        (train, follow_up): (&'a [Outcome], FollowUp),
    ) -> Result<Self> {
        let survival = || members.iter().flat_map(|patient| patient.survival.iter().copied()).collect();
        let curves = |ends| PredictedSurvival::new(ends, survival(), CurveLookup::Linear);
        let risk: Vec<f64> = members.iter().map(|patient| patient.risk).collect();
        Ok(Self {
            fold,
            patient_ids: members.iter().map(|patient| patient.patient_id).collect(),
            outcomes: members.iter().map(|patient| patient.outcome).collect(),
            risk: Risk::new(&risk)?,
            curves: ends.map(curves).transpose()?,
            train,
            follow_up,
            n_followed_longer: 0,
        })
    }

    /// Predicted survival of every patient at `months`; of none where it is not predicted.
    pub(crate) fn survival_at(&self, months: f64) -> impl Iterator<Item = f64> + '_ {
        let curves = self.curves.iter();
        curves.flat_map(move |curves| (0..self.outcomes.len()).map(move |patient| curves.at(patient, months)))
    }

    /// Predicted survival of every patient at the own time; of none where it is not predicted.
    pub(crate) fn survival_at_own_time(&self) -> impl Iterator<Item = f64> + '_ {
        let own = |(patient, outcome): (usize, &Outcome), curves: &PredictedSurvival| {
            curves.at(patient, outcome.time())
        };
        let curves = self.curves.iter();
        curves.flat_map(move |curves| self.outcomes.iter().enumerate().map(move |of| own(of, curves)))
    }
}
