//! The cohort of an external test: its slides with bags, and who of them was in the run.

use std::collections::BTreeSet;

use wsi_bags::BagStore;

use super::Overlap;
use crate::bags::open_store;
use crate::cohort::{ClinicalTable, Slide};
use crate::config::ExternalConfig;
use crate::doctor::doubts_of_outcomes;
use crate::ensemble::TrainedRun;
use crate::error::{Error, Result};
use crate::plan::{FlowRecord, flow_of_bags};
use crate::slides_with_bags::{SlidesWithBags, as_in_table, missing_from};

/// The slides that are scored.
pub(super) struct ExternalCohort {
    /// In the order of the table.
    pub(super) slides: Vec<Slide>,
    /// From the table to them.
    pub(super) flow: Vec<FlowRecord>,
    /// Their patients that were in the run, sorted.
    pub(super) overlap: Vec<String>,
    /// What makes their outcomes doubtful, in words.
    pub(super) doubts: Vec<String>,
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
        let doubts = doubts_of_outcomes(&config.cohort, &table);
        let store = open_store(&config.features)?;
        let cohort = table.into_cohort(store.slide_ids())?;
        let missing = |slide: &str| missing_from(&store, slide, &run.config.model);
        let bag_ids = as_in_table(&store, &cohort);
        let joined = SlidesWithBags::of(&cohort, (config.features.directory(), &bag_ids), missing)?;
        let flow = flow_of_bags(&cohort, &joined.without_bag, joined.bags_without_row.as_ref());
        let with_bag = cohort.slides().iter().zip(&joined.has_bag).filter(|(_, has_bag)| **has_bag);
        let slides: Vec<Slide> = with_bag.map(|(slide, _)| slide.clone()).collect();

        let patients = |slides: &[&Slide]| -> BTreeSet<String> {
            slides.iter().map(|slide| slide.patient_id.clone()).collect()
        };
        let seen: Vec<&Slide> =
            slides.iter().filter(|slide| run.has_seen(&slide.slide_id, &slide.patient_id)).collect();
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
        Ok((Self { slides, flow, overlap: shared.into_iter().collect(), doubts }, store))
    }

    /// Names of the slides.
    pub(super) fn slide_ids(&self) -> Vec<String> {
        self.slides.iter().map(|slide| slide.slide_id.clone()).collect()
    }
}
