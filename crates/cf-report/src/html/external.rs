//! The report of an external test as one HTML file, of the sections that cross-validation has, too.

use askama::Template;

use super::cohort::FlowView;
use super::over_time::{CalibrationView, TimeScoresView};
use super::risk_groups::{GroupsPage, LevelView};
use crate::citation;
use crate::error::{Error, Result};
use crate::external::{ExternalAnalysis, ExternalCIndex, ExternalFindings, ExternalReport, PlacedFigures};
use crate::figures;
use crate::findings::Findings;
use crate::number::{count, fixed_or_missing};
use crate::table::interval;
use crate::wording::{self, Headline};

/// Renders the report of an external test as one HTML file that refers to nothing outside itself: no script, no network.
///
/// Results that are undefined become sentences. Numbers that `summary.json` has, too, stand in elements whose attribute
/// `data-summary` is their path in it.
///
/// # Errors
/// If a risk is not finite, the slides of a patient have different outcomes, or a C-index does not have one value per fold.
pub fn render_external_html(report: &ExternalReport) -> Result<String> {
    let analysis = ExternalAnalysis::of(report)?;
    let ExternalFindings { findings, headlines, cut } = ExternalFindings::of(report, &analysis);
    let n_patients =
        |of: fn(&crate::patients::PatientFacts) -> usize| count(analysis.facts.as_ref().map_or(0, of));
    let page = Page {
        report,
        dark_rules: figures::dark_rules(),
        n_slides: count(report.predictions.len()),
        n_events: count(report.predictions.iter().filter(|row| row.outcome.is_event()).count()),
        n_patients: n_patients(|facts| facts.n_patients),
        n_event_patients: n_patients(|facts| facts.n_event_patients),
        follow_up: analysis.facts.map(wording::follow_up),
        findings,
        headlines,
        rows: [
            CIndexView::new("Slide level", "c_index", &report.c_index),
            CIndexView::new("Patient level", "patient_c_index", &report.patient_c_index),
        ],
        cut,
        groups: [
            LevelView::new(&analysis.slides, Some("risk_groups.log_rank")),
            LevelView::new(&analysis.patients, Some("patient_risk_groups.log_rank")),
        ],
        time_scores: analysis
            .time_scores
            .as_ref()
            .ok()
            .map(|scores| TimeScoresView::of_cohort(scores, analysis.reach.is_some())),
        survival_note: analysis.reach.as_deref().or(report.no_survival.as_deref()),
        no_time_scores: analysis.time_scores.as_ref().err().map(String::as_str),
        calibration: analysis
            .calibration
            .as_ref()
            .map(|calibration| CalibrationView::new(calibration, "the mean over the models")),
        no_calibration: report.no_survival.as_deref().unwrap_or_default(),
        overstatement: wording::overstatement(analysis.facts),
        flow: report.flow.iter().map(FlowView::new).collect(),
        figures: PlacedFigures::of(report, &analysis)?,
        bibtex: citation::bibtex(&report.software_version),
    };
    page.render().map_err(Error::Template)
}

/// What the template fills in, as text unless the template counts or repeats it.
#[derive(Template)]
#[template(path = "external.html")]
struct Page<'a> {
    report: &'a ExternalReport,
    dark_rules: String,
    n_slides: String,
    n_events: String,
    n_patients: String,
    n_event_patients: String,
    follow_up: Option<String>,
    findings: Findings,
    headlines: [Headline; 2],
    rows: [CIndexView; 2],
    cut: String,
    groups: [LevelView; 2],
    time_scores: Option<TimeScoresView>,
    no_time_scores: Option<&'a str>,
    /// Of predicted survival: that it is none, or that patients were followed for longer.
    survival_note: Option<&'a str>,
    calibration: Option<CalibrationView<'a>>,
    /// Where there is none.
    no_calibration: &'a str,
    overstatement: String,
    flow: Vec<FlowView<'a>>,
    figures: PlacedFigures,
    bibtex: String,
}

impl GroupsPage for Page<'_> {
    fn levels(&self) -> &[LevelView] {
        &self.groups
    }

    fn has_folds(&self) -> bool {
        false
    }

    fn cut_caption(&self) -> &str {
        ""
    }
}

/// The C-indices of one level.
struct CIndexView {
    label: &'static str,
    key: &'static str,
    averaged: String,
    ci95: String,
    mean: String,
    sd: String,
    folds: Vec<String>,
}

impl CIndexView {
    fn new(label: &'static str, key: &'static str, c_index: &ExternalCIndex) -> Self {
        Self {
            label,
            key,
            averaged: fixed_or_missing(c_index.averaged, 3),
            ci95: interval(c_index.ci95),
            mean: fixed_or_missing(c_index.mean, 3),
            sd: fixed_or_missing(c_index.sd, 3),
            folds: c_index.folds.iter().map(|fold| fixed_or_missing(*fold, 3)).collect(),
        }
    }
}
