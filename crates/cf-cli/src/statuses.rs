//! Cells of a status column: whether a subject had the event.

/// How a cell says its status: a column does it one way.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Notation {
    /// 0 or 1, also True and False.
    Number,
    Word,
    /// cBioPortal's `1:DECEASED`.
    NumberAndWord,
}

const EVENT_WORDS: [&str; 4] = ["dead", "deceased", "died", "event"];
const CENSORED_WORDS: [&str; 3] = ["alive", "living", "censored"];

/// Whether a cell is a word that says its status whatever the column is called, such as `dead`; numbers, and True and False, do not.
///
/// ```
/// assert!(cf_cli::is_status_word("Alive") && !cf_cli::is_status_word("True") && !cf_cli::is_status_word("1:LIVING"));
/// ```
#[must_use]
pub fn is_status_word(cell: &str) -> bool {
    EVENT_WORDS.iter().chain(&CENSORED_WORDS).any(|word| word.eq_ignore_ascii_case(cell))
}

/// Reads the cells of one status column, from the top: numbers mean what the column says, words speak for themselves.
///
/// ```
/// use cf_cli::StatusReader;
///
/// let mut column = StatusReader::new("event", "censored").where_one_is("censored");
/// assert_eq!(column.read("1", 2), Ok("censored"));
/// assert_eq!(column.read("0", 3), Ok("event"));
/// assert_eq!(column.read("dead", 4), Err("0 or 1 as in line 2".to_owned()));
/// ```
#[derive(Debug, Clone)]
pub struct StatusReader<S> {
    event: S,
    censored: S,
    one: S,
    first: Option<(Notation, u64)>,
}

impl<S: Copy + PartialEq> StatusReader<S> {
    /// A column in which 1 is an event.
    ///
    /// - `event`, `censored`: what a cell that says so is read as.
    pub fn new(event: S, censored: S) -> Self {
        Self { event, censored, one: event, first: None }
    }

    /// The column if a 1 means this one of the two statuses.
    #[must_use]
    pub fn where_one_is(mut self, one: S) -> Self {
        self.one = one;
        self
    }

    /// The status of a cell without spaces around it.
    ///
    /// # Errors
    /// What was expected of it: where it is no status, contradicts itself, or says it in another way than the first cell.
    pub fn read(&mut self, cell: &str, line: u64) -> Result<S, String> {
        let (notation, status) = self.notation_of(cell).ok_or_else(|| self.expected())?;
        match self.first {
            Some((first, _)) if first != notation => return Err(self.expected()),
            Some(_) => {}
            None => self.first = Some((notation, line)),
        }
        Ok(status)
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
            None => "0 or 1, or dead and alive, deceased and living, event and censored".to_owned(),
        }
    }

    fn notation_of(&self, cell: &str) -> Option<(Notation, S)> {
        if let Some(status) = self.number(cell) {
            return Some((Notation::Number, status));
        }
        if let Some(status) = self.word(cell) {
            return Some((Notation::Word, status));
        }
        let (number, label) = cell.split_once(':')?;
        let status = self.number(number.trim())?;
        // `1:LIVING` contradicts itself. Other words, such as `1:Recurred`, have no sign of their own.
        let agrees = self.word(label.trim()).is_none_or(|word| word == status);
        agrees.then_some((Notation::NumberAndWord, status))
    }

    fn number(&self, cell: &str) -> Option<S> {
        let zero = if self.one == self.event { self.censored } else { self.event };
        match cell.to_ascii_lowercase().as_str() {
            "true" => Some(self.one),
            "false" => Some(zero),
            number => match number.parse::<f64>() {
                Ok(1.0) => Some(self.one),
                Ok(0.0) => Some(zero),
                _ => None,
            },
        }
    }

    fn word(&self, cell: &str) -> Option<S> {
        let is = |words: &[&str]| words.iter().any(|word| word.eq_ignore_ascii_case(cell));
        if is(&EVENT_WORDS) { Some(self.event) } else { is(&CENSORED_WORDS).then_some(self.censored) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(one: char, cells: &[&str]) -> Result<String, String> {
        let mut reader = StatusReader::new('e', 'c').where_one_is(one);
        (2..).zip(cells).map(|(line, cell)| reader.read(cell, line)).collect()
    }

    #[test]
    fn numbers_follow_the_column_and_words_speak_for_themselves() {
        assert_eq!(read('e', &["1", "0", "1.0", "False"]).unwrap(), "ecec");
        assert_eq!(read('c', &["1", "0", "True"]).unwrap(), "cec");
        for one in ['e', 'c'] {
            assert_eq!(read(one, &["Dead", "ALIVE", "censored", "event"]).unwrap(), "ecce");
        }
        assert_eq!(read('e', &["0:LIVING", "1:DECEASED", "1:Recurred"]).unwrap(), "cee");
    }

    #[test]
    fn a_column_says_it_one_way() {
        assert_eq!(read('e', &["1", "dead"]).unwrap_err(), "0 or 1 as in line 2");
        assert!(read('e', &["dead", "1"]).unwrap_err().starts_with("a word as in line 2"));
        assert!(read('e', &["0:LIVING", "1"]).unwrap_err().starts_with("a number and a word"));
        assert!(read('c', &["1:DECEASED"]).unwrap_err().starts_with("0 or 1, or dead and alive"));
        for cell in ["2", "", "yes", "NaN", "1:LIVING", ":DECEASED"] {
            assert!(read('e', &[cell]).is_err(), "{cell}");
        }
    }
}
