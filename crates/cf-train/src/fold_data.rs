//! One fold, ready to train: who is in which part, and in which time bin.

use std::collections::BTreeSet;

use rand::seq::SliceRandom;
use survival_metrics::{Outcome, Status};

use crate::cohort::{Cohort, Slide};
use crate::config::TrainingConfig;
use crate::folds::Fold;
use crate::loss;
use crate::protocol::Protocol;
use crate::seed::stream;
use crate::time_bins::TimeBins;

/// A slide with what its outcome means to the loss.
#[derive(Debug, Clone, PartialEq)]
pub struct LabelledSlide {
    /// The slide.
    pub slide: Slide,
    /// Its time bin, from 0.
    pub bin: usize,
}

impl LabelledSlide {
    /// Whether the event was seen.
    pub fn status(&self) -> Status {
        self.slide.outcome.status()
    }

    /// What a loss reads of it.
    pub(crate) fn outcome(&self) -> loss::Outcome {
        loss::Outcome { bin: self.bin, time_months: self.slide.outcome.time(), status: self.status() }
    }
}

/// The parts of one fold.
#[derive(Debug, Clone)]
pub struct FoldData {
    /// Its number.
    pub fold: usize,
    /// Time bins, fitted as the protocol says.
    pub bins: TimeBins,
    /// Slides trained on.
    pub train: Vec<LabelledSlide>,
    /// Training patients held out to select the epoch; empty where the protocol selects otherwise.
    pub inner_validation: Vec<LabelledSlide>,
    /// Slides validated on.
    pub validation: Vec<LabelledSlide>,
}

impl FoldData {
    /// Fits the time bins (`paper`: all slides of the table; `sound`: the slides trained on) and labels every slide.
    ///
    /// # Errors
    /// If the bins can't be fitted; the text says why.
    pub fn new(cohort: &Cohort, fold: &Fold, training: &TrainingConfig) -> Result<Self, String> {
        let slides = |indices: &[usize]| -> Vec<Slide> {
            indices.iter().map(|&index| cohort.slides()[index].clone()).collect()
        };
        let (train, inner_validation) = hold_out(slides(&fold.train), training, fold.fold);
        if training.inner_validation > 0.0 && inner_validation.is_empty() {
            return Err(format!(
                "fold {}: training.inner_validation is {}, of which not one training patient is held out; set a larger share, or 0",
                fold.fold, training.inner_validation
            ));
        }
        if training.inner_validation > 0.0 && !train.iter().any(|slide| slide.outcome.is_event()) {
            return Err(format!(
                "fold {}: training.inner_validation is {}, which holds every training patient with the event out of training; \
                 set a smaller share",
                fold.fold, training.inner_validation
            ));
        }
        let bins = match training.protocol {
            Protocol::Paper => TimeBins::fit(&cohort.outcomes()),
            Protocol::Sound => {
                TimeBins::fit(&train.iter().map(|slide| slide.outcome).collect::<Vec<Outcome>>())
            }
        }
        .map_err(|reason| {
            let inner = match (training.protocol, training.inner_validation > 0.0) {
                (Protocol::Sound, true) => ", hold fewer patients out (training.inner_validation)",
                _ => "",
            };
            let way_out = "give times that are not rounded, or more patients with the event";
            format!("time bins of fold {}: {reason}; {way_out}{inner}", fold.fold)
        })?;
        let label = |slides: Vec<Slide>| -> Vec<LabelledSlide> {
            let bin = |slide: &Slide| bins.bin_of(slide.outcome.time());
            slides.into_iter().map(|slide| LabelledSlide { bin: bin(&slide), slide }).collect()
        };
        Ok(Self {
            fold: fold.fold,
            train: label(train),
            inner_validation: label(inner_validation),
            validation: label(slides(&fold.validation)),
            bins,
        })
    }

    /// Why training would leave the model as it was drawn, if it would: in `paper`, a group of bags that does not fill up makes no
    /// step.
    pub(crate) fn without_a_step(&self, training: &TrainingConfig) -> Option<String> {
        let n_draws = self.train.len() * training.max_epochs;
        (training.protocol == Protocol::Paper && training.accumulation > n_draws).then(|| {
            format!(
                "fold {}: training.accumulation is {}, more than the {n_draws} bags that {} epochs of {} training slides are, so that \
                 not one optimiser step is made; set at most {n_draws}, or more training.max_epochs",
                self.fold,
                training.accumulation,
                training.max_epochs,
                self.train.len()
            )
        })
    }
}

/// Splits off the inner validation patients: the asked share of the patients with an event and of those without.
fn hold_out(slides: Vec<Slide>, training: &TrainingConfig, fold: usize) -> (Vec<Slide>, Vec<Slide>) {
    if training.inner_validation == 0.0 {
        return (slides, Vec::new());
    }
    let mut rng = stream(training.seed, &format!("inner validation/fold {fold}"));
    let mut held_out = BTreeSet::new();
    for status in [Status::Event, Status::Censored] {
        let patients: BTreeSet<&str> = slides
            .iter()
            .filter(|slide| slide.outcome.status() == status)
            .map(|slide| slide.patient_id.as_str())
            .collect();
        let mut patients: Vec<&str> = patients.into_iter().collect();
        patients.shuffle(&mut rng);
        let n_held_out = (training.inner_validation * patients.len() as f64).round() as usize;
        held_out.extend(patients.into_iter().take(n_held_out).map(str::to_owned));
    }
    slides.into_iter().partition(|slide| !held_out.contains(&slide.patient_id))
}
