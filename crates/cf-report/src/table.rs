//! The C-index in the paper's format, and as a text table for a terminal.

use survival_metrics::CvSummary;

use crate::number;
use crate::report::{CIndexSummary, CrossValidationReport};

/// A C-index over folds as the paper's tables print it, `0.630 (0.027)`: mean and population standard deviation of
/// the folds, each rounded to three decimals first. `None` where no fold has a C-index.
///
/// ```
/// use cf_report::paper_format;
///
/// assert_eq!(paper_format(&[Some(0.6004), Some(0.66), None]).as_deref(), Some("0.630 (0.030)"));
/// ```
pub fn paper_format(folds: &[Option<f64>]) -> Option<String> {
    let defined: Vec<f64> = folds.iter().flatten().copied().filter(|c| c.is_finite()).collect();
    let summary = CvSummary::paper_format(&defined).ok()?;
    Some(format!("{:.3} ({:.3})", summary.mean(), summary.population_sd()))
}

/// The C-indices of a run as an aligned text table, one line each after the heading.
///
/// Columns: mean and deviation in the paper's format, 95 % confidence interval, every fold. Undefined values are a
/// dash.
pub fn c_index_table(report: &CrossValidationReport) -> String {
    let rows = c_index_rows(report);
    let mut heading = vec!["C-index".to_owned(), "mean (sd)".to_owned(), "95 % CI".to_owned()];
    heading.extend(report.folds.iter().map(|fold| format!("fold {}", fold.fold)));
    let mut cells = vec![heading];
    cells.extend(rows.into_iter().map(|row| {
        let mut line = vec![row.label.to_owned(), row.paper, row.ci95];
        line.extend(row.folds);
        line
    }));
    aligned(&cells)
}

/// One row of the C-index table, as text.
#[derive(Debug)]
pub(crate) struct CIndexRow {
    pub(crate) label: &'static str,
    /// The same numbers in `summary.json`, if they are there.
    pub(crate) key: Option<&'static str>,
    pub(crate) paper: String,
    pub(crate) mean: String,
    pub(crate) sd: String,
    pub(crate) ci95: String,
    pub(crate) folds: Vec<String>,
}

/// The rows of the C-index table: slide and patient level of the selected epochs, then of the last epochs.
pub(crate) fn c_index_rows(report: &CrossValidationReport) -> [CIndexRow; 4] {
    [
        c_index_row("Slide level, selected epoch", Some("c_index"), &report.c_index),
        c_index_row("Patient level, selected epoch", Some("patient_c_index"), &report.patient_c_index),
        c_index_row("Slide level, last epoch", Some("last_epoch_c_index"), &report.last_epoch_c_index),
        c_index_row("Patient level, last epoch", None, &report.patient_last_epoch_c_index),
    ]
}

fn c_index_row(label: &'static str, key: Option<&'static str>, summary: &CIndexSummary) -> CIndexRow {
    CIndexRow {
        label,
        key,
        paper: paper_format(&summary.folds).unwrap_or_else(|| number::MISSING.to_owned()),
        mean: number::fixed_or_missing(summary.mean, 3),
        sd: number::fixed_or_missing(summary.sd, 3),
        ci95: interval(summary.ci95),
        folds: summary.folds.iter().map(|c| number::fixed_or_missing(*c, 3)).collect(),
    }
}

/// `0.601 to 0.659`, or a dash.
pub(crate) fn interval(ci95: Option<(f64, f64)>) -> String {
    match ci95 {
        Some((low, high)) if low.is_finite() && high.is_finite() => {
            format!("{} to {}", number::fixed(low, 3), number::fixed(high, 3))
        }
        _ => number::MISSING.to_owned(),
    }
}

/// Columns padded to their widest cell and set four spaces apart, all to the left: marks after numbers keep the numbers in line.
/// Rows may be short.
pub(crate) fn aligned_left(cells: &[Vec<String>]) -> String {
    let width = |column: usize| {
        cells
            .iter()
            .filter(|row| row.len() > 1)
            .filter_map(|row| row.get(column))
            .map(|c| c.chars().count())
            .max()
    };
    let mut text = String::new();
    for row in cells {
        let padded = row.iter().enumerate().map(|(column, cell)| {
            let width = width(column).unwrap_or(0);
            format!("{cell:<width$}")
        });
        text.push_str(padded.collect::<Vec<_>>().join("    ").trim_end());
        text.push('\n');
    }
    text
}

/// Columns padded to their widest cell and set two spaces apart: the first to the left, the others to the right.
fn aligned(cells: &[Vec<String>]) -> String {
    let n_columns = cells.iter().map(Vec::len).max().unwrap_or(0);
    let width = |column: usize| {
        cells.iter().filter_map(|row| row.get(column)).map(|c| c.chars().count()).max().unwrap_or(0)
    };
    let widths: Vec<usize> = (0..n_columns).map(width).collect();
    let mut text = String::new();
    for row in cells {
        for (column, (cell, &width)) in row.iter().zip(&widths).enumerate() {
            let padded = if column == 0 { format!("{cell:<width$}") } else { format!("  {cell:>width$}") };
            text.push_str(&padded);
        }
        text.push('\n');
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn folds_are_rounded_before_the_mean_is_taken() {
        // Each fold loses 0.0004: the unrounded mean is 0.60073, that of 0.600, 0.600 and 0.601 is 0.60033.
        let folds = [Some(0.6004), Some(0.6004), Some(0.6014)];
        assert_eq!(paper_format(&folds).as_deref(), Some("0.600 (0.000)"));
    }

    #[test]
    fn deviation_divides_by_the_number_of_folds() {
        // sqrt(0.02 / 3) = 0.08165; divided by n - 1 it would be 0.1.
        assert_eq!(paper_format(&[Some(0.6), Some(0.7), Some(0.8)]).as_deref(), Some("0.700 (0.082)"));
    }

    #[test]
    fn one_fold_has_deviation_zero_and_no_fold_has_no_cell() {
        assert_eq!(paper_format(&[Some(0.61)]).as_deref(), Some("0.610 (0.000)"));
        assert_eq!(paper_format(&[None, None]), None);
        assert_eq!(paper_format(&[Some(f64::NAN)]), None);
    }

    #[test]
    fn columns_line_up() {
        let cells =
            [vec!["a".to_owned(), "0.630".to_owned()], vec!["long".to_owned(), "\u{2013}".to_owned()]];
        assert_eq!(aligned(&cells), "a     0.630\nlong      \u{2013}\n");
    }
}
