//! The folds against the clinical table.

use std::path::Path;

use super::fault::Fault;
use super::finding::{Finding, Severity, listed, place, without_path};
use crate::cohort::{ClinicalTable, CohortConfig, PatientGroups, UnreadPatients};
use crate::config::TrainingConfig;
use crate::error::Error;
use crate::fold_data::FoldData;
use crate::splits::validated_parts::same_validation;
use crate::splits::{self, FoldCheck, FoldEntries, HeldOutUse, Part, SplitSet};

/// What to do where `val` is to choose the epoch and a fold has not all parts.
const NO_VAL_TO_CHOOSE_ON: &str =
    "give every fold ids in train, val and test, or set training.inner_validation to a share such as 0.2";

/// What to do where nothing lies at the path.
const NOWHERE: &str = "correct cohort.splits, or make folds with `cf-train splits make`";

/// Reads the splits and joins them with the table.
pub(super) fn examine(
    config: &CohortConfig,
    held_out: HeldOutUse,
    table: Option<&ClinicalTable>,
    findings: &mut Vec<Finding>,
) -> Option<SplitSet> {
    if config.splits.as_os_str().is_empty() {
        return None;
    }
    let path = &config.splits;
    let unusable = |error: Error| {
        let found = without_path(&error.with_causes(), path);
        let is_there = found != splits::NOTHING_THERE;
        let finding = Finding::new(Severity::Error, Fault::UnusableSplits, place(path, ""), found);
        if is_there { finding } else { finding.with_way_out(NOWHERE.to_owned()) }
    };
    let set = match splits::read(path) {
        Ok(set) => set,
        Err(error) => {
            findings.push(unusable(error));
            return None;
        }
    };
    let Some(table) = table else { return Some(set) };
    let check = match splits::check(table, &set, held_out, &PatientGroups::Sites) {
        Ok(check) => check,
        Err(error) => {
            let finding = unusable(error);
            findings.push(match held_out {
                HeldOutUse::Evaluate(_) => finding,
                HeldOutUse::ChooseOnVal => finding.with_way_out(NO_VAL_TO_CHOOSE_ON.to_owned()),
            });
            return None;
        }
    };
    for (entries, fold) in set.folds.iter().zip(&check.folds) {
        findings.extend(of_fold(entries, fold, check.choosing_part));
        let first =
            fold.same_validation_as.and_then(|same| set.folds.iter().find(|first| first.fold == same));
        findings.extend(first.map(|first| {
            let found = same_validation([(fold.fold, &entries.path), (first.fold, &first.path)]);
            let at = place(&entries.path, &format!("fold {}", fold.fold));
            Finding::new(Severity::Error, Fault::SameValidation, at, found)
        }));
    }
    let twice = &check.patients_validated_twice;
    if !twice.is_empty() {
        let found = format!("{} patients validated by several folds: {}", twice.len(), listed(twice));
        findings.push(Finding::new(Severity::Warning, Fault::ValidatedTwice, place(path, ""), found));
    }
    findings
        .extend(table.unread_patients().map(|unread| unread_patients(table.path(), unread, &check.folds)));
    let lists = [
        (
            Severity::Warning,
            Fault::IdsNotJoined,
            "of the splits without a row in the clinical table",
            &check.ids_without_row,
        ),
        (Severity::Warning, Fault::IdsNotJoined, "of the clinical table in no fold", &check.cases_in_no_fold),
        (
            Severity::Note,
            Fault::NeverValidated,
            "in folds and validated by no fold",
            &check.cases_never_validated,
        ),
    ];
    for (severity, fault, what, ids) in lists {
        if !ids.is_empty() {
            let found = format!("{} cases {what}: {}", ids.len(), listed(ids));
            findings.push(Finding::new(severity, fault, place(path, ""), found));
        }
    }
    findings.extend(sites(path, &check.folds));
    Some(set)
}

/// A column of patients that nobody reads: an error where folds have one of its patients on both sides.
fn unread_patients(table: &Path, unread: &UnreadPatients, folds: &[FoldCheck]) -> Finding {
    let shared: Vec<String> = folds
        .iter()
        .filter(|fold| !fold.shared_unread_patients.is_empty())
        .map(|fold| format!("in fold {} {}", fold.fold, listed(&fold.shared_unread_patients)))
        .collect();
    let (severity, found) = match shared.as_slice() {
        [] => (Severity::Warning, unread.found()),
        _ => {
            (Severity::Error, format!("{}; trained and validated on: {}", unread.found(), shared.join("; ")))
        }
    };
    Finding::new(severity, Fault::UnreadPatients, place(table, ""), found).with_way_out(unread.way_out())
}

