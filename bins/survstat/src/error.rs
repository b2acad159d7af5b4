//! What went wrong, the way out, and the exit code.

use std::fmt;
use std::path::{Path, PathBuf};

use cf_cli::is_temporary;

/// An error as the user reads it.
#[derive(Debug, thiserror::Error)]
pub(crate) enum CliError {
    #[error("cannot read {}: {source}\n  hint: {option} wants the path of a readable CSV file", path.display())]
    Read {
        /// The option that named it.
        option: &'static str,
        path: PathBuf,
        #[source]
        source: std::io::Error,
    },
    #[error("{0}")]
    Data(Box<DataFault>),
    #[error(
        "column `{column}` may mark events or censorings by 1\n  \
         hint: add --censored-is 1 if 1 means censored in it, --censored-is 0 if 1 means the event"
    )]
    AmbiguousCensoring { column: String },
    #[error("cannot draw {}: {source}\n  hint: leave --svg out for the numbers alone", path.display())]
    Figure {
        path: PathBuf,
        #[source]
        source: cf_report::Error,
    },
    #[error("cannot write {}: {source}\n  hint: {}", path.display(), way_out_of(source))]
    WriteFile {
        path: PathBuf,
        #[source]
        source: std::io::Error,
    },
    #[error("{problem}\n  hint: {hint}")]
    Usage { problem: String, hint: &'static str },
    #[error("cannot write the result: {0}")]
    Write(#[source] std::io::Error),
    #[error("cannot encode the result as JSON: {0}")]
    Encode(#[from] serde_json::Error),
}

impl CliError {
    /// A fault of the file as a whole.
    pub(crate) fn in_file(path: &Path, problem: String, hint: impl Into<String>) -> Self {
        Self::Data(Box::new(DataFault { path: path.to_owned(), line: None, problem, hint: hint.into() }))
    }

    /// A fault of one row.
    pub(crate) fn in_row(path: &Path, line: u64, problem: String, hint: impl Into<String>) -> Self {
        Self::Data(Box::new(DataFault {
            path: path.to_owned(),
            line: Some(line),
            problem,
            hint: hint.into(),
        }))
    }

    /// 1 unexpected, 2 usage, 3 bad data, 75 temporary.
    pub(crate) fn exit_code(&self) -> u8 {
        match self {
            _ if is_temporary(self) => 75,
            Self::Write(_) | Self::Encode(_) => 1,
            Self::AmbiguousCensoring { .. } | Self::Usage { .. } => 2,
            Self::Read { .. } | Self::Data(_) | Self::Figure { .. } | Self::WriteFile { .. } => 3,
        }
    }
}

fn way_out_of(written: &std::io::Error) -> &'static str {
    use std::io::ErrorKind::{IsADirectory, PermissionDenied, ReadOnlyFilesystem};
    match written.kind() {
        _ if is_temporary(written) => "run it again once there is room, or name a path on another disk",
        PermissionDenied | ReadOnlyFilesystem => {
            "the folder may not be written to; name a path in one that may, as --svg"
        }
        IsADirectory => "there is a folder of this name; name a file, as --svg",
        _ => "--svg wants a path in a folder that exists",
    }
}

/// What is wrong in the file, and where.
#[derive(Debug)]
pub(crate) struct DataFault {
    path: PathBuf,
    line: Option<u64>,
    problem: String,
    hint: String,
}

impl fmt::Display for DataFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.path.display())?;
        if let Some(line) = self.line {
            write!(f, " line {line}")?;
        }
        write!(f, ": {}\n  hint: {}", self.problem, self.hint)
    }
}
