//! The CSV file: whole rows, named columns, cells with their line.

use std::fs::File;
use std::path::{Path, PathBuf};

use csv::{ErrorKind, ReaderBuilder, StringRecord, Trim};
use survival_metrics::{Outcome, Status};

use crate::args::OutcomeArguments;
use crate::error::CliError;

/// A CSV file with a header and at least one row, all of one length.
pub(crate) struct Table {
    path: PathBuf,
    header: StringRecord,
    rows: Vec<Row>,
}

struct Row {
    line: Option<u64>,
    cells: StringRecord,
}

impl Table {
    pub(crate) fn read(path: &Path) -> Result<Self, CliError> {
        let read_error = |source| CliError::Read { path: path.to_owned(), source };
        let file = File::open(path).map_err(read_error)?;
        if file.metadata().map_err(read_error)?.is_dir() {
            return Err(read_error(std::io::Error::from(std::io::ErrorKind::IsADirectory)));
        }
        let mut reader = ReaderBuilder::new().trim(Trim::All).from_reader(file);
        let header = reader.headers().map_err(|error| csv_error(path, None, error))?.clone();
        if header.is_empty() {
            let problem = "the file is empty, expected a header row and one row per subject".to_owned();
            return Err(CliError::in_file(
                path,
                problem,
                "check that the program that writes it has finished",
            ));
        }
        let mut rows = Vec::new();
        for record in reader.records() {
            let cells = record.map_err(|error| csv_error(path, Some(&header), error))?;
            rows.push(Row { line: cells.position().map(csv::Position::line), cells });
        }
        if rows.is_empty() {
            let problem = "the file has a header but no rows, expected one row per subject".to_owned();
            return Err(CliError::in_file(path, problem, format!("the header names {}", list(&header))));
        }
        Ok(Self { path: path.to_owned(), header, rows })
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// The outcomes of all rows.
    pub(crate) fn outcomes(&self, arguments: &OutcomeArguments) -> Result<Vec<Outcome>, CliError> {
        let looks_like_censoring = arguments.event.to_ascii_lowercase().starts_with("cens");
        let censored_mark = match arguments.censored_is {
            Some(mark) => f64::from(mark),
            None if looks_like_censoring => {
                return Err(CliError::AmbiguousCensoring { column: arguments.event.clone() });
            }
            None => 0.0,
        };
        let times = self.parse_column(
            &arguments.time,
            "a finite number of at least 0",
            "times count from the start of follow-up; remove rows without a known time",
            // Either status allows the same times.
            |text| text.parse().ok().filter(|&time| Outcome::censored(time).is_ok()),
        )?;
        let statuses = self.parse_column(
            &arguments.event,
            "0 or 1",
            "other codes, such as 2 for a second kind of event, must be recoded first",
            |text| {
                let mark = text.parse::<f64>().ok().filter(|&mark| mark == 0.0 || mark == 1.0)?;
                Some(if mark == censored_mark { Status::Censored } else { Status::Event })
            },
        )?;
        let outcomes = times.into_iter().zip(statuses).map(|(time, status)| Outcome::new(time, status));
        outcomes
            .collect::<Result<_, _>>()
            .map_err(|error| CliError::in_file(&self.path, error.to_string(), "correct the column of --time"))
    }

    /// A column of risks: numbers, which may be infinite.
    pub(crate) fn risk(&self, name: &str) -> Result<Vec<f64>, CliError> {
        let hint = "a risk is required of every row; remove rows without one";
        self.parse_column(name, "a number", hint, |text| text.parse().ok().filter(|x: &f64| !x.is_nan()))
    }

    /// A column of finite numbers.
    pub(crate) fn numbers(&self, name: &str) -> Result<Vec<f64>, CliError> {
        let hint = "code categories as numbers, such as 0 and 1; remove rows without a value";
        self.parse_column(name, "a finite number", hint, |text| {
            text.parse().ok().filter(|x: &f64| x.is_finite())
        })
    }

    /// Columns whose names are this prefix followed by a number, by ascending number.
    pub(crate) fn columns_at(&self, prefix: &str) -> Vec<(f64, &str)> {
        let number = |title: &str| title.strip_prefix(prefix)?.parse().ok().filter(|t: &f64| t.is_finite());
        let mut columns: Vec<(f64, &str)> =
            self.header.iter().filter_map(|title| Some((number(title)?, title))).collect();
        columns.sort_by(|a, b| a.0.total_cmp(&b.0));
        columns
    }

    /// A column as labels. Words for a missing value are none: they would make one group, or one patient, of the unknown.
    pub(crate) fn labels(&self, name: &str) -> Result<Vec<&str>, CliError> {
        let hint = "it reads as a missing value: remove the row, fill it in, or call it by another word if it is a label";
        self.parse_column(name, "a label", hint, |text| Some(text).filter(|text| !cf_cli::is_missing(text)))
    }

    /// A column with each cell parsed, or the first cell that is empty or not what was `expected`.
    fn parse_column<'a, T>(
        &'a self,
        name: &str,
        expected: &str,
        hint: &str,
        parse: impl Fn(&'a str) -> Option<T>,
    ) -> Result<Vec<T>, CliError> {
        let at = self.position(name)?;
        let parse_row = |row: &'a Row| {
            let text = row.cells.get(at).unwrap_or_default();
            if let Some(value) = parse(text).filter(|_| !text.is_empty()) {
                return Ok(value);
            }
            let found = if text.is_empty() { "nothing".to_owned() } else { quoted(text) };
            let problem = format!("column `{name}`: found {found}, expected {expected}");
            Err(CliError::in_row(&self.path, row.line, problem, hint))
        };
        self.rows.iter().map(parse_row).collect()
    }

