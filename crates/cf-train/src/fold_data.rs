//! One fold, ready to train: who is in which part, and in which time bin.

use std::collections::BTreeSet;

use rand::seq::SliceRandom;
use survival_metrics::{Outcome, Status};

use crate::cohort::{Cohort, Slide};
use crate::config::{InnerValidation, TrainingConfig};
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
    /// What the epoch is selected on, held out of training: some training patients, or a part of the split files; empty where the
    /// protocol selects otherwise.
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
        let (train, inner_validation) = match training.inner_validation {
            InnerValidation::Val => (slides(&fold.train), slides(&fold.choosing)),
            InnerValidation::Share(0.0) => (slides(&fold.train), Vec::new()),
            InnerValidation::Share(share) => hold_out(slides(&fold.train), share, training.seed, fold.fold)?,
        };
        let bins = match training.protocol {
            Protocol::Paper => TimeBins::fit(&cohort.outcomes()),
            Protocol::Sound => {
                TimeBins::fit(&train.iter().map(|slide| slide.outcome).collect::<Vec<Outcome>>())
            }
        }
        .map_err(|reason| {
            let inner = match (training.protocol, training.inner_validation) {
                (Protocol::Sound, InnerValidation::Share(share)) if share > 0.0 => {
                    ", hold fewer patients out (training.inner_validation)"
                }
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
fn hold_out(
    slides: Vec<Slide>,
    share: f64,
    seed: u64,
    fold: usize,
) -> Result<(Vec<Slide>, Vec<Slide>), String> {
    let mut rng = stream(seed, &format!("inner validation/fold {fold}"));
    let mut held_out = BTreeSet::new();
    for status in [Status::Event, Status::Censored] {
        let patients: BTreeSet<&str> = slides
            .iter()
            .filter(|slide| slide.outcome.status() == status)
            .map(|slide| slide.patient_id.as_str())
            .collect();
        let mut patients: Vec<&str> = patients.into_iter().collect();
        patients.shuffle(&mut rng);
        let n_held_out = (share * patients.len() as f64).round() as usize;
        held_out.extend(patients.into_iter().take(n_held_out).map(str::to_owned));
    }
    let (train, inner): (Vec<Slide>, Vec<Slide>) =
        slides.into_iter().partition(|slide| !held_out.contains(&slide.patient_id));
    let fault = |found: &str| Err(format!("fold {fold}: training.inner_validation is {share}, {found}"));
    if inner.is_empty() {
        return fault("of which not one training patient is held out; set a larger share, or 0");
    }
    if !train.iter().any(|slide| slide.outcome.is_event()) {
        return fault(
            "which holds every training patient with the event out of training; set a smaller share",
        );
    }
    Ok((train, inner))
}
