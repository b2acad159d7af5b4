//! Split files, and what is left of a cohort once tables, folds and bags are joined.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use crate::cohort::{Cohort, Slide, csv_reason};
use crate::error::{Error, Result};

/// One split file: the cases of its two columns.
#[derive(Debug, Clone, PartialEq)]
pub struct Split {
    /// Its number, from the file's name.
    pub fold: usize,
    /// Column `train`.
    pub train_cases: Vec<String>,
    /// Column `val`.
    pub validation_cases: Vec<String>,
}

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

/// Reads `splits_0.csv`, `splits_1.csv`, .. of a directory, in order. Columns may be of unequal length.
///
/// # Errors
/// If there is none, one is unreadable or lacks a column, or a case stands twice in a file (in two columns or in one).
pub fn read_splits(dir: &Path) -> Result<Vec<Split>> {
    let mut splits = Vec::new();
    for fold in 0.. {
        let path = dir.join(format!("splits_{fold}.csv"));
        if !path.is_file() {
            break;
        }
        splits.push(read_split(&path, fold)?);
    }
    if splits.is_empty() {
        return Err(Error::data(dir, "found no splits_0.csv, expected splits_0.csv, splits_1.csv, .."));
    }
    Ok(splits)
}

fn read_split(path: &Path, fold: usize) -> Result<Split> {
    let fault = |reason: String| Error::data(path, reason);
    let file = std::fs::File::open(path).map_err(Error::io("read", path))?;
    let mut reader = csv::ReaderBuilder::new().trim(csv::Trim::All).flexible(true).from_reader(file);
    let header = reader.headers().map_err(|error| fault(csv_reason(&error)))?.clone();
    let column = |name: &str| {
        header.iter().position(|found| found == name).ok_or_else(|| {
            fault(format!("no column `{name}`; found {}", header.iter().collect::<Vec<_>>().join(", ")))
        })
    };
    let columns = [column("train")?, column("val")?];
    let mut cases = [Vec::new(), Vec::new()];
    let mut lines: BTreeMap<String, (u64, usize)> = BTreeMap::new();
    for record in reader.records() {
        let record = record.map_err(|error| fault(csv_reason(&error)))?;
        let line = record.position().map_or(0, csv::Position::line);
        for (side, &index) in columns.iter().enumerate() {
            let Some(case) = record.get(index).filter(|case| !case.is_empty()) else {
                continue;
            };
            if let Some((first, first_side)) = lines.insert(case.to_owned(), (line, side)) {
                let name = |side: usize| ["train", "val"][side];
                return Err(fault(format!(
                    "case {case} stands in `{}` (line {first}) and in `{}` (line {line})",
                    name(first_side),
                    name(side)
                )));
            }
            cases[side].push(case.to_owned());
        }
    }
    let [train_cases, validation_cases] = cases;
    Ok(Split { fold, train_cases, validation_cases })
}

/// Ids that stand in one place and not in the other; a report lists them all.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Dropped {
    /// Why they are left out.
    pub reason: String,
    /// The ids, sorted.
    pub ids: Vec<String>,
}

/// The folds over the slides that have bags, and everything that fell out on the way.
#[derive(Debug, Clone, PartialEq)]
pub struct JoinedFolds {
    /// The folds, in order.
    pub folds: Vec<Fold>,
    /// Slides without a bag at every magnification that the model reads.
    pub without_bag: Vec<Dropped>,
    /// Slides and cases that the folds and the table do not share.
    pub without_fold: Vec<Dropped>,
}

/// Joins table, splits and bags. `missing` says for a slide what its bag lacks, if anything; `bag_ids` lists what lies in
/// the bag directory.
///
/// # Errors
/// If a patient is trained and validated on in one fold, no id joins, or a fold is left without training or validation
/// slides.
pub fn join(
    cohort: &Cohort,
    splits: &[Split],
    splits_dir: &Path,
    bag_ids: &[String],
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
    let strangers: Vec<String> =
        bag_ids.iter().filter(|id| !known_slides.contains(id.as_str())).cloned().collect();
    if !has_bag.contains(&true) {
        let example = |ids: Option<&str>| ids.unwrap_or("none").to_owned();
        return Err(Error::data(
            splits_dir,
            format!(
                "no slide of the clinical table has a bag: the table says {}, the bags are called {}",
                example(known_slides.first().copied()),
                example(bag_ids.first().map(String::as_str))
            ),
        ));
    }

    let mut by_case: BTreeMap<&str, Vec<usize>> = BTreeMap::new();
    for (index, slide) in cohort.slides().iter().enumerate() {
        by_case.entry(&slide.case_id).or_default().push(index);
    }
    let mut unknown_cases = BTreeSet::new();
    let mut in_fold = vec![false; cohort.slides().len()];
    let mut validated = vec![false; cohort.slides().len()];
    let mut folds = Vec::new();
    for split in splits {
        let mut slides_of = |cases: &[String]| {
            let mut slides = Vec::new();
            for case in cases {
                match by_case.get(case.as_str()) {
                    Some(indices) => slides.extend(indices),
                    None => {
                        unknown_cases.insert(case.clone());
                    }
                }
            }
            for &index in &slides {
                in_fold[index] = true;
            }
            slides.retain(|&index| has_bag[index]);
            // The order of the table, so that a reordered split file gives the same run.
            slides.sort_unstable();
            slides
        };
        let (train, validation) = (slides_of(&split.train_cases), slides_of(&split.validation_cases));
        for &index in &validation {
            validated[index] = true;
        }
        let path = splits_dir.join(format!("splits_{}.csv", split.fold));
        let fold = Fold { fold: split.fold, train, validation };
        check_fold(cohort, &fold).map_err(|reason| Error::data(&path, reason))?;
        folds.push(fold);
    }

    let list = |reason: &str, keep: &dyn Fn(usize) -> bool| {
        let ids = cohort.slides().iter().enumerate().filter(|(index, _)| keep(*index));
        dropped(reason, ids.map(|(_, slide)| slide.slide_id.clone()).collect())
    };
    let mut without_bag: Vec<Dropped> =
        lacking.into_iter().filter_map(|(reason, ids)| dropped(&reason, ids)).collect();
    without_bag.extend(dropped("bag without a row in the clinical table", strangers));
    let without_fold = [
        list("slide whose case is in no split file", &|index| has_bag[index] && !in_fold[index]),
        list("slide that no fold validates (trained on only)", &|index| {
            has_bag[index] && in_fold[index] && !validated[index]
        }),
        dropped(
            "case of a split file without a row in the clinical table",
            unknown_cases.into_iter().collect(),
        ),
    ];
    Ok(JoinedFolds { folds, without_bag, without_fold: without_fold.into_iter().flatten().collect() })
}

fn dropped(reason: &str, mut ids: Vec<String>) -> Option<Dropped> {
    ids.sort_unstable();
    (!ids.is_empty()).then(|| Dropped { reason: reason.to_owned(), ids })
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