    fn position(&self, name: &str) -> Result<usize, CliError> {
        let mut positions = self.header.iter().enumerate().filter(|(_, title)| *title == name);
        match (positions.next(), positions.next()) {
            (Some((at, _)), None) => Ok(at),
            (Some(_), Some(_)) => {
                let problem = format!("more than one column is called `{name}`");
                Err(CliError::in_file(&self.path, problem, "rename all but one in the header"))
            }
            (None, _) => Err(self.missing(name)),
        }
    }

    fn missing(&self, name: &str) -> CliError {
        let separated_otherwise =
            self.header.len() == 1 && self.header.iter().any(|t| t.contains([';', '\t']));
        let distance = |title: &str| strsim::damerau_levenshtein(&title.to_lowercase(), &name.to_lowercase());
        let nearest = self.header.iter().map(|title| (distance(title), title)).min();
        let hint = match nearest {
            _ if separated_otherwise => {
                "columns are separated by commas; convert semicolons or tabs".to_owned()
            }
            // With more than a third of its letters changed it is another word.
            Some((distance, title)) if distance * 3 <= name.chars().count().max(3) => {
                format!("did you mean `{title}`?")
            }
            _ => "name one of these columns".to_owned(),
        };
        let problem = format!("no column is called `{name}`; the columns are {}", list(&self.header));
        CliError::in_file(&self.path, problem, hint)
    }
}

fn quoted(text: &str) -> String {
    format!("`{text}`")
}

fn list(header: &StringRecord) -> String {
    header.iter().map(quoted).collect::<Vec<_>>().join(", ")
}

/// Names line and column of what the CSV reader refuses.
fn csv_error(path: &Path, header: Option<&StringRecord>, error: csv::Error) -> CliError {
    let line = error.position().map(csv::Position::line);
    match error.kind() {
        ErrorKind::UnequalLengths { expected_len, len, .. } => {
            let problem = format!("found {len} values, expected {expected_len} as in the header");
            CliError::in_row(path, line, problem, "a value that holds a comma needs double quotes around it")
        }
        ErrorKind::Utf8 { err, .. } => {
            let title = header.and_then(|header| header.get(err.field()));
            let place =
                title.map_or_else(|| format!("value {}", err.field() + 1), |t| format!("column `{t}`"));
            let problem = format!("{place} is not valid UTF-8 from its byte {} on", err.valid_up_to() + 1);
            let hint = "save the file as UTF-8, for example with `iconv -f latin1 -t utf-8`";
            CliError::in_row(path, line.or(Some(1)), problem, hint)
        }
        _ => CliError::in_row(
            path,
            line,
            error.to_string(),
            "expected a header row and values separated by commas",
        ),
    }
}
