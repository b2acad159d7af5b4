//! The bags against the clinical table: which slides a run would have.

use wsi_bags::{BagStore, ErrorKind};

use super::bag_scan;
use super::fault::Fault;
use super::finding::{Finding, Severity, listed, place};
use super::sample_types;
use crate::bags::open_store;
use crate::cohort::{ClinicalTable, Cohort};
use crate::config::RunConfig;
use crate::error::Error;
use crate::slides_with_bags::{as_in_table, without_row};

/// Slides that have a bag at every magnification that the model reads.
pub(super) struct JoinedBags {
    pub(super) store: BagStore,
    /// `None` where the clinical table can't be used; then `slide_ids` are all bags.
    pub(super) cohort: Option<Cohort>,
    pub(super) slide_ids: Vec<String>,
}

/// Opens the directory of bags and looks for those of the table.
pub(super) fn examine(
    config: &RunConfig,
    table: Option<ClinicalTable>,
    findings: &mut Vec<Finding>,
) -> Option<JoinedBags> {
    let store = match open_store(&config.features) {
        Ok(store) => store,
        Err(error) => {
            findings.push(of_store(config, &error));
            return None;
        }
    };
    let Some(table) = table else {
        let slide_ids = store.slide_ids().to_vec();
        return Some(JoinedBags { store, cohort: None, slide_ids });
    };
    let clinical = place(table.path(), "");
    let cohort = match table.into_cohort(store.slide_ids()) {
        Ok(cohort) => cohort,
        Err(error) => {
            findings.push(Finding::new(Severity::Error, Fault::IdsNotJoined, clinical, error.with_causes()));
            let slide_ids = store.slide_ids().to_vec();
            return Some(JoinedBags { store, cohort: None, slide_ids });
        }
    };
    let slide_ids = joined(config, &store, &cohort, findings);
    Some(JoinedBags { store, cohort: Some(cohort), slide_ids })
}

fn joined(config: &RunConfig, store: &BagStore, cohort: &Cohort, findings: &mut Vec<Finding>) -> Vec<String> {
    let magnifications = config.model.magnifications();
    let (mut whole, mut without) = (Vec::new(), Vec::new());
    let mut other_encoder: Option<(wsi_bags::Error, Vec<String>)> = None;
    for slide in cohort.slides() {
        let slide_id = &slide.slide_id;
        let presence = match store.presence(slide_id) {
            Ok(presence) => presence,
            Err(error) => {
                findings.push(bag_scan::of_bag(slide_id, &error));
                continue;
            }
        };
        let absent: Vec<String> =
            magnifications.iter().filter(|at| !presence.at(**at)).map(ToString::to_string).collect();
        if absent.is_empty() {
            whole.push(slide_id.clone());
        } else if presence.magnifications().next().is_none() {
            match magnifications.first().and_then(|at| store.read(slide_id, &[*at]).err()) {
                // The file is there, and holds features of another encoder.
                Some(error) if matches!(error.kind(), ErrorKind::MissingEncoder { .. }) => {
                    let slide_ids = &mut other_encoder.get_or_insert((error, Vec::new())).1;
                    slide_ids.push(slide_id.clone());
                }
                _ => without.push(slide_id.clone()),
            }
        } else {
            let path = magnifications
                .iter()
                .find(|at| !presence.at(**at))
                .map_or_else(Default::default, |at| store.path_of(slide_id, *at));
            let found = format!("slide {slide_id} lacks {}", absent.join(" and "));
            let place = place(&path, &format!("slide {slide_id}"));
            findings.push(Finding::new(Severity::Warning, Fault::MissingMagnification, place, found));
        }
    }
    if let Some((error, slide_ids)) = other_encoder {
        findings.push(bag_scan::of_bag(&listed(&slide_ids), &error));
    }
    let strangers = without_row(cohort, &as_in_table(store, cohort));
    let directory = config.features.directory().display().to_string();
    if !without.is_empty() {
        let none_joins = without.len() == cohort.slides().len();
        let severity = if none_joins { Severity::Error } else { Severity::Warning };
        let example = match strangers.first().filter(|_| none_joins) {
            Some(bag) => format!("; the bags are called {bag} and so on"),
            None => String::new(),
        };
        let found = format!(
            "{} of {} slides of the table have no bag: {}{example}",
            without.len(),
            cohort.slides().len(),
            listed(&without)
        );
        findings.push(Finding::new(severity, Fault::IdsNotJoined, directory.clone(), found));
    }
    if !strangers.is_empty() {
        let table = cohort.slides_stand_in();
        let found = format!("{} bags have no row in {table}: {}", strangers.len(), listed(&strangers));
        findings.push(Finding::new(Severity::Note, Fault::IdsNotJoined, directory, found));
    }
    findings.extend(sample_types::examine(&whole, &config.features.directory().display().to_string()));
    whole
}

fn of_store(config: &RunConfig, error: &Error) -> Finding {
    let fault = match error {
        Error::BagStore(error) => match error.kind() {
            ErrorKind::AmbiguousLayout { .. } => Fault::TwoLayouts,
            ErrorKind::AmbiguousFolder { .. } => Fault::TwoEncoders,
            ErrorKind::MissingEncoder { .. } => Fault::MissingEncoder,
            _ => Fault::NoBags,
        },
        _ => Fault::NoBags,
    };
    Finding::new(
        Severity::Error,
        fault,
        config.features.directory().display().to_string(),
        error.with_causes(),
    )
}
