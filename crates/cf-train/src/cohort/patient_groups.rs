//! Where patients come from: what has to stay on one side of a fold for a test on places that the model has not seen.

use std::collections::{BTreeMap, BTreeSet};

use cf_cli::RowLengths;

use super::barcode::{patient_of, site_of};
use super::clinical_table::{ClinicalTable, table_files};
use super::settings::CohortConfig;
use super::table_form::TableForm;
use super::time_cells::is_missing;
use crate::delimited::DelimitedTable;
use crate::error::{Error, Result};

/// Which patients come from one place.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PatientGroups {
    /// Those of a TCGA tissue source site, by their barcodes.
    Sites,
    /// Those with one value in a column of the clinical table, such as a hospital, a scanner or a batch.
    Column {
        /// The column's name.
        name: String,
        /// The value of every patient of the table.
        of_patient: BTreeMap<String, String>,
    },
}

/// A value of a patient, and the row that says it.
struct Said {
    value: String,
    place: String,
}

impl PatientGroups {
    /// Reads a column of the clinical table that `table` was read from. A patient may have rows without a value beside one with it; rows
    /// of patients without an outcome say nothing.
    ///
    /// # Errors
    /// If there is no such column (the error lists those that there are), or a patient has no value, or more than one.
    pub fn of_column(config: &CohortConfig, table: &ClinicalTable, name: &str) -> Result<Self> {
        let cases = table.cases();
        let patients: BTreeSet<&str> = cases.iter().map(|case| case.patient_id.as_str()).collect();
        let mut said: BTreeMap<&str, Vec<Said>> = BTreeMap::new();
        let files = table_files(config)?;
        for file in &files {
            let rows = DelimitedTable::read(file, RowLengths::Equal)?;
            let case = TableForm::resolve(config, &rows).map_err(|reason| rows.fault(reason))?.case.index;
            let column = rows.column(name).ok_or_else(|| {
                rows.fault(format!("no column `{name}` to group by; found {}", rows.columns_in_words()))
            })?;
            for row in rows.rows().filter(|row| !is_missing(row.cell(column))) {
                if let Some(&patient) = patients.get(patient_of(row.cell(case))) {
                    let (value, values) = (row.cell(column), said.entry(patient).or_default());
                    if values.iter().all(|earlier| earlier.value != value) {
                        let of_file =
                            if files.len() > 1 { format!(" of {}", file.display()) } else { String::new() };
                        let place = format!("line {}{of_file}", row.line);
                        values.push(Said { value: value.to_owned(), place });
                    }
                }
            }
        }
        let fault = |reason: String| Err(Error::data(table.path(), format!("column `{name}`: {reason}")));
        let several: Vec<String> =
            said.iter().filter_map(|(patient, values)| contradiction(patient, values)).collect();
        if !several.is_empty() {
            return fault(format!(
                "{} of {} patients have more than one value, expected one each: {}; correct the table, or group by another column",
                several.len(),
                patients.len(),
                cf_cli::listed(&several)
            ));
        }
        let without: Vec<&str> =
            patients.iter().copied().filter(|patient| !said.contains_key(patient)).collect();
        if !without.is_empty() {
            return fault(format!(
                "{} of {} patients have no value, expected one each: {}; fill it in, or take their rows out of the table",
                without.len(),
                patients.len(),
                cf_cli::listed(&without)
            ));
        }
        let first = |(patient, values): (&str, Vec<Said>)| {
            Some((patient.to_owned(), values.into_iter().next()?.value))
        };
        Ok(Self::Column { name: name.to_owned(), of_patient: said.into_iter().filter_map(first).collect() })
    }

    /// Where a patient comes from; `None` where that is not known, as for an id that is no barcode.
    pub fn of<'a>(&'a self, patient_id: &'a str) -> Option<&'a str> {
        match self {
            Self::Sites => site_of(patient_id),
            Self::Column { of_patient, .. } => of_patient.get(patient_id).map(String::as_str),
        }
    }

    /// The column, if they are those of one.
    pub fn column(&self) -> Option<&str> {
        match self {
            Self::Sites => None,
            Self::Column { name, .. } => Some(name),
        }
    }
}

/// `P3 (A in line 4, B in line 9)` of a patient with more than one value.
fn contradiction(patient: &str, values: &[Said]) -> Option<String> {
    let places: Vec<String> = values.iter().map(|said| format!("{} in {}", said.value, said.place)).collect();
    (values.len() > 1).then(|| format!("{patient} ({})", places.join(", ")))
}
