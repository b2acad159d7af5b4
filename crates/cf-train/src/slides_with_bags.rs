//! Which slides of a cohort have a bag that a model can read.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use cf_model::ModelConfig;
use wsi_bags::{BagStore, Magnification};

use crate::cohort::{Cohort, Dropped};
use crate::error::{Error, Result};

/// A cohort joined with its bags.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct SlidesWithBags {
    /// Of each slide of the cohort.
    pub(crate) has_bag: Vec<bool>,
    /// Slides without a bag at every magnification that the model reads.
    pub(crate) without_bag: Vec<Dropped>,
    /// Bags of no slide of the table.
    pub(crate) bags_without_row: Option<Dropped>,
}

impl SlidesWithBags {
    /// Joins a cohort with the bags in a directory, of which all ids are given. `missing` says for a slide what its bag lacks, if anything.
    ///
    /// # Errors
    /// If no slide has all that is read.
    pub(crate) fn of(
        cohort: &Cohort,
        (bags_dir, bag_ids): (&Path, &[String]),
        missing: impl Fn(&str) -> Result<Option<String>>,
    ) -> Result<Self> {
        let slides = cohort.slides().iter().map(|slide| slide.slide_id.as_str());
        let (has_bag, without_bag) = among(slides, cohort.slides_stand_in(), (bags_dir, bag_ids), missing)?;
        Ok(Self {
            has_bag,
            without_bag,
            bags_without_row: Dropped::new(
                &format!("bag without a row in {}", cohort.slides_stand_in()),
                without_row(cohort, bag_ids),
            ),
        })
    }
}

/// Which of the slides that a table or folder lists have all that is read, and the others by what they lack; as [`SlidesWithBags::of`].
///
/// # Errors
/// If none has.
pub(crate) fn among<'a>(
    slides: impl Iterator<Item = &'a str>,
    listed_by: &str,
    (bags_dir, bag_ids): (&Path, &[String]),
    missing: impl Fn(&str) -> Result<Option<String>>,
) -> Result<(Vec<bool>, Vec<Dropped>)> {
    let mut lacking: BTreeMap<String, Vec<String>> = BTreeMap::new();
    let mut has_bag = Vec::new();
    for slide in slides {
        let reason = missing(slide)?;
        has_bag.push(reason.is_none());
        if let Some(reason) = reason {
            lacking.entry(reason).or_default().push(slide.to_owned());
        }
    }
    if !has_bag.contains(&true) {
        return Err(Error::data(bags_dir, nothing_joins(&lacking, listed_by, bag_ids)));
    }
    let without_bag = lacking.into_iter().filter_map(|(reason, ids)| Dropped::new(&reason, ids)).collect();
    Ok((has_bag, without_bag))
}

/// The bags of no row of the table. Of rows that the table has and the cohort has not, the reason is listed already.
pub(crate) fn without_row(cohort: &Cohort, bag_ids: &[String]) -> Vec<String> {
    let slides = cohort.slides().iter().map(|slide| &slide.slide_id);
    let dropped = cohort.dropped().iter().flat_map(|dropped| &dropped.ids);
    let known: BTreeSet<&String> = slides.chain(dropped).collect();
    bag_ids.iter().filter(|id| !known.contains(id)).cloned().collect()
}

/// What lies in the store, called as the table calls its slides and its rows without an outcome (`X` for `X.svs.h5`).
pub(crate) fn as_in_table(store: &BagStore, cohort: &Cohort) -> Vec<String> {
    let slides = cohort.slides().iter().map(|slide| &slide.slide_id);
    let dropped = cohort.dropped().iter().flat_map(|dropped| &dropped.ids);
    let names: BTreeMap<&str, &String> =
        slides.chain(dropped).filter_map(|id| Some((store.listed_as(id)?, id))).collect();
    store.slide_ids().iter().map(|id| names.get(id.as_str()).copied().unwrap_or(id).clone()).collect()
}

/// What the bag of a slide lacks of what the model reads, if anything.
///
/// # Errors
/// If the store can't be searched.
pub(crate) fn missing_from(store: &BagStore, slide_id: &str, model: &ModelConfig) -> Result<Option<String>> {
    let magnifications = model.magnifications();
    let presence =
        store.presence(slide_id).map_err(|source| Error::Bag { slide_id: slide_id.to_owned(), source })?;
    let absent: Vec<String> =
        magnifications.iter().filter(|&&m| !presence.at(m)).map(ToString::to_string).collect();
    Ok(match absent.len() {
        0 => None,
        _ if !Magnification::ALL.iter().any(|&m| presence.at(m)) => Some(NO_BAG.to_owned()),
        _ => Some(format!("slide whose bag lacks {}, which {} reads", absent.join(" and "), model.name())),
    })
}

/// Why a slide falls out that has a bag at no magnification.
const NO_BAG: &str = "slide without a bag";

/// What to say where no slide can be used: what the bags lack, that they are another encoder's, or that none bears a slide's name.
fn nothing_joins(lacking: &BTreeMap<String, Vec<String>>, listed_by: &str, bag_ids: &[String]) -> String {
    let lacks: Vec<String> = lacking
        .iter()
        .filter(|(reason, _)| *reason != NO_BAG)
        .map(|(reason, ids)| format!("{reason}: {} ({}, ..)", ids.len(), ids[0]))
        .collect();
    if !lacks.is_empty() {
        return format!(
            "no slide has all that the model reads; {}; extract what they lack (`wsi-extract run`), or choose a model that reads what \
             is there (`cf-train models`)",
            lacks.join("; ")
        );
    }
    let listed = |id: &&String| bag_ids.contains(id);
    if let Some(slide) = lacking.values().flatten().find(listed) {
        return format!(
            "the bags, such as {slide}'s, have no features of the encoder that features.backbone names, here or in the run; `wsi-bags inspect` lists those \
             that are there"
        );
    }
    format!(
        "no slide of {listed_by} has a bag: the table says {}, the bags are called {}",
        lacking.values().flatten().min().map_or("none", String::as_str),
        bag_ids.first().map_or("none", String::as_str)
    )
}
