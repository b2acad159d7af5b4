//! Groups of subjects: the values of a column, or the sides of a cut through a risk.

use std::cmp::Ordering;
use std::path::{Path, PathBuf};

use serde::Serialize;
use survival_metrics::{Outcome, RiskGroup, median_risk, median_split};

use crate::args::GroupArguments;
use crate::error::CliError;
use crate::table::Table;

/// The group of each subject.
pub(crate) struct Grouping {
    /// Names, in the order in which groups are shown.
    pub(crate) levels: Vec<String>,
    /// Position of each subject's group among the levels.
    pub(crate) of_subject: Vec<usize>,
    /// Between `low` and `high`, where groups are these.
    pub(crate) cut: Option<Cut>,
}

/// Where a risk is cut: `high` is at least this.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(crate) struct Cut {
    /// Column of the risk.
    column: String,
    value: f64,
    source: CutSource,
    /// The file that the median is of.
    #[serde(skip_serializing_if = "Option::is_none")]
    file: Option<PathBuf>,
}

/// Where a cut comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
enum CutSource {
    /// The subjects that it divides.
    OwnMedian,
    /// `--cut`.
    Given,
    /// `--cut-from`.
    OtherMedian,
}

impl Cut {
    /// `high: risk of at least 0.25, its median in train.csv (--cut-from)`.
    pub(crate) fn words(&self) -> String {
        let Self { column, value, .. } = self;
        let file = self.file.as_deref().unwrap_or(Path::new("")).display();
        let source = match self.source {
            CutSource::OwnMedian => format!("its median in {file}, the file that is split"),
            CutSource::Given => "as --cut gives it".to_owned(),
            CutSource::OtherMedian => format!("its median in {file} (--cut-from)"),
        };
        format!("high: {column} of at least {value}, {source}")
    }

    /// `high: risk of at least 0.25`, which fits into a figure.
    pub(crate) fn short(&self) -> String {
        format!("high: {} of at least {}", self.column, self.value)
    }
}

impl Grouping {
    /// The outcomes of the members of a group, by its position among the levels.
    pub(crate) fn members(&self, outcomes: &[Outcome], group: usize) -> Vec<Outcome> {
        let of_group = outcomes.iter().zip(&self.of_subject).filter(|(_, of_subject)| **of_subject == group);
        of_group.map(|(outcome, _)| *outcome).collect()
    }

    /// The groups asked for, or `None` if none were.
    pub(crate) fn new(table: &Table, arguments: &GroupArguments) -> Result<Option<Self>, CliError> {
        match (&arguments.by, &arguments.risk) {
            (Some(column), _) => Self::by_label(table, column).map(Some),
            (None, Some(column)) => match (arguments.cut, &arguments.cut_from) {
                (None, None) => Self::by_median(table, column),
                (Some(value), _) => Self::by_cut(table, column, value, None),
                (None, Some(path)) => {
                    let other = Table::read(path, "--cut-from")?;
                    let median = median_risk(&other.finite_risk(column)?).map_err(|source| {
                        let hint = "give the cut itself with --cut";
                        CliError::in_file(path, format!("median of `{column}`: {source}"), hint)
                    })?;
                    Self::by_cut(table, column, median, Some(path))
                }
            }
            .map(Some),
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
        Ok(Self { levels: levels.into_iter().map(str::to_owned).collect(), of_subject, cut: None })
    }

    fn by_median(table: &Table, column: &str) -> Result<Self, CliError> {
        let split = median_split(&table.finite_risk(column)?).map_err(|source| {
            let hint = "give a cut with --cut or --cut-from, or groups of your own with --by";
            CliError::in_file(table.path(), format!("median split of `{column}`: {source}"), hint)
        })?;
        let cut = Cut {
            column: column.to_owned(),
            value: split.threshold,
            source: CutSource::OwnMedian,
            file: Some(table.path().to_owned()),
        };
        Ok(Self::of_sides(&split.groups, cut))
    }

    /// Splits at a number, which is the median of another file or of none.
    fn by_cut(table: &Table, column: &str, value: f64, file: Option<&Path>) -> Result<Self, CliError> {
        let risks = table.risk(column)?;
        let sides: Vec<RiskGroup> = risks.iter().map(|&risk| RiskGroup::of(risk, value)).collect();
        let source = if file.is_some() { CutSource::OtherMedian } else { CutSource::Given };
        let cut = Cut { column: column.to_owned(), value, source, file: file.map(Path::to_owned) };
        for (side, name) in [(RiskGroup::Low, "low"), (RiskGroup::High, "high")] {
            if !sides.contains(&side) {
                let (least, most) = risks
                    .iter()
                    .fold((f64::INFINITY, f64::NEG_INFINITY), |(low, high), &x| (low.min(x), high.max(x)));
                let problem = format!("{}: the group `{name}` is empty", cut.words());
                let hint = format!("`{column}` goes from {least} to {most}; cut between them with --cut");
                return Err(CliError::in_file(table.path(), problem, hint));
            }
        }
        Ok(Self::of_sides(&sides, cut))
    }

    fn of_sides(sides: &[RiskGroup], cut: Cut) -> Self {
        let of_subject = sides.iter().map(|&side| usize::from(side == RiskGroup::High)).collect();
        Self { levels: vec!["low".to_owned(), "high".to_owned()], of_subject, cut: Some(cut) }
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
