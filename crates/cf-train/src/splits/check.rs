//! What is wrong with splits, before a run is spent on them: ids that do not join, patients on both sides, folds without
//! events, sites on both sides.

use std::collections::{BTreeMap, BTreeSet};

use serde::Serialize;
use survival_metrics::Outcome;

use super::faults::{
    choosing_faults, errors_of, shared_groups, shared_with_unused, unmatched_in_words, warnings_of,
};
use super::matching::IdIndex;
use super::validated_parts::{SAME_VALIDATION_WAY_OUT, ValidatedParts, same_validation};
use super::{FoldEntries, HeldOutUse, Part, SplitForm, SplitSet};
use crate::cohort::{ClinicalTable, PatientGroups, UnreadPatients};
use crate::error::Result;
use crate::time_bins::TimeBins;

/// The splits of a study against its clinical table.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct SplitsCheck {
    /// What lay there.
    pub form: SplitForm,
    /// The part that is validated.
    pub validated_part: Part,
    /// The part that the epoch is chosen on, where it is one of the split files; left out elsewhere.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub choosing_part: Option<Part>,
    /// The column that stands for the site, where one was asked for; left out elsewhere.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub group_column: Option<String>,
    /// Every fold.
    pub folds: Vec<FoldCheck>,
    /// Ids of the split files that the clinical table has neither as case nor as slide nor as patient, sorted.
    pub ids_without_row: Vec<String>,
    /// Cases of the clinical table that are in no part of any fold, sorted.
    pub cases_in_no_fold: Vec<String>,
    /// Cases that are in a fold, but never in the validated part, sorted.
    pub cases_never_validated: Vec<String>,
    /// Patients whom several folds validate, sorted; folds that validate the same as an earlier one are not counted.
    pub patients_validated_twice: Vec<String>,
    /// What a run would refuse.
    pub errors: Vec<String>,
    /// What a run would report and go on.
    pub warnings: Vec<String>,
}

/// One fold against the clinical table.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct FoldCheck {
    /// Its number.
    pub fold: usize,
    /// The file or folder.
    pub file: String,
    /// Trained on.
    pub train: PartCounts,
    /// Validated on.
    pub validation: PartCounts,
    /// In the part that is neither trained nor validated on; the epoch may be chosen on it ([`SplitsCheck::choosing_part`]).
    pub unused: PartCounts,
    /// Ids without a row in the clinical table.
    pub n_ids_without_row: usize,
    /// The first fold that validates the same, where there is one; left out elsewhere.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub same_validation_as: Option<usize>,
    /// Patients trained and validated on, sorted.
    pub shared_patients: Vec<String>,
    /// Patients of a column that is not read, whose rows are taken for those of several patients, some of them trained and some validated
    /// on.
    pub shared_unread_patients: Vec<String>,
    /// Patients of the unused part who are trained or validated on, sorted.
    pub shared_with_unused: Vec<String>,
    /// Tissue source sites of the validated patients, or their groups by [`SplitsCheck::group_column`]; `None` where their ids are no TCGA
    /// barcodes.
    pub n_validation_sites: Option<usize>,
    /// Those of them that are trained on, or choose the epoch, as well, sorted; empty where sites are unknown.
    pub shared_sites: Vec<String>,
    /// Validated patients of these sites.
    pub n_patients_of_shared_sites: usize,
    /// Edges of the time bins as fitted on the training part, months; `None` where it gives none.
    pub time_bin_edges_months: Option<Vec<f64>>,
    /// Why it gives none: it has no events, or so many at one time that edges coincide.
    pub time_bins_fault: Option<String>,
}

/// The size of a part of a fold, as far as its ids have a row.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct PartCounts {
    /// Ids in the file.
    pub n_ids: usize,
    /// Patients.
    pub n_patients: usize,
    /// Slides; `None` where only the names of bags will tell.
    pub n_slides: Option<usize>,
    /// Patients with an event.
    pub n_event_patients: usize,
}

/// What an id can stand for: a slide, or a case whose slides are unknown.
struct Row<'a> {
    case_id: &'a str,
    patient_id: &'a str,
    outcome: Outcome,
}

