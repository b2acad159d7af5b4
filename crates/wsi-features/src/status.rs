//! What became of each slide, as a table.

use std::path::Path;

use wsi_bags::{Magnification, name_beside};

use crate::error::{Error, Result};
use crate::slide_scale::SlideScale;

/// What is told of a slide that was encoded.
#[derive(Debug, Clone, PartialEq)]
pub struct Encoded {
    /// Patches at 5x, 10x and 20x; 0 for a magnification that was not asked for.
    pub n_patches: [usize; 3],
    /// Patches left out because a tile did not decode.
    pub n_unreadable: usize,
    /// Whether the features joined a bag that was there.
    pub joined: bool,
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
    /// How large its patches are, where `run` found that out.
    pub scale: Option<SlideScale>,
}

const COLUMNS: [&str; 12] = [
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
    "encoder",
];

const ENCODER: usize = 11;

type Row = [String; COLUMNS.len()];

/// Refuses a table of something else before anything is encoded.
///
/// # Errors
/// Those of [`record`] that are not of writing.
pub(crate) fn check_table(path: &Path) -> Result<()> {
    read(path).map(drop)
}

/// Writes what became of a slide with an encoder into the table, in the place of its row or behind the others; the rest of the table
/// stays. Of a slide that was there, or that failed this time, the row keeps what an earlier run said of its bag; of one whose bag got more
/// features, the patches of magnifications that were there. The table is written beside its name and renamed.
///
/// # Errors
/// [`Error::Io`]; [`Error::Table`] if what lies there is another table.
pub(crate) fn record(path: &Path, encoder: &str, status: &SlideStatus) -> Result<()> {
    let mut rows = read(path)?;
    let mut new = row(encoder, status);
    // Rows of earlier versions do not say of which encoder they are.
    let is_its =
        |row: &&mut Row| row[0] == status.slide && (row[ENCODER] == encoder || row[ENCODER].is_empty());
    match (rows.iter_mut().find(is_its), &status.outcome) {
        (Some(old), Outcome::Present | Outcome::Failed(_)) => {
            for cell in [1, 2, ENCODER] {
                old[cell].clone_from(&new[cell]);
            }
        }
        (Some(old), outcome) => {
            if let Outcome::Done(encoded) = outcome
                && encoded.joined
            {
                keep_counts(&mut new, old, encoded);
            }
            *old = new;
        }
        (None, _) => rows.push(new),
    }
    write(path, &rows)
}

/// Keeps the patches of magnifications that were not encoded this time, and those that were left out of the bag before.
fn keep_counts(new: &mut Row, old: &Row, encoded: &Encoded) {
    for (cell, n) in (3..6).zip(encoded.n_patches) {
        if n == 0 && !old[cell].is_empty() {
            new[cell].clone_from(&old[cell]);
        }
    }
    let n_before: usize = old[6].parse().unwrap_or(0);
    new[6] = (n_before + encoded.n_unreadable).to_string();
}

fn write(path: &Path, rows: &[Row]) -> Result<()> {
    let failed = |source| Error::Io { path: path.to_owned(), action: "write the table", source };
    let mut writer = csv::Writer::from_writer(Vec::new());
    let broken = |error: csv::Error| failed(std::io::Error::other(error));
    writer.write_record(COLUMNS).map_err(broken)?;
    for row in rows {
        writer.write_record(row).map_err(broken)?;
    }
    let text = writer.into_inner().map_err(|error| failed(std::io::Error::other(error.to_string())))?;
    let beside = name_beside(path)?;
    let written = std::fs::write(&beside, text).and_then(|()| std::fs::rename(&beside, path));
    if written.is_err() {
        let _ = std::fs::remove_file(&beside);
    }
    written.map_err(failed)
}

/// The rows that are there. Tables of earlier versions have no column `encoder`.
fn read(path: &Path) -> Result<Vec<Row>> {
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
    if header != COLUMNS.as_slice() && header != COLUMNS[..ENCODER] {
        return Err(other(format!("the columns are {}", header.iter().collect::<Vec<_>>().join(", "))));
    }
    let row = |record: csv::Result<csv::StringRecord>| {
        let record = record.map_err(|error| other(error.to_string()))?;
        let mut row = Row::default();
        row.iter_mut().zip(&record).for_each(|(cell, found)| *cell = found.to_owned());
        Ok(row)
    };
    reader.records().map(row).collect()
}

