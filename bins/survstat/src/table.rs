//! The CSV file: whole rows, named columns, cells with their line.

use std::path::{Path, PathBuf};

use cf_cli::{
    Commas, Record, RecordFault, Records, RowLengths, StatusReader, commas_of, delimiter_of, header_at,
    is_status_word, listed,
};
use survival_metrics::{Outcome, Status};

use crate::args::OutcomeArguments;
use crate::error::CliError;
use crate::table_text;

/// Words in the name of a column whose 1 may mean that there was no event.
const WORDS_OF_LIFE: [&str; 4] = ["alive", "living", "survived", "survivor"];

/// A CSV file with a header and at least one row, all of one length. Lines above the header that begin with `#` are no rows.
pub(crate) struct Table {
    path: PathBuf,
    header: Record,
    rows: Vec<Record>,
}

impl Table {
    /// Reads the file that an option names.
    pub(crate) fn read(path: &Path, option: &'static str) -> Result<Self, CliError> {
        let bytes = table_text::read(path, option)?;
        let unreadable = |row: RecordFault| CliError::in_row(path, row.line, row.problem, row.way_out);
        let header_at = header_at(&bytes);
        let delimiter = delimiter_of(&bytes, header_at);
        let records = Records::new(&bytes, delimiter, header_at, RowLengths::Equal).map_err(unreadable)?;
        let header = records.header().clone();
        if header.cells().next().is_none() {
            let problem = "the file is empty, expected a header row and one row per subject".to_owned();
            return Err(CliError::in_file(
                path,
                problem,
                "check that the program that writes it has finished",
            ));
        }
        let rows: Vec<Record> = records.collect::<Result<_, _>>().map_err(unreadable)?;
        if rows.is_empty() {
            let problem = "the file has a header but no rows, expected one row per subject".to_owned();
            return Err(CliError::in_file(path, problem, format!("the header names {}", list(&header))));
        }
        Ok(Self { path: path.to_owned(), header, rows })
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// Whether a column is called so.
    pub(crate) fn has_column(&self, name: &str) -> bool {
        self.header.cells().any(|title| title == name)
    }

    /// The outcomes of all rows.
    pub(crate) fn outcomes(&self, arguments: &OutcomeArguments) -> Result<Vec<Outcome>, CliError> {
        // Also `os_censorship` and `is_censored`.
        let name_in_small = arguments.event.to_ascii_lowercase();
        let mut words = name_in_small.split(|c: char| !c.is_alphanumeric());
        let is_unclear = words.any(|word| word.starts_with("cens") || WORDS_OF_LIFE.contains(&word));
        let one = match arguments.censored_is {
            Some(1) => Status::Censored,
            None if is_unclear && !self.has_words_alone(&arguments.event)? => {
                return Err(CliError::AmbiguousCensoring { column: arguments.event.clone() });
            }
            _ => Status::Event,
        };
        let times = self.parse_column(
            &arguments.time,
            "a finite number of at least 0",
            "times count from the start of follow-up; remove rows without a known time",
            // Either status allows the same times.
            |text| text.parse().ok().filter(|&time| Outcome::censored(time).is_ok()),
        )?;
        let statuses = self.statuses(&arguments.event, one)?;
        let outcomes = times.into_iter().zip(statuses).map(|(time, status)| Outcome::new(time, status));
        outcomes
            .collect::<Result<_, _>>()
            .map_err(|error| CliError::in_file(&self.path, error.to_string(), "correct the column of --time"))
    }

    /// Whether every status of a column is a word that needs no explanation by the column's name.
    fn has_words_alone(&self, name: &str) -> Result<bool, CliError> {
        let at = self.position(name)?;
        Ok(self.rows.iter().all(|row| is_status_word(row.cell(at))))
    }

    /// A column of statuses, in which a 1 means `one`.
    fn statuses(&self, name: &str, one: Status) -> Result<Vec<Status>, CliError> {
        let at = self.position(name)?;
        let mut reader = StatusReader::new(Status::Event, Status::Censored).where_one_is(one);
        let read_row = |row: &Record| {
            let text = row.cell(at);
            reader.read(text, row.line).map_err(|expected| {
                let hint = "a column says it one way; other codes, such as 2 for a second kind of event, must be recoded first";
                self.cell_fault(row, name, text, &expected, hint)
            })
        };
        self.rows.iter().map(read_row).collect()
    }

    /// A column of risks: numbers, which may be infinite where they say so.
    pub(crate) fn risk(&self, name: &str) -> Result<Vec<f64>, CliError> {
        let hint = "a risk is required of every row, of at most 1.8e308 or inf; remove rows without one";
        let says_so = |text: &str| text.to_ascii_lowercase().contains("inf");
        self.parse_column(name, "a number", hint, |text| {
            text.parse().ok().filter(|x: &f64| !x.is_nan() && (x.is_finite() || says_so(text)))
        })
    }

    /// A column of risks that have a median.
    pub(crate) fn finite_risk(&self, name: &str) -> Result<Vec<f64>, CliError> {
        let hint = "a median wants finite risks; remove the row, or give a cut with --cut or groups of your own with --by";
        self.parse_column(name, "a finite number", hint, finite)
    }

    /// A column of probabilities.
    pub(crate) fn probabilities(&self, name: &str) -> Result<Vec<f64>, CliError> {
        let hint = "a column of predicted survival holds the probability of each row to outlive its time";
        self.parse_column(name, "a probability between 0 and 1", hint, |text| {
            finite(text).filter(|p| (0.0..=1.0).contains(p))
        })
    }

    /// A column of finite numbers.
    pub(crate) fn numbers(&self, name: &str) -> Result<Vec<f64>, CliError> {
        let hint = "code categories as numbers, such as 0 and 1; remove rows without a value";
        self.parse_column(name, "a finite number", hint, finite)
    }

    /// Columns whose names are a number between these texts, by ascending number; those of the outcome may begin so, too.
    ///
    /// # Errors
    /// If a name begins and ends so with something else in between: the column would be left out without a word.
    pub(crate) fn columns_at(
        &self,
        (prefix, suffix): (&str, &str),
        outcome: &OutcomeArguments,
    ) -> Result<Vec<(f64, &str)>, CliError> {
        let mut columns = Vec::new();
        for title in self.header.cells().filter(|title| *title != outcome.time && *title != outcome.event) {
            let Some(rest) = title.strip_prefix(prefix) else { continue };
            let number = rest.strip_suffix(suffix).and_then(|number| number.parse::<f64>().ok());
            let Some(time) = number.filter(|time| time.is_finite()) else {
                let wanted =
                    if suffix.is_empty() { "a time".to_owned() } else { format!("a time and `{suffix}`") };
                let problem = format!("column `{title}`: found `{rest}` after `{prefix}`, expected {wanted}");
                let hint = "--survival-prefix and --survival-suffix say what stands around the time, such as _months; rename \
                            columns that are no predicted survival";
                return Err(CliError::in_file(&self.path, problem, hint));
            };
            columns.push((time, title));
        }
        columns.sort_by(|a, b| a.0.total_cmp(&b.0));
        Ok(columns)
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
        let parse_row = |row: &'a Record| {
            let text = row.cell(at);
            if let Some(value) = parse(text).filter(|_| !text.is_empty()) {
                return Ok(value);
            }
            let is_decimal_comma = text.contains(',') && text.replacen(',', ".", 1).parse::<f64>().is_ok();
            let hint = match commas_of(text) {
                Some(Commas::Unclear { whole, point }) => {
                    format!(
                        "write {whole} if the comma separates thousands, {point} if it is a decimal comma"
                    )
                }
                Some(Commas::Thousands { whole }) => {
                    format!("numbers have no commas between thousands: write {whole}")
                }
                _ if is_decimal_comma => "numbers have a decimal point, as in 1.5".to_owned(),
                _ => hint.to_owned(),
            };
            Err(self.cell_fault(row, name, text, expected, &hint))
        };
        self.rows.iter().map(parse_row).collect()
    }

