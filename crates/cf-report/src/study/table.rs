//! A table of C-indices in the paper's form: rows in groups, a column per cohort, the best and second best of each column marked.

use std::collections::BTreeSet;

use survival_metrics::CvSummary;

use crate::number::MISSING;

/// A table of C-indices.
#[derive(Debug, Clone, PartialEq)]
pub struct StudyTable {
    /// What it shows and over what its means are taken.
    pub caption: String,
    /// Heading of the rows, such as `Method`.
    pub corner: String,
    /// Headings of the columns.
    pub columns: Vec<String>,
    /// The rows.
    pub groups: Vec<TableGroup>,
}

/// Rows that belong together.
#[derive(Debug, Clone, PartialEq)]
pub struct TableGroup {
    /// Heading; empty where the table has one group only.
    pub heading: String,
    /// The rows, each with one cell per column.
    pub rows: Vec<StudyRow>,
}

/// A row.
#[derive(Debug, Clone, PartialEq)]
pub struct StudyRow {
    /// Its name.
    pub label: String,
    /// Its cells.
    pub cells: Vec<StudyCell>,
}

/// A C-index in the paper's form.
#[derive(Debug, Clone, PartialEq)]
pub struct StudyCell {
    /// Mean in thousandths, as it is printed; `None` where there is none.
    mean_thousandths: Option<i64>,
    /// Population standard deviation; one value and a mean over columns have none.
    sd: Option<f64>,
    /// Whether all folds and seeds of the plan went into it. What lacks some is shown and takes no part in the marks.
    pub is_complete: bool,
    /// Patients that were scored, where a count is known: cells of a column are only ranked on the same number.
    pub n_patients: Option<usize>,
    /// How it compares with its column.
    pub mark: Mark,
}

/// How a cell compares with its column. Equal printed means share a mark.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mark {
    /// The highest mean: bold in the paper.
    Best,
    /// The next one: underlined in the paper.
    Second,
    /// Neither, or nothing to compare with.
    None,
}

impl StudyCell {
    /// The cell of fold values: each is rounded to three decimals first, then mean and population deviation are taken. One value
    /// has no deviation.
    #[must_use]
    pub fn of_folds(c_indices: &[f64], is_complete: bool) -> Self {
        let cell = match CvSummary::paper_format(c_indices) {
            Ok(summary) => {
                let sd = (c_indices.len() > 1).then(|| summary.population_sd());
                Self::of_numbers(summary.mean(), sd)
            }
            Err(_) => Self::empty(),
        };
        Self { is_complete, ..cell }
    }

    /// The cell, and on how many patients it was scored.
    #[must_use]
    pub fn scored_on(self, n_patients: usize) -> Self {
        Self { n_patients: Some(n_patients), ..self }
    }

    /// The cell of a mean and deviation, such as printed ones.
    #[must_use]
    pub fn of_numbers(mean: f64, sd: Option<f64>) -> Self {
        let printed = format!("{mean:.3}").parse::<f64>().ok().filter(|mean| mean.is_finite());
        let mean_thousandths = printed.map(|mean| (mean * 1000.0).round() as i64);
        Self {
            mean_thousandths,
            sd,
            is_complete: mean_thousandths.is_some(),
            n_patients: None,
            mark: Mark::None,
        }
    }

    /// The cell where nothing was run.
    #[must_use]
    pub fn empty() -> Self {
        Self { mean_thousandths: None, sd: None, is_complete: false, n_patients: None, mark: Mark::None }
    }

    /// `0.630`, or nothing.
    #[must_use]
    pub fn mean(&self) -> Option<String> {
        self.mean_thousandths.map(|mean| format!("{:.3}", mean as f64 / 1000.0))
    }

    /// `0.027`, or nothing.
    #[must_use]
    pub fn sd(&self) -> Option<String> {
        self.sd.map(|sd| format!("{sd:.3}"))
    }

    /// `0.630 (0.027)`, `0.682`, or a dash.
    #[must_use]
    pub fn text(&self) -> String {
        match (self.mean(), self.sd()) {
            (None, _) => MISSING.to_owned(),
            (Some(mean), None) => mean,
            (Some(mean), Some(sd)) => format!("{mean} ({sd})"),
        }
    }
}

impl StudyTable {
    /// The table with a column `Mean` at its end: the mean of the printed means of a row whose cells are all complete, halves
    /// rounded up.
    #[must_use]
    pub fn with_mean_column(mut self) -> Self {
        self.columns.push("Mean".to_owned());
        for row in self.groups.iter_mut().flat_map(|group| &mut group.rows) {
            let complete = row.cells.iter().filter(|cell| cell.is_complete);
            let means: Vec<i64> = complete.filter_map(|cell| cell.mean_thousandths).collect();
            let n = means.len() as i64;
            let whole = means.len() == row.cells.len() && n > 0;
            let mean = whole.then(|| (2 * means.iter().sum::<i64>() + n) / (2 * n));
            let n_patients = row.cells.iter().map(|cell| cell.n_patients).sum();
            row.cells.push(StudyCell {
                mean_thousandths: mean,
                is_complete: whole,
                n_patients,
                ..StudyCell::empty()
            });
        }
        self
    }

