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

const EVENT_WORDS: [&str; 4] = ["dead", "deceased", "died", "event"];
const CENSORED_WORDS: [&str; 3] = ["alive", "living", "censored"];

/// How a cell says its status: a column does it one way.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Notation {
    Number,
    Word,
    /// cBioPortal's `1:DECEASED`.
    NumberAndWord,
}

/// Reads the cells of one column, from the top.
pub(crate) struct StatusReader<'a> {
    column: &'a StatusColumn,
    first: Option<(Notation, u64)>,
}

impl<'a> StatusReader<'a> {
    pub(crate) fn new(column: &'a StatusColumn) -> Self {
        Self { column, first: None }
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
        let found = self.notation_of(cell);
        match (found, self.first) {
            (Some((notation, status)), None) => {
                self.first = Some((notation, line));
                Ok(status)
            }
            (Some((notation, status)), Some((wanted, _))) if notation == wanted => Ok(status),
            _ => Err(self.expected()),
        }
    }

    fn expected(&self) -> String {
        match self.first {
            Some((Notation::Number, line)) => format!("0 or 1 as in line {line}"),
            Some((Notation::Word, line)) => {
                format!("a word as in line {line}: dead or alive, deceased or living, event or censored")
            }
            Some((Notation::NumberAndWord, line)) => {
                format!("a number and a word that agree, as in line {line}")
            }
            None => {
                "0 or 1 (or dead and alive, deceased and living, event and censored; for other values give \
                     event_values and censored_values in [cohort.columns])"
                    .to_owned()
            }
        }
    }

    fn notation_of(&self, cell: &str) -> Option<(Notation, Status)> {
        if let Some(status) = self.number(cell) {
            return Some((Notation::Number, status));
        }
        if let Some(status) = word(cell) {
            return Some((Notation::Word, status));
        }
        let (number, label) = cell.split_once(':')?;
        let status = self.number(number.trim())?;
        // `1:LIVING` contradicts itself. Other words, such as `1:Recurred`, have no sign of their own.
        let agrees = word(label.trim()).is_none_or(|word| word == status);
        agrees.then_some((Notation::NumberAndWord, status))
    }

    fn number(&self, cell: &str) -> Option<Status> {
        let zero = match self.column.one {
            Status::Event => Status::Censored,
            Status::Censored => Status::Event,
        };
        match cell.to_ascii_lowercase().as_str() {
            "true" => Some(self.column.one),
            "false" => Some(zero),
            number => match number.parse::<f64>() {
                Ok(1.0) => Some(self.column.one),
                Ok(0.0) => Some(zero),
                _ => None,
            },
        }
    }
}

fn word(cell: &str) -> Option<Status> {
    let is = |words: &[&str]| words.iter().any(|word| word.eq_ignore_ascii_case(cell));
    if is(&EVENT_WORDS) { Some(Status::Event) } else { is(&CENSORED_WORDS).then_some(Status::Censored) }
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
    fn numbers_follow_the_column_and_words_speak_for_themselves() {
        use Status::{Censored, Event};
        assert_eq!(read(&column(Event), &["1", "0", "1.0"]), Ok(vec![Event, Censored, Event]));
        assert_eq!(read(&column(Censored), &["1", "0", "True"]), Ok(vec![Censored, Event, Censored]));
        for one in [Event, Censored] {
            assert_eq!(
                read(&column(one), &["Dead", "ALIVE", "censored"]),
                Ok(vec![Event, Censored, Censored])
            );
        }
        assert_eq!(
            read(&column(Event), &["0:LIVING", "1:DECEASED", "1:Recurred"]),
            Ok(vec![Censored, Event, Event])
        );
    }

    #[test]
    fn a_column_says_it_one_way() {
        assert_eq!(read(&column(Status::Event), &["1", "dead"]).unwrap_err(), "0 or 1 as in line 2");
        assert!(read(&column(Status::Event), &["dead", "1"]).unwrap_err().starts_with("a word as in line 2"));
        assert!(read(&column(Status::Event), &["0:LIVING", "1:LIVING"]).unwrap_err().contains("agree"));
        assert!(read(&column(Status::Event), &["2"]).unwrap_err().contains("event_values"));
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