/// Checks splits against a clinical table; finds every fault rather than the first. `groups` says where patients come from.
///
/// # Errors
/// As [`SplitSet::validated_part`].
pub fn check(
    table: &ClinicalTable,
    set: &SplitSet,
    held_out: HeldOutUse,
    groups: &PatientGroups,
) -> Result<SplitsCheck> {
    let validated = set.validated_part(held_out)?;
    let choosing = held_out.choosing_part();
    let cases = table.cases();
    let (rows, index): (Vec<Row<'_>>, IdIndex<'_>) = match table.slides() {
        Some(slides) => {
            let rows = slides.iter().map(|slide| Row {
                case_id: &slide.case_id,
                patient_id: &slide.patient_id,
                outcome: slide.outcome,
            });
            (rows.collect(), IdIndex::of_slides(slides))
        }
        None => {
            let rows = cases.iter().map(|case| Row {
                case_id: &case.case_id,
                patient_id: &case.patient_id,
                outcome: case.outcome,
            });
            (rows.collect(), IdIndex::of_cases(&cases))
        }
    };
    let joined = Joined {
        rows: &rows,
        index: &index,
        has_slides: table.slides().is_some(),
        unread_patients: table.unread_patients(),
        groups,
    };

    let mut found = SplitsCheck {
        form: set.form,
        validated_part: validated,
        choosing_part: choosing,
        group_column: groups.column().map(str::to_owned),
        folds: Vec::new(),
        ids_without_row: Vec::new(),
        cases_in_no_fold: Vec::new(),
        cases_never_validated: Vec::new(),
        patients_validated_twice: Vec::new(),
        errors: Vec::new(),
        warnings: Vec::new(),
    };
    let mut without_row = BTreeSet::new();
    let (mut in_fold, mut validated_cases) = (BTreeSet::new(), BTreeSet::new());
    let mut validated_parts = ValidatedParts::default();
    for fold in &set.folds {
        let mut validated_rows = BTreeSet::new();
        for entry in &fold.entries {
            match index.find(&entry.id) {
                // Rows without an outcome are reported as such.
                None if table.is_skipped(&entry.id) => {}
                None => {
                    without_row.insert(entry.id.clone());
                }
                Some(places) => {
                    let cases = places.iter().map(|&place| rows[place].case_id);
                    if entry.part == validated {
                        validated_cases.extend(cases.clone());
                        validated_rows.extend(places.iter().copied());
                    }
                    in_fold.extend(cases);
                }
            }
        }
        let mut checked = joined.fold(fold, validated, choosing);
        checked.same_validation_as = validated_parts.add(fold.fold, validated_rows);
        found.errors.extend(errors_of(fold, &checked));
        let same_as =
            checked.same_validation_as.and_then(|same_as| set.folds.iter().find(|f| f.fold == same_as));
        found.errors.extend(same_as.map(|first| {
            let same = same_validation([(fold.fold, &fold.path), (first.fold, &first.path)]);
            format!("{same}; {SAME_VALIDATION_WAY_OUT}")
        }));
        match choosing {
            Some(part) => found.errors.extend(choosing_faults(&checked, part)),
            None => found.warnings.extend(shared_with_unused(&checked)),
        }
        found.warnings.extend(warnings_of(&checked));
        found.warnings.extend(groups.column().and_then(|column| shared_groups(&checked, column)));
        found.folds.push(checked);
    }
    if let Some(hint) = index.taken_for_numbers(&without_row) {
        // A fold without patients is an error already, and this is why.
        let left_empty = |fold: &FoldCheck| fold.train.n_patients == 0 || fold.validation.n_patients == 0;
        let told = if found.folds.iter().any(left_empty) { &mut found.errors } else { &mut found.warnings };
        told.insert(0, hint);
    }
    let table_cases: BTreeSet<&str> = cases.iter().map(|case| case.case_id.as_str()).collect();
    let owned = |ids: BTreeSet<&str>| ids.into_iter().map(str::to_owned).collect::<Vec<String>>();
    found.cases_in_no_fold = owned(table_cases.difference(&in_fold).copied().collect());
    found.cases_never_validated = owned(in_fold.difference(&validated_cases).copied().collect());
    found.ids_without_row = without_row.into_iter().collect();
    found.patients_validated_twice = validated_parts.patients_of_several(|row| rows[row].patient_id);
    let listed =
        table.dropped().iter().map(|dropped| format!("{}: {}", dropped.reason, dropped.ids.join(" ")));
    found.warnings.extend(listed);
    found.warnings.extend(unmatched_in_words(&found));
    Ok(found)
}

