//! New folds: every patient is validated on once, events are shared out evenly, and a site, or another group of patients, can be kept on one side.

use std::collections::BTreeMap;

use rand::seq::SliceRandom;

use super::assignment::{GroupSize, assign};
use super::{FoldEntries, Part, SplitEntry, SplitForm, SplitSet, columns};
use crate::cohort::{Case, ClinicalTable, PatientGroups};
use crate::error::{Error, Result};
use crate::seed::stream;

/// Who stays together in one fold.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Grouping {
    /// The cases and slides of a patient.
    Patient,
    /// The patients of a site, or with one value of a column.
    Groups(PatientGroups),
}

/// How folds are made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MakeOptions {
    /// Folds, at least 2.
    pub n_folds: usize,
    /// Who stays together.
    pub grouping: Grouping,
    /// Seed of the order in which patients or groups are dealt.
    pub seed: u64,
}

/// A patient with all his cases.
struct Patient<'a> {
    id: &'a str,
    cases: Vec<&'a Case>,
    has_event: bool,
}

/// Makes folds of the cases of a table: the same table, options and version give the same folds.
///
/// By patient, folds differ by at most one in patients with an event and by at most one in patients. By groups, whole groups
/// are shared out, so folds are as even as these allow.
///
/// # Errors
/// If there are fewer than 2 folds, or more than patients, patients with an event, or groups; or by site, if a case has no
/// TCGA barcode.
pub fn make(table: &ClinicalTable, options: &MakeOptions) -> Result<SplitSet> {
    let fault = |reason: String| Error::data(table.path(), reason);
    let cases = table.cases();
    let patients = patients_of(&cases);
    let n_folds = options.n_folds;
    let n_events = patients.iter().filter(|patient| patient.has_event).count();
    if n_folds < 2 {
        return Err(fault(format!("{n_folds} folds were asked for, expected at least 2")));
    }
    if n_folds > n_events {
        return Err(fault(format!(
            "{n_events} of {} patients have an event, expected one per fold at least; ask for at most {n_events} of \
             the {n_folds} folds",
            patients.len()
        )));
    }
    let folds = match &options.grouping {
        Grouping::Patient => by_patient(&patients, options),
        Grouping::Groups(groups) => by_group(&patients, groups, options).map_err(fault)?,
    };
    // The order of the table, so that the files are easy to compare with it.
    let fold_of_case: BTreeMap<&str, usize> = patients
        .iter()
        .zip(folds)
        .flat_map(|(patient, fold)| patient.cases.iter().map(move |case| (case.case_id.as_str(), fold)))
        .collect();
    let fold_entries = |fold: usize| {
        let entry = |case: &Case| {
            let part =
                if fold_of_case.get(case.case_id.as_str()) == Some(&fold) { Part::Val } else { Part::Train };
            SplitEntry { id: case.case_id.clone(), part, place: format!("`{}`", part.as_str()) }
        };
        FoldEntries {
            fold,
            path: columns::file_name(fold).into(),
            entries: cases.iter().map(entry).collect(),
        }
    };
    Ok(SplitSet {
        path: table.path().to_owned(),
        form: SplitForm::Released,
        folds: (0..n_folds).map(fold_entries).collect(),
    })
}

fn patients_of(cases: &[Case]) -> Vec<Patient<'_>> {
    let mut patients: BTreeMap<&str, Patient<'_>> = BTreeMap::new();
    for case in cases {
        let has_event = case.outcome.is_event();
        let id = case.patient_id.as_str();
        let patient = patients.entry(id).or_insert(Patient { id, cases: Vec::new(), has_event });
        patient.cases.push(case);
    }
    patients.into_values().collect()
}

/// Deals shuffled patients with an event, then shuffled censored ones, to the folds in turn.
fn by_patient(patients: &[Patient<'_>], options: &MakeOptions) -> Vec<usize> {
    let mut rng = stream(options.seed, "splits/patients");
    let (mut order, mut censored): (Vec<usize>, Vec<usize>) =
        (0..patients.len()).partition(|&patient| patients[patient].has_event);
    order.shuffle(&mut rng);
    censored.shuffle(&mut rng);
    order.append(&mut censored);
    let mut folds = vec![0; patients.len()];
    for (turn, patient) in order.into_iter().enumerate() {
        folds[patient] = turn % options.n_folds;
    }
    folds
}

/// Shares whole groups out.
fn by_group(
    patients: &[Patient<'_>],
    groups: &PatientGroups,
    options: &MakeOptions,
) -> std::result::Result<Vec<usize>, String> {
    let mut members: BTreeMap<&str, Vec<usize>> = BTreeMap::new();
    for (index, patient) in patients.iter().enumerate() {
        let group = groups.of(patient.id).ok_or_else(|| match groups {
            PatientGroups::Sites => format!(
                "patient {} has no TCGA barcode, expected one such as TCGA-2F-A9KO, whose characters 6 and 7 are the \
                 site; group by a column of the table (column:NAME), or make folds without grouping by site",
                patient.id
            ),
            PatientGroups::Column { name, .. } => format!("patient {} has no value of column `{name}`", patient.id),
        })?;
        members.entry(group).or_default().push(index);
    }
    if members.len() < options.n_folds {
        let (what, by) = match groups {
            PatientGroups::Sites => ("sites".to_owned(), "site".to_owned()),
            PatientGroups::Column { name, .. } => {
                (format!("groups by column `{name}`"), format!("column:{name}"))
            }
        };
        return Err(format!(
            "the patients come from {} {what}, expected one per fold at least; ask for fewer than {} folds, or do not \
             group by {by}",
            members.len(),
            options.n_folds
        ));
    }
    let sizes: Vec<GroupSize> = members
        .values()
        .map(|members| GroupSize {
            n_patients: members.len(),
            n_events: members.iter().filter(|&&patient| patients[patient].has_event).count(),
        })
        .collect();
    let fold_of_group = assign(&sizes, options.n_folds, &mut stream(options.seed, "splits/sites"));
    let mut folds = vec![0; patients.len()];
    for (members, fold) in members.values().zip(fold_of_group) {
        for &patient in members {
            folds[patient] = fold;
        }
    }
    Ok(folds)
}
