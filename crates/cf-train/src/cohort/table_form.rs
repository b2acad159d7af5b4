//! Which columns of a table are read, and how: preset and `[cohort.columns]` met with the header that is there.

use survival_metrics::Status;

use super::preset::{MissingOutcome, OutcomeColumns, Preset};
use super::settings::CohortConfig;
use super::status_cells::StatusColumn;
use super::time_cells::TimeUnit;
use crate::delimited::DelimitedTable;

/// The columns that are read; the places are those of one table.
pub(crate) struct TableForm {
    pub(crate) case: Column,
    /// `None` where a row is a patient.
    pub(crate) slide: Option<Column>,
    pub(crate) time: Column,
    pub(crate) unit: TimeUnit,
    pub(crate) status_index: usize,
    pub(crate) status: StatusColumn,
    pub(crate) missing: MissingOutcome,
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
        let column = |name: &str, key: &str| match table.column(name) {
            Some(index) => Ok(Column { name: name.to_owned(), index }),
            None => Err(missing_column(config, table, name, key)),
        };

        let (status_name, one, key) = match (&names.event, &names.censorship, outcome) {
            (Some(name), _, _) => (name.as_str(), Status::Event, "event"),
            (None, Some(name), _) => (name.as_str(), Status::Censored, "censorship"),
            (None, None, Some(OutcomeColumns { status, one: Status::Event, .. })) => {
                (status.as_str(), Status::Event, "event")
            }
            (None, None, Some(OutcomeColumns { status, one: Status::Censored, .. })) => {
                (status.as_str(), Status::Censored, "censorship")
            }
            (None, None, None) => return Err(no_sign(config, table)),
        };
        let case_name = names.case_id.as_deref().or(preset.as_ref().map(|preset| preset.case_id));
        let case = column(case_name.unwrap_or("case_id"), "case_id")?;
        let slide = match (&names.slide_id, &preset) {
            // The slide table says which slides a patient has.
            _ if config.slides.is_some() => None,
            (Some(name), _) => Some(column(name, "slide_id")?),
            (None, Some(preset)) => match preset.slide_id {
                [] => None,
                [first, ..] => {
                    let found = preset.slide_id.iter().find(|name| table.column(name).is_some());
                    Some(column(found.unwrap_or(first), "slide_id")?)
                }
            },
            (None, None) => Some(column("slide_id", "slide_id")?),
        };
        let time_name = match (&names.time, outcome, config.preset) {
            (Some(name), _, _) => name.as_str(),
            (None, Some(outcome), _) => outcome.time.as_str(),
            (None, None, None) => "survival_months",
            (None, None, Some(preset)) => {
                return Err(format!(
                    "preset `{preset}` leaves the names to you; found {}; write time = \"..\", time_unit = \"..\" and \
                     event = \"..\" in [cohort.columns]",
                    table.columns_in_words()
                ));
            }
        };
        let time = column(time_name, "time")?;
        let unit = unit_of(config, outcome, &time.name)?;
        let status = column(status_name, key)?;
        Ok(Self {
            case,
            slide,
            time,
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
        })
    }
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
        (Some(outcome), _) if outcome.time == column => return Ok(outcome.unit),
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
            columns.outcome.is_some_and(|outcome| {
                [columns.case_id, &outcome.time, &outcome.status]
                    .iter()
                    .all(|name| table.column(name).is_some())
            })
        })
    })
}
