//! Which columns of a table are read, and how: preset and `[cohort.columns]` met with the header that is there.

use survival_metrics::Status;

use super::preset::{MissingOutcome, OutcomeColumns, Preset, RowsPerCase};
use super::settings::CohortConfig;
use super::status_cells::StatusColumn;
use super::time_cells::TimeUnit;
use super::unread_patients::names_patients;
use crate::delimited::DelimitedTable;

/// The columns that are read; the places are those of one table.
pub(crate) struct TableForm {
    pub(crate) case: Column,
    /// `None` where a row is a patient.
    pub(crate) slide: Option<Column>,
    /// Columns that are called as those of patients, and are not that of the cases.
    pub(crate) unread_patients: Vec<Column>,
    pub(crate) time: Column,
    /// The times of who is censored, where they stand in a column of their own.
    pub(crate) censored_time: Option<Column>,
    pub(crate) unit: TimeUnit,
    pub(crate) status_index: usize,
    pub(crate) status: StatusColumn,
    pub(crate) missing: MissingOutcome,
    pub(crate) rows: RowsPerCase,
}

/// A column of one table.
pub(crate) struct Column {
    pub(crate) name: String,
    pub(crate) index: usize,
}

impl TableForm {
    /// Finds the columns. The sign of the status column is the configuration's, never a guess.
    pub(crate) fn resolve(config: &CohortConfig, table: &DelimitedTable) -> Result<Self, String> {
        let names = &config.columns;
        let preset = config.preset.map(|preset| preset.columns(config.endpoint.unwrap_or_default()));
        let outcome = preset.as_ref().and_then(|preset| preset.outcome.as_ref());
        let column = |candidates: &[&str], key: &str| {
            let found = candidates
                .iter()
                .find_map(|name| Some(Column { name: (*name).to_owned(), index: table.column(name)? }));
            let wanted = candidates.first().copied().unwrap_or_default();
            found.ok_or_else(|| missing_column(config, table, wanted, key))
        };

        let (status_names, one, key) = match (&names.event, &names.censorship, outcome) {
            (Some(name), _, _) => (vec![name.as_str()], Status::Event, "event"),
            (None, Some(name), _) => (vec![name.as_str()], Status::Censored, "censorship"),
            (None, None, Some(OutcomeColumns { status, one: Status::Event, .. })) => {
                (texts(status), Status::Event, "event")
            }
            (None, None, Some(OutcomeColumns { status, one: Status::Censored, .. })) => {
                (texts(status), Status::Censored, "censorship")
            }
            (None, None, None) => return Err(no_sign(config, table)),
        };
        let case = match (&names.case_id, &preset) {
            (Some(name), _) => column(&[name], "case_id")?,
            (None, Some(preset)) => column(preset.case_id, "case_id")?,
            (None, None) => column(&["case_id"], "case_id")?,
        };
        let slide = match (&names.slide_id, &preset) {
            // The slide table says which slides a patient has.
            _ if config.slides.is_some() => None,
            (Some(name), _) => Some(column(&[name], "slide_id")?),
            (None, Some(preset)) if preset.slide_id.is_empty() => None,
            (None, Some(preset)) => Some(column(preset.slide_id, "slide_id")?),
            (None, None) => Some(column(&["slide_id"], "slide_id")?),
        };
        let time_names = match (&names.time, outcome, config.preset) {
            (Some(name), _, _) => vec![name.as_str()],
            (None, Some(outcome), _) => texts(&outcome.time),
            (None, None, None) => vec!["survival_months"],
            (None, None, Some(preset)) => {
                return Err(format!(
                    "preset `{preset}` leaves the names to you; found {}; write time = \"..\", time_unit = \"..\" and \
                     event = \"..\" in [cohort.columns]",
                    table.columns_in_words()
                ));
            }
        };
        let time = column(&time_names, "time")?;
        let censored_time = match (&names.censored_time, &names.time, outcome) {
            (Some(name), _, _) => Some(column(&[name], "censored_time")?),
            // Who names a column of times means all of them.
            (None, None, Some(outcome)) if !outcome.censored_time.is_empty() => {
                Some(column(outcome.censored_time, "censored_time")?)
            }
            _ => None,
        };
        let unit = unit_of(config, outcome, &time.name)?;
        let read = [Some(&case), slide.as_ref()];
        let unread_patients = table.header().iter().enumerate().filter(|(index, name)| {
            let is_unread = !read.into_iter().flatten().any(|column| column.index == *index);
            is_unread && names_patients(name)
        });
        let unread_patients =
            unread_patients.map(|(index, name)| Column { name: name.clone(), index }).collect();
        let status = column(&status_names, key)?;
        Ok(Self {
            case,
            slide,
            unread_patients,
            time,
            censored_time,
            unit,
            status_index: status.index,
            status: StatusColumn {
                name: status.name,
                one,
                event_values: names.event_values.clone(),
                censored_values: names.censored_values.clone(),
            },
            missing: config
                .missing_outcome
                .or(preset.as_ref().map(|preset| preset.missing))
                .unwrap_or(MissingOutcome::Error),
            rows: preset.as_ref().map_or(RowsPerCase::One, |preset| preset.rows),
        })
    }
}

