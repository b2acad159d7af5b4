//! Delimited tables row by row, with the line that an editor shows for each.

use std::fmt;

use csv::{ReaderBuilder, StringRecord, Trim};

use crate::rows::{RowPlace, Rows, StrayQuote, rows};

/// More columns than any clinical table has, gene columns included. A record costs ten times as much as the delimiters that make it,
/// so that a row is measured before it is read.
const MAX_CELLS: usize = 500_000;

/// Whether every row must have the header's number of cells.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RowLengths {
    /// A row of another length is a fault.
    Equal,
    /// Rows may have fewer or more.
    Ragged,
}

/// One row of a table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Record {
    /// The line of the file on which it begins, from 1.
    pub line: u64,
    cells: StringRecord,
}

impl Record {
    /// Its cells, without the blanks around them.
    pub fn cells(&self) -> impl Iterator<Item = &str> {
        self.cells.iter()
    }

    /// The cell of a column, counted from 0; empty where the row ends before it.
    #[must_use]
    pub fn cell(&self, column: usize) -> &str {
        self.cells.get(column).unwrap_or_default()
    }
}

/// A row that can't be read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RecordFault {
    /// The line on which it is, from 1.
    pub line: u64,
    /// What was found and what was expected.
    pub problem: String,
    /// What the user may do about it.
    pub way_out: String,
}

impl fmt::Display for RecordFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "line {}: {}; {}", self.line, self.problem, self.way_out)
    }
}

impl std::error::Error for RecordFault {}

/// The rows of a delimited table below its header, in order. Rows of nothing but blanks are left out: spreadsheets save such rows of
/// delimiters below a table. The first row that can't be read is the last item.
///
/// ```
/// use cf_cli::{Records, RowLengths};
///
/// let text = b"case_id,months\r\n\r\nA, 1.5 \r\n,\r\nB\r\n";
/// let mut records = Records::new(text, b',', 0, RowLengths::Equal)?;
/// assert!(records.header().cells().eq(["case_id", "months"]));
/// let first = records.next().expect("a row")?;
/// assert_eq!((first.line, first.cell(1)), (3, "1.5"));
/// let fault = records.next().expect("another row").unwrap_err();
/// assert_eq!((fault.line, fault.problem.as_str()), (5, "1 cells, expected 2 as in the header"));
/// # Ok::<(), cf_cli::RecordFault>(())
/// ```
pub struct Records<'a> {
    places: Rows<'a>,
    reader: csv::Reader<&'a [u8]>,
    header: Record,
    delimiter: u8,
    lengths: RowLengths,
}

impl<'a> Records<'a> {
    /// Reads the header; a text without any row has one of no cells.
    ///
    /// - `delimiter`: what separates cells, as [`delimiter_of`](crate::delimiter_of) finds it.
    /// - `header_at`: where the header begins in the text, as [`header_at`](crate::header_at) finds it; 0 where nothing is above it.
    ///
    /// # Errors
    /// If a quote takes the rows below the header, or it is not UTF-8 or has more than half a million cells.
    pub fn new(
        text: &'a [u8],
        delimiter: u8,
        header_at: usize,
        lengths: RowLengths,
    ) -> Result<Self, RecordFault> {
        let mut reader = ReaderBuilder::new();
        reader.trim(Trim::All).delimiter(delimiter).flexible(true);
        let mut records = Self {
            places: rows(text, delimiter, header_at),
            reader: reader.from_reader(text.get(header_at..).unwrap_or_default()),
            header: Record { line: 1, cells: StringRecord::new() },
            delimiter,
            lengths,
        };
        if let Some(place) = records.places.next() {
            let line = measured(place)?.line;
            let cells = records.reader.headers().map_err(|error| unreadable(line, None, &error))?.clone();
            records.header = Record { line, cells };
        }
        Ok(records)
    }

    /// The names of the columns.
    #[must_use]
    pub fn header(&self) -> &Record {
        &self.header
    }

    fn record(&mut self, place: Result<RowPlace, StrayQuote>) -> Result<Record, RecordFault> {
        let RowPlace { line, n_cells: found } = measured(place)?;
        let mut cells = StringRecord::new();
        let read = self.reader.read_record(&mut cells);
        read.map_err(|error| unreadable(line, Some(&self.header), &error))?;
        let expected = self.header.cells.len();
        let record = Record { line, cells };
        if self.lengths == RowLengths::Ragged || found == expected || is_blank(&record) {
            return Ok(record);
        }
        let (one, many) = match self.delimiter {
            b';' => ("a semicolon", "semicolons"),
            b'\t' => ("a tab", "tabs"),
            _ => ("a comma", "commas"),
        };
        let way_out = format!(
            "the header has {many} between values; a value that holds {one} needs double quotes around it"
        );
        let problem = format!("{found} cells, expected {expected} as in the header");
        Err(RecordFault { line, problem, way_out })
    }
}

