//! The rows of the clinical table, one by one: cells to ids, a time and a status.

use cf_cli::{Commas, commas_of};
use survival_metrics::{Outcome, Status};

use super::preset::MissingOutcome;
use super::row_fault::{OnFault, RowFault, RowFaultKind};
use super::slide_names::bag_name_of;
use super::status_cells::StatusReader;
use super::table_form::TableForm;
use super::time_cells::is_missing;
use crate::delimited::{DelimitedTable, TableRow};
use crate::error::Result;

/// A row whose outcome was not recorded.
pub(super) struct SkippedRow {
    pub(super) case_id: String,
    /// The slide, or the case where rows are patients.
    pub(super) id: String,
}

/// A row as its cells say.
pub(super) struct ReadRow {
    pub(super) line: u64,
    pub(super) case_id: String,
    pub(super) slide_id: Option<String>,
    pub(super) outcome: Outcome,
}

impl ReadRow {
    /// The slide, or the case where rows are patients.
    pub(super) fn id(&self) -> &str {
        self.slide_id.as_deref().unwrap_or(&self.case_id)
    }
}

/// Reads the rows of a table; `skipped` gets those without an outcome.
pub(super) fn read_rows(
    table: &DelimitedTable,
    form: &TableForm,
    skipped: &mut Vec<SkippedRow>,
    on_fault: &mut OnFault<'_>,
) -> Result<Vec<ReadRow>> {
    let mut statuses = StatusReader::new(&form.status);
    let mut rows = Vec::new();
    for row in table.rows() {
        match read_row(table, form, &row, &mut statuses) {
            Ok(Some(row)) => rows.push(row),
            Ok(None) => {
                // Both cells were found to be filled.
                let case_id = row.cell(form.case.index);
                let slide_id = form.slide.as_ref().map(|slide| bag_name_of(row.cell(slide.index)));
                let id = slide_id.unwrap_or(case_id).to_owned();
                skipped.push(SkippedRow { case_id: case_id.to_owned(), id });
            }
            Err(fault) => on_fault.meet(fault)?,
        }
    }
    Ok(rows)
}

/// A row, or `None` where its outcome is missing and such rows are skipped.
fn read_row(
    table: &DelimitedTable,
    form: &TableForm,
    row: &TableRow<'_>,
    statuses: &mut StatusReader<'_>,
) -> std::result::Result<Option<ReadRow>, RowFault> {
    let of_id = |error| RowFault { kind: RowFaultKind::EmptyId, error };
    let case_id = id(table, row, form.case.index, &form.case.name).map_err(of_id)?;
    let slide_id = match &form.slide {
        Some(slide) => Some(bag_name_of(id(table, row, slide.index, &slide.name).map_err(of_id)?).to_owned()),
        None => None,
    };
    let whose = match &slide_id {
        Some(slide) => format!("slide {slide}"),
        None => format!("patient {case_id}"),
    };
    let cell_fault = |kind: RowFaultKind, column: &str, found: &str, expected: &str| {
        let skip = match is_missing(found) {
            true => "; to leave such rows out, write missing_outcome = \"skip\" in [cohort]",
            false => "",
        };
        let line = row.line;
        let error = table.fault(format!(
            "line {line}, column `{column}`: found `{found}`, expected {expected} ({whose}){skip}"
        ));
        RowFault { kind, error }
    };
    let skips_missing = form.missing == MissingOutcome::Skip;
    let status = row.cell(form.status_index);
    if skips_missing && is_missing(status) {
        return Ok(None);
    }
    let status = statuses
        .read(status, row.line)
        .map_err(|expected| cell_fault(RowFaultKind::Status, &form.status.name, status, &expected));
    let column = match (&status, &form.censored_time) {
        (Ok(Status::Censored), Some(column)) => column,
        // Nothing says which column has the time.
        (Err(_), Some(_)) => return status.map(|_| None),
        _ => &form.time,
    };
    let time = row.cell(column.index);
    if skips_missing && is_missing(time) {
        return Ok(None);
    }
    let months = time.parse::<f64>().ok().map(|time| form.unit.to_months(time));
    let months = months.filter(|months| months.is_finite() && *months >= 0.0).ok_or_else(|| {
        let unit = form.unit.as_str();
        let (kind, wanted) = what_is_wrong_with(time);
        let expected = format!("{unit}, at least 0{wanted}");
        cell_fault(kind, &column.name, time, &expected)
    })?;
    let outcome = Outcome::new(months, status?)
        .map_err(|error| RowFault { kind: RowFaultKind::Time, error: table.fault(error.to_string()) })?;
    Ok(Some(ReadRow { line: row.line, case_id: case_id.to_owned(), slide_id, outcome }))
}

/// What kind of fault a time is that can't be read, and what is wanted of it beside its unit and range.
fn what_is_wrong_with(time: &str) -> (RowFaultKind, String) {
    match commas_of(time).filter(|_| !time.starts_with('-')) {
        Some(Commas::Decimal { point }) => {
            let wanted = format!(", with a decimal point: this is a decimal comma; write {point}");
            (RowFaultKind::DecimalComma, wanted)
        }
        Some(Commas::Unclear { whole, point }) => {
            let wanted =
                format!(": write {whole} if the comma separates thousands, {point} if it is a decimal comma");
            (RowFaultKind::ThousandsComma, wanted)
        }
        Some(Commas::Thousands { whole }) => {
            (RowFaultKind::ThousandsComma, format!(", without commas between thousands: write {whole}"))
        }
        None if is_missing(time) => (RowFaultKind::TimeMissing, String::new()),
        None if time.contains(',') => (RowFaultKind::Time, ", with a decimal point".to_owned()),
        None => (RowFaultKind::Time, String::new()),
    }
}

/// The cell of an id column, which may not be empty.
pub(super) fn id<'a>(
    table: &DelimitedTable,
    row: &TableRow<'a>,
    index: usize,
    name: &str,
) -> Result<&'a str> {
    match row.cell(index) {
        "" => Err(table.fault(format!("line {}, column `{name}`: empty, expected an id", row.line))),
        id => Ok(id),
    }
}

/// An outcome in words.
pub(super) fn in_words(outcome: Outcome) -> String {
    let status = if outcome.is_event() { "event" } else { "censored" };
    format!("{status} at {} months", outcome.time())
}
