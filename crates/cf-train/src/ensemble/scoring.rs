//! Every slide through every model.

use std::sync::atomic::{AtomicBool, Ordering};

use survival_metrics::{CurveLookup, PredictedSurvival};

use super::slide_bags::{FaultyBags, FaultySlide};
use super::trained_run::FoldModel;
use crate::bags::BagSource;
use crate::error::{Error, Result};
use crate::evaluate::Risks;
use crate::event::Event;

/// What models say of slides.
pub(crate) struct Scores {
    /// Folds of the models.
    pub(crate) folds: Vec<usize>,
    /// By each model, in the order of `folds`; of each slide, in the order in which they were given.
    pub(crate) by_model: Vec<Vec<f64>>,
    /// Mean over the models.
    pub(crate) averaged: Vec<f64>,
    /// Or why the models predict none, as a clause about their run.
    pub(crate) survival: std::result::Result<AveragedSurvival, &'static str>,
}

/// Predicted survival, averaged over models whose time bins differ.
pub(crate) struct AveragedSurvival {
    /// Of each model; straight between the ends of its time bins, as in the reports of cross-validation.
    by_model: Vec<PredictedSurvival>,
    /// Up to when every model predicts, in months.
    last_month: f64,
}

impl AveragedSurvival {
    /// Survival of a slide, by its place among the slides, past each of `months`.
    pub(crate) fn at(&self, slide: usize, months: &[f64]) -> Vec<f64> {
        let mean = |&months: &f64| {
            let sum: f64 = self.by_model.iter().map(|curves| curves.at(slide, months)).sum();
            sum / self.by_model.len() as f64
        };
        months.iter().map(mean).collect()
    }

    /// Months between which, and before the first of which, the averaged curves are straight, too: the ends of all models' time bins, up to
    /// the last that every model knows.
    pub(crate) fn knots(&self) -> Vec<f64> {
        let ends = self.by_model.iter().flat_map(|curves| curves.grid().iter().copied());
        let mut knots: Vec<f64> = ends.filter(|end| *end <= self.last_month).collect();
        knots.sort_by(f64::total_cmp);
        knots.dedup();
        knots
    }
}

/// Standard deviations of the models' risks that are further apart than this are told: the mean then follows the model with the largest.
const LARGEST_RATIO_OF_SPREADS: f64 = 3.0;
/// Fewer slides say next to nothing of how far risks spread.
const FEWEST_TO_SPREAD: usize = 20;

impl Scores {
    /// Survival of a slide past each of `months`, which [`Ensemble::check_months`](super::Ensemble::check_months) let pass.
    pub(crate) fn survival_at(&self, slide: usize, months: &[f64]) -> Vec<f64> {
        self.survival.as_ref().map_or_else(|_| Vec::new(), |survival| survival.at(slide, months))
    }

    /// What is to know of the averaged risk where the models' risks spread unevenly, as those of Cox models may: each has a scale of its own.
    /// `train` are the risks of what each was trained on; without them the slides tell, if they are enough.
    pub(super) fn uneven_spread(&self, train: Option<&[Risks]>) -> Option<String> {
        let (by_model, of_what): (Vec<&Vec<f64>>, _) = match train {
            Some(train) => (train.iter().map(|risks| &risks.risk).collect(), "the slides it was trained on"),
            None => (self.by_model.iter().collect(), "the slides"),
        };
        if by_model.iter().any(|risks| risks.len() < FEWEST_TO_SPREAD) {
            return None;
        }
        let spread = |risks: &&Vec<f64>| {
            let n = risks.len() as f64;
            let mean = risks.iter().sum::<f64>() / n;
            (risks.iter().map(|risk| (risk - mean).powi(2)).sum::<f64>() / n).sqrt()
        };
        let spreads = || self.folds.iter().zip(by_model.iter().map(spread));
        let (widest, most) = spreads().max_by(|a, b| a.1.total_cmp(&b.1))?;
        let (narrowest, least) = spreads().min_by(|a, b| a.1.total_cmp(&b.1))?;
        if least == 0.0 && most > 0.0 {
            return Some(format!(
                "risks of the model of fold {narrowest} are all equal: it adds nothing to the mean"
            ));
        }
        (most > LARGEST_RATIO_OF_SPREADS * least).then(|| {
            format!(
                "risks of the model of fold {widest} spread {:.1} times as far as those of fold {narrowest} (standard deviation over \
                 {of_what}), so that their mean follows those that spread most; what each model says is beside it",
                most / least
            )
        })
    }
}