fn texts(names: &[String]) -> Vec<&str> {
    names.iter().map(String::as_str).collect()
}

/// The unit as configured; else the preset's for its own column; else months, unless the column's name contradicts.
fn unit_of(
    config: &CohortConfig,
    outcome: Option<&OutcomeColumns>,
    column: &str,
) -> Result<TimeUnit, String> {
    if let Some(unit) = config.columns.time_unit {
        return Ok(unit);
    }
    match (outcome, config.preset) {
        (Some(outcome), _) if outcome.time.iter().any(|name| name == column) => return Ok(outcome.unit),
        (None, Some(_)) => {
            return Err(format!(
                "the unit of column `{column}` is not given; write time_unit = \"days\", \"weeks\", \"months\" or \
                 \"years\" in [cohort.columns]"
            ));
        }
        _ => {}
    }
    match TimeUnit::named_by(column) {
        None | Some(TimeUnit::Months) => Ok(TimeUnit::Months),
        Some(unit) => Err(format!(
            "the name of column `{column}` speaks of {0}, expected months; write time_unit = \"{0}\" in \
             [cohort.columns], or \"months\" if it holds months",
            unit.as_str()
        )),
    }
}

fn missing_column(config: &CohortConfig, table: &DelimitedTable, name: &str, key: &str) -> String {
    let found = table.columns_in_words();
    let mut text =
        format!("no column `{name}`; found {found}; name yours in [cohort.columns] {key} = \"..\"");
    if key == "slide_id" {
        text.push_str(", or give a table of slides in [cohort] slides = \"..\"");
    }
    if let Some(preset) = fitting(table).filter(|&preset| Some(preset) != config.preset) {
        text.push_str(&format!("; the columns are those of preset = \"{preset}\""));
    }
    text
}

fn no_sign(config: &CohortConfig, table: &DelimitedTable) -> String {
    let found = table.columns_in_words();
    if let Some(preset) = config.preset {
        return format!(
            "preset `{preset}` leaves the names to you; found {found}; write event = \"..\" (1 = event) or \
             censorship = \"..\" (1 = censored) in [cohort.columns], with time = \"..\" and time_unit = \"..\""
        );
    }
    let way_out = "event = \"..\" (1 = event) or censorship = \"..\" (1 = censored) in [cohort.columns]";
    let preset = match fitting(table) {
        Some(preset) => format!("preset = \"{preset}\" in [cohort], whose columns these are"),
        None => format!("a preset in [cohort] ({})", Preset::ALL.map(Preset::as_str).join(", ")),
    };
    format!(
        "which column holds events or censoring is not configured, and it is never guessed; found {found}; write \
         {preset}, or {way_out}"
    )
}

/// The family whose columns a table has: a hint in errors, nothing else.
fn fitting(table: &DelimitedTable) -> Option<Preset> {
    Preset::ALL.into_iter().find(|preset| {
        preset.endpoints().iter().any(|&endpoint| {
            let columns = preset.columns(endpoint);
            let has = |names: &[&str]| names.iter().any(|name| table.column(name).is_some());
            columns.outcome.is_some_and(|outcome| {
                has(columns.case_id) && has(&texts(&outcome.time)) && has(&texts(&outcome.status))
            })
        })
    })
}
