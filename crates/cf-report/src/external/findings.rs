//! The finding of an external test in plain language.

use super::{CutSource, ExternalAnalysis, ExternalReport};
use crate::findings::{Findings, discrimination, groups, interval, joined, probabilities, spread};
use crate::number::{counted, fixed};
use crate::wording::{Headline, headline_of};

/// What the page says before its tables.
pub(crate) struct ExternalFindings {
    pub(crate) findings: Findings,
    pub(crate) headlines: [Headline; 2],
    /// Where the cut comes from.
    pub(crate) cut: String,
}

impl ExternalFindings {
    pub(crate) fn of(report: &ExternalReport, analysis: &ExternalAnalysis) -> Self {
        let patients = &report.patient_c_index;
        let of = match report.folds.len() {
            1 => "of one model".to_owned(),
            n => format!("of the risk averaged over {n} models"),
        };
        let found = [
            Some(discrimination(patients.averaged, &of, "no two patients can be compared")),
            groups(Some(&analysis.patients)),
            probabilities(analysis.time_scores.as_ref().ok(), analysis.calibration.as_ref()),
        ];
        let n_events = analysis.facts.map_or(0, |facts| facts.n_event_patients);
        let certainty = [
            interval(&patients.of_averaged(), n_events, None),
            spread(&patients.folds, ["Every single model has", "Single models range"]),
            Some(fitted(report)),
            overlap(report),
            patients.averaged.map(|_| {
                "Intervals and p-values are about other patients of this cohort; they say nothing of another hospital, or of models \
                 that are trained again."
                    .to_owned()
            }),
        ];
        let headline = |level, key, units: &str, c_index: &super::ExternalCIndex| {
            let reading = match c_index.averaged {
                None => format!("No C-index: no pair of {units} can be compared."),
                Some(_) => format!("C-index of {units}, {of}.{}", no_interval(c_index.no_ci95.as_ref())),
            };
            headline_of((level, key, "averaged"), c_index.averaged, c_index.ci95, reading)
        };
        Self {
            findings: Findings { found: joined(&found), certainty: joined(&certainty) },
            headlines: [
                headline("Patient level", "patient_c_index", "patients", patients),
                headline("Slide level", "c_index", "slides", &report.c_index),
            ],
            cut: cut(report),
        }
    }
}

fn no_interval(reason: Option<&String>) -> String {
    reason.map_or_else(String::new, |reason| format!(" There is no confidence interval: {reason}."))
}

fn fitted(report: &ExternalReport) -> String {
    match report.cut_from {
        CutSource::Training if report.n_patients_of_run > 0 => "The cut between the groups was learned in training.",
        CutSource::Training => "Nothing was fitted or chosen on this cohort, the cut between the groups included.",
        CutSource::TestedCohort => {
            "The models were not fitted on this cohort; the cut between the groups is its own median, as the run does not say the risks \
             of its training."
        }
    }
    .to_owned()
}

fn overlap(report: &ExternalReport) -> Option<String> {
    (report.n_patients_of_run > 0).then(|| {
        format!(
            "{} of those scored here took part in the training run, too, which flatters every number: of them this is no external test.",
            counted(report.n_patients_of_run, "patient", "patients")
        )
    })
}

fn cut(report: &ExternalReport) -> String {
    let [slides, patients] = [report.cut, report.patient_cut].map(|cut| fixed(cut, 4));
    match report.cut_from {
        CutSource::Training => format!(
            "High risk is an averaged risk of at least the mean of the models’ median risks in training: {slides} for slides, {patients} \
             for patients, so that the groups need not be halves."
        ),
        CutSource::TestedCohort => format!(
            "High risk is an averaged risk of at least the median of this cohort: {slides} for slides, {patients} for patients. The run \
             does not say the risks of its training, from which a cut would be learned otherwise."
        ),
    }
}
