//! The clinical table: read and checked once, row by row. What leaves it are typed cases and slides.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use cf_cli::RowLengths;
use survival_metrics::Outcome;

use super::barcode::patient_of;
use super::clinical_rows::{ReadRow, SkippedRow, in_words, read_rows};
use super::preset::{Preset, RowsPerCase};
use super::row_fault::{OnFault, RowFault, RowFaultKind};
use super::settings::CohortConfig;
use super::slide_names;
use super::status_cells::StatusColumn;
use super::table_form::TableForm;
use super::unread_patients::UnreadPatients;
use super::{Cohort, Dropped, Slide};
use crate::delimited::DelimitedTable;
use crate::error::{Error, Result};
use crate::splits;

/// What an error says of a table that none of its rows is left of.
pub(crate) const NO_ROWS: &str = "no rows, expected one per slide or patient";

/// A case of the clinical table: what split files list.
#[derive(Debug, Clone, PartialEq)]
pub struct Case {
    /// As the table calls it.
    pub case_id: String,
    /// The first twelve characters of a TCGA barcode, else the case id.
    pub patient_id: String,
    /// Months and status.
    pub outcome: Outcome,
    /// Its slides; `None` where only the names of bags will tell.
    pub n_slides: Option<usize>,
}

/// A clinical table whose rows are usable and do not contradict each other; somebody has an event.
#[derive(Debug, Clone, PartialEq)]
pub struct ClinicalTable {
    path: PathBuf,
    /// Which table has the rows of slides, in words.
    slides_stand_in: &'static str,
    status_column: StatusColumn,
    rows: Rows,
    /// Cases of rows without an outcome, or without a slide.
    skipped_cases: BTreeSet<String>,
    dropped: Vec<Dropped>,
    unread_patients: Option<UnreadPatients>,
}

#[derive(Debug, Clone, PartialEq)]
enum Rows {
    Slides(Vec<Slide>),
    /// Bags are called after them.
    Patients(Vec<Case>),
}

impl ClinicalTable {
    /// Reads the table that `config` describes, and its slide table where there is one.
    ///
    /// # Errors
    /// If the sign of censoring is not configured (the error lists the columns and says what to write), the file is no
    /// table, a column is missing, a cell is not what it should be (the error names line and column), a slide stands
    /// twice, a patient has two outcomes, there are no rows, or nobody has an event.
    pub fn read(config: &CohortConfig) -> Result<Self> {
        let table = Self::read_rows(config, &mut OnFault::Stop)?;
        if let Some(unread) = &table.unread_patients {
            tracing::warn!("{}: {}; {}", table.path.display(), unread.found(), unread.way_out());
        }
        Ok(table)
    }

    /// As [`ClinicalTable::read`], leaving out every faulty row with its fault in `faults`; an outcome without any event or two
    /// of one patient are listed, too, and left as they are.
    ///
    /// # Errors
    /// If there is no table, or none of its rows can be used.
    pub(crate) fn examine(config: &CohortConfig, faults: &mut Vec<RowFault>) -> Result<Self> {
        Self::read_rows(config, &mut OnFault::Collect(faults))
    }

