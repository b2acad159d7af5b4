//! Studies: many models on many cohorts, encoders and seeds, as independent tasks whose results are collected into tables.
//!
//! | step | file |
//! |---|---|
//! | `STUDY.toml` | `file.rs`, `overrides.rs` |
//! | tasks, named by what goes into them | `plan.rs`, `fingerprint.rs` |
//! | the directory of a study | `study_dir.rs` |
//! | one task after another | `run.rs` |
//! | what is finished, joined | `collect.rs`, `finished.rs`, `cell.rs`, `comparison.rs`, `results.rs` |
//! | tables in the paper's form, and the paper's own | `tables.rs`, `published.rs` |
//! | the report | `report.rs` |
//!
//! A task is one fold of one run. It reads and writes files of its own, so tasks may run in any order and at once, and a study is
//! collected at any time from those that are finished.

mod cell;
mod collect;
mod comparison;
mod file;
mod fingerprint;
mod finished;
mod overrides;
mod plan;
mod published;
mod report;
mod results;
mod run;
mod study_dir;
mod tables;

pub use collect::collect;
pub use file::{Reference, StudyFile, StudyRun};
pub use fingerprint::DataHashes;
pub use plan::{PlannedModel, PlannedRun, StudyPlan, Task};
pub use results::{
    Cell, Comparison, ComparisonKind, ComparisonResult, CorrectedT, Estimate, FoldResult, PairedResult,
    Published, SeedLogRank, StudyResults, UnfinishedTask,
};
pub use run::{TaskEnd, TaskRunner};
pub use study_dir::{Failure, TaskState, state};
pub use tables::tables;
