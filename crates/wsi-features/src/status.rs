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
    /// Its bag was there, with all that was asked for.
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

/// Writes what became of a slide into the table, in the place of its row or behind the others; the rest of the table stays. Of a
/// slide that was there, the row keeps what an earlier run said of it. The table is written beside its name and renamed.
///
/// # Errors
/// [`Error::Io`]; [`Error::Table`] if what lies there is another table.
pub(crate) fn record(path: &Path, status: &SlideStatus) -> Result<()> {
    let mut rows = read(path)?;
    let mut new = row(status);
    match rows.iter_mut().find(|row| row.first() == new.first()) {
        Some(old) if status.outcome == Outcome::Present => {
            old[1].clone_from(&new[1]);
            old[2].clear();
        }
        Some(old) => std::mem::swap(old, &mut new),
        None => rows.push(new),
    }
    let failed = |source| Error::Io { path: path.to_owned(), action: "write the table", source };
    let mut writer = csv::Writer::from_writer(Vec::new());
    let broken = |error: csv::Error| failed(std::io::Error::other(error));
    writer.write_record(COLUMNS).map_err(broken)?;
    for row in &rows {
        writer.write_record(row).map_err(broken)?;
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

/// The rows that are there.
fn read(path: &Path) -> Result<Vec<[String; 11]>> {
    let text = match std::fs::read_to_string(path) {
        Ok(text) => text,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(source) => return Err(Error::Io { path: path.to_owned(), action: "read the table", source }),
    };
    let other = |found: String| {
        let fault = format!("{found}, expected the columns {}: move the file away", COLUMNS.join(", "));
        Error::Table { path: path.to_owned(), fault }
    };
    let mut reader = csv::Reader::from_reader(text.as_bytes());
    let header = reader.headers().map_err(|error| other(error.to_string()))?;
    if header != COLUMNS.as_slice() {
        return Err(other(format!("the columns are {}", header.iter().collect::<Vec<_>>().join(", "))));
    }
    let row = |record: csv::Result<csv::StringRecord>| {
        let record = record.map_err(|error| other(error.to_string()))?;
        let mut row: [String; 11] = Default::default();
        row.iter_mut().zip(&record).for_each(|(cell, found)| *cell = found.to_owned());
        Ok(row)
    };
    reader.records().map(row).collect()
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_row_keeps_what_an_earlier_run_said_of_a_slide_that_is_there() {
        let dir = tempfile::tempdir().unwrap();
        let table = dir.path().join("status.csv");
        let encoded = Encoded {
            n_patches: [1, 4, 16],
            n_unreadable: 3,
            base: Some(40.0),
            rule: "mpp-over-power".to_owned(),
            warnings: vec!["look, \"here\"".to_owned()],
            seconds: 1.25,
        };
        let status = |slide: &str, outcome| SlideStatus { slide: slide.to_owned(), outcome };
        record(&table, &status("a", Outcome::Done(encoded))).unwrap();
        record(&table, &status("b", Outcome::Failed("no tissue".to_owned()))).unwrap();
        // The next run begins with `b`, and is killed after `a`.
        record(&table, &status("b", Outcome::Failed("no disk".to_owned()))).unwrap();
        record(&table, &status("a", Outcome::Present)).unwrap();
        let text = std::fs::read_to_string(&table).unwrap();
        let rows: Vec<&str> = text.lines().skip(1).collect();
        let kept = "a,present,,1,4,16,3,40,mpp-over-power,\"look, \"\"here\"\"\",1.2";
        assert_eq!(rows, [kept, "b,failed,no disk,,,,,,,,"]);

        std::fs::write(&table, "slide,mpp\na,0.5\n").unwrap();
        let error = record(&table, &status("a", Outcome::Present)).unwrap_err().to_string();
        assert!(error.contains("status.csv: the columns are slide, mpp, expected"), "{error}");
    }
}
