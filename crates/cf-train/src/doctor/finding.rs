//! One fault at one place.

use std::path::Path;

use serde::{Serialize, Serializer};

use super::fault::Fault;

/// What a finding means for a run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    /// The run would stop, or its numbers would be wrong.
    Error,
    /// The run would go on without something, or something deserves a look.
    Warning,
    /// Good to know.
    Note,
}

impl Severity {
    /// As it is printed.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Error => "error",
            Self::Warning => "warning",
            Self::Note => "note",
        }
    }
}

/// A fault that was found at a place.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Finding {
    /// What it means for a run.
    pub severity: Severity,
    /// Its name.
    #[serde(serialize_with = "as_name")]
    pub fault: Fault,
    /// File, then row or slide, then column, as far as these are known.
    pub place: String,
    /// What is there.
    pub found: String,
    /// What should be there.
    pub wanted: &'static str,
    /// What to do.
    pub way_out: String,
}

fn as_name<S: Serializer>(fault: &Fault, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(fault.name())
}

impl Finding {
    /// A finding with the wanted state and the way out of its fault.
    pub(super) fn new(
        severity: Severity,
        fault: Fault,
        place: impl Into<String>,
        found: impl Into<String>,
    ) -> Self {
        let (wanted, way_out) = (fault.wanted(), fault.way_out().to_owned());
        Self { severity, fault, place: place.into(), found: found.into(), wanted, way_out }
    }

    /// The same with a way out that names more than the fault's.
    pub(super) fn with_way_out(self, way_out: String) -> Self {
        Self { way_out, ..self }
    }
}

/// A place in words: a file and what in it.
pub(super) fn place(path: &Path, inside: &str) -> String {
    if inside.is_empty() { path.display().to_string() } else { format!("{}, {inside}", path.display()) }
}

/// The first of many ids, and how many more there are.
pub(super) fn listed(ids: &[String]) -> String {
    cf_cli::listed_up_to(8, ids)
}

/// The text of an error after the path that it opens with: the place is told apart.
pub(super) fn without_path(text: &str, path: &Path) -> String {
    let opening = format!("{}: ", path.display());
    text.strip_prefix(&opening).unwrap_or(text).to_owned()
}
