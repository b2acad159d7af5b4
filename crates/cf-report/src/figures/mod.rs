//! The figures of the report, each one a whole SVG document.

mod axis;
mod c_index;
mod calibration;
mod cohort_flow;
mod forest;
mod kaplan_meier;
mod over_time;
mod survival_curves;
mod svg;
mod training;

pub use calibration::calibration_plot;
pub use cohort_flow::cohort_flow;
pub use forest::{ForestPlot, ForestRow, ForestScale, forest_plot};
pub use over_time::{TimeCurve, TimeCurves, TimeQuantity, time_curves};
pub use survival_curves::{SurvivalCurve, survival_curves};

pub(crate) use forest::draw as draw_forest;
pub(crate) use svg::dark_rules;

use crate::error::Result;
use crate::report::CrossValidationReport;
use crate::risk_groups::{Level, RiskGroups};

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
    report.check()?;
    let mut figures = Vec::new();
    figures.extend(cohort_flow(&report.flow));
    figures.extend(c_index(report));
    for level in [Level::Slide, Level::Patient] {
        if let Some(groups) = RiskGroups::split(level, &report.predictions)? {
            figures.push(kaplan_meier(&groups));
        }
    }
    figures.extend(training(report));
    Ok(figures)
}

/// C-index per fold, unless no fold has one.
pub(crate) fn c_index(report: &CrossValidationReport) -> Option<Figure> {
    let name = "c-index-per-fold";
    c_index::draw(name, report).map(|svg| Figure { name, svg })
}

/// Survival of the two risk groups.
pub(crate) fn kaplan_meier(groups: &RiskGroups) -> Figure {
    let name = match groups.level {
        Level::Slide => "kaplan-meier-slides",
        Level::Patient => "kaplan-meier-patients",
    };
    Figure { name, svg: kaplan_meier::draw(name, groups) }
}

/// Training curves, unless no epoch was recorded.
pub(crate) fn training(report: &CrossValidationReport) -> Option<Figure> {
    let name = "training-curves";
    training::draw(name, report).map(|svg| Figure { name, svg })
}
