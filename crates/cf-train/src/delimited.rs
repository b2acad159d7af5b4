//! Delimited tables as people have them: comma, semicolon or tab, quoted cells, Windows line ends, comment lines above the
//! header. One row is one line of the file, so that errors can name it.

use std::collections::BTreeMap;
use std::ops::Range;
use std::path::{Path, PathBuf};

use cf_cli::{Record, RecordFault, Records, RowLengths};

use crate::error::{Error, Result};
use crate::table_text::read_table_text;

/// More slides than any study has; a table of more rows is another kind of file, or made to fill memory.
const MAX_ROWS: usize = 1_000_000;

/// A table whose header has no name twice.
///
/// Its cells lie in one text: a record of its own for every row would take a hundred times what a short row does.
#[derive(Debug, Clone)]
pub(crate) struct DelimitedTable {
    path: PathBuf,
    header: Vec<String>,
    /// All cells, trimmed, row by row.
    text: String,
    /// Where each cell ends in `text`.
    ends: Vec<usize>,
    rows: Vec<RowPlace>,
}

#[derive(Debug, Clone, Copy)]
struct RowPlace {
    line: u64,
    /// The number of its first cell among all of the table.
    first_cell: usize,
}

/// One row; cells are trimmed.
#[derive(Debug, Clone)]
pub(crate) struct TableRow<'a> {
    /// Line in the file, from 1.
    pub(crate) line: u64,
    table: &'a DelimitedTable,
    cells: Range<usize>,
}

impl<'a> TableRow<'a> {
    /// The cell of a column, empty where a ragged row ends before it.
    pub(crate) fn cell(&self, column: usize) -> &'a str {
        self.cells.clone().nth(column).map_or("", |cell| self.table.cell(cell))
    }
}

impl DelimitedTable {
    /// Reads a table or a zip with one; rows without any content are left out.
    ///
    /// # Errors
    /// If [`read_table_text`] can't, two columns have the same name, a row has another length than it may, a quote takes rows for
    /// text of its cell, or there are more than a million rows or half a million columns.
    pub(crate) fn read(path: &Path, lengths: RowLengths) -> Result<Self> {
        let text = read_table_text(path)?;
        let fault = |reason: String| Error::data(path, reason);
        let header_at = cf_cli::header_at(text.as_bytes());
        let delimiter = cf_cli::delimiter_of(text.as_bytes(), header_at);
        let unreadable = |row: RecordFault| fault(row.to_string());
        let records = Records::new(text.as_bytes(), delimiter, header_at, lengths).map_err(unreadable)?;
        let header = records.header();
        check_header(header).map_err(fault)?;
        let header = header.cells().map(str::to_owned).collect();
        let (cells, ends, rows) = (String::new(), Vec::new(), Vec::new());
        let mut table = Self { path: path.to_owned(), header, text: cells, ends, rows };
        for record in records {
            let record = record.map_err(unreadable)?;
            if table.rows.len() == MAX_ROWS {
                return Err(fault(format!(
                    "has more than {MAX_ROWS} rows, expected a table of slides or folds"
                )));
            }
            table.push(&record);
        }
        Ok(table)
    }

    fn push(&mut self, record: &Record) {
        self.rows.push(RowPlace { line: record.line, first_cell: self.ends.len() });
        for cell in record.cells() {
            self.text.push_str(cell);
            self.ends.push(self.text.len());
        }
    }

    /// A cell by its number among all.
    fn cell(&self, number: usize) -> &str {
        let end_of = |cell: usize| self.ends.get(cell).copied().unwrap_or_default();
        let start = number.checked_sub(1).map_or(0, end_of);
        self.text.get(start..end_of(number)).unwrap_or_default()
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
    pub(crate) fn rows(&self) -> impl Iterator<Item = TableRow<'_>> {
        let first_cells = self.rows.iter().map(|row| row.first_cell).chain([self.ends.len()]);
        self.rows.iter().zip(first_cells.skip(1)).map(|(row, end)| TableRow {
            line: row.line,
            table: self,
            cells: row.first_cell..end,
        })
    }