    fn cell_fault(&self, row: &Record, column: &str, text: &str, expected: &str, hint: &str) -> CliError {
        let found = if text.is_empty() { "nothing".to_owned() } else { quoted(text) };
        let problem = format!("column `{column}`: found {found}, expected {expected}");
        CliError::in_row(&self.path, row.line, problem, hint)
    }

    fn position(&self, name: &str) -> Result<usize, CliError> {
        let mut positions = self.header.cells().enumerate().filter(|(_, title)| *title == name);
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
        let distance = |title: &str| strsim::damerau_levenshtein(&title.to_lowercase(), &name.to_lowercase());
        let nearest = self.header.cells().map(|title| (distance(title), title)).min();
        let hint = match nearest {
            // With more than a third of its letters changed it is another word, as any other letter is.
            Some((distance, title)) if distance * 3 <= name.chars().count() => {
                format!("did you mean `{title}`?")
            }
            _ => "name one of these columns".to_owned(),
        };
        let problem = format!("no column is called `{name}`; the columns are {}", list(&self.header));
        CliError::in_file(&self.path, problem, hint)
    }
}

fn finite(text: &str) -> Option<f64> {
    text.parse().ok().filter(|x: &f64| x.is_finite())
}

fn quoted(text: &str) -> String {
    format!("`{text}`")
}

fn list(header: &Record) -> String {
    listed(header.cells().map(quoted))
}
