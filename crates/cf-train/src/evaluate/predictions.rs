//! The prediction files of a run.

use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use survival_metrics::{Outcome, Status};

use crate::cohort::patient_of;
use crate::error::{Error, Result};
use crate::plan::{FoldRecord, FoldsRecord};
use crate::run_dir::{self, fold_files};
use crate::substitutes::SubstituteRow;

/// A row of a predictions file.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Prediction {
    /// What the split files list.
    pub case_id: String,
    /// The slide.
    pub slide_id: String,
    /// The fold whose model made this row.
    pub fold: usize,
    /// Months to event or censoring.
    pub event_time_months: f64,
    /// `event` or `censored`.
    pub status: StatusName,
    /// Risk score; higher is worse.
    pub risk: f64,
    /// Survival past time bin 1.
    pub s1: f64,
    /// Survival past time bin 2.
    pub s2: f64,
    /// Survival past time bin 3.
    pub s3: f64,
    /// Survival past time bin 4.
    pub s4: f64,
}

/// [`Status`] as it is written in files.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum StatusName {
    /// The event was seen.
    Event,
    /// It was not.
    Censored,
}

impl From<Status> for StatusName {
    fn from(status: Status) -> Self {
        match status {
            Status::Event => Self::Event,
            Status::Censored => Self::Censored,
        }
    }
}

impl From<StatusName> for Status {
    fn from(name: StatusName) -> Self {
        match name {
            StatusName::Event => Self::Event,
            StatusName::Censored => Self::Censored,
        }
    }
}

impl Prediction {
    /// Months and status.
    ///
    /// # Errors
    /// If the months are negative or not finite.
    pub fn outcome(&self) -> Result<Outcome> {
        Ok(Outcome::new(self.event_time_months, self.status.into())?)
    }

    /// The patient of the case.
    pub fn patient_id(&self) -> &str {
        patient_of(&self.case_id)
    }
}

/// The prediction files of one fold.
#[derive(Debug)]
pub struct FoldPredictions {
    /// Its number.
    pub fold: usize,
    /// What `folds.json` says of it.
    pub record: FoldRecord,
    /// Validation rows, selected epoch.
    pub selected: Vec<Prediction>,
    /// Validation rows, last epoch.
    pub last: Vec<Prediction>,
    /// Training rows, selected epoch.
    pub train: Vec<Prediction>,
    /// What stood in for what bags lack.
    pub substitutes: Vec<SubstituteRow>,
}

/// Reads the predictions of every complete fold.
///
/// # Errors
/// If there is none, a file can't be read, or its rows are not the slides that `folds.json` lists for the fold.
pub fn read_predictions(run: &Path) -> Result<Vec<FoldPredictions>> {
    let folds = finished_folds(run)?;
    let record: FoldsRecord = run_dir::read_json(&run.join(run_dir::FOLDS))?;
    let read = |(fold, dir): (usize, PathBuf)| {
        let record = record_of(run, &record, fold)?.clone();
        let substitutes = dir.join(fold_files::SUBSTITUTES);
        Ok(FoldPredictions {
            fold,
            selected: rows_of(&dir.join(fold_files::PREDICTIONS), &record.validation)?,
            last: rows_of(&dir.join(fold_files::PREDICTIONS_LAST), &record.validation)?,
            train: rows_of(&dir.join(fold_files::PREDICTIONS_TRAIN), &record.train)?,
            substitutes: if substitutes.is_file() { run_dir::read_csv(&substitutes)? } else { Vec::new() },
            record,
        })
    };
    folds.into_iter().map(read).collect()
}

/// What `folds.json` of a run says of a fold.
///
/// # Errors
/// If it says nothing.
pub(crate) fn record_of<'a>(run: &Path, record: &'a FoldsRecord, fold: usize) -> Result<&'a FoldRecord> {
    record.folds.iter().find(|record| record.fold == fold).ok_or_else(|| {
        Error::data(
            &run.join(run_dir::FOLDS),
            format!(
                "says nothing of fold {fold}, whose predictions are there; `cf-train cv --resume` writes it again"
            ),
        )
    })
}

/// The complete folds of a run, with their directories.
///
/// # Errors
/// If there is none, or the run's directory can't be read.
pub(crate) fn finished_folds(run: &Path) -> Result<Vec<(usize, PathBuf)>> {
    let mut folds = run_dir::folds_in(run)?;
    folds.retain(|(_, dir)| dir.join(fold_files::PREDICTIONS).is_file());
    if folds.is_empty() {
        return Err(Error::data(run, "found no fold_K/predictions.csv, expected a run of `cf-train cv`"));
    }
    Ok(folds)
}

/// The error of a fold that `role` speaks of, as in "was asked for", where `finished` are those that are finished.
pub(crate) fn unfinished_fold(run: &Path, (fold, role): (usize, &str), finished: &[usize]) -> Error {
    let finished = cf_cli::listed(finished.iter().map(ToString::to_string));
    let reason = format!(
        "fold {fold} {role}, finished are {finished}; `cf-train cv --resume` goes on with the others"
    );
    Error::data(run, reason)
}

/// The rows of a predictions file, which are those of `slides`.
///
/// # Errors
/// If it can't be read, or has others.
pub(crate) fn rows_of(path: &Path, slides: &[String]) -> Result<Vec<Prediction>> {
    let rows: Vec<Prediction> = run_dir::read_csv(path)?;
    if let Some(row) = rows.iter().find(|row| !row.risk.is_finite()) {
        let reason = format!("the risk of slide {} is {}, expected a finite number", row.slide_id, row.risk);
        return Err(Error::data(path, reason));
    }
    let mut found: Vec<&str> = rows.iter().map(|row| row.slide_id.as_str()).collect();
    let mut expected: Vec<&str> = slides.iter().map(String::as_str).collect();
    found.sort_unstable();
    expected.sort_unstable();
    if found == expected {
        return Ok(rows);
    }
    let other = expected.iter().find(|slide| !found.contains(slide));
    let other = other.map_or_else(String::new, |slide| format!(", {slide} among them"));
    Err(Error::data(
        path,
        format!(
            "has {} rows, expected one for each of the {} slides that {} lists{other}; remove the directory of this fold, and \
             `cf-train cv --resume` trains it again",
            found.len(),
            expected.len(),
            run_dir::FOLDS
        ),
    ))
}

/// The folds that a run began and of which it has no `predictions`.
///
/// # Errors
/// If `folds.json` can't be read.
pub fn unfinished_folds(run: &Path, predictions: &[FoldPredictions]) -> Result<Vec<usize>> {
    let record: FoldsRecord = run_dir::read_json(&run.join(run_dir::FOLDS))?;
    let begun = record.folds.iter().map(|record| record.fold);
    Ok(begun.filter(|begun| predictions.iter().all(|fold| fold.fold != *begun)).collect())
}