impl Iterator for Records<'_> {
    type Item = Result<Record, RecordFault>;

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            let place = self.places.next()?;
            let record = self.record(place);
            if record.is_err() {
                self.places.finish();
            }
            if !record.as_ref().is_ok_and(is_blank) {
                return Some(record);
            }
        }
    }
}

fn is_blank(record: &Record) -> bool {
    record.cells().all(str::is_empty)
}

fn measured(place: Result<RowPlace, StrayQuote>) -> Result<RowPlace, RecordFault> {
    match place {
        Ok(place) if place.n_cells > MAX_CELLS => Err(RecordFault {
            line: place.line,
            problem: format!("more than {MAX_CELLS} cells, expected a row of a table"),
            way_out: "check that the file is one".to_owned(),
        }),
        Ok(place) => Ok(place),
        Err(quote) => Err(RecordFault {
            line: quote.line,
            problem: quote.problem().to_owned(),
            way_out: "close it or remove it; within a quoted value, a quote is written twice".to_owned(),
        }),
    }
}

/// What the reader refuses: bytes that are no text.
fn unreadable(line: u64, header: Option<&Record>, error: &csv::Error) -> RecordFault {
    let csv::ErrorKind::Utf8 { err, .. } = error.kind() else {
        let way_out = "check that the file is a table".to_owned();
        return RecordFault { line, problem: error.to_string(), way_out };
    };
    let title = header.map(|header| header.cell(err.field())).filter(|title| !title.is_empty());
    let place =
        title.map_or_else(|| format!("cell {}", err.field() + 1), |title| format!("column `{title}`"));
    RecordFault {
        line,
        problem: format!("{place} is not valid UTF-8 from its byte {} on", err.valid_up_to() + 1),
        way_out: "save the file as UTF-8, for example with `iconv -f latin1 -t utf-8`".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &[u8], lengths: RowLengths) -> Result<Vec<(u64, Vec<String>)>, RecordFault> {
        let owned = |record: Record| (record.line, record.cells().map(str::to_owned).collect());
        Records::new(text, b',', 0, lengths)?.map(|record| record.map(owned)).collect()
    }

    #[test]
    fn rows_of_blanks_are_left_out_whatever_their_length() {
        for lengths in [RowLengths::Equal, RowLengths::Ragged] {
            let rows = read(b"a,b,c\n,,\n1,2,\" 3 \"\n \n,\n4,5,6\n\t , \n  ", lengths).unwrap();
            assert_eq!(
                rows,
                [
                    (3, ["1", "2", "3"].map(str::to_owned).into()),
                    (6, ["4", "5", "6"].map(str::to_owned).into())
                ]
            );
        }
    }

    #[test]
    fn a_text_without_rows_has_a_header_without_cells() {
        for text in ["", "\n\r\n", "\u{feff}"] {
            let mut records = Records::new(text.as_bytes(), b',', 0, RowLengths::Equal).unwrap();
            assert_eq!(records.header().cells().count(), 0);
            assert_eq!(records.next(), None);
        }
    }

    #[test]
    fn the_first_fault_ends_a_table() {
        for (text, wanted) in [
            (
                &b"a,b\n1\n2,3\n"[..],
                "line 2: 1 cells, expected 2 as in the header; the header has commas between values; ",
            ),
            (
                b"a,b\n\n1,\"2\n3,4\n",
                "line 3: the quote that opens here is never closed, so that all rows below are text of its value; close it",
            ),
            (
                b"a,b\n1,caf\xe9\n3,4\n",
                "line 2: column `b` is not valid UTF-8 from its byte 4 on; save the file as UTF-8",
            ),
        ] {
            let mut records = Records::new(text, b',', 0, RowLengths::Equal).unwrap();
            let fault = records.next().unwrap().unwrap_err().to_string();
            assert!(fault.starts_with(wanted), "{fault}");
            assert_eq!(records.next(), None, "{fault}");
        }
        let fault = |text: &[u8]| read(text, RowLengths::Ragged).unwrap_err().to_string();
        assert!(fault(b"a,\xe9\n").starts_with("line 1: cell 2 is not valid UTF-8 from its byte 1 on"));
        assert!(fault(b"\"a,b\n").starts_with("line 1: the quote that opens here is never closed"));
    }

    #[test]
    fn a_row_of_any_length_is_measured_before_it_is_read() {
        // Line ends within quotes do not hide that it is one row.
        let text = format!("a,b\n{}", "\"\n\",,,".repeat(MAX_CELLS / 3 + 1));
        let fault = read(text.as_bytes(), RowLengths::Ragged).unwrap_err().to_string();
        assert!(fault.starts_with("line 2: more than 500000 cells"), "{fault}");
    }
}