    /// The place of a column.
    pub(crate) fn column(&self, name: &str) -> Option<usize> {
        self.header.iter().position(|found| found == name)
    }

    /// The column names as an error lists them.
    pub(crate) fn columns_in_words(&self) -> String {
        let names = self.header.iter().map(String::as_str);
        cf_cli::listed(names.map(|name| if name.is_empty() { "(unnamed)" } else { name }))
    }

    /// An error about this file.
    pub(crate) fn fault(&self, reason: impl Into<String>) -> Error {
        Error::data(&self.path, reason)
    }
}

fn check_header(header: &Record) -> std::result::Result<(), String> {
    let line = header.line;
    let mut places: BTreeMap<&str, usize> = BTreeMap::new();
    for (index, name) in header.cells().enumerate().filter(|(_, name)| !name.is_empty()) {
        if let Some(first) = places.insert(name, index) {
            return Err(format!(
                "line {line}: two columns are called `{name}` (columns {} and {}), expected each name once; rename one",
                first + 1,
                index + 1
            ));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cells_are_those_of_their_row() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("table.csv");
        std::fs::write(&path, "a,b,c\n1,,\" x \"\n,,\n2\n,y,z,too far\n").unwrap();
        let table = DelimitedTable::read(&path, RowLengths::Ragged).unwrap();
        let cells = |row: TableRow<'_>| (row.line, [0, 1, 2, 3, 4].map(|column| row.cell(column).to_owned()));
        let rows: Vec<_> = table.rows().map(cells).collect();
        let wanted =
            [(2, ["1", "", "x", "", ""]), (4, ["2", "", "", "", ""]), (5, ["", "y", "z", "too far", ""])];
        assert_eq!(rows, wanted.map(|(line, cells)| (line, cells.map(str::to_owned))));
    }

    #[test]
    fn faults_name_the_line_that_an_editor_shows() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("table.csv");
        let read = |text: &str, lengths| {
            std::fs::write(&path, text).unwrap();
            DelimitedTable::read(&path, lengths).map_err(|error| error.to_string())
        };
        for end in ["\n", "\r\n", "\r"] {
            let table = read(&"a,b,c\n1,2,3\n\n\n4,5,6\n".replace('\n', end), RowLengths::Equal).unwrap();
            assert_eq!(table.rows().map(|row| row.line).collect::<Vec<_>>(), [2, 5], "{end:?}");
            let text = "a,b,c\n\n1,2,3\n4,5\n".replace('\n', end);
            let error = read(&text, RowLengths::Equal).unwrap_err();
            assert!(error.contains("line 4: 2 cells, expected 3 as in the header; "), "{error}");
            let error = read(&"\n#,a,a\n".replace('\n', end), RowLengths::Equal).unwrap_err();
            assert!(error.contains("line 2: two columns are called `a`"), "{error}");
        }
        let commented = read("#about\n#more\na,b\n1,2\n#3,4\n", RowLengths::Equal).unwrap();
        assert_eq!(commented.rows().map(|row| row.line).collect::<Vec<_>>(), [4, 5]);
        let below = read("#about\n#more\na,b\n1,2\n#left\n3,4\n", RowLengths::Equal).unwrap_err();
        assert!(below.contains("line 5: 1 cells, expected 2 as in the header"), "{below}");
    }

    #[test]
    fn a_quote_that_takes_rows_is_an_error() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("table.csv");
        let rows = "case_id,months,status,note\nA,1,0,x\nB,2,1,\"x\nC,3,0,x\nD,4,1,x";
        for (text, says) in [
            (rows.to_owned(), "line 3: the quote that opens here is never closed"),
            (format!("{rows}\"\nE,5,0,x\n"), "line 3: the quote that opens here closes on a later line"),
        ] {
            std::fs::write(&path, text).unwrap();
            for lengths in [RowLengths::Equal, RowLengths::Ragged] {
                let error = DelimitedTable::read(&path, lengths).unwrap_err().to_string();
                assert!(error.contains(says), "{error}");
            }
        }
    }
}
