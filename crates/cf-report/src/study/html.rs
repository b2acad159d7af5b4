//! The report of a study as one HTML file: the template and the texts that it is filled with.

use askama::Template;

use super::report::{CohortEstimates, EpochChoice, PublishedValue, StudyComparison, StudyReport};
use super::table::{Mark, StudyTable};
use super::wording;
use crate::error::{Error, Result};
use crate::figures::{self, ForestPlot, ForestRow, ForestScale};
use crate::number::{MISSING, count, counted, fixed, fixed_or_missing, p_value};

/// Renders the report of a study as one HTML file that refers to nothing outside itself: no script, no network.
///
/// # Errors
/// If an estimate is not finite.
pub fn render_study_html(report: &StudyReport) -> Result<String> {
    let page = Page {
        report,
        dark_rules: figures::dark_rules(),
        findings: wording::findings(report),
        certainty: wording::certainty(report),
        n_finished: count(report.n_tasks.saturating_sub(report.unfinished.len())),
        has_marks: report.tables.iter().any(StudyTable::has_marks),
        shares_patients: report.cohorts.iter().any(|cohort| cohort.n_validated_twice > 0),
        tables: report.tables.iter().map(TableView::new).collect(),
        forests: report.cohorts.iter().enumerate().map(forest).collect::<Result<Vec<_>>>()?,
        comparisons: report.comparisons.iter().map(ComparisonView::new).collect(),
        epoch_choices: report.epoch_choices.iter().map(EpochView::new).collect(),
        published: report.published.iter().map(PublishedView::new).collect(),
    };
    page.render().map_err(Error::Template)
}

/// What the template fills in, as text unless the template counts or repeats it.
#[derive(Template)]
#[template(path = "study.html")]
struct Page<'a> {
    report: &'a StudyReport,
    dark_rules: String,
    findings: Vec<String>,
    certainty: Vec<String>,
    n_finished: String,
    has_marks: bool,
    /// Whether several folds of a cohort validate some patients.
    shares_patients: bool,
    tables: Vec<TableView<'a>>,
    forests: Vec<ForestView>,
    comparisons: Vec<ComparisonView<'a>>,
    epoch_choices: Vec<EpochView<'a>>,
    published: Vec<PublishedView<'a>>,
}

/// A table of C-indices.
struct TableView<'a> {
    table: &'a StudyTable,
    n_columns: usize,
    is_grouped: bool,
    has_partial_cells: bool,
    groups: Vec<GroupView<'a>>,
}

struct GroupView<'a> {
    heading: &'a str,
    rows: Vec<RowView<'a>>,
}

struct RowView<'a> {
    label: &'a str,
    cells: Vec<CellView>,
}

/// A cell, with the class that its mark has on the page and what a screen reader adds.
struct CellView {
    text: String,
    class: &'static str,
    said: &'static str,
}

impl<'a> TableView<'a> {
    fn new(table: &'a StudyTable) -> Self {
        let groups = table.groups.iter().map(|group| GroupView {
            heading: &group.heading,
            rows: group
                .rows
                .iter()
                .map(|row| RowView { label: &row.label, cells: row.cells.iter().map(cell).collect() })
                .collect(),
        });
        Self {
            table,
            n_columns: table.columns.len() + 1,
            is_grouped: table.groups.len() > 1,
            has_partial_cells: table.has_partial_cells(),
            groups: groups.collect(),
        }
    }
}

fn cell(cell: &super::table::StudyCell) -> CellView {
    let (class, said) = match cell.mark {
        Mark::Best => ("best", "best"),
        Mark::Second => ("second", "second best"),
        Mark::None if !cell.is_complete && cell.mean().is_some() => ("partial", "folds are missing"),
        Mark::None => ("", ""),
    };
    CellView { text: cell.text(), class, said }
}

/// The forest plot of one cohort.
struct ForestView {
    svg: String,
    caption: String,
}

fn forest((index, cohort): (usize, &CohortEstimates)) -> Result<ForestView> {
    let differ = cohort.complete_differ();
    let rows: Vec<ForestRow> = cohort
        .methods
        .iter()
        .map(|method| ForestRow {
            label: method.label.clone(),
            detail: match (method.is_complete, differ) {
                (false, _) => "folds are missing".to_owned(),
                (true, true) => counted(method.n_patients, "patient", "patients"),
                (true, false) => String::new(),
            },
            estimate: method.mean,
            limits: method.ci95,
        })
        .collect();
    let title = format!("C-index of patients, {}", cohort.heading);
    let svg = if rows.is_empty() {
        String::new()
    } else {
        let plot = ForestPlot { title: &title, scale: ForestScale::CIndex, level: 0.95, rows: &rows };
        figures::draw_forest(&format!("study-forest-{index}"), &plot)?
    };
    let caption = format!(
        "{}: {}{}, {} with the event.",
        cohort.heading,
        if differ { "up to " } else { "" },
        counted(cohort.n_patients, "patient", "patients"),
        count(cohort.n_event_patients)
    );
    Ok(ForestView { svg, caption })
}

/// One row of the table of comparisons.
struct ComparisonView<'a> {
    comparison: &'a StudyComparison,
    n_patients: String,
    difference: String,
    interval: String,
    p_value: String,
    p_holm: String,
    p_folds: String,
    undefined: Option<&'a str>,
}

impl<'a> ComparisonView<'a> {
    fn new(comparison: &'a StudyComparison) -> Self {
        let numbers = comparison.result.as_ref().ok();
        let p = |p: Option<f64>| p.map_or_else(|| MISSING.to_owned(), |p| p_value(p, p.log10()));
        let interval = numbers.and_then(|numbers| numbers.ci95);
        Self {
            comparison,
            n_patients: numbers.map_or_else(|| MISSING.to_owned(), |numbers| count(numbers.n_patients)),
            difference: fixed_or_missing(numbers.map(|numbers| numbers.mean_difference), 3),
            interval: interval.map_or_else(
                || MISSING.to_owned(),
                |(low, high)| format!("{} to {}", fixed(low, 3), fixed(high, 3)),
            ),
            p_value: p(numbers.map(|numbers| numbers.p_value)),
            p_holm: p(numbers.map(|numbers| numbers.p_holm)),
            p_folds: p(numbers.and_then(|numbers| numbers.p_folds)),
            undefined: comparison.result.as_ref().err().map(String::as_str),
        }
    }
}

/// One row of the table of epochs.
struct EpochView<'a> {
    choice: &'a EpochChoice,
    best: String,
    last: String,
    difference: String,
}

impl<'a> EpochView<'a> {
    fn new(choice: &'a EpochChoice) -> Self {
        Self {
            choice,
            best: fixed(choice.best, 3),
            last: fixed(choice.last, 3),
            difference: fixed(choice.best - choice.last, 3),
        }
    }
}

/// One row of the table of the paper's values.
struct PublishedView<'a> {
    value: &'a PublishedValue,
    difference: String,
}

impl<'a> PublishedView<'a> {
    fn new(value: &'a PublishedValue) -> Self {
        Self { value, difference: fixed_or_missing(value.difference, 3) }
    }
}