    fn read_rows(config: &CohortConfig, on_fault: &mut OnFault<'_>) -> Result<Self> {
        let path = &config.clinical;
        let mut rows: Vec<ReadRow> = Vec::new();
        let mut skipped = Vec::new();
        let mut status_column = None;
        // Of each column of patients that is not read, its cells and the cases.
        let mut unread: BTreeMap<String, Vec<(String, String)>> = BTreeMap::new();
        // Files of a folder repeat each other's rows, each being in one part of every fold.
        let mut seen: BTreeMap<String, (PathBuf, usize)> = BTreeMap::new();
        for file in table_files(config)? {
            let table = DelimitedTable::read(&file, RowLengths::Equal)?;
            let form = match TableForm::resolve(config, &table) {
                Ok(form) => form,
                Err(reason) => {
                    let error = table.fault(reason);
                    on_fault.meet(RowFault { kind: RowFaultKind::Columns, error })?;
                    continue;
                }
            };
            for row in read_rows(&table, &form, &mut skipped, on_fault)? {
                match seen.get(row.id()) {
                    None => {
                        seen.insert(row.id().to_owned(), (file.clone(), rows.len()));
                        rows.push(row);
                    }
                    Some((first_file, index)) => {
                        let repeats = *first_file != file || form.rows == RowsPerCase::Several;
                        let first = rows.get(*index).filter(|first| !repeats || first.outcome != row.outcome);
                        if let Some(first) = first {
                            let kind = match (&row.slide_id, form.rows) {
                                (Some(_), _) => RowFaultKind::DuplicateSlide,
                                (None, RowsPerCase::One) => RowFaultKind::DuplicatePatient,
                                (None, RowsPerCase::Several) => RowFaultKind::TwoOutcomes,
                            };
                            let reason = stands_twice(&row, first, (first_file, &file), form.rows);
                            on_fault.meet(RowFault { kind, error: table.fault(reason) })?;
                        }
                    }
                }
            }
            for column in &form.unread_patients {
                let rows = table.rows().map(|row| (row.cell(column.index), row.cell(form.case.index)));
                let rows = rows.map(|(patient, case_id)| (patient.to_owned(), case_id.to_owned()));
                unread.entry(column.name.clone()).or_default().extend(rows);
            }
            if form.rows == RowsPerCase::Several {
                skipped.retain(|row: &SkippedRow| !seen.contains_key(&row.id));
            }
            status_column = Some(form.status);
        }
        let fault = |reason: String| Error::data(path, reason);
        let status_column = status_column.ok_or_else(|| fault("found no table".to_owned()))?;
        // Another row of the case may have what this one lacks.
        let has_outcome: BTreeSet<&str> = rows.iter().map(|row| row.case_id.as_str()).collect();
        let mut skipped_cases: BTreeSet<String> = skipped
            .iter()
            .filter(|row| !has_outcome.contains(row.case_id.as_str()))
            .map(|row| row.case_id.clone())
            .collect();
        let skipped: BTreeSet<String> = skipped.into_iter().map(|row| row.id).collect();
        if rows.is_empty() {
            return Err(fault(match skipped.len() {
                0 => NO_ROWS.to_owned(),
                n => format!("none of its {n} rows has a time and a status"),
            }));
        }
        for (kind, reason) in outcome_faults(&rows) {
            on_fault.meet(RowFault { kind, error: fault(reason) })?;
        }
        let mut dropped: Vec<Dropped> = Vec::new();
        let rows = if let Some(slide_table) = &config.slides {
            let outcomes = rows.iter().map(|row| (row.case_id.as_str(), row.outcome)).collect();
            let (slides, more) =
                slide_names::read(slide_table, &config.slide_columns, &outcomes, &skipped_cases, on_fault)?;
            skipped_cases.extend(ids_of(&more, slide_names::WITHOUT_SLIDE_ROW));
            dropped.extend(more);
            Rows::Slides(slides)
        } else if rows.iter().all(|row| row.slide_id.is_some()) {
            Rows::Slides(rows.into_iter().map(slide_of).collect())
        } else {
            Rows::Patients(rows.into_iter().map(patient).collect())
        };
        dropped.extend(Dropped::new("row without a time or a status", skipped.into_iter().collect()));
        let unread_patients = unread.iter().find_map(|(column, rows)| UnreadPatients::of(column, rows));
        let slides_stand_in = if config.slides.is_some() { "the slide table" } else { "the clinical table" };
        Ok(Self {
            path: path.clone(),
            slides_stand_in,
            status_column,
            rows,
            skipped_cases,
            dropped,
            unread_patients,
        })
    }

    /// The file.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The column that statuses were read from.
    pub fn status_column(&self) -> &StatusColumn {
        &self.status_column
    }

    /// Patients of a column that is not read, where each is taken for several.
    pub(crate) fn unread_patients(&self) -> Option<&UnreadPatients> {
        self.unread_patients.as_ref()
    }

    /// What was left out so far, and why.
    pub fn dropped(&self) -> &[Dropped] {
        &self.dropped
    }

    /// The cases, in the order of the table.
    pub fn cases(&self) -> Vec<Case> {
        let slides = match &self.rows {
            Rows::Patients(patients) => return patients.clone(),
            Rows::Slides(slides) => slides,
        };
        let mut places: BTreeMap<&str, usize> = BTreeMap::new();
        let mut cases: Vec<Case> = Vec::new();
        for slide in slides {
            let place = *places.entry(&slide.case_id).or_insert(cases.len());
            match cases.get_mut(place) {
                Some(case) => case.n_slides = case.n_slides.map(|n| n + 1),
                None => cases.push(Case {
                    case_id: slide.case_id.clone(),
                    patient_id: slide.patient_id.clone(),
                    outcome: slide.outcome,
                    n_slides: Some(1),
                }),
            }
        }
        cases
    }

    /// One outcome per patient, in the order of the table.
    pub fn patient_outcomes(&self) -> Vec<Outcome> {
        let mut seen = BTreeSet::new();
        let cases = self.cases();
        cases.iter().filter(|case| seen.insert(case.patient_id.as_str())).map(|case| case.outcome).collect()
    }

