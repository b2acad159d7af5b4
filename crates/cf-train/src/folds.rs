//! What is left of a cohort once table, splits and bags are joined.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use crate::cohort::{Cohort, Dropped, Slide};
use crate::error::{Error, Result};
use crate::slides_with_bags::SlidesWithBags;
use crate::splits::Split;
use crate::splits::matching::IdIndex;
use crate::splits::validated_parts::{SAME_VALIDATION_WAY_OUT, ValidatedParts, same_validation};

/// Why slides take no part, where splits do not name them.
pub(crate) const IN_NO_SPLIT: &str = "slide that no split file names, by its case or itself";
/// Why cases of splits take no part.
pub(crate) const CASE_WITHOUT_ROW: &str = "case of a split file without a row in the clinical table";

/// A fold of slides, as indices into [`Cohort::slides`].
#[derive(Debug, Clone, PartialEq)]
pub struct Fold {
    /// Its number.
    pub fold: usize,
    /// Slides to train on.
    pub train: Vec<usize>,
    /// Slides to validate on.
    pub validation: Vec<usize>,
    /// Slides to choose the epoch on, where the split files say them. No patient is in two of the three.
    pub choosing: Vec<usize>,
}

/// The folds over the slides that have bags, and everything that fell out on the way.
#[derive(Debug, Clone, PartialEq)]
pub struct JoinedFolds {
    /// The folds, in order.
    pub folds: Vec<Fold>,
    /// Patients whom several folds validate, sorted.
    pub patients_validated_twice: Vec<String>,
    /// Folds that validate the same as an earlier one.
    pub same_validation: Vec<SameValidation>,
    /// Slides without a bag at every magnification that the model reads.
    pub without_bag: Vec<Dropped>,
    /// Bags of no slide of the table.
    pub bags_without_row: Option<Dropped>,
    /// Slides that no fold validates.
    pub without_fold: Vec<Dropped>,
    /// Cases of the folds that the table does not have.
    pub cases_without_row: Option<Dropped>,
}

/// A fold that validates the same as an earlier one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SameValidation {
    /// Its number.
    pub fold: usize,
    /// The number of the first fold that validates the same.
    pub first: usize,
    /// Its split file.
    pub path: PathBuf,
    /// Both with their files, in words.
    pub reason: String,
}

/// The error of a run of `folds`, in order, two of which validate the same; `None` where no two do.
pub(crate) fn same_among(same_validation: &[SameValidation], folds: &BTreeSet<usize>) -> Option<Error> {
    let mut seen = BTreeSet::new();
    for &fold in folds {
        let same = same_validation.iter().find(|same| same.fold == fold);
        let first = same.map_or(fold, |same| same.first);
        if let (false, Some(same)) = (seen.insert(first), same) {
            return Some(Error::data(&same.path, format!("{}; {SAME_VALIDATION_WAY_OUT}", same.reason)));
        }
    }
    None
}

