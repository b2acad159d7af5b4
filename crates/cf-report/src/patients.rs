//! From slide predictions to patients: subjects of a survival test, and facts of the cohort.

use std::collections::HashMap;
use std::hash::Hash;

use survival_metrics::{KaplanMeier, Outcome};

use crate::error::{Error, Result};
use crate::report::PredictionRow;
use crate::wording::validated_twice;

/// One subject of a survival test.
#[derive(Debug, Clone)]
pub(crate) struct Subject<'a> {
    pub(crate) patient_id: &'a str,
    /// That of the first prediction.
    pub(crate) fold: usize,
    /// That of each prediction behind the risk.
    pub(crate) folds: Vec<usize>,
    pub(crate) outcome: Outcome,
    pub(crate) risk: f64,
    /// Predicted survival past the end of each time bin of the fold; empty where it is of several folds, whose bins differ.
    pub(crate) survival: Vec<f64>,
}

impl Subject<'_> {
    /// Whether its risk is the mean over the models of several folds.
    pub(crate) fn is_of_several_folds(&self) -> bool {
        self.folds.iter().any(|&fold| fold != self.fold)
    }
}

/// Every slide as a subject, once; what several folds predict of it is averaged.
///
/// # Errors
/// [`Error::ConflictingOutcomes`] if two predictions of a slide disagree.
pub(crate) fn slides(predictions: &[PredictionRow]) -> Result<Vec<Subject<'_>>> {
    subjects(predictions, |row| (&row.patient_id, &row.slide_id))
}

/// Every slide as a subject of each fold that scored it.
pub(crate) fn slides_in_folds(predictions: &[PredictionRow]) -> Vec<Subject<'_>> {
    predictions.iter().map(subject).collect()
}

/// Every patient as a subject, once, in order of first appearance, with the mean risk of the slides, and their mean survival where they are of one fold.
///
/// # Errors
/// [`Error::ConflictingOutcomes`] if two slides of a patient disagree.
pub(crate) fn patients(predictions: &[PredictionRow]) -> Result<Vec<Subject<'_>>> {
    subjects(predictions, |row| &row.patient_id)
}

/// Every patient as a subject of each fold that scored slides of theirs.
///
/// # Errors
/// As [`patients`].
pub(crate) fn patients_in_folds(predictions: &[PredictionRow]) -> Result<Vec<Subject<'_>>> {
    subjects(predictions, |row| (row.fold, &row.patient_id))
}

/// A subject of the predictions that share a key, in order of first appearance.
fn subjects<'a, K: Hash + Eq>(
    predictions: &'a [PredictionRow],
    key: impl Fn(&'a PredictionRow) -> K,
) -> Result<Vec<Subject<'a>>> {
    grouped(predictions, key).iter().filter_map(|rows| averaged(rows).transpose()).collect()
}

fn subject(row: &PredictionRow) -> Subject<'_> {
    let PredictionRow { patient_id, fold, outcome, risk, survival, .. } = row;
    let folds = vec![*fold];
    Subject { patient_id, fold: *fold, folds, outcome: *outcome, risk: *risk, survival: survival.clone() }
}

/// The subject of these predictions; `None` without any.
fn averaged<'a>(rows: &[&'a PredictionRow]) -> Result<Option<Subject<'a>>> {
    let Some(&first) = rows.first() else {
        return Ok(None);
    };
    if let Some(other) = rows.iter().find(|row| row.outcome != first.outcome) {
        return Err(Error::ConflictingOutcomes {
            patient_id: first.patient_id.clone(),
            first_slide_id: first.slide_id.clone(),
            second_slide_id: other.slide_id.clone(),
        });
    }
    let n = rows.len() as f64;
    let mean_survival =
        |(k, _): (usize, &f64)| rows.iter().filter_map(|row| row.survival.get(k)).sum::<f64>() / n;
    let of_one_fold = rows.iter().all(|row| row.fold == first.fold);
    let survival = first.survival.iter().enumerate().filter(|_| of_one_fold).map(mean_survival).collect();
    Ok(Some(Subject {
        folds: rows.iter().map(|row| row.fold).collect(),
        risk: rows.iter().map(|row| row.risk).sum::<f64>() / n,
        survival,
        ..subject(first)
    }))
}

/// The members of each group, groups in order of first appearance.
pub(crate) fn grouped<'a, T, K: Hash + Eq>(members: &'a [T], key: impl Fn(&'a T) -> K) -> Vec<Vec<&'a T>> {
    let mut group_idx: HashMap<K, usize> = HashMap::new();
    let mut groups: Vec<Vec<&T>> = Vec::new();
    for member in members {
        let next = groups.len();
        match groups.get_mut(*group_idx.entry(key(member)).or_insert(next)) {
            Some(group) => group.push(member),
            None => groups.push(vec![member]),
        }
    }
    groups
}

/// How many patients and slides the predictions hold, each counted once, and how slides and folds are spread.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct PatientFacts {
    pub(crate) n_patients: usize,
    pub(crate) n_event_patients: usize,
    pub(crate) n_slides: usize,
    /// Slides whose patient had the event.
    pub(crate) n_event_slides: usize,
    /// Patients whom several folds validate.
    pub(crate) n_validated_twice: usize,
    pub(crate) n_with_several_slides: usize,
    pub(crate) most_slides: usize,
    /// Median follow-up by the reverse Kaplan-Meier method, in which events and censorings change places
    /// (Schemper & Smith 1996). `None` if it is not reached.
    pub(crate) median_follow_up_months: Option<f64>,
}

impl PatientFacts {
    /// [`validated_twice`] of these patients.
    pub(crate) fn validated_twice(self) -> Option<String> {
        validated_twice(self.n_validated_twice, self.n_patients)
    }
}