    /// Whether a case has rows, but none with an outcome, or no slide: what [`ClinicalTable::dropped`] tells of.
    pub(crate) fn is_skipped(&self, case_id: &str) -> bool {
        self.skipped_cases.contains(case_id)
    }

    /// The slides, where the table or a slide table lists them.
    pub(crate) fn slides(&self) -> Option<&[Slide]> {
        match &self.rows {
            Rows::Slides(slides) => Some(slides),
            Rows::Patients(_) => None,
        }
    }

    /// The slides of the table; where its rows are patients, the bags that are called after them (`TCGA-2F-A9KO-01Z..`
    /// after `TCGA-2F-A9KO`; a name ends before a character that is no letter or digit, and the longest wins).
    ///
    /// # Errors
    /// If rows are patients and no bag is called after one.
    pub fn into_cohort(self, bags: &[String]) -> Result<Cohort> {
        let (mut dropped, mut skipped_cases) = (self.dropped, self.skipped_cases);
        let slides = match self.rows {
            Rows::Slides(slides) => slides,
            Rows::Patients(patients) => {
                let (slides, more) = slide_names::bags_of(&patients, &skipped_cases, bags)
                    .map_err(|reason| Error::data(&self.path, reason))?;
                skipped_cases.extend(ids_of(&more, slide_names::WITHOUT_BAG));
                dropped.extend(more);
                slides
            }
        };
        Ok(Cohort { slides, slides_stand_in: self.slides_stand_in, skipped_cases, dropped })
    }
}

/// The ids that fell out for a reason.
fn ids_of<'a>(dropped: &'a [Dropped], reason: &str) -> impl Iterator<Item = String> + use<'a> {
    let of_reason = dropped.iter().find(|dropped| dropped.reason == reason);
    of_reason.into_iter().flat_map(|dropped| dropped.ids.iter().cloned())
}

/// The clinical table itself, or the split files with full rows of a folder.
///
/// # Errors
/// If it is a folder of something else, or the folder can't be read.
pub(crate) fn table_files(config: &CohortConfig) -> Result<Vec<PathBuf>> {
    let path = &config.clinical;
    if config.preset == Some(Preset::Mmp)
        && let Some(files) = splits::full_row_files(path)?
    {
        return Ok(files);
    }
    if path.is_dir() {
        return Err(Error::data(
            path,
            "is a folder, expected a table; only preset `mmp` reads folders, of <task>_k=0/train.csv and so on",
        ));
    }
    Ok(vec![path.clone()])
}

fn stands_twice(
    row: &ReadRow,
    first: &ReadRow,
    (first_file, file): (&Path, &Path),
    rows: RowsPerCase,
) -> String {
    let what = if row.slide_id.is_some() { "slide" } else { "patient" };
    let same_file = first_file == file;
    if same_file && rows == RowsPerCase::One {
        return format!("{what} {} stands in line {} and in line {}", row.id(), first.line, row.line);
    }
    format!(
        "{what} {} is {} in line {}, but {} in line {}{}",
        row.id(),
        in_words(row.outcome),
        row.line,
        in_words(first.outcome),
        first.line,
        if same_file { String::new() } else { format!(" of {}", first_file.display()) }
    )
}

fn outcome_faults(rows: &[ReadRow]) -> Vec<(RowFaultKind, String)> {
    let mut faults = Vec::new();
    let mut patients: BTreeMap<&str, &ReadRow> = BTreeMap::new();
    for row in rows {
        let patient_id = patient_of(&row.case_id);
        let first = patients.entry(patient_id).or_insert(row);
        if first.outcome != row.outcome {
            let reason = format!(
                "patient {patient_id} has two outcomes: {} in slide {}, {} in slide {}",
                in_words(first.outcome),
                first.id(),
                in_words(row.outcome),
                row.id()
            );
            faults.push((RowFaultKind::TwoOutcomes, reason));
        }
    }
    if !rows.iter().any(|row| row.outcome.is_event()) {
        let what = if rows.iter().all(|row| row.slide_id.is_some()) { "slides" } else { "patients" };
        let reason = format!(
            "all {} {what} are censored, expected events; is the column one of events (event = \"..\") rather \
             than of censorship?",
            rows.len()
        );
        faults.push((RowFaultKind::NoEvent, reason));
    }
    faults
}

fn slide_of(row: ReadRow) -> Slide {
    let patient_id = patient_of(&row.case_id).to_owned();
    let slide_id = row.slide_id.unwrap_or_default();
    Slide { patient_id, case_id: row.case_id, slide_id, outcome: row.outcome }
}

fn patient(row: ReadRow) -> Case {
    let patient_id = patient_of(&row.case_id).to_owned();
    Case { patient_id, case_id: row.case_id, outcome: row.outcome, n_slides: None }
}
