//! The models of a finished run, applied together to slides that took no part in it: the risk of a slide is the mean over them.

mod columns;
mod scoring;
mod slide_bags;
mod trained_run;

use std::collections::BTreeSet;
use std::sync::atomic::AtomicBool;

use candle_core::Device;
use serde::{Deserialize, Serialize};
use survival_metrics::median_risk;
use wsi_bags::BagStore;

use crate::bags::BagSource;
use crate::byte_size::ByteSize;
use crate::config::FeaturesConfig;
use crate::device_memory;
use crate::error::{Error, Result};
use crate::evaluate::Risks;
use crate::event::Event;
use crate::input_hash::{self, InputRecord};
use crate::memory::MemoryBudget;
use crate::protocol;

pub(crate) use columns::Columns;
pub(crate) use scoring::Scores;
pub(crate) use trained_run::{FoldModel, TrainedRun};

pub(crate) use slide_bags::{FaultyBags, FaultySlide};
use slide_bags::{LISTED, SlideBags, none_left};

/// The run whose models were applied.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AppliedRun {
    /// Its directory, as it was given.
    pub dir: String,
    /// The cohort that it was trained on.
    pub cohort: String,
    /// How it was trained.
    pub protocol: String,
    /// Hash of the settings that its results depend on, as its checkpoints record it.
    pub config_hash: Option<String>,
    /// The models applied.
    pub checkpoints: Vec<AppliedCheckpoint>,
    /// Folds that the run has not finished.
    pub unfinished_folds: Vec<usize>,
}

/// The weights of one fold's model.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AppliedCheckpoint {
    /// The fold.
    pub fold: usize,
    /// The epoch that it selected.
    pub epoch: Option<usize>,
    /// SHA-256 of the file, hexadecimal.
    pub sha256: String,
}

impl AppliedRun {
    pub(crate) fn new(run: &TrainedRun, models: &[FoldModel]) -> Self {
        let checkpoint = |model: &FoldModel| AppliedCheckpoint {
            fold: model.fold,
            epoch: model.epoch(),
            sha256: model.input.sha256.clone(),
        };
        Self {
            dir: run.dir.display().to_string(),
            cohort: run.config.cohort.name.clone(),
            protocol: protocol::describe(&run.config),
            config_hash: models.first().and_then(|model| model.config_hash().map(str::to_owned)),
            checkpoints: models.iter().map(checkpoint).collect(),
            unfinished_folds: run.unfinished.clone(),
        }
    }
}

/// What came of slides.
pub(crate) struct Applied {
    /// Those that were scored, in the order in which they were given.
    pub(crate) slides: Vec<String>,
    /// Those whose bags can't be read.
    pub(crate) left_out: Vec<FaultySlide>,
    pub(crate) models: Vec<FoldModel>,
    pub(crate) bags: BagSource,
    pub(crate) scores: Scores,
    /// What is unlike the bags trained on, and what else is to know of the risks, in words.
    pub(crate) remarks: Vec<String>,
}

impl Applied {
    /// Hashes of the features of the slides and of the weights.
    ///
    /// # Errors
    /// If a file can't be read.
    pub(crate) fn inputs(&self, features: &FeaturesConfig) -> Result<Vec<InputRecord>> {
        let slides = self.slides.iter().map(String::as_str).collect();
        let features = input_hash::of_features(features, &slides, &self.bags)?;
        let weights = self.models.iter().map(|model| model.input.clone());
        Ok([features].into_iter().chain(weights).collect())
    }
}

/// Why models predict no survival, as a clause about their run.
const NO_TIME_BINS: &str = "its checkpoints do not say their time bins, so that survival has no times";

/// The models of a run, ready to be applied.
pub(crate) struct Ensemble<'a> {
    run: &'a TrainedRun,
    models: Vec<FoldModel>,
    device: &'a Device,
    /// What a pass may take, weights included.
    budget_bytes: Option<u64>,
}

impl<'a> Ensemble<'a> {
    /// Reads the weights. `memory_budget` is what a pass may take where that is not all that the machine offers.
    ///
    /// # Errors
    /// If the run has no weights, or those of two folds are of different runs.
    pub(crate) fn load(
        run: &'a TrainedRun,
        memory_budget: Option<ByteSize>,
        device: &'a Device,
    ) -> Result<Self> {
        // What the machine offers before the weights are there, which the prediction counts.
        let budget_bytes = device_memory::budget_bytes(memory_budget, device)?;
        Ok(Self { run, models: run.models(device)?, device, budget_bytes })
    }

