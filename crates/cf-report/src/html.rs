//! The report as one HTML file: the template and the texts that it is filled with.

use askama::Template;

use crate::error::{Error, Result};
use crate::figures;
use crate::number::{self, MISSING, count, counted, fixed, fixed_or_missing, significant};
use crate::patients::patient_facts;
use crate::report::{CrossValidationReport, EpochRow, FlowStep, FoldReport};
use crate::risk_groups::{Level, RiskGroup, RiskGroups, TestResult};
use crate::table::{CIndexRow, c_index_rows};
use crate::wording::{self, Headline};

/// With more folds their values would leave the page; they stand in the figure and in the table of folds.
const MOST_FOLD_COLUMNS: usize = 6;

/// Renders the whole report as one HTML file that refers to nothing outside itself: no script, no network.
///
/// Results that are undefined become sentences.
///
/// # Errors
/// If a risk is not finite, the slides of a patient have different outcomes, or a C-index summary does not have one
/// entry per fold report.
pub fn render_html(report: &CrossValidationReport) -> Result<String> {
    report.check()?;
    let facts = patient_facts(&report.predictions)?;
    let mut groups = Vec::new();
    for level in [Level::Slide, Level::Patient] {
        groups.extend(RiskGroups::split(level, &report.predictions)?.map(|groups| LevelView::new(&groups)));
    }
    let page = Page {
        report,
        dark_rules: figures::dark_rules(),
        scored: wording::scored(report, facts),
        follow_up: facts.map(wording::follow_up),
        headline: wording::headline(report),
        c_index_rows: c_index_rows(report),
        fold_columns: report.folds.len() <= MOST_FOLD_COLUMNS,
        optimism: wording::optimism(report),
        c_index_notes: wording::c_index_notes(report),
        c_index_figure: figures::c_index(report).map(|figure| figure.svg),
        groups,
        overstatement: wording::overstatement(facts),
        flow: report.flow.iter().map(FlowView::new).collect(),
        folds: report.folds.iter().map(FoldView::new).collect(),
        training_figure: figures::training(report).map(|figure| figure.svg),
        wall_time: number::duration(report.wall_seconds),
        peak_memory: number::bytes(report.peak_rss_bytes),
    };
    page.render().map_err(Error::Template)
}

/// What the template fills in, as text unless the template counts or repeats it.
#[derive(Template)]
#[template(path = "report.html")]
struct Page<'a> {
    report: &'a CrossValidationReport,
    dark_rules: String,
    scored: String,
    follow_up: Option<String>,
    headline: Headline,
    c_index_rows: [CIndexRow; 3],
    fold_columns: bool,
    optimism: String,
    c_index_notes: Vec<String>,
    c_index_figure: Option<String>,
    groups: Vec<LevelView>,
    overstatement: String,
    flow: Vec<FlowView<'a>>,
    folds: Vec<FoldView>,
    training_figure: Option<String>,
    wall_time: String,
    peak_memory: String,
}

/// Risk groups of one level.
struct LevelView {
    name: &'static str,
    rows: Vec<GroupView>,
    threshold: String,
    chi_square: String,
    p_value: String,
    p_value_by_fold: String,
    undefined: Option<String>,
    svg: String,
}

/// One row of the table of risk groups.
struct GroupView {
    name: &'static str,
    n: String,
    n_events: String,
    median: String,
}

impl LevelView {
    fn new(groups: &RiskGroups) -> Self {
        let row = |name, group: &Option<RiskGroup>| GroupView {
            name,
            n: count(group.as_ref().map_or(0, |group| group.n)),
            n_events: count(group.as_ref().map_or(0, |group| group.n_events)),
            median: group.as_ref().map_or_else(|| MISSING.to_owned(), RiskGroup::median),
        };
        let p_value = |test: &std::result::Result<TestResult, String>| {
            test.as_ref().map_or_else(|_| MISSING.to_owned(), |test| test.p_value.clone())
        };
        Self {
            name: groups.level.heading(),
            rows: vec![row("high risk", &groups.high), row("low risk", &groups.low)],
            threshold: significant(groups.threshold),
            chi_square: fixed_or_missing(groups.test.as_ref().ok().map(|test| test.chi_square), 2),
            p_value: p_value(&groups.test),
            p_value_by_fold: p_value(&groups.test_by_fold),
            undefined: groups.test.as_ref().err().cloned(),
            svg: figures::kaplan_meier(groups).svg,
        }
    }
}

/// One step of the cohort flow.
struct FlowView<'a> {
    label: &'a str,
    n_slides: String,
    n_patients: String,
    n_events: String,
    dropped: Vec<DroppedView<'a>>,
}

/// One reason of a step.
struct DroppedView<'a> {
    n: String,
    reason: &'a str,
    ids: &'a [String],
}

impl<'a> FlowView<'a> {
    fn new(step: &'a FlowStep) -> Self {
        let dropped = step.dropped.iter().map(|dropped| DroppedView {
            n: number::fixed(-(dropped.ids.len() as f64), 0),
            reason: &dropped.reason,
            ids: &dropped.ids,
        });
        Self {
            label: &step.label,
            n_slides: count(step.n_slides),
            n_patients: count(step.n_patients),
            n_events: count(step.n_events),
            dropped: dropped.collect(),
        }
    }
}

/// One fold of the table of folds, and its training.
struct FoldView {
    fold: usize,
    n_train_slides: String,
    n_train_events: String,
    n_validation_slides: String,
    n_validation_patients: String,
    n_validation_events: String,
    selected_epoch: usize,
    last_epoch: String,
    c_index: String,
    patient_c_index: String,
    last_epoch_c_index: String,
    edges: Vec<String>,
    history_summary: String,
    history: Vec<EpochView>,
}

/// One epoch of the table of a fold's training.
struct EpochView {
    epoch: usize,
    selected: bool,
    learning_rate: String,
    train_loss: String,
    validation_loss: String,
    c_index: String,
    time: String,
}

impl FoldView {
    fn new(fold: &FoldReport) -> Self {
        let seconds: f64 = fold.history.iter().map(|row| row.seconds).sum();
        let epochs = counted(fold.history.len(), "epoch", "epochs");
        Self {
            fold: fold.fold,
            n_train_slides: count(fold.n_train_slides),
            n_train_events: count(fold.n_train_events),
            n_validation_slides: count(fold.n_validation_slides),
            n_validation_patients: count(fold.n_validation_patients),
            n_validation_events: count(fold.n_validation_events),
            selected_epoch: fold.selected_epoch,
            last_epoch: wording::last_epoch(fold)
                .map_or_else(|| MISSING.to_owned(), |epoch| epoch.to_string()),
            c_index: fixed_or_missing(fold.c_index, 3),
            patient_c_index: fixed_or_missing(fold.patient_c_index, 3),
            last_epoch_c_index: fixed_or_missing(fold.last_epoch_c_index, 3),
            edges: fold.time_bin_edges_months.iter().map(|&edge| fixed(edge, 2)).collect(),
            history_summary: format!("{epochs} in {}", number::duration(seconds)),
            history: fold.history.iter().map(|row| EpochView::new(row, fold.selected_epoch)).collect(),
        }
    }
}

impl EpochView {
    fn new(row: &EpochRow, selected_epoch: usize) -> Self {
        Self {
            epoch: row.epoch,
            selected: row.epoch == selected_epoch,
            learning_rate: significant(row.learning_rate),
            train_loss: fixed(row.train_loss, 4),
            validation_loss: fixed(row.validation_loss, 4),
            c_index: fixed_or_missing(row.validation_c_index, 3),
            time: number::duration(row.seconds),
        }
    }
}
