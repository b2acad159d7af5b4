//! What a check of splits found, in words.

use super::check::{FoldCheck, SplitsCheck};
use super::{FoldEntries, Part};

/// Ids that do not join, cases that are not validated, and patients who are more than once.
pub(super) fn unmatched_in_words(found: &SplitsCheck) -> Vec<String> {
    let kinds = [
        (&found.ids_without_row, "of the split files without a row in the clinical table"),
        (&found.cases_in_no_fold, "of the clinical table in no fold"),
        (&found.cases_never_validated, "in folds, but validated by none"),
    ];
    let words = kinds.into_iter().filter(|(ids, _)| !ids.is_empty());
    let cases = words.map(|(ids, what)| format!("{} {what}: {}", count(ids.len(), "case"), ids.join(" ")));
    let twice = &found.patients_validated_twice;
    let patients = (!twice.is_empty()).then(|| {
        format!("{} validated by several folds: {}", count(twice.len(), "patient"), twice.join(" "))
    });
    cases.chain(patients).collect()
}

fn count(n: usize, what: &str) -> String {
    if n == 1 { format!("1 {what}") } else { format!("{n} {what}s") }
}

pub(super) fn errors_of(fold: &FoldEntries, checked: &FoldCheck) -> Vec<String> {
    let number = checked.fold;
    let mut errors: Vec<String> = fold
        .repeats()
        .iter()
        .map(|(first, second)| {
            format!("fold {number}: {} stands in {} and in {}", first.id, first.place, second.place)
        })
        .collect();
    if !checked.shared_patients.is_empty() {
        errors.push(format!(
            "fold {number}: {} trained and validated on: {}",
            count(checked.shared_patients.len(), "patient"),
            checked.shared_patients.join(" ")
        ));
    }
    if checked.train.n_patients == 0 || checked.validation.n_patients == 0 {
        errors.push(format!(
            "fold {number}: {} training and {} validation patients have a row in the clinical table, expected at \
             least 1 of each",
            checked.train.n_patients, checked.validation.n_patients
        ));
    } else if checked.train.n_event_patients == 0 {
        errors.push(format!("fold {number}: no training patient has an event, expected events"));
    }
    errors
}

pub(super) fn warnings_of(checked: &FoldCheck) -> Vec<String> {
    let number = checked.fold;
    let mut warnings = Vec::new();
    // Without a training event there is an error already.
    if let Some(fault) = checked.time_bins_fault.as_ref().filter(|_| checked.train.n_event_patients > 0) {
        warnings.push(format!("fold {number}: no time bins can be fitted on its training part: {fault}"));
    }
    if checked.validation.n_event_patients == 0 && checked.validation.n_patients > 0 {
        warnings.push(format!("fold {number}: no validation patient has an event, so it has no C-index"));
    }
    if !checked.shared_unread_patients.is_empty() {
        warnings.push(format!(
            "fold {number}: {} of a column that is not read trained and validated on: {}",
            count(checked.shared_unread_patients.len(), "patient"),
            checked.shared_unread_patients.join(" ")
        ));
    }
    warnings
}

/// Groups by a column on both sides. Of sites, which nobody asked about, the table tells.
pub(super) fn shared_groups(checked: &FoldCheck, column: &str) -> Option<String> {
    (!checked.shared_sites.is_empty()).then(|| {
        format!(
            "fold {}: {} by column `{column}` trained and validated on, with {} of {}: {}",
            checked.fold,
            count(checked.shared_sites.len(), "group"),
            checked.n_patients_of_shared_sites,
            count(checked.validation.n_patients, "validated patient"),
            checked.shared_sites.join(", ")
        )
    })
}

/// Patients of the part that is for nothing, elsewhere.
pub(super) fn shared_with_unused(checked: &FoldCheck) -> Option<String> {
    (!checked.shared_with_unused.is_empty()).then(|| {
        format!(
            "fold {}: {} of the unused part trained or validated on: {}",
            checked.fold,
            count(checked.shared_with_unused.len(), "patient"),
            checked.shared_with_unused.join(" ")
        )
    })
}

/// What is wrong with the part that the epoch is to be chosen on.
pub(super) fn choosing_faults(checked: &FoldCheck, part: Part) -> Vec<String> {
    let (number, part) = (checked.fold, part.as_str());
    let mut faults = Vec::new();
    if !checked.shared_with_unused.is_empty() {
        faults.push(format!(
            "fold {number}: {} of {part}, which chooses the epoch, trained or validated on: {}",
            count(checked.shared_with_unused.len(), "patient"),
            checked.shared_with_unused.join(" ")
        ));
    }
    if checked.unused.n_event_patients == 0 {
        faults.push(format!(
            "fold {number}: none of the {} of {part} has an event to choose the epoch by",
            count(checked.unused.n_patients, "patient")
        ));
    }
    faults
}
