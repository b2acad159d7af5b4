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

/// Standard deviations of the models' risks that are further apart than this are told: the mean then follows the model with the largest.
const LARGEST_RATIO_OF_SPREADS: f64 = 3.0;

impl ScoredSlides {
    /// What is to know of the averaged risk where the models' risks spread unevenly, as those of Cox models may: each has a scale of its own.
    pub(super) fn uneven_spread(&self) -> Option<String> {
        let spread = |risks: &Risks| {
            let n = risks.risk.len() as f64;
            let mean = risks.risk.iter().sum::<f64>() / n;
            (risks.risk.iter().map(|risk| (risk - mean).powi(2)).sum::<f64>() / n).sqrt()
        };
        let spreads = || self.folds.iter().zip(self.by_model.iter().map(spread));
        let (widest, most) = spreads().max_by(|a, b| a.1.total_cmp(&b.1))?;
        let (narrowest, least) = spreads().min_by(|a, b| a.1.total_cmp(&b.1))?;
        if least == 0.0 && most > 0.0 {
            return Some(format!(
                "risks of the model of fold {narrowest} are all equal: it adds nothing to the mean"
            ));
        }
        (most > LARGEST_RATIO_OF_SPREADS * least).then(|| {
            format!(
                "risks of the model of fold {widest} spread {:.1} times as far as those of fold {narrowest} (standard deviation over the \
                 slides), so that their mean follows those that spread most; each model's own C-index is beside it",
                most / least
            )
        })
    }
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn models_whose_risks_spread_unevenly_are_told_of() {
        let scored = |scales: &[f64]| {
            let risks = |risk: Vec<f64>| Risks { outcomes: Vec::new(), risk, patients: Vec::new() };
            let by_model =
                scales.iter().map(|scale| risks([1.0, -1.0, 1.0, -1.0].map(|x| x * scale + 7.0).to_vec()));
            ScoredSlides {
                slides: Vec::new(),
                folds: (0..scales.len()).map(|at| at + 2).collect(),
                by_model: by_model.collect(),
                averaged: risks(Vec::new()),
            }
        };
        assert_eq!(scored(&[1.0, 2.9, 1.5]).uneven_spread(), None);
        assert_eq!(scored(&[0.0]).uneven_spread(), None);
        let told = scored(&[1.0, 3.25, 0.5]).uneven_spread().unwrap();
        assert!(
            told.starts_with("risks of the model of fold 3 spread 6.5 times as far as those of fold 4"),
            "{told}"
        );
        assert!(scored(&[0.0, 1.0]).uneven_spread().unwrap().contains("of fold 2 are all equal"));
    }
}