fn row(encoder: &str, status: &SlideStatus) -> Row {
    let mut row = Row::default();
    row[0].clone_from(&status.slide);
    row[1] = status.outcome.label().to_owned();
    row[ENCODER] = encoder.to_owned();
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

    fn encoded(n_patches: [usize; 3]) -> Encoded {
        Encoded {
            n_patches,
            n_unreadable: 3,
            joined: false,
            base: Some(40.0),
            rule: "mpp-over-power".to_owned(),
            warnings: vec!["look, \"here\"".to_owned()],
            seconds: 1.25,
        }
    }

    fn status(slide: &str, outcome: Outcome) -> SlideStatus {
        SlideStatus { slide: slide.to_owned(), outcome, scale: None }
    }

    fn rows(table: &Path) -> Vec<String> {
        std::fs::read_to_string(table).unwrap().lines().skip(1).map(str::to_owned).collect()
    }

    #[test]
    fn a_row_keeps_what_an_earlier_run_said_of_a_slide_that_is_there() {
        let dir = tempfile::tempdir().unwrap();
        let table = dir.path().join("status.csv");
        record(&table, "uni", &status("a", Outcome::Done(encoded([1, 4, 16])))).unwrap();
        record(&table, "uni", &status("b", Outcome::Failed("no tissue".to_owned()))).unwrap();
        // The next run begins with `b`, and is killed after `a`.
        record(&table, "uni", &status("b", Outcome::Failed("no disk".to_owned()))).unwrap();
        // What a run with other settings says of `a` is no reason to forget the bag.
        record(&table, "uni", &status("a", Outcome::Failed("other settings".to_owned()))).unwrap();
        assert!(rows(&table)[0].starts_with("a,failed,other settings,1,4,16,3,40,"), "{:?}", rows(&table));
        record(&table, "uni", &status("a", Outcome::Present)).unwrap();
        let kept = "a,present,,1,4,16,3,40,mpp-over-power,\"look, \"\"here\"\"\",1.2,uni";
        assert_eq!(rows(&table), [kept, "b,failed,no disk,,,,,,,,,uni"]);

        std::fs::write(&table, "slide,mpp\na,0.5\n").unwrap();
        for error in [check_table(&table), record(&table, "uni", &status("a", Outcome::Present))] {
            let error = error.unwrap_err().to_string();
            assert!(error.contains("status.csv: the columns are slide, mpp, expected"), "{error}");
        }
    }

    #[test]
    fn what_became_of_a_slide_with_another_encoder_stays() {
        let dir = tempfile::tempdir().unwrap();
        let table = dir.path().join("status.csv");
        record(&table, "a", &status("s", Outcome::Done(encoded([1, 4, 16])))).unwrap();
        record(&table, "b", &status("s", Outcome::Failed("no memory".to_owned()))).unwrap();
        record(&table, "a", &status("s", Outcome::Present)).unwrap();
        let found = rows(&table);
        assert!(found[0].starts_with("s,present,,1,4,16,3,") && found[0].ends_with(",a"), "{found:?}");
        assert_eq!(found[1..], ["s,failed,no memory,,,,,,,,,b"]);
    }

    #[test]
    fn patches_of_magnifications_that_were_there_stay_counted() {
        let dir = tempfile::tempdir().unwrap();
        let table = dir.path().join("status.csv");
        let first = Encoded { n_unreadable: 2, ..encoded([0, 0, 16]) };
        let second = Encoded { n_unreadable: 0, joined: true, ..encoded([1, 4, 0]) };
        record(&table, "a", &status("s", Outcome::Done(first))).unwrap();
        record(&table, "a", &status("s", Outcome::Done(second.clone()))).unwrap();
        assert!(rows(&table)[0].starts_with("s,done,,1,4,16,2,"), "{:?}", rows(&table));
        // A bag that was made again has what the new run says, and no more.
        let again = Encoded { joined: false, ..second };
        record(&table, "a", &status("s", Outcome::Done(again))).unwrap();
        assert!(rows(&table)[0].starts_with("s,done,,1,4,0,0,"), "{:?}", rows(&table));
    }

    #[test]
    fn a_table_without_encoders_is_gone_on_with() {
        let dir = tempfile::tempdir().unwrap();
        let table = dir.path().join("status.csv");
        let old = COLUMNS[..ENCODER].join(",");
        std::fs::write(&table, format!("{old}\na,done,,1,4,16,0,40,r,,1.2\nb,failed,f,,,,,,,,\n")).unwrap();
        record(&table, "uni", &status("a", Outcome::Present)).unwrap();
        assert_eq!(rows(&table), ["a,present,,1,4,16,0,40,r,,1.2,uni", "b,failed,f,,,,,,,,,"]);
    }
}