struct Joined<'a> {
    rows: &'a [Row<'a>],
    index: &'a IdIndex<'a>,
    has_slides: bool,
    unread_patients: Option<&'a UnreadPatients>,
    groups: &'a PatientGroups,
}

impl Joined<'_> {
    fn fold(&self, fold: &FoldEntries, validated_part: Part, choosing: Option<Part>) -> FoldCheck {
        let train = self.part(fold, |part| part == Part::Train);
        let validation = self.part(fold, |part| part == validated_part);
        let unused = self.part(fold, |part| part != Part::Train && part != validated_part);
        let patients =
            |part: &PartOfFold<'_>| part.patients.keys().map(|&id| id.to_owned()).collect::<BTreeSet<_>>();
        let (trained, validated, set_aside) = (patients(&train), patients(&validation), patients(&unused));
        // Who chooses the epoch is learned from, too.
        let learned: BTreeSet<String> =
            trained.iter().chain(choosing.iter().flat_map(|_| &set_aside)).cloned().collect();
        let sites = |patients: &BTreeSet<String>| -> Option<BTreeSet<String>> {
            patients.iter().map(|patient| self.groups.of(patient).map(str::to_owned)).collect()
        };
        let (learned_sites, validation_sites) = (sites(&learned), sites(&validated));
        let shared_sites: Vec<String> = match (&learned_sites, &validation_sites) {
            (Some(learned), Some(validation)) => validation.intersection(learned).cloned().collect(),
            _ => Vec::new(),
        };
        let is_shared = |patient: &&String| {
            self.groups.of(patient).is_some_and(|site| shared_sites.iter().any(|shared| shared == site))
        };
        let n_patients_of_shared_sites = validated.iter().filter(is_shared).count();
        let time_bins = TimeBins::fit(&train.outcomes);
        FoldCheck {
            fold: fold.fold,
            file: fold.path.display().to_string(),
            train: train.counts,
            validation: validation.counts,
            unused: unused.counts,
            n_ids_without_row: fold
                .entries
                .iter()
                .filter(|entry| self.index.find(&entry.id).is_none())
                .count(),
            same_validation_as: None,
            shared_patients: trained.intersection(&validated).cloned().collect(),
            shared_unread_patients: self.unread_patients.map_or_else(Vec::new, |unread| {
                let mut shared = unread.shared(&learned, &validated);
                if choosing.is_some() {
                    shared.extend(unread.shared(&trained, &set_aside));
                    shared.sort_unstable();
                    shared.dedup();
                }
                shared
            }),
            shared_with_unused: set_aside
                .iter()
                .filter(|patient| trained.contains(*patient) || validated.contains(*patient))
                .cloned()
                .collect(),
            n_validation_sites: validation_sites.filter(|sites| !sites.is_empty()).map(|sites| sites.len()),
            shared_sites,
            n_patients_of_shared_sites,
            time_bin_edges_months: time_bins.as_ref().ok().map(|bins| bins.edges_months().to_vec()),
            time_bins_fault: time_bins.err(),
        }
    }

    fn part(&self, fold: &FoldEntries, is_in: impl Fn(Part) -> bool) -> PartOfFold<'_> {
        let ids: Vec<&str> =
            fold.entries.iter().filter(|entry| is_in(entry.part)).map(|entry| entry.id.as_str()).collect();
        let places: BTreeSet<usize> =
            ids.iter().filter_map(|id| self.index.find(id)).flatten().copied().collect();
        let patients: BTreeMap<&str, bool> = places
            .iter()
            .map(|&place| (self.rows[place].patient_id, self.rows[place].outcome.is_event()))
            .collect();
        let counts = PartCounts {
            n_ids: ids.len(),
            n_patients: patients.len(),
            n_slides: self.has_slides.then_some(places.len()),
            n_event_patients: patients.values().filter(|has_event| **has_event).count(),
        };
        let outcomes = places.iter().map(|&place| self.rows[place].outcome).collect();
        PartOfFold { counts, patients, outcomes }
    }
}

struct PartOfFold<'a> {
    counts: PartCounts,
    /// Whether each has an event.
    patients: BTreeMap<&'a str, bool>,
    /// Of its rows: slides, or cases whose slides are unknown.
    outcomes: Vec<Outcome>,
}
