//! Slides without outcomes: those that a table lists, or all that have a bag.

use std::collections::BTreeMap;
use std::path::Path;

use cf_cli::RowLengths;
use wsi_bags::SlideNames;

use super::barcode::patient_of;
use super::clinical_rows::id;
use super::slide_names::{bag_name_of, slide_of};
use crate::delimited::DelimitedTable;
use crate::error::Result;

/// Columns that hold a slide's or its bag's file name, the first that is there; as in clinical tables and in STAMP's slide tables.
const SLIDE_COLUMNS: [&str; 2] = ["slide_id", "FILENAME"];
/// Columns that hold its patient.
const PATIENT_COLUMNS: [&str; 3] = ["case_id", "PATIENT", "patient_id"];

/// A slide of which no outcome is known.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ListedSlide {
    /// Its name without its extension, as bags are called.
    pub(crate) slide_id: String,
    /// The first twelve characters of a TCGA barcode, else what the table calls the patient, else the slide itself.
    pub(crate) patient_id: String,
}

/// The slides of a list, in its order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct SlideList {
    pub(crate) slides: Vec<ListedSlide>,
    /// Whether slides that are no TCGA barcodes are told to be of a patient.
    names_patients: bool,
}

impl SlideList {
    /// Reads a table of slides; columns that nobody asks for may stand there.
    ///
    /// # Errors
    /// If it is no table, has no column of slides, lists a slide twice, has an empty cell among the ids, or no rows.
    pub(crate) fn read(path: &Path) -> Result<Self> {
        let table = DelimitedTable::read(path, RowLengths::Equal)?;
        let first = |names: &[&'static str]| names.iter().find_map(|name| Some((table.column(name)?, *name)));
        let Some((slide_column, slide_name)) = first(&SLIDE_COLUMNS) else {
            let found = table.columns_in_words();
            return Err(
                table.fault(format!("found the columns {found}, expected `slide_id` (or `FILENAME`)"))
            );
        };
        let patient_column = first(&PATIENT_COLUMNS);
        let mut slides = Vec::new();
        let mut lines: BTreeMap<&str, u64> = BTreeMap::new();
        for row in table.rows() {
            let slide_id = bag_name_of(id(&table, &row, slide_column, slide_name)?);
            if let Some(first) = lines.insert(slide_id, row.line) {
                return Err(
                    table.fault(format!("slide {slide_id} stands in line {first} and in line {}", row.line))
                );
            }
            let patient = patient_column.map(|(column, name)| id(&table, &row, column, name)).transpose()?;
            slides.push(ListedSlide {
                slide_id: slide_id.to_owned(),
                patient_id: patient_of(patient.unwrap_or(slide_id)).to_owned(),
            });
        }
        if slides.is_empty() {
            return Err(table.fault("has no rows, expected one per slide"));
        }
        Ok(Self { slides, names_patients: patient_column.is_some() })
    }

    /// All slides that have a bag, sorted.
    pub(crate) fn of_bags(bags: &[String]) -> Self {
        let names = SlideNames::new(bags.iter().cloned());
        let slide = |bag: &String| {
            let slide_id = slide_of(bag, &names);
            ListedSlide { slide_id: slide_id.to_owned(), patient_id: patient_of(slide_id).to_owned() }
        };
        Self { slides: names.all().iter().map(slide).collect(), names_patients: false }
    }

    /// Whether slides stand for patients, as nothing says whose they are.
    pub(crate) fn takes_slides_for_patients(&self) -> bool {
        !self.names_patients && self.slides.iter().any(|slide| slide.slide_id == slide.patient_id)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<SlideList> {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("slides.csv");
        std::fs::write(&path, text).unwrap();
        SlideList::read(&path)
    }

    fn ids(list: &SlideList) -> Vec<(&str, &str)> {
        list.slides.iter().map(|slide| (slide.slide_id.as_str(), slide.patient_id.as_str())).collect()
    }

    #[test]
    fn slides_and_patients_are_read_from_the_columns_of_either_kind_of_table() {
        let mcat = read("age;case_id;slide_id\r\n61;P 1;b.svs\r\n;TCGA-2F-A9KO-01Z;a\r\n").unwrap();
        assert_eq!(ids(&mcat), [("b", "P 1"), ("a", "TCGA-2F-A9KO")]);
        assert!(!mcat.takes_slides_for_patients());
        let stamp = read("FILENAME\tPATIENT\nfeatures/b.h5\tP1\n").unwrap();
        assert_eq!(ids(&stamp), [("b", "P1")]);
        let alone = read("slide_id\nTCGA-2F-A9KO-01Z-00-DX1.195576CF\n").unwrap();
        assert_eq!(ids(&alone), [("TCGA-2F-A9KO-01Z-00-DX1.195576CF", "TCGA-2F-A9KO")]);
        assert!(!alone.takes_slides_for_patients());
        assert!(read("slide_id\nb\n").unwrap().takes_slides_for_patients());
    }

    #[test]
    fn a_table_that_lists_no_slide_or_one_twice_is_refused() {
        let refused = |text: &str, expected: &str| {
            let said = read(text).unwrap_err().to_string();
            assert!(said.contains(expected), "{said}");
        };
        refused("case_id,slide\nP,a\n", "found the columns case_id, slide, expected `slide_id`");
        refused("slide_id\na.svs\nb\na\n", "slide a stands in line 2 and in line 4");
        refused("slide_id,case_id\na,P\nb,\n", "line 3, column `case_id`: empty, expected an id");
        refused("slide_id\n", "has no rows");
    }

    #[test]
    fn slides_of_a_folder_lose_the_ending_that_their_bags_have() {
        let bags = ["b.svs", "a", "c.svs", "c"].map(str::to_owned);
        let list = SlideList::of_bags(&bags);
        let names: Vec<&str> = list.slides.iter().map(|slide| slide.slide_id.as_str()).collect();
        assert_eq!(names, ["a", "b", "c", "c.svs"]);
    }
}