/// Facts of the patients behind the predictions, or `None` without predictions.
///
/// # Errors
/// [`Error::ConflictingOutcomes`] if two slides of a patient disagree.
pub(crate) fn patient_facts(predictions: &[PredictionRow]) -> Result<Option<PatientFacts>> {
    if predictions.is_empty() {
        return Ok(None);
    }
    let (patients, slides) = (patients(predictions)?, slides(predictions)?);
    let outcomes: Vec<Outcome> = patients.iter().map(|patient| patient.outcome).collect();
    let follow_up = KaplanMeier::follow_up(&outcomes)?;
    let n_slides: Vec<usize> = grouped(&slides, |slide| slide.patient_id).iter().map(Vec::len).collect();
    Ok(Some(PatientFacts {
        n_patients: patients.len(),
        n_event_patients: patients.iter().filter(|patient| patient.outcome.is_event()).count(),
        n_slides: slides.len(),
        n_event_slides: slides.iter().filter(|slide| slide.outcome.is_event()).count(),
        n_validated_twice: patients.iter().filter(|patient| patient.is_of_several_folds()).count(),
        n_with_several_slides: n_slides.iter().filter(|&&n| n > 1).count(),
        most_slides: n_slides.into_iter().max().unwrap_or(0),
        median_follow_up_months: follow_up.median_survival(),
    }))
}

#[cfg(test)]
mod tests {
    use survival_metrics::Status;

    use super::*;

    fn row(patient: &str, slide: &str, time: f64, status: Status, risk: f64) -> PredictionRow {
        PredictionRow {
            case_id: patient.to_owned(),
            slide_id: slide.to_owned(),
            patient_id: patient.to_owned(),
            fold: 0,
            outcome: Outcome::new(time, status).expect("a valid time"),
            risk,
            survival: vec![risk.abs() / 8.0],
        }
    }

    #[test]
    fn risk_of_a_patient_is_the_mean_over_slides() {
        let rows = [
            row("b", "b1", 3.0, Status::Event, 1.0),
            row("a", "a1", 9.0, Status::Censored, -1.0),
            row("b", "b2", 3.0, Status::Event, 4.0),
        ];
        let subjects = patients(&rows).expect("consistent outcomes");
        assert_eq!(subjects.iter().map(|s| s.risk).collect::<Vec<_>>(), [2.5, -1.0]);
        assert_eq!(subjects.iter().map(|s| s.survival.as_slice()).collect::<Vec<_>>(), [[0.3125], [0.125]]);
        let facts = patient_facts(&rows).expect("consistent outcomes").expect("three rows");
        assert_eq!((facts.n_patients, facts.n_event_patients), (2, 1));
        assert_eq!((facts.n_with_several_slides, facts.most_slides), (1, 2));
        assert_eq!((facts.n_slides, facts.n_event_slides, facts.n_validated_twice), (3, 2, 0));
    }

    #[test]
    fn a_slide_that_two_folds_score_is_one_slide_and_two_of_their_subjects() {
        let of_fold = |fold, row| PredictionRow { fold, ..row };
        let rows = [
            of_fold(0, row("a", "a1", 3.0, Status::Event, 1.0)),
            of_fold(0, row("a", "a2", 3.0, Status::Event, 2.0)),
            of_fold(0, row("b", "b1", 9.0, Status::Censored, 5.0)),
            of_fold(2, row("b", "b1", 9.0, Status::Censored, 8.0)),
            of_fold(2, row("a", "a2", 3.0, Status::Event, 6.0)),
        ];
        let told = |subjects: &[Subject<'_>]| -> Vec<(String, usize, f64)> {
            subjects.iter().map(|s| (s.patient_id.to_owned(), s.fold, s.risk)).collect()
        };
        let once = |patient: &str, fold, risk| (patient.to_owned(), fold, risk);
        assert_eq!(
            told(&patients_in_folds(&rows).expect("consistent")),
            [once("a", 0, 1.5), once("b", 0, 5.0), once("b", 2, 8.0), once("a", 2, 6.0)]
        );
        assert_eq!(told(&slides_in_folds(&rows)).len(), 5);
        assert_eq!(
            told(&slides(&rows).expect("consistent")),
            [once("a", 0, 1.0), once("a", 0, 4.0), once("b", 0, 6.5)]
        );
        assert_eq!(told(&patients(&rows).expect("consistent")), [once("a", 0, 3.0), once("b", 0, 6.5)]);
        // Bins of two folds have the same number and other times.
        let n_bins =
            |subjects: Vec<Subject<'_>>| subjects.iter().map(|s| s.survival.len()).collect::<Vec<_>>();
        assert_eq!(n_bins(slides(&rows).expect("consistent")), [1, 0, 0]);
        assert_eq!(n_bins(patients_in_folds(&rows).expect("consistent")), [1; 4]);
        let facts = patient_facts(&rows).expect("consistent").expect("rows");
        assert_eq!((facts.n_patients, facts.n_slides, facts.n_event_slides), (2, 3, 2));
        assert_eq!((facts.n_validated_twice, facts.n_with_several_slides, facts.most_slides), (2, 1, 2));
    }

    #[test]
    fn follow_up_counts_censorings_as_the_end() {
        let rows = [
            row("a", "a1", 1.0, Status::Event, 0.0),
            row("b", "b1", 10.0, Status::Censored, 0.0),
            row("c", "c1", 20.0, Status::Censored, 0.0),
            row("d", "d1", 30.0, Status::Censored, 0.0),
        ];
        let facts = patient_facts(&rows).expect("valid").expect("four rows");
        assert_eq!(facts.median_follow_up_months, Some(20.0));
        assert_eq!(patient_facts(&[]).expect("valid"), None);
    }
}
