//! The report as one HTML file: the template and the texts that it is filled with.

mod cohort;
mod external;
mod folds;
mod over_time;
mod risk_groups;

use askama::Template;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;

pub use external::render_external_html;

use cohort::FlowView;
use folds::FoldView;
use over_time::{CalibrationView, TimeScoresView};
use risk_groups::{GroupsPage, GroupsView, LevelView};

use crate::analysis::Analysis;
use crate::c_index_intervals::CIndexIntervals;
use crate::citation;
use crate::error::{Error, Result};
use crate::figures::{self, ReportFigures};
use crate::findings::Findings;
use crate::number;
use crate::patients::PatientFacts;
use crate::report::{CrossValidationReport, Heatmap};
use crate::table::{CIndexRow, c_index_rows, interval};
use crate::wording::{self, Headline, Scored};

/// Renders the whole report as one HTML file that refers to nothing outside itself: no script, no network.
///
/// Results that are undefined become sentences. Numbers that `summary.json` has, too, stand in elements whose attribute
/// `data-summary` is their path in it.
///
/// # Errors
/// If a risk is not finite, a survival is no probability, the slides of a patient have different outcomes, or a C-index summary
/// does not have one entry per fold report.
pub fn render_html(report: &CrossValidationReport) -> Result<String> {
    let analysis = Analysis::of(report)?;
    let pooled = |(label, of): (&'static str, &CIndexIntervals)| {
        of.pooled.map(|pooled| PooledView {
            label,
            c_index: number::fixed(pooled.c_index, 3),
            ci95: interval(pooled.limits),
        })
    };
    let levels = [("Slide level", &analysis.slide_intervals), ("Patient level", &analysis.patient_intervals)];
    let validated_twice = analysis.facts.and_then(PatientFacts::validated_twice);
    let (time_scores, no_time_scores) = match &analysis.time_scores {
        Ok(scores) => (Some(TimeScoresView::of_folds(scores, validated_twice.as_deref())), None),
        Err(reason) => (None, Some(reason.as_str())),
    };
    let folds = folds::views(report, &analysis);
    let page = Page {
        report,
        dark_rules: figures::dark_rules(),
        scored: wording::scored(report, analysis.facts),
        follow_up: analysis.facts.map(wording::follow_up),
        findings: Findings::of(report, &analysis),
        headlines: wording::headlines(report),
        c_index_rows: c_index_rows(report),
        pooled: levels.into_iter().filter_map(pooled).collect(),
        optimism: wording::optimism(report),
        c_index_notes: wording::c_index_notes(report),
        groups: GroupsView::new(&analysis),
        overstatement: wording::overstatement(analysis.facts),
        validated_twice: validated_twice.clone(),
        time_scores,
        no_time_scores,
        survival_note: report.no_survival.as_deref(),
        calibration: analysis.calibration.as_ref().map(|calibration| {
            CalibrationView::new(calibration, &wording::predicted_by(validated_twice.as_deref()))
        }),
        no_calibration: report
            .no_survival
            .as_deref()
            .unwrap_or("There are no validation predictions, so calibration is undefined."),
        flow: report.flow.iter().map(FlowView::new).collect(),
        folds_argument: wording::folds_argument(report),
        n_bins: folds.iter().map(|fold| fold.bins.len()).max().unwrap_or(0),
        sites_known: folds.iter().any(|fold| fold.sites.is_some()),
        folds,
        figures: figures::of_report(report, &analysis)?,
        heatmaps: report.heatmaps.iter().map(HeatmapView::new).collect(),
        wall_time: number::duration(report.wall_seconds),
        peak_memory: number::bytes(report.peak_rss_bytes),
        bibtex: citation::bibtex(&report.software_version),
    };
    page.render().map_err(Error::Template)
}

/// What the template fills in, as text unless the template counts or repeats it.
#[derive(Template)]
#[template(path = "report.html")]
struct Page<'a> {
    report: &'a CrossValidationReport,
    dark_rules: String,
    scored: Scored,
    follow_up: Option<String>,
    findings: Findings,
    headlines: [Headline; 2],
    c_index_rows: [CIndexRow; 4],
    pooled: Vec<PooledView>,
    optimism: String,
    c_index_notes: Vec<String>,
    groups: GroupsView,
    overstatement: String,
    /// Of the patients, where there are any.
    validated_twice: Option<String>,
    time_scores: Option<TimeScoresView>,
    no_time_scores: Option<&'a str>,
    /// Of predicted survival.
    survival_note: Option<&'a str>,
    calibration: Option<CalibrationView<'a>>,
    /// Where there is none.
    no_calibration: &'a str,
    flow: Vec<FlowView<'a>>,
    folds_argument: String,
    n_bins: usize,
    sites_known: bool,
    folds: Vec<FoldView>,
    figures: ReportFigures,
    heatmaps: Vec<HeatmapView<'a>>,
    wall_time: String,
    peak_memory: String,
    bibtex: String,
}

impl GroupsPage for Page<'_> {
    fn levels(&self) -> &[LevelView] {
        &self.groups.levels
    }

    fn has_folds(&self) -> bool {
        true
    }

    fn cut_caption(&self) -> &str {
        &self.groups.caption
    }
}

/// The heatmaps of a slide, its picture part of the page.
struct HeatmapView<'a> {
    slide_id: &'a str,
    reason: &'a str,
    picture: String,
    folder: &'a str,
    link: String,
}

impl<'a> HeatmapView<'a> {
    fn new(heatmap: &'a Heatmap) -> Self {
        let Heatmap { slide_id, reason, picture_png, folder } = heatmap;
        // What a path may hold and an address may not.
        let escaped = |c: char| match c {
            '%' | '?' | '#' | ' ' | '"' | '<' | '>' | '\\' => format!("%{:02X}", c as u32),
            c => c.to_string(),
        };
        // A folder is never taken for a scheme, as `a:b` would be.
        let link = folder.chars().map(escaped).collect::<String>();
        let link = if link.starts_with(['.', '/']) { link } else { format!("./{link}") };
        Self { slide_id, reason, picture: STANDARD.encode(picture_png), folder, link }
    }
}

/// The C-index over the pairs of all folds.
struct PooledView {
    label: &'static str,
    c_index: String,
    ci95: String,
}
