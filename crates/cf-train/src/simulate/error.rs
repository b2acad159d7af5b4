//! What can go wrong while a cohort is simulated.

use std::path::{Path, PathBuf};

/// A cohort could not be simulated; nothing is left under the output's name.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The output directory exists and holds something.
    #[error("{} is not empty; expected a new or empty directory", path.display())]
    OutputNotEmpty {
        /// The directory asked for.
        path: PathBuf,
    },
    /// An option lies outside its range.
    #[error("`{option}` is {found}, expected {expected}")]
    Option {
        /// Name of the field of [`SimulateOptions`](super::SimulateOptions).
        option: &'static str,
        /// The value given.
        found: String,
        /// The values allowed.
        expected: &'static str,
    },
    /// A file or directory could not be read, written, created or renamed.
    #[error("cannot {action} {}", path.display())]
    Io {
        /// What was tried.
        action: &'static str,
        /// On which path.
        path: PathBuf,
        /// The cause.
        #[source]
        source: std::io::Error,
    },
    /// A table that cannot be read, with its line.
    #[error(transparent)]
    Table(Box<crate::Error>),
    /// A table lacks a column.
    #[error("{} has no column `{column}`; it has {}", path.display(), quoted(found))]
    MissingColumn {
        /// The table.
        path: PathBuf,
        /// The column looked for.
        column: &'static str,
        /// The columns that are there.
        found: Vec<String>,
    },
    /// A cell of a table holds a value that is not allowed.
    #[error("{} line {line}, column `{column}`: found `{found}`, expected {expected}", path.display())]
    Cell {
        /// The table.
        path: PathBuf,
        /// Line in the file, the header being line 1.
        line: u64,
        /// The column.
        column: &'static str,
        /// The text of the cell.
        found: String,
        /// The values allowed.
        expected: &'static str,
    },
    /// Two rows of the clinical table name the same slide.
    #[error("{} lines {first_line} and {second_line} both hold slide {slide}, expected one row per slide", path.display())]
    DuplicateSlide {
        /// The table.
        path: PathBuf,
        /// The slide, without `.svs`.
        slide: String,
        /// Line of its first row.
        first_line: u64,
        /// Line of its second row.
        second_line: u64,
    },
    /// Two slides of a patient have different outcomes, so no latent risk fits both.
    #[error("{} lines {first_line} and {second_line} give patient {patient} two outcomes, expected one", path.display())]
    ConflictingOutcomes {
        /// The table.
        path: PathBuf,
        /// The patient.
        patient: String,
        /// Line of the patient's first row.
        first_line: u64,
        /// First line that differs from it.
        second_line: u64,
    },
    /// The clinical table has no rows, or none with an event.
    #[error("{} has {found}, expected at least one slide with an event", path.display())]
    NoEvents {
        /// The table.
        path: PathBuf,
        /// What it has instead.
        found: &'static str,
    },
    /// The directory of splits holds no `splits_0.csv`.
    #[error("{} does not exist; expected splits_0.csv, splits_1.csv and so on", path.display())]
    NoSplits {
        /// The file looked for.
        path: PathBuf,
    },
    /// None of the validation cases of a split is in the clinical table.
    #[error("{} validates no case of {}", path.display(), clinical.display())]
    UnmatchedSplit {
        /// The split.
        path: PathBuf,
        /// The clinical table.
        clinical: PathBuf,
    },
    /// A bag could not be built or written.
    #[error("cannot write the bag of slide {slide}")]
    Bag {
        /// The slide, without `.svs`.
        slide: String,
        /// The cause.
        #[source]
        source: wsi_bags::Error,
    },
    /// The C-index of a truth is not defined on the whole cohort.
    #[error("`{column}` has no C-index on the cohort")]
    Ceiling {
        /// Column of `truth.csv`.
        column: &'static str,
        /// The cause.
        #[source]
        source: survival_metrics::Error,
    },
}

impl Error {
    /// For `map_err` on a file operation.
    pub(super) fn io(action: &'static str, path: &Path) -> impl FnOnce(std::io::Error) -> Self {
        let path = path.to_path_buf();
        move |source| Self::Io { action, path, source }
    }

    /// For `map_err` on the reading of a table.
    pub(super) fn table(source: crate::Error) -> Self {
        Self::Table(Box::new(source))
    }
}

fn quoted(columns: &[String]) -> String {
    cf_cli::listed(columns.iter().map(|column| format!("`{column}`")))
}
