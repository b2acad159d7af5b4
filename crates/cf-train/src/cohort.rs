//! The patients and their slides: the clinical table, read and checked once. Nothing else in the workspace sees the table.
//!
//! | step | file |
//! |---|---|
//! | `[cohort]` of a configuration | `cohort/settings.rs` |
//! | families of tables, by name | `cohort/preset.rs` |
//! | which columns are read | `cohort/table_form.rs` |
//! | what cells mean | `cohort/time_cells.rs`, `cohort/status_cells.rs` |
//! | rows to cases | `cohort/clinical_table.rs`, `cohort/clinical_rows.rs`, `cohort/row_fault.rs` |
//! | cases to slides | `cohort/slide_names.rs`, `cohort/barcode.rs` |
//! | slides without outcomes | `cohort/slide_list.rs` |
//! | a column of patients that is not read | `cohort/unread_patients.rs` |
//! | hospitals, scanners and the like | `cohort/patient_groups.rs` |

mod barcode;
mod clinical_rows;
mod clinical_table;
mod patient_groups;
mod preset;
mod row_fault;
mod settings;
mod slide_list;
mod slide_names;
mod status_cells;
mod table_form;
mod time_cells;
mod unread_patients;

use std::collections::BTreeSet;

use survival_metrics::Outcome;

pub(crate) use barcode::heads_of;
pub use barcode::{patient_of, site_of};
pub(crate) use clinical_table::NO_ROWS;
pub(crate) use clinical_table::table_files;
pub use clinical_table::{Case, ClinicalTable};
pub use patient_groups::PatientGroups;
pub use preset::{Endpoint, MissingOutcome, Preset};
pub(crate) use row_fault::{RowFault, RowFaultKind};
pub use settings::{CohortConfig, ColumnNames, SlideColumnNames};
pub(crate) use slide_list::{ListedSlide, SlideList};
pub(crate) use slide_names::{OF_UNKNOWN_PATIENT, WITHOUT_SLIDE_ROW, bag_name_of};
pub use status_cells::StatusColumn;
pub use time_cells::TimeUnit;
pub(crate) use unread_patients::UnreadPatients;

/// One slide of the cohort.
#[derive(Debug, Clone, PartialEq)]
pub struct Slide {
    /// What the split files list.
    pub case_id: String,
    /// The slide's name without its extension, as bags are called.
    pub slide_id: String,
    /// The first twelve characters of a TCGA barcode, else the case id.
    pub patient_id: String,
    /// Months and status.
    pub outcome: Outcome,
}

/// Ids that stand in one place and not in the other, or say too little; a report lists them all.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Dropped {
    /// Why they are left out.
    pub reason: String,
    /// The ids, sorted.
    pub ids: Vec<String>,
}

impl Dropped {
    /// Nothing where no id fell out.
    pub(crate) fn new(reason: &str, mut ids: Vec<String>) -> Option<Self> {
        ids.sort_unstable();
        (!ids.is_empty()).then(|| Self { reason: reason.to_owned(), ids })
    }
}

/// The slides of a cohort, in the order of its table; ids are unique and no patient contradicts himself. Made by
/// [`ClinicalTable::into_cohort`].
#[derive(Debug, Clone, PartialEq)]
pub struct Cohort {
    /// At least one.
    slides: Vec<Slide>,
    /// Which table has their rows, in words.
    slides_stand_in: &'static str,
    /// Cases of rows without an outcome, or without a slide.
    skipped_cases: BTreeSet<String>,
    dropped: Vec<Dropped>,
}

impl Cohort {
    /// The slides, in the order of the table.
    pub fn slides(&self) -> &[Slide] {
        &self.slides
    }

    /// Outcomes in the order of the table.
    pub fn outcomes(&self) -> Vec<Outcome> {
        self.slides.iter().map(|slide| slide.outcome).collect()
    }

    /// Rows, patients and slides that the table has and the cohort has not, by reason.
    pub fn dropped(&self) -> &[Dropped] {
        &self.dropped
    }

    /// Which table has the rows of slides: `the slide table`, or `the clinical table`.
    pub(crate) fn slides_stand_in(&self) -> &'static str {
        self.slides_stand_in
    }

    /// Whether a case has rows, but none with an outcome, or no slide: what [`Cohort::dropped`] tells of.
    pub(crate) fn is_skipped(&self, case_id: &str) -> bool {
        self.skipped_cases.contains(case_id)
    }
}
