//! The table of slides to draw.

use std::collections::BTreeSet;
use std::num::NonZeroU32;
use std::path::Path;
use std::str::FromStr;

use cf_cli::{Record, RecordFault, Records, RowLengths};
use wsi_slides::render::Signal;

use crate::error::CliError;

/// One slide to draw.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct PlannedSlide {
    /// Its name, without `.svs`.
    pub(crate) stem: String,
    pub(crate) seed: u64,
    /// 5x patches of tissue.
    pub(crate) n_cells: u32,
    pub(crate) signal: Signal,
}

const COLUMNS: [&str; 8] = ["slide_id", "seed", "cells", "kind", "z", "z5", "z10", "z20"];

/// Reads the table; every slide is there once, under a name that can be a file's.
pub(crate) fn read(path: &Path) -> Result<Vec<PlannedSlide>, CliError> {
    let fault = |text: String| CliError::Plan(path.to_owned(), text);
    let unreadable = |row: RecordFault| fault(row.to_string());
    let text = std::fs::read(path).map_err(|error| fault(error.to_string()))?;
    let records = Records::new(&text, b',', 0, RowLengths::Equal).map_err(unreadable)?;
    let mut places = [0; COLUMNS.len()];
    for (place, column) in places.iter_mut().zip(COLUMNS) {
        *place = records.header().cells().position(|name| name == column).ok_or_else(|| {
            fault(format!(
                "no column `{column}`; expected {}, as `cf-train simulate --slides` writes",
                COLUMNS.join(", ")
            ))
        })?;
    }
    let mut slides = Vec::new();
    let mut stems = BTreeSet::new();
    for record in records {
        let row = Row { path, record: record.map_err(unreadable)?, places };
        let slide = row.slide()?;
        if !stems.insert(slide.stem.clone()) {
            return Err(row.fault("slide_id", "a slide that is not there yet"));
        }
        slides.push(slide);
    }
    if slides.is_empty() {
        return Err(fault("no slides".to_owned()));
    }
    Ok(slides)
}

/// A line of the table.
struct Row<'a> {
    path: &'a Path,
    record: Record,
    places: [usize; COLUMNS.len()],
}

impl Row<'_> {
    fn slide(&self) -> Result<PlannedSlide, CliError> {
        let id = self.cell("slide_id");
        let stem = id.strip_suffix(".svs").unwrap_or(id);
        // The id names files of the output.
        if stem.is_empty() || stem.starts_with('.') || stem.contains(['/', '\\', '\0']) {
            return Err(self.fault("slide_id", "a name that can be a file's"));
        }
        let normal = |column| match self.number::<f64>(column, "a finite number") {
            Ok(value) if !value.is_finite() => Err(self.fault(column, "a finite number")),
            other => other,
        };
        // The other kind's may be empty, but what stands there is a number.
        for column in ["z", "z5", "z10", "z20"] {
            if !self.cell(column).is_empty() {
                normal(column)?;
            }
        }
        let signal = match self.cell("kind") {
            "additive" => Signal::Additive([normal("z5")?, normal("z10")?, normal("z20")?]),
            "interaction" => Signal::Interaction(normal("z")?),
            _ => return Err(self.fault("kind", "additive or interaction")),
        };
        Ok(PlannedSlide {
            stem: stem.to_owned(),
            seed: self.number("seed", "a whole number, at least 0")?,
            n_cells: self.number::<NonZeroU32>("cells", "a whole number, at least 1")?.get(),
            signal,
        })
    }

    fn cell(&self, column: &str) -> &str {
        let place = COLUMNS.iter().position(|name| *name == column).map(|at| self.places[at]);
        place.map_or("", |place| self.record.cell(place))
    }

    fn number<T: FromStr>(&self, column: &str, wanted: &str) -> Result<T, CliError> {
        self.cell(column).parse().map_err(|_| self.fault(column, wanted))
    }

    fn fault(&self, column: &str, wanted: &str) -> CliError {
        let (line, found) = (self.record.line, self.cell(column));
        CliError::Plan(
            self.path.to_owned(),
            format!("line {line}, column `{column}`: found `{found}`, expected {wanted}"),
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HEADER: &str = "slide_id,seed,cells,kind,z,z5,z10,z20\n";

    fn parse(text: &str) -> Result<Vec<PlannedSlide>, String> {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("slides.csv");
        std::fs::write(&path, text).unwrap();
        read(&path).map_err(|error| error.to_string())
    }

    #[test]
    fn each_kind_takes_its_own_numbers() {
        let rows = "a.svs,18446744073709551615,9,additive,0.1,1,2,-3\nb,7,2,interaction,-0.5,1,2,3\n";
        let slides = parse(&format!("{HEADER}{rows}")).unwrap();
        let expected =
            [("a", u64::MAX, 9, Signal::Additive([1.0, 2.0, -3.0])), ("b", 7, 2, Signal::Interaction(-0.5))];
        for (slide, (stem, seed, n_cells, signal)) in slides.iter().zip(expected) {
            assert_eq!(*slide, PlannedSlide { stem: stem.to_owned(), seed, n_cells, signal });
        }
    }

    #[test]
    fn faults_name_their_line_and_column() {
        for (row, wanted) in [
            ("../a,1,9,additive,0,0,0,0", "line 2, column `slide_id`: found `../a`"),
            ("a,-1,9,additive,0,0,0,0", "line 2, column `seed`: found `-1`"),
            ("a,1,x,additive,0,0,0,0", "line 2, column `cells`: found `x`"),
            ("a,1,9,other,0,0,0,0", "line 2, column `kind`: found `other`"),
            ("a,1,9,additive,0,nan,0,0", "line 2, column `z5`: found `nan`"),
            (
                "a,1,0,additive,0,0,0,0",
                "line 2, column `cells`: found `0`, expected a whole number, at least 1",
            ),
            ("a,1,9,additive,1e400,0,0,0", "line 2, column `z`: found `1e400`, expected a finite number"),
            ("a,1,9,interaction,0,0,-1e400,0", "line 2, column `z10`: found `-1e400`"),
            ("a,1,9,interaction,0,x,0,0", "line 2, column `z5`: found `x`"),
            ("a,1,9,interaction,,0,0,0", "line 2, column `z`: found ``"),
            ("a,1,9,interaction,0,0,0,0\na.svs,1,9,interaction,0,0,0,0", "line 3, column `slide_id`"),
            ("\r\na,1,9,additive,0,nan,0,0", "line 3, column `z5`: found `nan`"),
            ("\na,1,9", "line 3: 3 cells, expected 8 as in the header"),
            ("\"a,1,9,interaction,0,0,0,0", "line 2: the quote that opens here is never closed"),
        ] {
            let fault = parse(&format!("{HEADER}{row}\n")).unwrap_err();
            assert!(fault.contains(wanted), "{fault}");
        }
        assert!(parse("slide_id,seed\n").unwrap_err().contains("no column `cells`"));
        assert!(parse(HEADER).unwrap_err().contains("no slides"));
    }
}