/// Passes each bag, which is read once, through every model. Also returns the slides that were left out.
///
/// # Errors
/// If a bag can't be read and is not to be left out, a pass fails or gives no finite number; [`Error::ScoringInterrupted`] if `stop` was set.
pub(super) fn score(
    (slides, faulty_bags): (&[String], FaultyBags),
    bags: &BagSource,
    (models, last_month): (&[FoldModel], std::result::Result<f64, &'static str>),
    stop: &AtomicBool,
    observe: &mut dyn FnMut(Event),
) -> Result<(Scores, Vec<FaultySlide>)> {
    let mut by_model = vec![Vec::with_capacity(slides.len()); models.len()];
    let mut averaged = Vec::with_capacity(slides.len());
    let mut left_out = Vec::new();
    let mut survival: Vec<Vec<f64>> = vec![Vec::new(); models.len()];
    for (n_done, bag) in (0..).zip(bags.load(slides.to_vec())) {
        observe(Event::Scored { n_done, n_slides: slides.len() });
        if stop.load(Ordering::Relaxed) {
            return Err(Error::ScoringInterrupted { n_done, n_slides: slides.len() });
        }
        let (slide_id, bag) = match bag {
            Ok(read) => read,
            Err(error) => {
                left_out.push(faulty_bags.leave_out(error)?);
                continue;
            }
        };
        let mut sum = 0.0;
        for (model, (risks, survival)) in models.iter().zip(by_model.iter_mut().zip(&mut survival)) {
            let prediction = model.model.predict(&slide_id, &bag, bags.device())?;
            risks.push(prediction.risk);
            survival.extend(prediction.survival);
            sum += prediction.risk;
        }
        averaged.push(sum / models.len() as f64);
    }
    observe(Event::Scored { n_done: slides.len(), n_slides: slides.len() });
    let curves = models.iter().zip(survival).map(|(model, survival)| {
        // The first edge is where the first bin begins.
        let ends = model.model.time_bin_edges_months.as_deref().and_then(|edges| edges.get(1..))?;
        Some(PredictedSurvival::new(ends, survival, CurveLookup::Linear))
    });
    let curves =
        curves.collect::<Option<survival_metrics::Result<Vec<_>>>>().transpose()?.unwrap_or_default();
    let scores = Scores {
        folds: models.iter().map(|model| model.fold).collect(),
        by_model,
        averaged,
        survival: last_month.map(|last_month| AveragedSurvival { by_model: curves, last_month }),
    };
    Ok((scores, left_out))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn averaged_curves_are_straight_between_the_ends_of_all_time_bins() {
        let model = |ends: &[f64], values: &[f64]| {
            PredictedSurvival::new(ends, values.to_vec(), CurveLookup::Linear).unwrap()
        };
        // Two slides by two models, one of which knows later times.
        let by_model = vec![
            model(&[4.0, 10.0], &[0.8, 0.2, 0.9, 0.7]),
            model(&[3.0, 10.0, 20.0], &[0.6, 0.5, 0.1, 1.0, 0.4, 0.0]),
        ];
        let averaged = AveragedSurvival { by_model, last_month: 10.0 };
        // Straight from 1 to 0.8 in 4 months, and from 1 to 0.6 in 3.
        assert!((averaged.at(0, &[2.0])[0] - (0.9 + (1.0 - 0.8 / 3.0)) / 2.0).abs() < 1e-15);
        let knots = averaged.knots();
        assert_eq!(knots, [3.0, 4.0, 10.0], "nothing is said of what one model alone knows");
        let on_knots = PredictedSurvival::new(
            &knots,
            [averaged.at(0, &knots), averaged.at(1, &knots)].concat(),
            CurveLookup::Linear,
        );
        let on_knots = on_knots.unwrap();
        for month in (1..=20).map(|half| f64::from(half) / 2.0) {
            for slide in [0, 1] {
                let (direct, by_knots) = (averaged.at(slide, &[month])[0], on_knots.at(slide, month));
                assert!((direct - by_knots).abs() < 1e-15, "slide {slide}, {month} months");
            }
        }
    }

    #[test]
    fn models_whose_risks_spread_unevenly_are_told_of() {
        let scored = |scales: &[f64]| Scores {
            folds: (0..scales.len()).map(|at| at + 2).collect(),
            by_model: scales
                .iter()
                .map(|scale| [1.0, -1.0].repeat(10).iter().map(|x| x * scale + 7.0).collect())
                .collect(),
            averaged: Vec::new(),
            survival: Err("nothing is known"),
        };
        assert_eq!(scored(&[1.0, 2.9, 1.5]).uneven_spread(None), None);
        assert_eq!(scored(&[0.0]).uneven_spread(None), None);
        let told = scored(&[1.0, 3.25, 0.5]).uneven_spread(None).unwrap();
        assert!(
            told.starts_with("risks of the model of fold 3 spread 6.5 times as far as those of fold 4"),
            "{told}"
        );
        assert!(scored(&[0.0, 1.0]).uneven_spread(None).unwrap().contains("of fold 2 are all equal"));
        // Two slides tell nothing, whatever they are; the slides trained on tell.
        let few = Scores { by_model: vec![vec![1.0, 2.0], vec![1.0, 9.0]], ..scored(&[1.0, 1.0]) };
        assert_eq!(few.uneven_spread(None), None);
        let trained = |scale: f64| Risks {
            outcomes: Vec::new(),
            risk: scored(&[scale]).by_model.remove(0),
            patients: Vec::new(),
        };
        assert_eq!(few.uneven_spread(Some(&[trained(1.0), trained(2.0)])), None);
        let told = few.uneven_spread(Some(&[trained(1.0), trained(4.0)])).unwrap();
        assert!(
            told.contains("spread 4.0 times as far") && told.contains("the slides it was trained on"),
            "{told}"
        );
    }
}
