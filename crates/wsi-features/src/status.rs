//! What became of each slide, as a table.

use std::path::Path;

use wsi_bags::Magnification;

use crate::error::{Error, Result};

/// What is told of a slide that was encoded.
#[derive(Debug, Clone, PartialEq)]
pub struct Encoded {
    /// Patches at 5x, 10x and 20x; 0 for a magnification that was not asked for.
    pub n_patches: [usize; 3],
    /// Patches left out because a tile did not decode.
    pub n_unreadable: usize,
    /// Magnification of level 0; `None` where the patches are those of a bag, which hold whatever it is.
    pub base: Option<f64>,
    /// The rule that gave it, or the bag.
    pub rule: String,
    /// What a person should look at.
    pub warnings: Vec<String>,
    /// Wall time.
    pub seconds: f64,
}

/// What became of a slide.
#[derive(Debug, Clone, PartialEq)]
pub enum Outcome {
    /// Its bag was written.
    Done(Encoded),
    /// Its bag was there.
    Present,
    /// It gave no bag, for this reason.
    Failed(String),
}

impl Outcome {
    /// `done`, `present` or `failed`.
    #[must_use]
    pub fn label(&self) -> &'static str {
        match self {
            Self::Done(_) => "done",
            Self::Present => "present",
            Self::Failed(_) => "failed",
        }
    }
}

/// One row of the table.
#[derive(Debug, Clone, PartialEq)]
pub struct SlideStatus {
    /// The slide's name.
    pub slide: String,
    /// What became of it.
    pub outcome: Outcome,
}

const COLUMNS: [&str; 11] = [
    "slide",
    "status",
    "reason",
    "x5",
    "x10",
    "x20",
    "unreadable_patches",
    "magnification",
    "rule",
    "warnings",
    "seconds",
];

/// Writes the table, beside its name and renamed.
///
/// # Errors
/// [`Error::Io`].
pub fn write_status(path: &Path, statuses: &[SlideStatus]) -> Result<()> {
    let failed = |source| Error::Io { path: path.to_owned(), action: "write the table", source };
    let mut writer = csv::Writer::from_writer(Vec::new());
    let broken = |error: csv::Error| failed(std::io::Error::other(error));
    writer.write_record(COLUMNS).map_err(broken)?;
    for status in statuses {
        writer.write_record(row(status)).map_err(broken)?;
    }
    let text = writer.into_inner().map_err(|error| failed(std::io::Error::other(error.to_string())))?;
    let mut name = std::ffi::OsString::from(".");
    name.push(path.file_name().unwrap_or_default());
    name.push(format!(".{}.tmp", std::process::id()));
    let beside = path.with_file_name(name);
    let written = std::fs::write(&beside, text).and_then(|()| std::fs::rename(&beside, path));
    if written.is_err() {
        let _ = std::fs::remove_file(&beside);
    }
    written.map_err(failed)
}

fn row(status: &SlideStatus) -> [String; 11] {
    let mut row: [String; 11] = Default::default();
    row[0].clone_from(&status.slide);
    row[1] = status.outcome.label().to_owned();
    match &status.outcome {
        Outcome::Present => {}
        Outcome::Failed(reason) => row[2].clone_from(reason),
        Outcome::Done(encoded) => {
            for (cell, n) in row[3..6].iter_mut().zip(encoded.n_patches) {
                *cell = n.to_string();
            }
            row[6] = encoded.n_unreadable.to_string();
            row[7] = encoded.base.map_or_else(String::new, |base| base.to_string());
            row[8].clone_from(&encoded.rule);
            row[9] = encoded.warnings.join("; ");
            row[10] = format!("{:.1}", encoded.seconds);
        }
    }
    row
}

/// The place of a magnification in [`Encoded::n_patches`].
pub(crate) fn place(magnification: Magnification) -> usize {
    match magnification {
        Magnification::X5 => 0,
        Magnification::X10 => 1,
        Magnification::X20 => 2,
    }
}