    /// The table with the best and the second best of each column marked, where at least two rows can be compared.
    #[must_use]
    pub fn with_marks(mut self) -> Self {
        for column in 0..self.columns.len() {
            let cells =
                || self.groups.iter().flat_map(|group| &group.rows).filter_map(|row| row.cells.get(column));
            let compared = || cells().filter(|cell| cell.is_complete && cell.mean_thousandths.is_some());
            let mut means: Vec<i64> = compared().filter_map(|cell| cell.mean_thousandths).collect();
            let counts: BTreeSet<usize> = compared().filter_map(|cell| cell.n_patients).collect();
            if means.len() < 2 || counts.len() > 1 {
                continue;
            }
            means.sort_unstable_by(|a, b| b.cmp(a));
            means.dedup();
            let mark_of = |cell: &StudyCell| match cell.mean_thousandths.filter(|_| cell.is_complete) {
                Some(mean) if Some(&mean) == means.first() => Mark::Best,
                Some(mean) if Some(&mean) == means.get(1) => Mark::Second,
                _ => Mark::None,
            };
            for row in self.groups.iter_mut().flat_map(|group| &mut group.rows) {
                if let Some(cell) = row.cells.get_mut(column) {
                    cell.mark = mark_of(cell);
                }
            }
        }
        self
    }

    /// The columns that are not ranked, since their cells are of different numbers of patients.
    #[must_use]
    pub fn unranked(&self) -> Vec<&str> {
        let rows = || self.groups.iter().flat_map(|group| &group.rows);
        let is_unranked = |column: usize| {
            let cells = rows().filter_map(|row| row.cells.get(column));
            let compared = cells.filter(|cell| cell.is_complete && cell.mean_thousandths.is_some());
            compared.filter_map(|cell| cell.n_patients).collect::<BTreeSet<_>>().len() > 1
        };
        self.columns
            .iter()
            .enumerate()
            .filter(|(at, _)| is_unranked(*at))
            .map(|(_, name)| name.as_str())
            .collect()
    }

    /// Whether a cell has a number that lacks folds or seeds of the plan.
    #[must_use]
    pub fn has_partial_cells(&self) -> bool {
        self.cells().any(|cell| !cell.is_complete && cell.mean_thousandths.is_some())
    }

    /// Whether a cell is marked.
    #[must_use]
    pub fn has_marks(&self) -> bool {
        self.cells().any(|cell| cell.mark != Mark::None)
    }

    fn cells(&self) -> impl Iterator<Item = &StudyCell> {
        self.groups.iter().flat_map(|group| &group.rows).flat_map(|row| &row.cells)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn table(columns: &[&str], rows: &[(&str, &[f64])]) -> StudyTable {
        let rows = rows.iter().map(|(label, means)| StudyRow {
            label: (*label).to_owned(),
            cells: means.iter().map(|&mean| StudyCell::of_numbers(mean, Some(0.01))).collect(),
        });
        let rows = rows.collect();
        let groups = vec![TableGroup { heading: String::new(), rows }];
        let columns = columns.iter().map(|&column| column.to_owned()).collect();
        StudyTable { caption: String::new(), corner: "Method".to_owned(), columns, groups }
    }

    fn marks(table: &StudyTable, column: usize) -> Vec<Mark> {
        table.groups[0].rows.iter().map(|row| row.cells[column].mark).collect()
    }

    #[test]
    fn equal_printed_means_share_a_mark() {
        let table = table(&["a"], &[("x", &[0.6271]), ("y", &[0.6268]), ("z", &[0.622]), ("w", &[0.5])]);
        assert_eq!(marks(&table.with_marks(), 0), [Mark::Best, Mark::Best, Mark::Second, Mark::None]);
    }

    #[test]
    fn a_row_alone_is_not_best() {
        assert_eq!(marks(&table(&["a"], &[("x", &[0.6])]).with_marks(), 0), [Mark::None]);
    }

    #[test]
    fn a_cell_that_lacks_folds_takes_no_part() {
        let mut table = table(&["a"], &[("x", &[0.9]), ("y", &[0.6]), ("z", &[0.5])]);
        table.groups[0].rows[0].cells[0].is_complete = false;
        assert!(table.has_partial_cells());
        let table = table.with_mean_column().with_marks();
        assert_eq!(marks(&table, 0), [Mark::None, Mark::Best, Mark::Second]);
        assert_eq!(table.groups[0].rows[0].cells[1].text(), MISSING);
    }

    #[test]
    fn folds_are_rounded_before_their_mean_is() {
        let cell = StudyCell::of_folds(&[0.6004, 0.6004, 0.6014], true);
        assert_eq!(cell.text(), "0.600 (0.000)");
        assert_eq!(StudyCell::of_folds(&[0.6004], true).text(), "0.600");
        let undefined = StudyCell::of_folds(&[], true);
        assert_eq!((undefined.text().as_str(), undefined.is_complete), (MISSING, true));
    }

    #[test]
    fn a_mean_of_means_is_that_of_the_printed_ones_with_halves_up() {
        // 0.6925: a mean of the paper's Table 2, printed as 0.693 there.
        let table = table(&["a", "b"], &[("x", &[0.692, 0.693]), ("y", &[0.5, 0.5])]).with_mean_column();
        assert_eq!(table.groups[0].rows[0].cells[2].text(), "0.693");
        assert_eq!(table.columns, ["a", "b", "Mean"]);
    }
}
