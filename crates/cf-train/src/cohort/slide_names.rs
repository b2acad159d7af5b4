//! Which slides a patient has, where the clinical table does not say: from a slide table, or from the names of bags.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use cf_cli::RowLengths;
use survival_metrics::Outcome;
use wsi_bags::{SlideNames, slide_stem};

use super::barcode::{heads_of, patient_of};
use super::clinical_rows::id;
use super::clinical_table::Case;
use super::row_fault::{OnFault, RowFault, RowFaultKind};
use super::settings::SlideColumnNames;
use super::{Dropped, Slide};
use crate::delimited::DelimitedTable;
use crate::error::Result;

/// Endings of bag files, which slide tables list in place of slides.
const BAG_EXTENSIONS: [&str; 4] = [".h5", ".hdf5", ".pt", ".safetensors"];

/// Why a patient of the clinical table falls out that the slide table has no row of.
pub(crate) const WITHOUT_SLIDE_ROW: &str = "patient without a row in the slide table";
/// Why a slide of the slide table falls out.
pub(crate) const OF_UNKNOWN_PATIENT: &str = "slide whose patient is not in the clinical table";
/// Why a patient falls out whose slides only the names of bags tell.
pub(super) const WITHOUT_BAG: &str = "patient without a bag";

/// The name of a bag: the slide's or the bag's file name without folders and without its ending.
pub(crate) fn bag_name_of(cell: &str) -> &str {
    let name = cell.rsplit(['/', '\\']).next().unwrap_or(cell);
    let lower = name.to_ascii_lowercase();
    let ending =
        BAG_EXTENSIONS.iter().find(|extension| lower.ends_with(**extension) && lower.len() > extension.len());
    slide_stem(ending.and_then(|ending| name.get(..name.len() - ending.len())).unwrap_or(name))
}

/// Reads a slide table: a row per slide, patients as the clinical table calls them.
///
/// # Errors
/// If it is no table, lacks a column, has an empty cell, lists a slide twice, or no patient of it is in the clinical table.
pub(super) fn read(
    path: &Path,
    columns: &SlideColumnNames,
    outcomes: &BTreeMap<&str, Outcome>,
    skipped: &BTreeSet<String>,
    on_fault: &mut OnFault<'_>,
) -> Result<(Vec<Slide>, Vec<Dropped>)> {
    let table = DelimitedTable::read(path, RowLengths::Equal)?;
    let column = |name: &str, key: &str| {
        table.column(name).ok_or_else(|| {
            let found = table.columns_in_words();
            table.fault(format!(
                "no column `{name}`; found {found}; name yours in [cohort.slide_columns] {key} = \"..\""
            ))
        })
    };
    let case_index = column(&columns.case_id, "case_id")?;
    let slide_index = column(&columns.slide_id, "slide_id")?;
    let mut slides = Vec::new();
    let mut lines: BTreeMap<String, u64> = BTreeMap::new();
    let (mut strangers, mut of_skipped) = (Vec::new(), Vec::new());
    for row in table.rows() {
        let case_id = id(&table, &row, case_index, &columns.case_id)?;
        let slide_id = bag_name_of(id(&table, &row, slide_index, &columns.slide_id)?);
        if let Some(first) = lines.insert(slide_id.to_owned(), row.line) {
            let reason = format!("slide {slide_id} stands in line {first} and in line {}", row.line);
            on_fault.meet(RowFault { kind: RowFaultKind::DuplicateSlide, error: table.fault(reason) })?;
            continue;
        }
        match outcomes.get(case_id) {
            Some(&outcome) => slides.push(Slide {
                case_id: case_id.to_owned(),
                slide_id: slide_id.to_owned(),
                patient_id: patient_of(case_id).to_owned(),
                outcome,
            }),
            None if skipped.contains(case_id) => of_skipped.push(slide_id.to_owned()),
            None => strangers.push(slide_id.to_owned()),
        }
    }
    if slides.is_empty() {
        let first = |ids: Option<&str>| ids.unwrap_or("none").to_owned();
        return Err(table.fault(format!(
            "no patient of it is in the clinical table: it says {}, the clinical table {}",
            first(table.rows().next().map(|row| row.cell(case_index))),
            first(outcomes.keys().next().copied())
        )));
    }
    let listed: BTreeSet<&str> = slides.iter().map(|slide| slide.case_id.as_str()).collect();
    let without =
        outcomes.keys().filter(|case| !listed.contains(*case)).map(|&case| case.to_owned()).collect();
    let dropped = [
        Dropped::new(WITHOUT_SLIDE_ROW, without),
        Dropped::new("slide of a patient without a time or a status", of_skipped),
        Dropped::new(OF_UNKNOWN_PATIENT, strangers),
    ];
    Ok((slides, dropped.into_iter().flatten().collect()))
}

