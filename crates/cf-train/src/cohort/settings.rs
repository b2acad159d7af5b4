//! The `[cohort]` section of a configuration.

use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::preset::{Endpoint, MissingOutcome, Preset};
use super::time_cells::TimeUnit;
use crate::splits::HeldOutPart;

/// The clinical table and its folds.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CohortConfig {
    /// What reports call the cohort.
    pub name: String,
    /// The clinical table: delimited text, zipped or not; for preset `mmp` also a folder of split files with full rows.
    pub clinical: PathBuf,
    /// Split files, of any form that [`crate::splits::read`] knows.
    pub splits: PathBuf,
    /// The family of the table; without one, [`ColumnNames`] must name the status column.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub preset: Option<Preset>,
    /// What the time is the time to, for presets with columns per endpoint; `os` when left out.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub endpoint: Option<Endpoint>,
    /// A table of patients and their slides, for clinical tables with a row per patient.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub slides: Option<PathBuf>,
    /// The part of a split that is validated where it has both `val` and `test`.
    #[serde(default)]
    pub evaluate: HeldOutPart,
    /// What becomes of rows without a time or status; the preset says so when left out, `error` without a preset.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub missing_outcome: Option<MissingOutcome>,
    /// What the columns of the table are called, where that differs from the preset.
    #[serde(default)]
    pub columns: ColumnNames,
    /// What the columns of [`CohortConfig::slides`] are called.
    #[serde(default)]
    pub slide_columns: SlideColumnNames,
}

/// Columns of the clinical table, each in place of the preset's.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct ColumnNames {
    /// What the split files list; `case_id` without a preset.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub case_id: Option<String>,
    /// Bag names, with or without the slide's extension; `slide_id` without a preset.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub slide_id: Option<String>,
    /// From diagnosis to death or last contact, at least 0; `survival_months` without a preset.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub time: Option<String>,
    /// The time of who is censored, where it stands in a column of its own (`days_to_last_follow_up`); of the unit of `time`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub censored_time: Option<String>,
    /// The unit of `time`; months without a preset, unless the column's name says otherwise.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub time_unit: Option<TimeUnit>,
    /// A column in which 1 means an event and 0 censored. Excludes `censorship`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub event: Option<String>,
    /// A column in which 1 means censored and 0 an event. Excludes `event`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub censorship: Option<String>,
    /// Cells of the status column that mean an event, in place of 0, 1 and the known words.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub event_values: Vec<String>,
    /// Cells of the status column that mean censored; needed exactly with `event_values`.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub censored_values: Vec<String>,
}

/// Columns of the slide table.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct SlideColumnNames {
    /// The case, as the clinical table calls it.
    pub case_id: String,
    /// The slide's or its bag's file name.
    pub slide_id: String,
}

impl Default for SlideColumnNames {
    fn default() -> Self {
        Self { case_id: "PATIENT".to_owned(), slide_id: "FILENAME".to_owned() }
    }
}

impl CohortConfig {
    /// Refuses keys that exclude each other or say nothing alone.
    pub(crate) fn check(&self) -> Result<(), String> {
        let columns = &self.columns;
        if columns.event.is_some() && columns.censorship.is_some() {
            return Err("cohort.columns gives both `event` and `censorship`, expected one of them".to_owned());
        }
        if columns.event_values.is_empty() != columns.censored_values.is_empty() {
            return Err(
                "cohort.columns gives one of `event_values` and `censored_values`, expected both or none"
                    .to_owned(),
            );
        }
        let overlap = columns
            .event_values
            .iter()
            .find(|&value| columns.censored_values.iter().any(|v| v.eq_ignore_ascii_case(value)));
        if let Some(value) = overlap {
            return Err(format!("cohort.columns lists `{value}` in `event_values` and in `censored_values`"));
        }
        match (self.preset, self.endpoint) {
            (_, None) => Ok(()),
            (None, Some(endpoint)) => Err(format!(
                "cohort.endpoint is `{}`, expected it with a preset only; without one, name the columns in \
                 [cohort.columns]",
                endpoint.as_str()
            )),
            (Some(preset), Some(endpoint)) if !preset.endpoints().contains(&endpoint) => {
                let known: Vec<&str> = preset.endpoints().iter().map(|endpoint| endpoint.as_str()).collect();
                let known = if known.is_empty() { "none".to_owned() } else { known.join(", ") };
                Err(format!("cohort.endpoint is `{}`, preset `{preset}` has {known}", endpoint.as_str()))
            }
            _ => Ok(()),
        }
    }

    /// Refuses a cohort without a name.
    pub(crate) fn check_name(&self) -> Result<(), String> {
        if self.name.trim().is_empty() {
            return Err(
                "cohort.name is empty, expected what tables and reports are to call the cohort".to_owned()
            );
        }
        Ok(())
    }

    /// Makes paths absolute against `base`; splits that are left out stay so.
    pub(crate) fn resolve_paths(&mut self, base: &Path) {
        let paths = [&mut self.clinical, &mut self.splits].into_iter().chain(&mut self.slides);
        for path in paths.filter(|path| !path.as_os_str().is_empty()) {
            *path = base.join(&*path);
        }
    }
}
