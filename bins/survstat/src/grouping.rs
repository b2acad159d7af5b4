//! Groups of subjects: the values of a column, or the sides of a median risk.

use std::cmp::Ordering;

use survival_metrics::{RiskGroup, median_split};

use crate::args::GroupArguments;
use crate::error::CliError;
use crate::table::Table;

/// The group of each subject.
pub(crate) struct Grouping {
    /// Names, in the order in which groups are shown.
    pub(crate) levels: Vec<String>,
    /// Position of each subject's group among the levels.
    pub(crate) of_subject: Vec<usize>,
}

impl Grouping {
    /// The groups asked for, or `None` if none were.
    pub(crate) fn new(table: &Table, arguments: &GroupArguments) -> Result<Option<Self>, CliError> {
        match (&arguments.by, &arguments.risk) {
            (Some(column), _) => Self::by_label(table, column).map(Some),
            (None, Some(column)) => Self::by_median(table, column).map(Some),
            (None, None) => Ok(None),
        }
    }

    fn by_label(table: &Table, column: &str) -> Result<Self, CliError> {
        let labels = table.labels(column)?;
        let mut levels = labels.clone();
        levels.sort_by(|a, b| compare(a, b));
        levels.dedup();
        let of_subject = labels
            .iter()
            .map(|label| levels.partition_point(|level| compare(level, label).is_lt()))
            .collect();
        Ok(Self { levels: levels.into_iter().map(str::to_owned).collect(), of_subject })
    }

    fn by_median(table: &Table, column: &str) -> Result<Self, CliError> {
        let split = median_split(&table.finite_risk(column)?).map_err(|source| {
            let hint = "give groups of your own with --by";
            CliError::in_file(table.path(), format!("median split of `{column}`: {source}"), hint)
        })?;
        let of_subject = split.groups.iter().map(|&group| usize::from(group == RiskGroup::High)).collect();
        Ok(Self { levels: vec!["low".to_owned(), "high".to_owned()], of_subject })
    }
}

/// Numbers by value and before words, equal numbers and words by their letters.
fn compare(a: &str, b: &str) -> Ordering {
    let number = |text: &str| text.parse::<f64>().ok();
    match (number(a), number(b)) {
        (Some(x), Some(y)) => x.total_cmp(&y).then_with(|| a.cmp(b)),
        (Some(_), None) => Ordering::Less,
        (None, Some(_)) => Ordering::Greater,
        (None, None) => a.cmp(b),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_come_by_value_and_before_words() {
        let mut labels = vec!["b", "10", "a", "2", "2.0", "-1"];
        labels.sort_by(|a, b| compare(a, b));
        assert_eq!(labels, ["-1", "2", "2.0", "10", "a", "b"]);
    }
}
