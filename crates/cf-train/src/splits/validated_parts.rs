//! What several folds validate: some of their patients, or all.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

/// What to do about two folds that validate the same.
pub(crate) const SAME_VALIDATION_WAY_OUT: &str = "remove one of the two, or correct its ids; of one fixed test set keep one fold, and repeat it with other seeds (`cf-train study`), or \
     train the folds into runs of their own (`cf-train cv --folds 0`, and so on)";

/// The validated rows of folds: slides, or cases whose slides are unknown. A fold that repeats an earlier one is not among them.
#[derive(Debug, Default)]
pub(crate) struct ValidatedParts(Vec<(usize, BTreeSet<usize>)>);

impl ValidatedParts {
    /// Adds what a fold validates; returns the first fold that validates the same, where there is one.
    pub(crate) fn add(&mut self, fold: usize, rows: BTreeSet<usize>) -> Option<usize> {
        let same =
            self.0.iter().find(|(_, earlier)| !rows.is_empty() && *earlier == rows).map(|(fold, _)| *fold);
        if same.is_none() {
            self.0.push((fold, rows));
        }
        same
    }

    /// The patients whom several folds validate, sorted.
    pub(crate) fn patients_of_several<'a>(&self, patient_of: impl Fn(usize) -> &'a str) -> Vec<String> {
        let mut n_folds: BTreeMap<&str, usize> = BTreeMap::new();
        for (_, rows) in &self.0 {
            let patients: BTreeSet<&str> = rows.iter().map(|&row| patient_of(row)).collect();
            for patient in patients {
                *n_folds.entry(patient).or_default() += 1;
            }
        }
        n_folds.into_iter().filter(|(_, n)| *n > 1).map(|(patient, _)| patient.to_owned()).collect()
    }
}

/// What is wrong with a fold that validates the same as an earlier one, each with its file.
pub(crate) fn same_validation([(fold, file), (first, first_file)]: [(usize, &Path); 2]) -> String {
    let name = |file: &Path| file.file_name().unwrap_or(file.as_os_str()).display().to_string();
    format!("fold {fold} ({}) validates the same patients as fold {first} ({})", name(file), name(first_file))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patients_count_by_folds_and_not_by_rows_or_copies_of_a_fold() {
        // Rows 0 and 1 are of one patient.
        let patient_of = |row: usize| ["a", "a", "b", "c", "d"][row];
        let mut parts = ValidatedParts::default();
        assert_eq!(parts.add(0, BTreeSet::from([0, 1, 2])), None);
        assert_eq!(parts.add(1, BTreeSet::from([3])), None);
        assert_eq!(parts.patients_of_several(patient_of), Vec::<String>::new());
        assert_eq!(parts.add(2, BTreeSet::from([3])), Some(1));
        assert_eq!(parts.add(3, BTreeSet::from([1, 4])), None);
        assert_eq!(parts.patients_of_several(patient_of), ["a"]);
        // Empty parts are told of as such.
        assert_eq!([parts.add(4, BTreeSet::new()), parts.add(5, BTreeSet::new())], [None, None]);
    }
}
