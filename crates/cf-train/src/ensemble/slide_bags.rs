//! The bags of the slides that models are applied to, and whether these are what the models were trained on.

use std::collections::BTreeSet;
use std::sync::Arc;

use candle_core::Device;
use wsi_bags::BagStore;

use super::trained_run::{FoldModel, TrainedRun};
use crate::bags::{BagSource, described_order, open_store};
use crate::config::{FeaturesConfig, Precision};
use crate::error::{Error, Remedy, Result};
use crate::predict::WITHOUT_DRAWS;

/// Slides that are named where there are more.
pub(super) const LISTED: usize = 8;

/// What becomes of slides whose bags can't be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum FaultyBags {
    /// The first is an error.
    Refused,
    /// They are left out, each with its fault.
    LeftOut,
}

/// A slide whose bag can't be read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct FaultySlide {
    pub(crate) slide_id: String,
    /// The file, and what is wrong with it.
    pub(crate) fault: String,
}

impl FaultyBags {
    /// The slide to leave out for an error, or the error where it is not for a fault of the slide's own bag.
    pub(crate) fn leave_out(self, error: Error) -> Result<FaultySlide> {
        match &error {
            Error::Bag { slide_id, source }
                if self == Self::LeftOut && error.remedy() == Remedy::FixInput =>
            {
                Ok(FaultySlide { slide_id: slide_id.clone(), fault: cf_cli::with_causes(source) })
            }
            _ => Err(error),
        }
    }
}

/// Bags that the models of a run can read.
pub(super) struct SlideBags {
    pub(super) bags: BagSource,
    /// Slides whose bags say what they hold, in their order.
    pub(super) slides: Vec<String>,
    pub(super) left_out: Vec<FaultySlide>,
    /// What is unlike the bags trained on, in words.
    pub(super) remarks: Vec<String>,
}

impl SlideBags {
    /// Opens the bags of `slides` and compares them with what the models were trained on.
    ///
    /// # Errors
    /// If features have another width, a bag lacks what the model needs, or a file can't be read.
    pub(super) fn open(
        (slides, faulty_bags): (&[String], FaultyBags),
        (store, features): (BagStore, &FeaturesConfig),
        (run, models): (&TrainedRun, &[FoldModel]),
        device: &Device,
    ) -> Result<Self> {
        let Some(model) = models.first() else {
            return Err(Error::data(&run.dir, "no model is left, expected one of each fold"));
        };
        let precision = Precision::of_compute(model.model.compute);
        let (store, mut left_out) = (Arc::new(store), Vec::new());
        let mut rest = slides.iter();
        // The first bag that can be read says what all are like.
        let (first, bags) = loop {
            let Some(first) = rest.next() else { return Err(none_left(features, &left_out)) };
            match BagSource::new(Arc::clone(&store), &run.config.model, (device, precision), first) {
                Ok(bags) => break (first, bags),
                Err(error) => left_out.push(faulty_bags.leave_out(error)?),
            }
        };
        if bags.backbone_dim() != model.model.backbone_dim {
            let reason = format!(
                "reads features of {} columns, slide {first} has {} of {}",
                model.model.backbone_dim,
                bags.backbone_dim(),
                features.backbone
            );
            return Err(Error::data(&model.path, reason));
        }
        let (mut whole, mut others, mut makings) = (Vec::new(), Vec::new(), BTreeSet::new());
        for slide_id in std::iter::once(first).chain(rest) {
            let described = match bags.check_described(slide_id) {
                Ok(described) => described,
                Err(error) => {
                    left_out.push(faulty_bags.leave_out(error)?);
                    continue;
                }
            };
            whole.push(slide_id.clone());
            if model.row_order().is_some_and(|trained| trained != described_order(&described)) {
                others.push(slide_id);
            }
            makings.extend(described.values().flat_map(|set| set.provenance.making_in_words()));
        }
        let mut remarks = Vec::new();
        if !others.is_empty() {
            remarks.push(format!(
                "the rows of {} of {} bags are in another order than those the models were trained on ({}), which matters to models that fold rows into a \
                 grid: {}",
                others.len(),
                whole.len(),
                model.row_order().unwrap_or("unknown"),
                cf_cli::listed_up_to(LISTED, others)
            ));
        }
        let trained = makings_of(run);
        if !trained.is_empty() && !makings.is_empty() && trained != makings {
            remarks.push(format!(
                "the features state {}, those of the run {}: they may be of other weights or pixels",
                cf_cli::listed(&makings),
                cf_cli::listed(&trained)
            ));
        }
        if run.config.model.random_at_eval() {
            remarks.push(WITHOUT_DRAWS.to_owned());
        }
        Ok(Self { bags, slides: whole, left_out, remarks })
    }
}

/// That no slide is left, and what is wrong with the first.
pub(super) fn none_left(features: &FeaturesConfig, left_out: &[FaultySlide]) -> Error {
    let reason = left_out.first().map_or_else(
        || "no slide is left, expected one".to_owned(),
        |faulty| format!("no bag can be read, that of {}: {}", faulty.slide_id, faulty.fault),
    );
    Error::data(features.directory(), reason)
}

/// How the features that the run was trained on were made, as far as its bags are still there and say so.
fn makings_of(run: &TrainedRun) -> BTreeSet<String> {
    let Some(slide) = run.folds.iter().find_map(|fold| fold.example.as_ref()) else { return BTreeSet::new() };
    let Ok(store) = open_store(&run.config.features) else { return BTreeSet::new() };
    let described = run.config.model.magnifications().iter().filter_map(|&at| store.describe(slide, at).ok());
    described.flat_map(|set| set.provenance.making_in_words()).collect()
}
