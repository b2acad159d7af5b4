//! What an id of a split file means: a case of the clinical table, else a slide, else a patient.

use std::collections::{BTreeMap, BTreeSet};

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

    /// Says of ids that are not found that spreadsheets or pandas made numbers of them: that they are ids of the table but for zeros
    /// in front or a `.0` behind. `None` where that holds for none.
    pub(crate) fn taken_for_numbers(&self, unknown: &BTreeSet<String>) -> Option<String> {
        let ids = [&self.cases, &self.slides, &self.patients].into_iter().flat_map(BTreeMap::keys);
        let known: BTreeMap<&str, &str> = ids.filter_map(|&id| Some((digits_of(id)?, id))).collect();
        let mut pairs = unknown.iter().filter_map(|id| Some((id, *known.get(digits_of(id)?)?)));
        let (id, of_table) = pairs.next()?;
        Some(format!(
            "ids without a row that the clinical table writes as another number: {}, such as `{id}` for `{of_table}`; programs that \
             read ids as numbers drop zeros in front and add `.0`: write the file again with ids read as text \
             (pandas.read_csv(.., dtype=str))",
            1 + pairs.count()
        ))
    }
}

/// The digits of an id that is a whole number, without zeros in front and without `.0`.
fn digits_of(id: &str) -> Option<&str> {
    let whole = id.strip_suffix(".0").unwrap_or(id);
    let is_number = !whole.is_empty() && whole.bytes().all(|byte| byte.is_ascii_digit());
    is_number.then(|| whole.trim_start_matches('0'))
}

fn places<'a>(ids: impl Iterator<Item = &'a str>) -> BTreeMap<&'a str, Vec<usize>> {
    let mut places: BTreeMap<&str, Vec<usize>> = BTreeMap::new();
    for (place, id) in ids.enumerate() {
        places.entry(id).or_default().push(place);
    }
    places
}
