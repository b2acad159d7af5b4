//! Figures, tables and the self-contained HTML report of a cross-validated survival model.
//!
//! [`CrossValidationReport`] is plain data that a trainer fills in. From it come one HTML file that needs neither
//! network nor script ([`render_html`]), every figure as SVG ([`figures`]) and, with feature `png`, as PNG
//! (`svg_to_png`), and the C-index in the format of the paper's tables ([`paper_format`], [`c_index_table`]).
//! Its numbers over time are there for programs, too ([`over_time()`]).
//! Several models on several cohorts make a [`StudyTable`]; trained models on another cohort, an [`ExternalReport`].
//!
//! Intervals of single folds, survival curves, risk groups with their tests, scores over time and calibration are
//! computed here from the predictions, by [`survival_metrics`]; all other numbers are shown as given. Undefined results
//! (an empty risk group, a fold without a C-index) become sentences; contradictions in the data are an [`Error`].
//!
//! ```
//! use cf_report::{CIndexSummary, CrossValidationReport, RiskCut, Selection, figures, render_html};
//!
//! let nothing = CIndexSummary { mean: None, sd: None, folds: Vec::new(), ci95: None, no_ci95: None };
//! let report = CrossValidationReport {
//!     title: "CrossFusion on BLCA".to_owned(),
//!     model: "crossfusion".to_owned(),
//!     cohort: "BLCA".to_owned(),
//!     backbone: "resnet50".to_owned(),
//!     protocol: "sound".to_owned(),
//!     protocol_notes: Vec::new(),
//!     flow: Vec::new(),
//!     folds: Vec::new(),
//!     n_planned_folds: 0,
//!     c_index: nothing.clone(),
//!     patient_c_index: nothing.clone(),
//!     last_epoch_c_index: nothing.clone(),
//!     patient_last_epoch_c_index: nothing,
//!     predictions: Vec::new(),
//!     risk_cut: RiskCut::PooledMedian,
//!     selection: Selection::OnReportedFold,
//!     environment: Vec::new(),
//!     inputs: Vec::new(),
//!     model_paper: String::new(),
//!     software_version: "0.1.0".to_owned(),
//!     config_toml: String::new(),
//!     no_survival: None,
//!     heatmaps: Vec::new(),
//!     wall_seconds: 0.0,
//!     peak_rss_bytes: 0,
//! };
//! assert!(render_html(&report)?.contains("<h1>CrossFusion on BLCA</h1>"));
//! // Nothing was scored, so that there is nothing to draw.
//! assert!(figures(&report)?.is_empty());
//! # Ok::<(), cf_report::Error>(())
//! ```

mod analysis;
mod c_index_intervals;
mod calibration;
mod citation;
mod error;
mod external;
mod figures;
mod findings;
mod fold_balance;
mod fold_patients;
mod html;
mod number;
mod over_time;
mod patients;
#[cfg(feature = "png")]
mod png;
mod report;
mod risk_cut;
mod risk_groups;
mod study;
mod table;
mod time_scores;
mod wording;

pub use error::{Error, Result};
pub use external::{CutSource, ExternalCIndex, ExternalReport, external_figures};
pub use figures::{
    Anchor, Figure, ForestPlot, ForestRow, ForestScale, Ink, SurvivalCurve, Svg, TimeCurve, TimeCurves,
    TimeQuantity, bin_ends, calibration_plot, cohort_flow, figures, forest_plot, patient_in_cohort,
    predicted_survival, survival_curves, time_curves,
};
pub use html::{render_external_html, render_html};
pub use number::percent;
pub use over_time::{
    CalibrationNumbers, FoldOverTime, HorizonNumbers, MeanOverTime, OverTime, external_over_time, over_time,
};
#[cfg(feature = "png")]
pub use png::svg_to_png;
pub use report::{
    CIndexSummary, CrossValidationReport, Dropped, EpochRow, FlowStep, FoldReport, Heatmap, InputHash,
    PredictionRow, Selection, SiteOverlap,
};
pub use risk_cut::{RiskCut, TrainingCut};
pub use risk_groups::{Level, RiskSplit, risk_split};
/// Of [`PredictionRow`].
pub use survival_metrics::Outcome;

pub use study::{
    CohortEstimates, EpochChoice, Mark, MethodEstimate, MissingTask, PairedNumbers, PublishedValue,
    RunProvenance, StudyCell, StudyComparison, StudyReport, StudyRow, StudyTable, TableGroup,
    render_study_html,
};
pub use table::{c_index_table, paper_format};
pub use wording::validated_twice;
