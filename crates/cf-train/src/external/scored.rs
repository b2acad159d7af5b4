//! The slides of a cohort with their outcomes and their risks.

use crate::cohort::Slide;
use crate::ensemble::Scores;
use crate::evaluate::Risks;

/// The risks of the slides of a cohort.
pub(super) struct ScoredSlides {
    /// Whose they are, in the order of the table.
    pub(super) slides: Vec<Slide>,
    /// Folds of the models.
    pub(super) folds: Vec<usize>,
    /// By each model, in the order of `folds`.
    pub(super) by_model: Vec<Risks>,
    /// Mean over the models.
    pub(super) averaged: Risks,
}

impl ScoredSlides {
    /// `scores` are of `slides`, in their order.
    pub(super) fn new(slides: &[Slide], scores: &Scores) -> Self {
        let risks = |risk: &Vec<f64>| Risks {
            outcomes: slides.iter().map(|slide| slide.outcome).collect(),
            risk: risk.clone(),
            patients: slides.iter().map(|slide| slide.patient_id.clone()).collect(),
        };
        Self {
            slides: slides.to_vec(),
            folds: scores.folds.clone(),
            by_model: scores.by_model.iter().map(risks).collect(),
            averaged: risks(&scores.averaged),
        }
    }
}