fn of_fold(entries: &FoldEntries, fold: &FoldCheck, choosing: Option<Part>) -> Vec<Finding> {
    let at = |inside: &str| place(&entries.path, inside);
    let mut findings = Vec::new();
    let mut add = |severity, fault, place: String, found: String| {
        findings.push(Finding::new(severity, fault, place, found));
    };
    for (first, second) in entries.repeats() {
        let fault = if first.part == second.part { Fault::DuplicateId } else { Fault::PatientInBothParts };
        let found = format!("{} stands in {} and in {}", first.id, first.place, second.place);
        add(Severity::Error, fault, at(&format!("fold {}, {}", fold.fold, first.id)), found);
    }
    // Those whose id stands twice were told of with their lines.
    let told: Vec<&str> = entries.repeats().iter().map(|(first, _)| first.id.as_str()).collect();
    let shared: Vec<String> =
        fold.shared_patients.iter().filter(|patient| !told.contains(&patient.as_str())).cloned().collect();
    if !shared.is_empty() {
        let found = format!("{} patients trained and validated on: {}", shared.len(), listed(&shared));
        add(Severity::Error, Fault::PatientInBothParts, at(&format!("fold {}", fold.fold)), found);
    }
    let inside = at(&format!("fold {}", fold.fold));
    if !fold.shared_with_unused.is_empty() {
        let ids = &fold.shared_with_unused;
        let (severity, part) = match choosing {
            None => (Severity::Warning, "the unused part".to_owned()),
            Some(part) => (Severity::Error, format!("{}, which chooses the epoch,", part.as_str())),
        };
        let found = format!("{} patients of {part} are in another: {}", ids.len(), listed(ids));
        add(severity, Fault::PatientInBothParts, inside.clone(), found);
    }
    if let Some(part) = choosing.filter(|_| fold.unused.n_event_patients == 0) {
        let n = fold.unused.n_patients;
        let found =
            format!("none of the {n} patients of {} has an event to choose the epoch by", part.as_str());
        add(Severity::Error, Fault::FoldWithoutEvent, inside.clone(), found);
    }
    let (train, validation) = (fold.train, fold.validation);
    if train.n_patients == 0 || validation.n_patients == 0 {
        let found = format!(
            "{} training and {} validation patients have a row in the table, of {} and {} ids",
            train.n_patients, validation.n_patients, train.n_ids, validation.n_ids
        );
        let mut finding = Finding::new(Severity::Error, Fault::EmptyFold, inside, found);
        if train.n_ids == 0 || validation.n_ids == 0 {
            finding.way_out = "list ids in both parts, or make folds with `cf-train splits make`".to_owned();
        }
        findings.push(finding);
        return findings;
    }
    if train.n_event_patients == 0 {
        let found = format!("none of the {} training patients has an event", train.n_patients);
        add(Severity::Error, Fault::FoldWithoutEvent, inside.clone(), found);
    }
    if validation.n_event_patients == 0 {
        let found = format!(
            "none of the {} validation patients has an event, so the fold has no C-index",
            validation.n_patients
        );
        add(Severity::Warning, Fault::FoldWithoutEvent, inside, found);
    }
    findings
}

/// What a fold that the table finds sound lacks once it is joined with the bags.
pub(super) fn examine_joined(
    path: &Path,
    data: &FoldData,
    training: &TrainingConfig,
    findings: &mut Vec<Finding>,
) {
    let at = place(path, &format!("fold {}", data.fold));
    if let Some(reason) = data.without_a_step(training) {
        findings.push(Finding::new(Severity::Error, Fault::BadValue, at.clone(), reason));
    }
    let told = findings.iter().any(|finding| finding.fault == Fault::FoldWithoutEvent && finding.place == at);
    if !told && !data.validation.iter().any(|labelled| labelled.slide.outcome.is_event()) {
        let found = format!(
            "none of the {} validation slides that have a bag has an event, so the fold has no C-index",
            data.validation.len()
        );
        findings.push(Finding::new(Severity::Warning, Fault::FoldWithoutEvent, at, found));
    }
}

/// How far the folds keep tissue source sites apart, where barcodes tell the sites.
fn sites(path: &Path, folds: &[FoldCheck]) -> Option<Finding> {
    let known = || folds.iter().filter_map(|fold| Some((fold, fold.n_validation_sites?)));
    let (most, n_sites) = known().max_by_key(|(fold, _)| fold.n_patients_of_shared_sites)?;
    if most.shared_sites.is_empty() {
        return None;
    }
    let (shared, all) = known().fold((0, 0), |(shared, all), (fold, _)| {
        (shared + fold.n_patients_of_shared_sites, all + fold.validation.n_patients)
    });
    let found = format!(
        "{:.0} % of validated patients are of sites that are trained on as well; in fold {}, {} of {n_sites} validated sites with {} \
         of {} patients",
        100.0 * shared as f64 / all.max(1) as f64,
        most.fold,
        most.shared_sites.len(),
        most.n_patients_of_shared_sites,
        most.validation.n_patients
    );
    Some(Finding::new(Severity::Note, Fault::SharedSites, place(path, ""), found))
}