    /// Refuses times at which survival is asked for and the models say nothing.
    ///
    /// # Errors
    /// If one lies beyond the last time bin of a model, where its last value would hold forever, or the models predict no survival.
    pub(crate) fn check_months(&self, months: &[f64]) -> Result<()> {
        let Some(latest) = months.iter().copied().max_by(f64::total_cmp) else { return Ok(()) };
        let last = match self.last_month() {
            Ok(last) => last,
            Err(reason) => return Err(Error::data(&self.run.dir, format!("{reason}; leave out --at"))),
        };
        if latest > last {
            // Down to a number that is let pass.
            let most = (last * 10.0).floor() / 10.0;
            let reason = format!(
                "its models were trained on times up to {last:.3} months, --at asks for survival at {latest} months, expected at most {most}"
            );
            return Err(Error::data(&self.run.dir, reason));
        }
        Ok(())
    }

    /// Up to when every model predicts survival, in months, or why they predict none.
    fn last_month(&self) -> std::result::Result<f64, &'static str> {
        if let Some(reason) = self.run.config.no_survival() {
            return Err(reason);
        }
        let last = |model: &FoldModel| model.model.time_bin_edges_months.as_ref()?.last().copied();
        let ends: Option<Vec<f64>> = self.models.iter().map(last).collect();
        ends.and_then(|ends| ends.into_iter().min_by(f64::total_cmp)).ok_or(NO_TIME_BINS)
    }

    /// Passes the bags of `slides` through the models; `features` is where those of `store` lie. The observer hears of every slide.
    ///
    /// # Errors
    /// If a bag is unusable and not to be left out, or no slide is left, features are not those that the models were trained on, the largest bag does not fit, or `stop` was set.
    pub(crate) fn apply(
        self,
        (slides, faulty_bags): (&[String], FaultyBags),
        (store, features): (BagStore, &FeaturesConfig),
        stop: &AtomicBool,
        observe: &mut dyn FnMut(Event),
    ) -> Result<Applied> {
        let last_month = self.last_month();
        let Self { run, models, device, budget_bytes } = self;
        let SlideBags { bags, mut slides, mut left_out, mut remarks } =
            SlideBags::open((slides, faulty_bags), (store, features), (run, &models), device)?;

        let sizes = slides.iter().map(|slide| Ok((slide.clone(), bags.size(slide)?)));
        let sizes = sizes.collect::<Result<Vec<_>>>()?;
        let budget = MemoryBudget {
            bytes: budget_bytes,
            ..MemoryBudget::new(&run.config, bags.backbone_dim(), device)?
        };
        let budget = budget.reading(sizes.iter().map(|(_, size)| *size));
        if let Some((size, predicted_bytes)) = budget.check_passes(models.len(), &sizes)? {
            observe(Event::Passes {
                n_patches: size.total(),
                n_models: models.len(),
                predicted_bytes,
                budget_bytes,
            });
        }
        tracing::info!(n_slides = slides.len(), n_models = models.len(), "scoring");
        let (scores, unread) =
            scoring::score((&slides, faulty_bags), &bags, (&models, last_month), stop, observe)?;
        let names: BTreeSet<&String> = unread.iter().map(|faulty| &faulty.slide_id).collect();
        slides.retain(|slide| !names.contains(slide));
        left_out.extend(unread);
        if slides.is_empty() {
            return Err(none_left(features, &left_out));
        }
        remarks.extend(faulty_in_words(&left_out));
        remarks.extend(run.unfinished_in_words());
        remarks.extend(run.unnamed_in_words());
        remarks.extend(scores.uneven_spread(run.train_risks().as_deref()));
        Ok(Applied { slides, left_out, models, bags, scores, remarks })
    }
}

/// What is wrong with bags that were left out, if any were.
fn faulty_in_words(left_out: &[FaultySlide]) -> Option<String> {
    let each = left_out.iter().map(|FaultySlide { slide_id, fault }| format!("{slide_id} ({fault})"));
    (!left_out.is_empty()).then(|| {
        format!("bags can't be read, and their slides are left out: {}", cf_cli::listed_up_to(LISTED, each))
    })
}

/// Where averaged risks are cut into groups of high and low risk: the mean over the models of the median risk of what each was trained on.
///
/// # Errors
/// If a risk is not finite.
pub(crate) fn cut_of_training(train: &[Risks]) -> Result<f64> {
    let cuts = train.iter().map(|risks| median_risk(&risks.risk));
    let cuts = cuts.collect::<survival_metrics::Result<Vec<f64>>>()?;
    Ok(cuts.iter().sum::<f64>() / cuts.len() as f64)
}
