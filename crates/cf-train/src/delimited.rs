//! Delimited tables as people have them: comma, semicolon or tab, quoted cells, Windows line ends, comment lines above the
//! header. One row is one line of the file, so that errors can name it.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use csv::StringRecord;

use crate::error::{Error, Result};
use crate::table_text::read_table_text;

/// More slides than any study has; a table of more rows is another kind of file, or made to fill memory.
const MAX_ROWS: usize = 1_000_000;
/// Columns that an error lists before it only counts: tables with gene columns have thousands.
const MAX_LISTED_COLUMNS: usize = 24;

/// A table whose header has no name twice.
#[derive(Debug, Clone)]
pub(crate) struct DelimitedTable {
    path: PathBuf,
    header: Vec<String>,
    rows: Vec<TableRow>,
}

/// One row; cells are trimmed.
#[derive(Debug, Clone)]
pub(crate) struct TableRow {
    /// Line in the file, from 1.
    pub(crate) line: u64,
    cells: StringRecord,
}

impl TableRow {
    /// The cell of a column, empty where a ragged row ends before it.
    pub(crate) fn cell(&self, column: usize) -> &str {
        self.cells.get(column).unwrap_or_default()
    }
}

/// Whether every row must have the header's number of cells.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum RowLengths {
    /// A row of another length is an error.
    Equal,
    /// Rows may end early: split files leave the shorter column off.
    Ragged,
}

impl DelimitedTable {
    /// Reads a table or a zip with one; rows without any content are left out.
    ///
    /// # Errors
    /// If [`read_table_text`] can't, two columns have the same name, a row has another length than it may, or there are more
    /// than a million rows.
    pub(crate) fn read(path: &Path, lengths: RowLengths) -> Result<Self> {
        let text = read_table_text(path)?;
        let fault = |reason: String| Error::data(path, reason);
        let has_comments = opens_with_comments(&text);
        let is_comment = |line: &str| has_comments && line.starts_with('#');
        let header_line = text.lines().find(|line| !line.trim().is_empty() && !is_comment(line));
        let delimiter = delimiter_of(header_line.unwrap_or_default());
        let mut reader = csv::ReaderBuilder::new()
            .trim(csv::Trim::All)
            .delimiter(delimiter)
            .comment(has_comments.then_some(b'#'))
            .flexible(lengths == RowLengths::Ragged)
            .from_reader(text.as_bytes());
        let header = reader.headers().map_err(|error| fault(csv_reason(&error)))?;
        let header: Vec<String> = header.iter().map(str::to_owned).collect();
        check_header(&header).map_err(fault)?;
        let mut rows = Vec::new();
        for record in reader.records() {
            let cells = record.map_err(|error| fault(csv_reason(&error)))?;
            // Spreadsheets save rows of nothing but delimiters below the table.
            if cells.iter().any(|cell| !cell.is_empty()) {
                if rows.len() == MAX_ROWS {
                    return Err(fault(format!(
                        "has more than {MAX_ROWS} rows, expected a table of slides or folds"
                    )));
                }
                rows.push(TableRow { line: cells.position().map_or(0, csv::Position::line), cells });
            }
        }
        Ok(Self { path: path.to_owned(), header, rows })
    }

    /// The file.
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// Column names, in order; an index column may have none.
    pub(crate) fn header(&self) -> &[String] {
        &self.header
    }

    /// The rows, in order.
    pub(crate) fn rows(&self) -> &[TableRow] {
        &self.rows
    }

    /// The place of a column.
    pub(crate) fn column(&self, name: &str) -> Option<usize> {
        self.header.iter().position(|found| found == name)
    }

    /// The column names as an error lists them.
    pub(crate) fn columns_in_words(&self) -> String {
        let listed: Vec<&str> = self
            .header
            .iter()
            .take(MAX_LISTED_COLUMNS)
            .map(|name| if name.is_empty() { "(unnamed)" } else { name })
            .collect();
        match self.header.len().saturating_sub(MAX_LISTED_COLUMNS) {
            0 => listed.join(", "),
            more => format!("{} and {more} more", listed.join(", ")),
        }
    }

    /// An error about this file.
    pub(crate) fn fault(&self, reason: impl Into<String>) -> Error {
        Error::data(&self.path, reason)
    }
}

/// Whether the first line is a comment. A `#` of its own is the name of an index column.
fn opens_with_comments(text: &str) -> bool {
    let rest = text.strip_prefix('#').and_then(|rest| rest.chars().next());
    rest.is_some_and(|next| !matches!(next, ',' | ';' | '\t' | '\r' | '\n'))
}

/// The separator that the header line has most of, outside quotes; a comma where it has none.
fn delimiter_of(header: &str) -> u8 {
    let mut counts = [(b',', 0), (b';', 0), (b'\t', 0)];
    let mut quoted = false;
    for byte in header.bytes() {
        if byte == b'"' {
            quoted = !quoted;
        } else if !quoted && let Some((_, n)) = counts.iter_mut().find(|(delimiter, _)| *delimiter == byte) {
            *n += 1;
        }
    }
    // The first of equals wins, so a comma beats a semicolon.
    counts.iter().rev().max_by_key(|(_, n)| *n).map_or(b',', |(delimiter, _)| *delimiter)
}

fn check_header(header: &[String]) -> std::result::Result<(), String> {
    let mut places: BTreeMap<&str, usize> = BTreeMap::new();
    for (index, name) in header.iter().enumerate().filter(|(_, name)| !name.is_empty()) {
        if let Some(first) = places.insert(name, index) {
            return Err(format!(
                "line 1: two columns are called `{name}` (columns {} and {}), expected each name once; rename one",
                first + 1,
                index + 1
            ));
        }
    }
    Ok(())
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
    fn an_index_column_called_by_a_hash_is_no_comment() {
        assert!(opens_with_comments("#Patient Identifier\tMonths\n"));
        assert!(!opens_with_comments("#,case_id\n0,a\n"));
        assert!(!opens_with_comments("case_id\n#1\n"));
    }

    #[test]
    fn the_delimiter_is_the_one_that_the_header_has_most_of() {
        assert_eq!(delimiter_of("case_id,slide_id"), b',');
        assert_eq!(delimiter_of("case_id;\"time, in months; total\";slide_id"), b';');
        assert_eq!(delimiter_of("PATIENT_ID\tOS_MONTHS"), b'\t');
        assert_eq!(delimiter_of("train"), b',');
        assert_eq!(delimiter_of("a,b;c"), b',');
    }
}
