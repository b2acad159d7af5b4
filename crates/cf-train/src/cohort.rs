//! The clinical table: one row per slide, read and checked once. Nothing else in the workspace sees the table.

use std::collections::BTreeMap;
use std::path::Path;

use survival_metrics::{Outcome, Status};
use wsi_bags::slide_stem;

use crate::config::ColumnNames;
use crate::error::{Error, Result};

/// One slide of the clinical table.
#[derive(Debug, Clone, PartialEq)]
pub struct Slide {
    /// What the split files list.
    pub case_id: String,
    /// The slide's name without its extension, as bags are called.
    pub slide_id: String,
    /// The first twelve characters of a TCGA barcode, else the case id.
    pub patient_id: String,
    /// Months and status.
    pub outcome: Outcome,
}

/// The slides of a clinical table, in its order; ids are unique and no patient contradicts himself.
#[derive(Debug, Clone, PartialEq)]
pub struct Cohort {
    /// At least one.
    slides: Vec<Slide>,
}

impl Cohort {
    /// Reads a CSV with one row per slide; columns beside those of `columns` are ignored.
    ///
    /// # Errors
    /// If the file can't be read, lacks a column, has no rows, holds a cell that is not what it should be (the error names
    /// line and column), lists a slide twice, or gives a patient two outcomes; or if nobody has an event.
    pub fn read(path: &Path, columns: &ColumnNames) -> Result<Self> {
        let fault = |reason: String| Error::data(path, reason);
        let file = std::fs::File::open(path).map_err(Error::io("read", path))?;
        let mut reader = csv::ReaderBuilder::new().trim(csv::Trim::All).from_reader(file);
        let header = reader.headers().map_err(|error| fault(csv_reason(&error)))?.clone();
        let column = |name: &str, key: &str| {
            header.iter().position(|found| found.trim_start_matches('\u{feff}') == name).ok_or_else(|| {
                let found = header.iter().collect::<Vec<_>>().join(", ");
                fault(format!(
                    "no column `{name}`; found {found}; name yours in [cohort.columns] {key} = \"..\""
                ))
            })
        };
        let case_column = column(&columns.case_id, "case_id")?;
        let slide_column = column(&columns.slide_id, "slide_id")?;
        let time_column = column(&columns.time, "time")?;
        let status_column = match (&columns.event, &columns.censorship) {
            (Some(name), _) => StatusColumn { index: column(name, "event")?, name, one: Status::Event },
            (None, Some(name)) => {
                StatusColumn { index: column(name, "censorship")?, name, one: Status::Censored }
            }
            (None, None) => {
                return Err(fault("no column of events or censorship is configured".to_owned()));
            }
        };

        let mut slides = Vec::new();
        let mut lines: BTreeMap<String, u64> = BTreeMap::new();
        for record in reader.records() {
            let record = record.map_err(|error| fault(csv_reason(&error)))?;
            let line = record.position().map_or(0, csv::Position::line);
            let cell = |index: usize| record.get(index).unwrap_or_default();
            let id = |index: usize, name: &str| match cell(index) {
                "" => Err(fault(format!("line {line}, column `{name}`: empty, expected an id"))),
                id => Ok(id.to_owned()),
            };
            let case_id = id(case_column, &columns.case_id)?;
            let slide_id = slide_stem(&id(slide_column, &columns.slide_id)?).to_owned();
            let time = cell(time_column);
            let outcome = time.parse::<f64>().ok().and_then(|months| {
                Outcome::new(months, status_column.parse(cell(status_column.index))?).ok()
            });
            let outcome = outcome.ok_or_else(|| {
                let StatusColumn { index, name, .. } = status_column;
                match time.parse::<f64>() {
                    Ok(months) if months.is_finite() && months >= 0.0 => fault(format!(
                        "line {line}, column `{name}`: found `{}`, expected 0 or 1 (slide {slide_id})",
                        cell(index)
                    )),
                    _ => fault(format!(
                        "line {line}, column `{}`: found `{time}`, expected months, at least 0 (slide {slide_id})",
                        columns.time
                    )),
                }
            })?;
            if let Some(first) = lines.insert(slide_id.clone(), line) {
                return Err(fault(format!("slide {slide_id} stands in line {first} and in line {line}")));
            }
            slides.push(Slide { patient_id: patient_of(&case_id).to_owned(), case_id, slide_id, outcome });
        }
        Self::new(slides).map_err(fault)
    }