/// Joins table, splits and bags. `missing` says for a slide what its bag lacks, if anything; the third argument is the directory of the
/// bags, and lists what lies there.
///
/// # Errors
/// If a patient is in two parts of one fold, no id joins, or a fold is left without training or validation
/// slides, or without events to learn from or to choose the epoch by.
pub fn join(
    cohort: &Cohort,
    splits: &[Split],
    bags: (&Path, &[String]),
    missing: impl Fn(&str) -> Result<Option<String>>,
) -> Result<JoinedFolds> {
    let SlidesWithBags { has_bag, without_bag, bags_without_row } =
        SlidesWithBags::of(cohort, bags, missing)?;
    let index = IdIndex::of_slides(cohort.slides());
    let mut unknown_cases = BTreeSet::new();
    let mut in_fold = vec![false; cohort.slides().len()];
    let mut validated = vec![false; cohort.slides().len()];
    let (mut trained, mut choosing_anywhere) = (BTreeSet::new(), BTreeSet::new());
    let (mut folds, mut validated_parts) = (Vec::new(), ValidatedParts::default());
    let mut same_as_earlier = Vec::new();
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
        let choosing = slides_of(&split.choosing);
        trained.extend(train.iter().copied());
        choosing_anywhere.extend(choosing.iter().copied());
        slides_of(&split.unused);
        for &index in &validation {
            validated[index] = true;
        }
        let fold = Fold { fold: split.fold, train, validation, choosing };
        check_fold(cohort, &fold, split).map_err(|reason| {
            let numbers = index.taken_for_numbers(&unknown_cases);
            let numbers = numbers.map_or_else(String::new, |told| format!("; {told}"));
            Error::data(&split.path, format!("fold {}: {reason}{numbers}", split.fold))
        })?;
        let same = validated_parts.add(fold.fold, fold.validation.iter().copied().collect());
        let first = same.and_then(|same| splits.iter().find(|first| first.fold == same));
        same_as_earlier.extend(first.map(|first| SameValidation {
            fold: split.fold,
            first: first.fold,
            path: split.path.clone(),
            reason: same_validation([(split.fold, &split.path), (first.fold, &first.path)]),
        }));
        folds.push(fold);
    }

    let list = |reason: &str, keep: &dyn Fn(usize) -> bool| {
        let ids = cohort.slides().iter().enumerate().filter(|(index, _)| keep(*index));
        Dropped::new(reason, ids.map(|(_, slide)| slide.slide_id.clone()).collect())
    };
    let without_fold = [
        list(IN_NO_SPLIT, &|index| has_bag[index] && !in_fold[index]),
        list("slide that no fold validates (trained on only)", &|index| {
            has_bag[index]
                && trained.contains(&index)
                && !choosing_anywhere.contains(&index)
                && !validated[index]
        }),
        list("slide that no fold validates (chooses the epoch of a fold)", &|index| {
            has_bag[index] && choosing_anywhere.contains(&index) && !validated[index]
        }),
        list("slide of a held-out part that is not evaluated (cohort.evaluate)", &|index| {
            has_bag[index]
                && in_fold[index]
                && !trained.contains(&index)
                && !choosing_anywhere.contains(&index)
                && !validated[index]
        }),
    ];
    Ok(JoinedFolds {
        folds,
        patients_validated_twice: validated_parts
            .patients_of_several(|slide| &cohort.slides()[slide].patient_id),
        same_validation: same_as_earlier,
        without_bag,
        bags_without_row,
        without_fold: without_fold.into_iter().flatten().collect(),
        cases_without_row: Dropped::new(CASE_WITHOUT_ROW, unknown_cases.into_iter().collect()),
    })
}

fn check_fold(cohort: &Cohort, fold: &Fold, split: &Split) -> std::result::Result<(), String> {
    let has_event =
        |indices: &[usize]| indices.iter().any(|&index| cohort.slides()[index].outcome.is_event());
    if fold.train.is_empty() || fold.validation.is_empty() {
        return Err(format!(
            "{} training and {} validation slides are left, expected at least 1 of each",
            fold.train.len(),
            fold.validation.len()
        ));
    }
    if !has_event(&fold.train) {
        return Err(format!("all {} training slides are censored, expected events", fold.train.len()));
    }
    if !split.choosing.is_empty() && !has_event(&fold.choosing) {
        let found = match fold.choosing.len() {
            0 => "no slide of val is left".to_owned(),
            n => format!("all {n} slides of val are censored"),
        };
        return Err(format!(
            "{found}, expected events to choose the epoch by (training.inner_validation is \"val\"); give it patients with the event, \
             or set a share of the training patients, such as 0.2"
        ));
    }
    let validated = split.validated_part.as_str();
    let parts = [("train", &fold.train), ("val", &fold.choosing), (validated, &fold.validation)];
    let mut of_patient: BTreeMap<&str, (&str, &Slide)> = BTreeMap::new();
    for (part, indices) in parts {
        for slide in indices.iter().map(|&index| &cohort.slides()[index]) {
            let (first_part, first) = *of_patient.entry(&slide.patient_id).or_insert((part, slide));
            if first_part != part {
                return Err(format!(
                    "patient {} is in {first_part} (slide {}) and in {part} (slide {})",
                    slide.patient_id, first.slide_id, slide.slide_id
                ));
            }
        }
    }
    Ok(())
}
