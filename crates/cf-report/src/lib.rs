//! Figures, tables and the self-contained HTML report of a cross-validated survival model.

mod error;
mod figures;
mod html;
mod png;
mod report;

pub use error::{Error, Result};
pub use figures::{Figure, figures};
pub use html::render_html;
pub use png::svg_to_png;
pub use report::{
    CIndexSummary, CrossValidationReport, Dropped, EpochRow, FlowStep, FoldReport, PredictionRow,
};
