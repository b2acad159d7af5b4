//! The bags of the slides that models are applied to, and whether these are what the models were trained on.

use std::collections::BTreeSet;
use std::sync::Arc;

use candle_core::Device;
use wsi_bags::{BagStore, Magnification};

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

    /// Of `slides` those whose bags say what they hold, as far as that matters, and those to leave out.
    ///
    /// # Errors
    /// If a bag can't be read and the fault is not that of the bag alone.
    pub(super) fn described(
        self,
        slides: &[String],
        (store, magnifications): (&BagStore, &[Magnification]),
    ) -> Result<(Vec<String>, Vec<FaultySlide>)> {
        if self == Self::Refused {
            // The first that is opened and can't be read is the error.
            return Ok((slides.to_vec(), Vec::new()));
        }
        let (mut whole, mut faulty) = (Vec::with_capacity(slides.len()), Vec::new());
        for slide_id in slides {
            let described = magnifications.iter().try_for_each(|&at| store.describe(slide_id, at).map(drop));
            match described {
                Ok(()) => whole.push(slide_id.clone()),
                Err(source) => {
                    let error = Error::Bag { slide_id: slide_id.clone(), source };
                    faulty.push(self.leave_out(error)?);
                }
            }
        }
        Ok((whole, faulty))
    }
}

/// Bags that the models of a run can read.
pub(super) struct SlideBags {
    pub(super) bags: BagSource,
    /// What is unlike the bags trained on, in words.
    pub(super) remarks: Vec<String>,
}

impl SlideBags {
    /// Opens the bags of `slides` and compares them with what the models were trained on.
    ///
    /// # Errors
    /// If features have another width, a bag lacks what the model needs, or a file can't be read.
    pub(super) fn open(
        slides: &[String],
        (store, features): (&Arc<BagStore>, &FeaturesConfig),
        (run, models): (&TrainedRun, &[FoldModel]),
        device: &Device,
    ) -> Result<Self> {
        let (Some(first), Some(model)) = (slides.first(), models.first()) else {
            return Err(Error::data(&run.dir, "no slide and model are left, expected one of each"));
        };
        let precision = Precision::of_compute(model.model.compute);
        let bags = BagSource::new(Arc::clone(store), &run.config.model, (device, precision), first)?;
        if bags.backbone_dim() != model.model.backbone_dim {
            let reason = format!(
                "reads features of {} columns, slide {first} has {} of {}",
                model.model.backbone_dim,
                bags.backbone_dim(),
                features.backbone
            );
            return Err(Error::data(&model.path, reason));
        }
        let (mut others, mut makings) = (Vec::new(), BTreeSet::new());
        for slide_id in slides {
            let described = bags.check_described(slide_id)?;
            if model.row_order().is_some_and(|trained| trained != described_order(&described)) {
                others.push(slide_id);
            }
            makings.extend(described.values().flat_map(|set| set.provenance.making_in_words()));
        }
        let mut remarks = Vec::new();
        if !others.is_empty() {
            remarks.push(format!(
                "the rows of {} of {} bags are in another order than those the models were trained on ({}), which fold them into a grid: {}",
                others.len(),
                slides.len(),
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
        Ok(Self { bags, remarks })
    }
}

/// How the features that the run was trained on were made, as far as its bags are still there and say so.
fn makings_of(run: &TrainedRun) -> BTreeSet<String> {
    let Some(slide) = run.folds.iter().find_map(|fold| fold.example.as_ref()) else { return BTreeSet::new() };
    let Ok(store) = open_store(&run.config.features) else { return BTreeSet::new() };
    let described = run.config.model.magnifications().iter().filter_map(|&at| store.describe(slide, at).ok());
    described.flat_map(|set| set.provenance.making_in_words()).collect()
}
