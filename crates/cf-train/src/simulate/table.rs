//! Reads the clinical table and the splits that a simulated cohort takes its outcomes from.

use std::collections::HashMap;
use std::path::Path;

use cf_cli::RowLengths;
use survival_metrics::{Outcome, Status};
use wsi_bags::slide_stem;

use super::Error;
use crate::delimited::DelimitedTable;

/// One slide of a clinical table.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Row {
    /// Line in the file, the header being line 1.
    pub line: u64,
    pub case_id: String,
    /// As in the table, usually ending in `.svs`.
    pub slide_id: String,
    /// Time in months.
    pub outcome: Outcome,
}

/// Reads `case_id, slide_id, survival_months, censorship` (1 = censored); other columns are left alone.
///
/// # Errors
/// If the file is no table, lacks a column, names a slide twice, or a cell is not usable.
pub(super) fn read_clinical(path: &Path) -> Result<Vec<Row>, Error> {
    let table = DelimitedTable::read(path, RowLengths::Equal).map_err(Error::table)?;
    let [case_id, slide_id] = [find(&table, "case_id")?, find(&table, "slide_id")?];
    let [months, censorship] = [find(&table, "survival_months")?, find(&table, "censorship")?];

    let mut rows: Vec<Row> = Vec::new();
    let mut lines: HashMap<String, u64> = HashMap::new();
    for row in table.rows() {
        let line = row.line;
        let cell = |column: usize| row.cell(column);
        let fault = |column, index: usize, expected| Error::Cell {
            path: path.to_path_buf(),
            line,
            column,
            found: cell(index).to_owned(),
            expected,
        };
        if cell(case_id).is_empty() {
            return Err(fault("case_id", case_id, "an id"));
        }
        let slide = slide_stem(cell(slide_id));
        // The id names a file of the output.
        if slide.is_empty() || slide.starts_with('.') || slide.contains(['/', '\\', '\0']) {
            return Err(fault("slide_id", slide_id, "an id that can name a file"));
        }
        let time = cell(months).parse::<f64>().ok();
        let status = match cell(censorship).parse::<f64>() {
            Ok(1.0) => Status::Censored,
            Ok(0.0) => Status::Event,
            _ => return Err(fault("censorship", censorship, "1 (censored) or 0 (event)")),
        };
        let outcome = time
            .and_then(|time| Outcome::new(time, status).ok())
            .ok_or_else(|| fault("survival_months", months, "a finite number of months, at least 0"))?;
        if let Some(first_line) = lines.insert(slide.to_owned(), line) {
            return Err(Error::DuplicateSlide {
                path: path.to_path_buf(),
                slide: slide.to_owned(),
                first_line,
                second_line: line,
            });
        }
        rows.push(Row {
            line,
            case_id: cell(case_id).to_owned(),
            slide_id: cell(slide_id).to_owned(),
            outcome,
        });
    }
    Ok(rows)
}

/// Reads the case ids of column `val` of a split, after checking that `train` is there too.
///
/// # Errors
/// If the file is no table or lacks a column.
pub(super) fn read_validation_cases(path: &Path) -> Result<Vec<String>, Error> {
    // The shorter of the two columns may be left off at the ends of lines.
    let table = DelimitedTable::read(path, RowLengths::Ragged).map_err(Error::table)?;
    find(&table, "train")?;
    let val = find(&table, "val")?;
    let cases = table.rows().map(|row| row.cell(val)).filter(|case| !case.is_empty());
    Ok(cases.map(str::to_owned).collect())
}

fn find(table: &DelimitedTable, column: &'static str) -> Result<usize, Error> {
    table.column(column).ok_or_else(|| Error::MissingColumn {
        path: table.path().to_path_buf(),
        column,
        found: table.header().to_vec(),
    })
}
