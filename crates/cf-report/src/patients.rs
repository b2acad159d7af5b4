//! From slide predictions to patients: subjects of a survival test, and facts of the cohort.

use std::collections::HashMap;

use survival_metrics::{KaplanMeier, Outcome};

use crate::error::{Error, Result};
use crate::report::PredictionRow;

/// One subject of a survival test.
#[derive(Debug, Clone)]
pub(crate) struct Subject<'a> {
    pub(crate) patient_id: &'a str,
    /// That of the first slide.
    pub(crate) fold: usize,
    /// That of each slide behind the risk.
    pub(crate) folds: Vec<usize>,
    pub(crate) outcome: Outcome,
    pub(crate) risk: f64,
    /// Predicted survival past the end of each time bin of the fold.
    pub(crate) survival: Vec<f64>,
}

/// Every slide as a subject.
pub(crate) fn slides(predictions: &[PredictionRow]) -> Vec<Subject<'_>> {
    predictions.iter().map(subject).collect()
}

fn subject(row: &PredictionRow) -> Subject<'_> {
    let PredictionRow { patient_id, fold, outcome, risk, survival, .. } = row;
    let folds = vec![*fold];
    Subject { patient_id, fold: *fold, folds, outcome: *outcome, risk: *risk, survival: survival.clone() }
}

/// Every patient as a subject, in order of first appearance, with the mean risk and mean survival of the slides.
///
/// # Errors
/// [`Error::ConflictingOutcomes`] if two slides of a patient disagree.
pub(crate) fn patients(predictions: &[PredictionRow]) -> Result<Vec<Subject<'_>>> {
    slides_by_patient(predictions).iter().filter_map(|slides| patient(slides).transpose()).collect()
}

/// The patient with these slides; `None` without any.
fn patient<'a>(slides: &[&'a PredictionRow]) -> Result<Option<Subject<'a>>> {
    let Some(&first) = slides.first() else {
        return Ok(None);
    };
    if let Some(other) = slides.iter().find(|row| row.outcome != first.outcome) {
        return Err(Error::ConflictingOutcomes {
            patient_id: first.patient_id.clone(),
            first_slide_id: first.slide_id.clone(),
            second_slide_id: other.slide_id.clone(),
        });
    }
    let n = slides.len() as f64;
    let mean_survival =
        |(k, _): (usize, &f64)| slides.iter().filter_map(|row| row.survival.get(k)).sum::<f64>() / n;
    Ok(Some(Subject {
        folds: slides.iter().map(|row| row.fold).collect(),
        risk: slides.iter().map(|row| row.risk).sum::<f64>() / n,
        survival: first.survival.iter().enumerate().map(mean_survival).collect(),
        ..subject(first)
    }))
}

/// The slides of each patient, in order of first appearance.
fn slides_by_patient(predictions: &[PredictionRow]) -> Vec<Vec<&PredictionRow>> {
    let mut patient_idx: HashMap<&str, usize> = HashMap::new();
    let mut slides_of: Vec<Vec<&PredictionRow>> = Vec::new();
    for row in predictions {
        let next = slides_of.len();
        match slides_of.get_mut(*patient_idx.entry(&row.patient_id).or_insert(next)) {
            Some(slides) => slides.push(row),
            None => slides_of.push(vec![row]),
        }
    }
    slides_of
}

/// How many patients the predictions hold, and how their slides are spread.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct PatientFacts {
    pub(crate) n_patients: usize,
    pub(crate) n_event_patients: usize,
    pub(crate) n_with_several_slides: usize,
    pub(crate) most_slides: usize,
    /// Median follow-up by the reverse Kaplan-Meier method, in which events and censorings change places
    /// (Schemper & Smith 1996). `None` if it is not reached.
    pub(crate) median_follow_up_months: Option<f64>,
}

/// Facts of the patients behind the predictions, or `None` without predictions.
///
/// # Errors
/// [`Error::ConflictingOutcomes`] if two slides of a patient disagree.
pub(crate) fn patient_facts(predictions: &[PredictionRow]) -> Result<Option<PatientFacts>> {
    if predictions.is_empty() {
        return Ok(None);
    }
    let subjects = patients(predictions)?;
    let outcomes: Vec<Outcome> = subjects.iter().map(|subject| subject.outcome).collect();
    let follow_up = KaplanMeier::follow_up(&outcomes)?;
    let n_slides: Vec<usize> = slides_by_patient(predictions).iter().map(Vec::len).collect();
    Ok(Some(PatientFacts {
        n_patients: subjects.len(),
        n_event_patients: subjects.iter().filter(|subject| subject.outcome.is_event()).count(),
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