/// The bags that are called after patients, in the order of the patients. A slide is called as its bag is, without the ending of a slide
/// file where no other bag is called so: tables, splits and slide files leave it out, too.
///
/// # Errors
/// If there is none; the text shows a name of either side.
pub(super) fn bags_of(
    patients: &[Case],
    skipped: &BTreeSet<String>,
    bags: &[String],
) -> std::result::Result<(Vec<Slide>, Vec<Dropped>), String> {
    let places: BTreeMap<&str, usize> =
        patients.iter().enumerate().map(|(place, case)| (case.case_id.as_str(), place)).collect();
    let mut found: BTreeMap<usize, Vec<&String>> = BTreeMap::new();
    let mut of_skipped = Vec::new();
    for bag in bags {
        // The longest head decides: bag `A-1-2` is patient `A-1`'s only where there is no patient `A-1-2`.
        let head = heads_of(bag).find(|head| places.contains_key(head) || skipped.contains(*head));
        match head.map(|head| places.get(head)) {
            Some(Some(&place)) => found.entry(place).or_default().push(bag),
            Some(None) => of_skipped.push(bag.clone()),
            None => {}
        }
    }
    if found.is_empty() {
        return Err(format!(
            "no bag is called after a patient: the table says {}, the bags are called {}; list the slides of each \
             patient in a table and name it in [cohort] slides = \"..\"",
            patients.first().map_or("none", |case| &case.case_id),
            bags.first().map_or("none", |bag| bag)
        ));
    }
    let listed = SlideNames::new(bags.iter().cloned());
    let mut slides = Vec::new();
    let mut without = Vec::new();
    for (place, case) in patients.iter().enumerate() {
        let Some(names) = found.get(&place) else {
            without.push(case.case_id.clone());
            continue;
        };
        slides.extend(names.iter().map(|&name| Slide {
            case_id: case.case_id.clone(),
            slide_id: slide_of(name, &listed).to_owned(),
            patient_id: case.patient_id.clone(),
            outcome: case.outcome,
        }));
    }
    let dropped = [
        Dropped::new(WITHOUT_BAG, without),
        Dropped::new("bag of a patient without a time or a status", of_skipped),
    ];
    Ok((slides, dropped.into_iter().flatten().collect()))
}

/// What a slide is called by the name of its bag.
pub(super) fn slide_of<'a>(bag: &'a str, bags: &SlideNames) -> &'a str {
    let stem = slide_stem(bag);
    if bags.find(stem) == Some(bag) { stem } else { bag }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_lose_folders_and_endings() {
        assert_eq!(bag_name_of("features/TCGA-2F-A9KO-01Z.195576CF.h5"), "TCGA-2F-A9KO-01Z.195576CF");
        assert_eq!(bag_name_of("TCGA-2F-A9KO-01Z.195576CF.svs"), "TCGA-2F-A9KO-01Z.195576CF");
        assert_eq!(bag_name_of("a.b.PT"), "a.b");
        assert_eq!(bag_name_of(".h5"), ".h5");
    }

    #[test]
    fn bags_go_to_the_patient_with_the_longest_name() {
        let case = |name: &str| Case {
            case_id: name.to_owned(),
            patient_id: name.to_owned(),
            outcome: Outcome::event(1.0).unwrap(),
            n_slides: None,
        };
        let bags = ["A-1-2", "A-1_b", "A-10", "C-1.x"].map(str::to_owned);
        let (slides, dropped) =
            bags_of(&[case("A-1"), case("A-1-2"), case("B")], &BTreeSet::from(["C-1".to_owned()]), &bags)
                .unwrap();
        let found: Vec<(&str, &str)> =
            slides.iter().map(|s| (s.case_id.as_str(), s.slide_id.as_str())).collect();
        assert_eq!(found, [("A-1", "A-1_b"), ("A-1-2", "A-1-2")]);
        assert_eq!(dropped[0].ids, ["B"]);
        assert_eq!(dropped[1].ids, ["C-1.x"]);
        assert!(bags_of(&[case("B")], &BTreeSet::new(), &bags).unwrap_err().contains("the table says B"));
    }

    #[test]
    fn slides_lose_the_ending_that_their_bags_have_unless_two_would_be_one() {
        let case = Case {
            case_id: "A".to_owned(),
            patient_id: "A".to_owned(),
            outcome: Outcome::event(1.0).unwrap(),
            n_slides: None,
        };
        let bags = ["A-1.svs", "A-2.svs", "A-2.tif", "A-3", "A-3.svs"].map(str::to_owned);
        let (slides, _) = bags_of(&[case], &BTreeSet::new(), &bags).unwrap();
        let found: Vec<&str> = slides.iter().map(|slide| slide.slide_id.as_str()).collect();
        assert_eq!(found, ["A-1", "A-2.svs", "A-2.tif", "A-3", "A-3.svs"]);
    }
}
