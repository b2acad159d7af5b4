//! Why a command stopped.

use std::fmt;
use std::path::Path;
use std::process::ExitCode;

/// A failed command: what happened and, where it helps, the line to type next.
#[derive(Debug)]
pub(crate) struct Failure {
    kind: Kind,
    message: String,
    next: Option<String>,
}

#[derive(Debug, PartialEq, Eq)]
enum Kind {
    Usage,
    Failed,
}

impl Failure {
    /// The command line was not understood.
    pub(crate) fn usage(message: impl Into<String>) -> Self {
        Self { kind: Kind::Usage, message: message.into(), next: None }
    }

    /// Something was tried and did not work.
    pub(crate) fn new(message: impl Into<String>) -> Self {
        Self { kind: Kind::Failed, message: message.into(), next: None }
    }

    /// A file could not be read, written or removed.
    pub(crate) fn io(verb: &str, path: &Path, error: &std::io::Error) -> Self {
        Self::new(format!("cannot {verb} {}: {error}", path.display()))
    }

    /// Adds the line that repeats the failed part, or that puts things right.
    pub(crate) fn with_next(mut self, line: impl Into<String>) -> Self {
        self.next = Some(line.into());
        self
    }

    /// Whether the usage text helps.
    pub(crate) fn is_usage(&self) -> bool {
        self.kind == Kind::Usage
    }

    /// 2 for usage, 1 for the rest.
    pub(crate) fn exit_code(&self) -> ExitCode {
        match self.kind {
            Kind::Usage => ExitCode::from(2),
            Kind::Failed => ExitCode::FAILURE,
        }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)?;
        match &self.next {
            Some(line) => write!(f, "\n  run: {line}"),
            None => Ok(()),
        }
    }
}
