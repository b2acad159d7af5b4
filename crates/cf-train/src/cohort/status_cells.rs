//! What the cells of a status column mean. The sign comes from the configuration, never from the cells.

use survival_metrics::Status;

/// A column of statuses, and what a 1 in it means.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StatusColumn {
    /// Its name in the table.
    pub name: String,
    /// What a 1 means; a 0 means the other.
    pub one: Status,
    /// Cells that mean an event, in place of 0, 1 and the known words; compared as they are, case aside.
    pub event_values: Vec<String>,
    /// Cells that mean censored; empty exactly where `event_values` is.
    pub censored_values: Vec<String>,
}

/// Reads the cells of one column, from the top.
pub(crate) struct StatusReader<'a> {
    column: &'a StatusColumn,
    known: cf_cli::StatusReader<Status>,
    is_first: bool,
}

impl<'a> StatusReader<'a> {
    pub(crate) fn new(column: &'a StatusColumn) -> Self {
        let known = cf_cli::StatusReader::new(Status::Event, Status::Censored).where_one_is(column.one);
        Self { column, known, is_first: true }
    }

    /// The status of a cell, or what was expected of it.
    pub(crate) fn read(&mut self, cell: &str, line: u64) -> Result<Status, String> {
        let column = self.column;
        if !column.event_values.is_empty() {
            let is = |values: &[String]| values.iter().any(|value| value.trim().eq_ignore_ascii_case(cell));
            return match (is(&column.event_values), is(&column.censored_values)) {
                (true, _) => Ok(Status::Event),
                (_, true) => Ok(Status::Censored),
                _ => Err(format!(
                    "{} (event_values) or {} (censored_values)",
                    column.event_values.join(", "),
                    column.censored_values.join(", ")
                )),
            };
        }
        let status = self.known.read(cell, line).map_err(|expected| {
            let hint = "; for other values give event_values and censored_values in [cohort.columns]";
            format!("{expected}{}", if self.is_first { hint } else { "" })
        })?;
        self.is_first = false;
        Ok(status)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn column(one: Status) -> StatusColumn {
        StatusColumn { name: "s".to_owned(), one, event_values: Vec::new(), censored_values: Vec::new() }
    }

    fn read(column: &StatusColumn, cells: &[&str]) -> Result<Vec<Status>, String> {
        let mut reader = StatusReader::new(column);
        (2..).zip(cells).map(|(line, cell)| reader.read(cell, line)).collect()
    }

    #[test]
    fn the_sign_is_the_column_s_and_the_way_out_is_told() {
        use Status::{Censored, Event};
        assert_eq!(read(&column(Event), &["1", "0"]), Ok(vec![Event, Censored]));
        assert_eq!(read(&column(Censored), &["1", "0"]), Ok(vec![Censored, Event]));
        assert_eq!(read(&column(Censored), &["Dead"]), Ok(vec![Event]));
        assert!(read(&column(Event), &["2"]).unwrap_err().ends_with("censored_values in [cohort.columns]"));
        assert_eq!(read(&column(Event), &["1", "2"]).unwrap_err(), "0 or 1 as in line 2");
    }

    #[test]
    fn listed_values_replace_the_known_ones() {
        let column = StatusColumn {
            event_values: vec!["2".to_owned()],
            censored_values: vec!["1".to_owned()],
            ..column(Status::Event)
        };
        assert_eq!(read(&column, &["1", "2"]), Ok(vec![Status::Censored, Status::Event]));
        assert!(read(&column, &["0"]).unwrap_err().contains("2 (event_values) or 1 (censored_values)"));
    }
}