    fn new(slides: Vec<Slide>) -> std::result::Result<Self, String> {
        if slides.is_empty() {
            return Err("no rows, expected one per slide".to_owned());
        }
        let mut patients: BTreeMap<&str, &Slide> = BTreeMap::new();
        for slide in &slides {
            let first = patients.entry(&slide.patient_id).or_insert(slide);
            if first.outcome != slide.outcome {
                return Err(format!(
                    "patient {} has two outcomes: {} in slide {}, {} in slide {}",
                    slide.patient_id,
                    in_words(first.outcome),
                    first.slide_id,
                    in_words(slide.outcome),
                    slide.slide_id
                ));
            }
        }
        if !slides.iter().any(|slide| slide.outcome.is_event()) {
            return Err(format!(
                "all {} slides are censored, expected events; is the column one of events (event = \"..\") rather \
                 than of censorship?",
                slides.len()
            ));
        }
        Ok(Self { slides })
    }

    /// The slides, in the order of the table.
    pub fn slides(&self) -> &[Slide] {
        &self.slides
    }

    /// Outcomes in the order of the table.
    pub fn outcomes(&self) -> Vec<Outcome> {
        self.slides.iter().map(|slide| slide.outcome).collect()
    }
}

#[derive(Clone, Copy)]
struct StatusColumn<'a> {
    index: usize,
    name: &'a str,
    /// What a 1 means.
    one: Status,
}

impl StatusColumn<'_> {
    fn parse(self, cell: &str) -> Option<Status> {
        let zero = match self.one {
            Status::Event => Status::Censored,
            Status::Censored => Status::Event,
        };
        match cell.parse::<f64>() {
            Ok(1.0) => Some(self.one),
            Ok(0.0) => Some(zero),
            _ => None,
        }
    }
}

/// The patient of a case: the first twelve characters of a TCGA barcode (`TCGA-2F-A9KO`), else the case id itself.
pub fn patient_of(case_id: &str) -> &str {
    let parts: Vec<usize> = case_id.split('-').take(3).map(str::len).collect();
    if case_id.starts_with("TCGA-") && parts == [4, 2, 4] {
        return case_id.get(..12).unwrap_or(case_id);
    }
    case_id
}

fn in_words(outcome: Outcome) -> String {
    let status = if outcome.is_event() { "event" } else { "censored" };
    format!("{status} at {} months", outcome.time())
}

/// What is wrong with a CSV file, its line first.
pub(crate) fn csv_reason(error: &csv::Error) -> String {
    match error.kind() {
        csv::ErrorKind::UnequalLengths { pos, expected_len, len } => {
            let line = pos.as_ref().map_or(0, csv::Position::line);
            format!("line {line}: {len} cells, expected {expected_len} as in the header")
        }
        csv::ErrorKind::Utf8 { pos, err } => {
            let line = pos.as_ref().map_or(0, csv::Position::line);
            format!("line {line}, column {}: not UTF-8", err.field() + 1)
        }
        _ => error.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_patient_is_the_head_of_a_barcode_or_the_case_itself() {
        assert_eq!(patient_of("TCGA-2F-A9KO"), "TCGA-2F-A9KO");
        assert_eq!(patient_of("TCGA-A6-2683-01Z-00-DX1.0dfc5d0a"), "TCGA-A6-2683");
        assert_eq!(patient_of("TCGA-sim-12"), "TCGA-sim-12");
        assert_eq!(patient_of("case 12"), "case 12");
    }
}
