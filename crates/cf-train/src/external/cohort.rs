//! The cohort of an external test: its slides with bags, and whether these are what the models were trained on.

use std::collections::BTreeSet;
use std::sync::Arc;

use candle_core::Device;
use wsi_bags::BagStore;

use super::Overlap;
use super::trained_run::{FoldModel, TrainedRun};
use crate::bags::{BagSource, described_order, open_store};
use crate::cohort::{ClinicalTable, Slide};
use crate::config::{ExternalConfig, Precision};
use crate::error::{Error, Result};
use crate::plan::{FlowRecord, flow_of_bags};
use crate::predict::WITHOUT_DRAWS;
use crate::slides_with_bags::{SlidesWithBags, as_in_table, missing_from};

/// Slides that are named where there are more.
const LISTED: usize = 8;

/// The slides that are scored.
pub(super) struct ExternalCohort {
    /// In the order of the table.
    pub(super) slides: Vec<Slide>,
    /// From the table to them.
    pub(super) flow: Vec<FlowRecord>,
    /// Their patients that were in the run, sorted.
    pub(super) overlap: Vec<String>,
}

/// The bags of a cohort.
pub(super) struct CohortBags {
    pub(super) bags: BagSource,
    /// What is unlike the bags trained on, in words.
    pub(super) remarks: Vec<String>,
}

impl ExternalCohort {
    /// Joins table and bags, and looks for patients that the run has seen.
    ///
    /// # Errors
    /// If the features are of another encoder, the table is unusable, no slide has a bag, or patients were in the run and may not be.
    pub(super) fn join(
        config: &ExternalConfig,
        run: &TrainedRun,
        overlap: Overlap,
    ) -> Result<(Self, BagStore)> {
        let (found, trained) = (&config.features.backbone, &run.config.features.backbone);
        if found != trained {
            let reason = format!(
                "features.backbone is `{found}`, the models of {} were trained on features of `{trained}`; give features of that encoder \
                 (if they are and only their folder is called otherwise, give it that name, by a link for example)",
                run.dir.display()
            );
            return Err(Error::data(config.features.directory(), reason));
        }
        let table = ClinicalTable::read(&config.cohort)?;
        let store = open_store(&config.features)?;
        let cohort = table.into_cohort(store.slide_ids())?;
        let missing = |slide: &Slide| missing_from(&store, slide, &run.config.model);
        let bag_ids = as_in_table(&store, &cohort);
        let joined = SlidesWithBags::of(&cohort, (config.features.directory(), &bag_ids), missing)?;
        let flow = flow_of_bags(&cohort, &joined.without_bag, joined.bags_without_row.as_ref());
        let with_bag = cohort.slides().iter().zip(&joined.has_bag).filter(|(_, has_bag)| **has_bag);
        let slides: Vec<Slide> = with_bag.map(|(slide, _)| slide.clone()).collect();

        let patients = |slides: &[&Slide]| -> BTreeSet<String> {
            slides.iter().map(|slide| slide.patient_id.clone()).collect()
        };
        let seen: Vec<&Slide> = slides.iter().filter(|slide| run.has_seen(slide)).collect();
        let shared = patients(&seen);
        if !shared.is_empty() && overlap == Overlap::Refused {
            let reason = format!(
                "{} of {} patients ({} slides) were in the run {}, by their ids: {}; leave them out of the table, give other ids to those who \
                 are other people, or say --allow-overlap where this is meant",
                shared.len(),
                patients(&slides.iter().collect::<Vec<_>>()).len(),
                seen.len(),
                run.dir.display(),
                cf_cli::listed(&shared)
            );
            return Err(Error::data(&config.cohort.clinical, reason));
        }
        Ok((Self { slides, flow, overlap: shared.into_iter().collect() }, store))
    }

    /// Opens the bags and compares them with what the models were trained on.
    ///
    /// # Errors
    /// If features have another width, a bag lacks what the model needs, or a file can't be read.
    pub(super) fn bags(
        &self,
        store: BagStore,
        (config, run): (&ExternalConfig, &TrainedRun),
        models: &[FoldModel],
        device: &Device,
    ) -> Result<CohortBags> {
        let (Some(first), Some(model)) = (self.slides.first(), models.first()) else {
            return Err(Error::data(&run.dir, "no slide and model are left, expected one of each"));
        };
        let precision = Precision::of_compute(model.model.compute);
        let bags = BagSource::new(Arc::new(store), &run.config.model, (device, precision), &first.slide_id)?;
        if bags.backbone_dim() != model.model.backbone_dim {
            let reason = format!(
                "reads features of {} columns, slide {} has {} of {}",
                model.model.backbone_dim,
                first.slide_id,
                bags.backbone_dim(),
                config.features.backbone
            );
            return Err(Error::data(&model.path, reason));
        }
        let (mut others, mut makings) = (Vec::new(), BTreeSet::new());
        for Slide { slide_id, .. } in &self.slides {
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
                self.slides.len(),
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
        Ok(CohortBags { bags, remarks })
    }
}

/// How the features that the run was trained on were made, as far as its bags are still there and say so.
fn makings_of(run: &TrainedRun) -> BTreeSet<String> {
    let Some(slide) = run.folds.iter().find_map(|fold| fold.example.as_ref()) else { return BTreeSet::new() };
    let Ok(store) = open_store(&run.config.features) else { return BTreeSet::new() };
    let described = run.config.model.magnifications().iter().filter_map(|&at| store.describe(slide, at).ok());
    described.flat_map(|set| set.provenance.making_in_words()).collect()
}
