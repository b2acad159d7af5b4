//! Every slide through every model.

use std::sync::atomic::{AtomicBool, Ordering};

use super::trained_run::FoldModel;
use crate::bags::BagSource;
use crate::cohort::Slide;
use crate::error::{Error, Result};
use crate::evaluate::Risks;
use crate::event::Event;

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

/// Passes each bag, which is read once, through every model.
///
/// # Errors
/// If a bag can't be read, a pass fails or gives no finite number; [`Error::TestInterrupted`] if `stop` was set.
pub(super) fn score(
    slides: &[Slide],
    bags: &BagSource,
    models: &[FoldModel],
    stop: &AtomicBool,
    observe: &mut dyn FnMut(Event),
) -> Result<ScoredSlides> {
    let empty = Risks {
        outcomes: slides.iter().map(|slide| slide.outcome).collect(),
        risk: Vec::with_capacity(slides.len()),
        patients: slides.iter().map(|slide| slide.patient_id.clone()).collect(),
    };
    let mut by_model = vec![empty.clone(); models.len()];
    let mut averaged = empty;
    let slide_ids = slides.iter().map(|slide| slide.slide_id.clone()).collect();
    for (n_done, bag) in (0..).zip(bags.load(slide_ids)) {
        observe(Event::Scored { n_done, n_slides: slides.len() });
        if stop.load(Ordering::Relaxed) {
            return Err(Error::TestInterrupted { n_done, n_slides: slides.len() });
        }
        let (slide_id, bag) = bag?;
        let mut sum = 0.0;
        for (model, risks) in models.iter().zip(&mut by_model) {
            let risk = model.model.predict(&slide_id, &bag, bags.device())?.risk;
            risks.risk.push(risk);
            sum += risk;
        }
        averaged.risk.push(sum / models.len() as f64);
    }
    observe(Event::Scored { n_done: slides.len(), n_slides: slides.len() });
    Ok(ScoredSlides {
        slides: slides.to_vec(),
        folds: models.iter().map(|model| model.fold).collect(),
        by_model,
        averaged,
    })
}
