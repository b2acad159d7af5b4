//! The figures of the report, each one a whole SVG document.

mod axis;
mod c_index;
mod calibration;
mod cohort_flow;
mod d_calibration;
mod fold_balance;
mod forest;
mod kaplan_meier;
mod over_time;
mod patient_place;
mod predicted_survival;
mod survival_curves;
mod svg;
mod training;

pub use calibration::calibration_plot;
pub use cohort_flow::cohort_flow;
pub use forest::{ForestPlot, ForestRow, ForestScale, forest_plot};
pub use over_time::{TimeCurve, TimeCurves, TimeQuantity, time_curves};
pub use patient_place::patient_in_cohort;
pub use predicted_survival::{bin_ends, predicted_survival};
pub use survival_curves::{SurvivalCurve, survival_curves};
pub use svg::{Anchor, Ink, Svg};

pub(crate) use forest::draw as draw_forest;
pub(crate) use svg::dark_rules;

use crate::analysis::Analysis;
use crate::calibration::{Calibration, Horizon};
use crate::error::Result;
use crate::fold_balance::FoldBalance;
use crate::number::fixed;
use crate::report::CrossValidationReport;
use crate::risk_groups::{Level, RiskGroups};
use crate::time_scores::TimeScores;

/// A figure.
#[derive(Debug, Clone, PartialEq)]
pub struct Figure {
    /// File stem, such as `c-index-per-fold`, `kaplan-meier-slides` or `training-curves`.
    pub name: &'static str,
    /// A whole SVG document, UTF-8, dark on white.
    pub svg: String,
}

/// Draws every figure of the report that there is data for.
///
/// # Errors
/// As [`render_html`](crate::render_html).
pub fn figures(report: &CrossValidationReport) -> Result<Vec<Figure>> {
    Ok(of_report(report, &Analysis::of(report)?)?.into_list())
}

/// The figures of a report, by their place in the page.
#[derive(Debug)]
pub(crate) struct ReportFigures {
    pub(crate) c_index: Option<Figure>,
    pub(crate) kaplan_meier: Vec<Figure>,
    pub(crate) auc: Option<Figure>,
    pub(crate) brier: Option<Figure>,
    pub(crate) calibration: Vec<Figure>,
    pub(crate) cohort_flow: Option<Figure>,
    pub(crate) fold_balance: Option<Figure>,
    pub(crate) training: Option<Figure>,
}

impl ReportFigures {
    fn into_list(self) -> Vec<Figure> {
        let before = self.c_index.into_iter().chain(self.kaplan_meier).chain(self.auc).chain(self.brier);
        let after = self.cohort_flow.into_iter().chain(self.fold_balance).chain(self.training);
        before.chain(self.calibration).chain(after).collect()
    }
}

/// Draws all figures from what was computed.
pub(crate) fn of_report(report: &CrossValidationReport, analysis: &Analysis) -> Result<ReportFigures> {
    let (auc, brier) = match &analysis.time_scores {
        Ok(scores) => (Some(auc(scores, "mean of folds")?), brier(scores)?),
        Err(_) => (None, None),
    };
    Ok(ReportFigures {
        c_index: c_index(report, analysis),
        kaplan_meier: analysis.groups.iter().map(kaplan_meier).collect(),
        auc,
        brier,
        calibration: analysis.calibration.as_ref().map_or_else(|| Ok(Vec::new()), calibration)?,
        cohort_flow: cohort_flow(&report.flow),
        fold_balance: fold_balance(&analysis.balance),
        training: training(report),
    })
}

/// C-index per fold, unless no fold has one.
fn c_index(report: &CrossValidationReport, analysis: &Analysis) -> Option<Figure> {
    let name = "c-index-per-fold";
    let intervals =
        c_index::Intervals { slides: &analysis.slide_intervals, patients: &analysis.patient_intervals };
    c_index::draw(name, report, intervals).map(|svg| Figure { name, svg })
}

/// Survival of the two risk groups.
pub(crate) fn kaplan_meier(groups: &RiskGroups) -> Figure {
    let name = match groups.level {
        Level::Slide => "kaplan-meier-slides",
        Level::Patient => "kaplan-meier-patients",
    };
    Figure { name, svg: kaplan_meier::draw(name, groups) }
}

/// AUC(t), mean over folds; `of` says of what.
pub(crate) fn auc(scores: &TimeScores, of: &str) -> Result<Figure> {
    let limits = scores.auc_limits();
    let curve = TimeCurve {
        label: if limits.is_empty() { of.to_owned() } else { format!("{of}, with 95 % band") },
        times: scores.times.clone(),
        values: scores.mean(|fold| &fold.auc.auc),
        limits,
    };
    let (title, quantity) = ("AUC(t), patients", TimeQuantity::Auc);
    time_curves(&TimeCurves { title, quantity, time_label: "Months", curves: &[curve] })
}

/// Brier score of the model and of its reference, means over folds.
pub(crate) fn brier(scores: &TimeScores) -> Result<Option<Figure>> {
    let Some([model, reference]) = scores.mean_brier() else { return Ok(None) };
    let curve = |label: &str, values| TimeCurve {
        label: label.to_owned(),
        times: scores.times.clone(),
        values,
        limits: Vec::new(),
    };
    let curves = [curve("model", model), curve("Kaplan-Meier of the training patients", reference)];
    let (title, quantity) = ("Brier score, patients", TimeQuantity::Brier);
    time_curves(&TimeCurves { title, quantity, time_label: "Months", curves: &curves }).map(Some)
}

/// Calibration at each horizon, then D-calibration.
pub(crate) fn calibration(calibration: &Calibration) -> Result<Vec<Figure>> {
    // Ids of a page must differ, and a report has three horizons at most.
    const NAMES: [&str; 3] = ["calibration-1", "calibration-2", "calibration-3"];
    let at = |(horizon, name): (&Horizon, &'static str)| {
        let title = format!("Risk of an event within {} months", fixed(horizon.months, 0));
        calibration::draw(name, &title, &horizon.groups)
    };
    let mut figures: Vec<Figure> = calibration.horizons.iter().zip(NAMES).map(at).collect::<Result<_>>()?;
    figures.push(d_calibration::draw(&calibration.d));
    Ok(figures)
}

/// Patients and events of each fold, unless nobody was scored.
fn fold_balance(balance: &[FoldBalance]) -> Option<Figure> {
    fold_balance::draw(balance)
}

/// Training curves, unless no epoch was recorded.
fn training(report: &CrossValidationReport) -> Option<Figure> {
    let name = "training-curves";
    training::draw(name, report).map(|svg| Figure { name, svg })
}
