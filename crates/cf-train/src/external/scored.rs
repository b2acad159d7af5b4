//! The slides of a cohort with their outcomes and what models say of them.

use std::collections::BTreeMap;

use survival_metrics::Outcome;

use crate::cohort::Slide;
use crate::ensemble::{Columns, Scores, TrainedRun};
use crate::evaluate::Risks;

/// What models say of the slides of a cohort.
pub(super) struct ScoredSlides {
    /// Whose they are, in the order of the table.
    pub(super) slides: Vec<Slide>,
    /// Folds of the models.
    pub(super) folds: Vec<usize>,
    /// By each model, in the order of `folds`.
    pub(super) by_model: Vec<Risks>,
    /// Mean over the models.
    pub(super) averaged: Risks,
    /// As the tables have it.
    pub(super) columns: Columns,
    /// Why nothing is known of survival, as a clause about the run, if so.
    pub(super) no_survival: Option<&'static str>,
    /// Months between which averaged curves are straight; none where nothing is known of survival.
    pub(super) knots: Vec<f64>,
    /// Of each slide: its curve at `knots`.
    pub(super) curves: Vec<Vec<f64>>,
    /// Of the patients that the models were trained on, each once; none where the run does not say them.
    pub(super) train_outcomes: Vec<Outcome>,
}

impl ScoredSlides {
    /// `scores` are of `slides`, in their order, by the models of `run`; survival is asked for at `months`.
    pub(super) fn new(slides: &[Slide], run: &TrainedRun, (scores, months): (&Scores, &[f64])) -> Self {
        let risks = |risk: &Vec<f64>| Risks {
            outcomes: slides.iter().map(|slide| slide.outcome).collect(),
            risk: risk.clone(),
            patients: slides.iter().map(|slide| slide.patient_id.clone()).collect(),
        };
        let knots = scores.survival.as_ref().map_or_else(|_| Vec::new(), |survival| survival.knots());
        let train = run.train_risks().unwrap_or_default();
        let trained: BTreeMap<&String, Outcome> = train
            .iter()
            .flat_map(|risks| risks.patients.iter().zip(risks.outcomes.iter().copied()))
            .collect();
        Self {
            slides: slides.to_vec(),
            folds: scores.folds.clone(),
            by_model: scores.by_model.iter().map(risks).collect(),
            averaged: risks(&scores.averaged),
            columns: Columns::of_slides(scores, months),
            curves: (0..slides.len()).map(|slide| scores.survival_at(slide, &knots)).collect(),
            knots,
            no_survival: scores.survival.as_ref().err().copied(),
            train_outcomes: trained.into_values().collect(),
        }
    }
}
