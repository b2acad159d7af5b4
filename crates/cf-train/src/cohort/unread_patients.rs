//! Patients that a column of the table names and nobody reads, where what is read takes one of them for several.

use std::collections::{BTreeMap, BTreeSet};

use super::barcode::patient_of;
use super::time_cells::is_missing;

/// Names of columns of patients, in letters and digits alone.
const NAMES: [&str; 8] = [
    "patient",
    "patientid",
    "patientidentifier",
    "patientbarcode",
    "bcrpatientbarcode",
    "subjectid",
    "participantid",
    "mrn",
];

/// A column of patients beside the one that is read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct UnreadPatients {
    column: String,
    /// What the column calls a patient, and the several patients that its rows are taken for.
    split: Vec<(String, Vec<String>)>,
}

impl UnreadPatients {
    /// Looks through rows of the column's cell and the case; `None` where no patient is taken for several.
    pub(super) fn of(column: &str, rows: &[(String, String)]) -> Option<Self> {
        let mut taken_for: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
        for (patient, case_id) in rows.iter().filter(|(patient, _)| !is_missing(patient)) {
            taken_for.entry(patient).or_default().insert(patient_of(case_id));
        }
        let split: Vec<(String, Vec<String>)> = taken_for
            .into_iter()
            .filter(|(_, several)| several.len() > 1)
            .map(|(patient, several)| (patient.to_owned(), several.into_iter().map(str::to_owned).collect()))
            .collect();
        (!split.is_empty()).then(|| Self { column: column.to_owned(), split })
    }

    /// The patients of the column that are in both parts, each a set of patients as they are read.
    pub(crate) fn shared(&self, train: &BTreeSet<String>, validation: &BTreeSet<String>) -> Vec<String> {
        let is_among = |several: &[String], part: &BTreeSet<String>| {
            several.iter().any(|patient| part.contains(patient))
        };
        let shared = self
            .split
            .iter()
            .filter(|(_, several)| is_among(several, train) && is_among(several, validation));
        shared.map(|(patient, _)| patient.clone()).collect()
    }

    /// What is wrong.
    pub(crate) fn found(&self) -> String {
        let example = self.split.first().map_or_else(String::new, |(patient, several)| {
            format!(", such as {patient} for {}", cf_cli::listed_up_to(3, several))
        });
        format!(
            "column `{}` is not read, and {} of its patients are each taken for several{example}",
            self.column,
            self.split.len()
        )
    }

    /// What to do.
    pub(crate) fn way_out(&self) -> String {
        format!(
            "if `{0}` names the patients, write case_id = \"{0}\" in [cohort.columns] and make folds of these ids with `cf-train splits make`",
            self.column
        )
    }
}

/// Whether a column is called as one of patients.
pub(super) fn names_patients(column: &str) -> bool {
    let plain: String =
        column.chars().filter(char::is_ascii_alphanumeric).map(|c| c.to_ascii_lowercase()).collect();
    NAMES.contains(&plain.as_str())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_patient_of_several_cases_is_found_and_a_barcode_is_one() {
        let owned = |rows: &[(&str, &str)]| -> Vec<(String, String)> {
            rows.iter().map(|(patient, case_id)| ((*patient).to_owned(), (*case_id).to_owned())).collect()
        };
        let rows = [("P1", "P1_0"), ("P1", "P1_1"), ("P2", "P2_0"), ("", "x"), ("NA", "y"), ("NA", "z")];
        let unread = UnreadPatients::of("patient_id", &owned(&rows)).unwrap();
        assert_eq!(
            unread.found(),
            "column `patient_id` is not read, and 1 of its patients are each taken for several, such as P1 for P1_0, P1_1"
        );
        let part = |ids: [&str; 2]| BTreeSet::from(ids.map(str::to_owned));
        assert_eq!(unread.shared(&part(["P1_0", "P2_0"]), &part(["P1_1", "x"])), ["P1"]);
        assert!(unread.shared(&part(["P1_0", "P1_1"]), &part(["P2_0", "x"])).is_empty());
        let barcodes = [("TCGA-2F-A9KO", "TCGA-2F-A9KO-01A"), ("TCGA-2F-A9KO", "TCGA-2F-A9KO-01B")];
        assert_eq!(UnreadPatients::of("patient_id", &owned(&barcodes)), None);
    }

    #[test]
    fn columns_of_patients_are_known_by_their_names() {
        assert!(
            ["patient_id", "Patient ID", "bcr_patient_barcode", "PATIENT"].into_iter().all(names_patients)
        );
        assert!(!["case_id", "patient_age", "n_patients"].into_iter().any(names_patients));
    }
}
