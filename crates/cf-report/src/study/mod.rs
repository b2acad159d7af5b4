//! Studies: models on cohorts, in the tables of the paper.
//!
//! | what | file |
//! |---|---|
//! | a table with marks for the best and second best | `table.rs` |
//! | the same as text, Markdown, LaTeX and CSV | `formats.rs` |
//! | what a report shows, as plain data | `report.rs` |
//! | the report | `html.rs`, `wording.rs` |

mod formats;
mod html;
mod report;
mod table;
mod wording;

pub use html::render_study_html;
pub use report::{
    CohortEstimates, EpochChoice, MethodEstimate, MissingTask, PairedNumbers, PublishedValue, RunProvenance,
    StudyComparison, StudyReport,
};

pub use table::{Mark, StudyCell, StudyRow, StudyTable, TableGroup};
