//! What an id of a split file means: a case of the clinical table, else a slide, else a patient.

use std::collections::BTreeMap;

use crate::cohort::{Case, Slide, bag_name_of};

/// Looks ids of split files up among the slides (or, where these are unknown, the cases) of a clinical table.
pub(crate) struct IdIndex<'a> {
    cases: BTreeMap<&'a str, Vec<usize>>,
    slides: BTreeMap<&'a str, Vec<usize>>,
    patients: BTreeMap<&'a str, Vec<usize>>,
}

impl<'a> IdIndex<'a> {
    /// Of slides: an id stands for slides, by their places.
    pub(crate) fn of_slides(slides: &'a [Slide]) -> Self {
        Self {
            cases: places(slides.iter().map(|slide| slide.case_id.as_str())),
            slides: places(slides.iter().map(|slide| slide.slide_id.as_str())),
            patients: places(slides.iter().map(|slide| slide.patient_id.as_str())),
        }
    }

    /// Of cases: an id stands for cases, by their places.
    pub(crate) fn of_cases(cases: &'a [Case]) -> Self {
        Self {
            cases: places(cases.iter().map(|case| case.case_id.as_str())),
            slides: BTreeMap::new(),
            patients: places(cases.iter().map(|case| case.patient_id.as_str())),
        }
    }

    /// The places of an id, ascending; `None` where the table has no such case, slide or patient.
    pub(crate) fn find(&self, id: &str) -> Option<&[usize]> {
        let found =
            self.cases.get(id).or_else(|| self.slides.get(bag_name_of(id))).or_else(|| self.patients.get(id));
        found.map(Vec::as_slice)
    }
}

fn places<'a>(ids: impl Iterator<Item = &'a str>) -> BTreeMap<&'a str, Vec<usize>> {
    let mut places: BTreeMap<&str, Vec<usize>> = BTreeMap::new();
    for (place, id) in ids.enumerate() {
        places.entry(id).or_default().push(place);
    }
    places
}
