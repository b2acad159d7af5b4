//! What is left of a cohort once table, splits and bags are joined.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use crate::cohort::{Cohort, Dropped, Slide};
use crate::error::{Error, Result};
use crate::splits::Split;
use crate::splits::matching::IdIndex;

/// A fold of slides, as indices into [`Cohort::slides`].
#[derive(Debug, Clone, PartialEq)]
pub struct Fold {
    /// Its number.
    pub fold: usize,
    /// Slides to train on.
    pub train: Vec<usize>,
    /// Slides to validate on; no patient of theirs is in `train`.
    pub validation: Vec<usize>,
}

/// The folds over the slides that have bags, and everything that fell out on the way.
#[derive(Debug, Clone, PartialEq)]
pub struct JoinedFolds {
    /// The folds, in order.
    pub folds: Vec<Fold>,
    /// Slides without a bag at every magnification that the model reads.
    pub without_bag: Vec<Dropped>,
    /// Bags of no slide of the table.
    pub bags_without_row: Option<Dropped>,
    /// Slides that no fold validates.
    pub without_fold: Vec<Dropped>,
    /// Cases of the folds that the table does not have.
    pub cases_without_row: Option<Dropped>,
}

/// Why a slide falls out that has a bag at no magnification.
pub(crate) const NO_BAG: &str = "slide without a bag";

/// What to say where no slide can be used: what the bags lack, that they are another encoder's, or that none bears a slide's name.
fn nothing_joins(lacking: &BTreeMap<String, Vec<String>>, slide: Option<&str>, bag_ids: &[String]) -> String {
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
            "the bags, such as {slide}'s, have no features of the encoder that features.backbone names; `wsi-bags inspect` lists those \
             that are there"
        );
    }
    format!(
        "no slide of the clinical table has a bag: the table says {}, the bags are called {}",
        slide.unwrap_or("none"),
        bag_ids.first().map_or("none", String::as_str)
    )
}

/// Joins table, splits and bags. `missing` says for a slide what its bag lacks, if anything; the third argument is the directory of the
/// bags, and lists what lies there.
///
/// # Errors
/// If a patient is trained and validated on in one fold, no id joins, or a fold is left without training or validation
/// slides.
pub fn join(
    cohort: &Cohort,
    splits: &[Split],
    (bags_dir, bag_ids): (&Path, &[String]),
    missing: impl Fn(&Slide) -> Result<Option<String>>,
) -> Result<JoinedFolds> {
    let mut lacking: BTreeMap<String, Vec<String>> = BTreeMap::new();
    let mut has_bag = Vec::with_capacity(cohort.slides().len());
    for slide in cohort.slides() {
        let reason = missing(slide)?;
        has_bag.push(reason.is_none());
        if let Some(reason) = reason {
            lacking.entry(reason).or_default().push(slide.slide_id.clone());
        }
    }
    let known_slides: BTreeSet<&str> = cohort.slides().iter().map(|slide| slide.slide_id.as_str()).collect();
    // Of rows that the table has and the cohort has not, the reason is listed already.
    let listed: BTreeSet<&str> =
        cohort.dropped().iter().flat_map(|dropped| &dropped.ids).map(String::as_str).collect();
    let is_stranger = |id: &&String| !known_slides.contains(id.as_str()) && !listed.contains(id.as_str());
    let strangers: Vec<String> = bag_ids.iter().filter(is_stranger).cloned().collect();
    if !has_bag.contains(&true) {
        return Err(Error::data(bags_dir, nothing_joins(&lacking, known_slides.first().copied(), bag_ids)));
    }

    let index = IdIndex::of_slides(cohort.slides());
    let mut unknown_cases = BTreeSet::new();
    let mut in_fold = vec![false; cohort.slides().len()];
    let mut validated = vec![false; cohort.slides().len()];
    let mut trained = BTreeSet::new();
    let mut folds = Vec::new();
    for split in splits {
        let mut slides_of = |ids: &[String]| {
            let mut slides: Vec<usize> = Vec::new();
            for id in ids {
                match index.find(id) {
                    Some(found) => slides.extend(found),
                    // Rows without an outcome are listed as such.
                    None if cohort.is_skipped(id) => {}
                    None => {
                        unknown_cases.insert(id.clone());
                    }
                }
            }
            for &index in &slides {
                in_fold[index] = true;
            }
            slides.retain(|&index| has_bag[index]);
            // The order of the table, so that a reordered split file gives the same run.
            slides.sort_unstable();
            slides.dedup();
            slides
        };
        let (train, validation) = (slides_of(&split.train), slides_of(&split.validation));
        trained.extend(train.iter().copied());
        slides_of(&split.unused);
        for &index in &validation {
            validated[index] = true;
        }
        let fold = Fold { fold: split.fold, train, validation };
        check_fold(cohort, &fold).map_err(|reason| {
            let numbers = index.taken_for_numbers(&unknown_cases);
            let numbers = numbers.map_or_else(String::new, |told| format!("; {told}"));
            Error::data(&split.path, format!("{reason}{numbers}"))
        })?;
        folds.push(fold);
    }

    let list = |reason: &str, keep: &dyn Fn(usize) -> bool| {
        let ids = cohort.slides().iter().enumerate().filter(|(index, _)| keep(*index));
        Dropped::new(reason, ids.map(|(_, slide)| slide.slide_id.clone()).collect())
    };
    let without_fold = [
        list("slide whose case is in no split file", &|index| has_bag[index] && !in_fold[index]),
        list("slide that no fold validates (trained on only)", &|index| {
            has_bag[index] && trained.contains(&index) && !validated[index]
        }),
        list("slide of a held-out part that is not evaluated (cohort.evaluate)", &|index| {
            has_bag[index] && in_fold[index] && !trained.contains(&index) && !validated[index]
        }),
    ];
    Ok(JoinedFolds {
        folds,
        without_bag: lacking.into_iter().filter_map(|(reason, ids)| Dropped::new(&reason, ids)).collect(),
        bags_without_row: Dropped::new("bag without a row in the clinical table", strangers),
        without_fold: without_fold.into_iter().flatten().collect(),
        cases_without_row: Dropped::new(
            "case of a split file without a row in the clinical table",
            unknown_cases.into_iter().collect(),
        ),
    })
}

fn check_fold(cohort: &Cohort, fold: &Fold) -> std::result::Result<(), String> {
    let slide = |&index: &usize| &cohort.slides()[index];
    if fold.train.is_empty() || fold.validation.is_empty() {
        return Err(format!(
            "{} training and {} validation slides are left, expected at least 1 of each",
            fold.train.len(),
            fold.validation.len()
        ));
    }
    if !fold.train.iter().any(|index| slide(index).outcome.is_event()) {
        return Err(format!("all {} training slides are censored, expected events", fold.train.len()));
    }
    let trained: BTreeMap<&str, &Slide> =
        fold.train.iter().map(|index| (slide(index).patient_id.as_str(), slide(index))).collect();
    for index in &fold.validation {
        let validated = slide(index);
        if let Some(train) = trained.get(validated.patient_id.as_str()) {
            return Err(format!(
                "patient {} is in train (slide {}) and in val (slide {})",
                validated.patient_id, train.slide_id, validated.slide_id
            ));
        }
    }
    Ok(())
}
