//! Studies: many models on many cohorts, encoders and seeds, as independent tasks whose results are collected into tables.
//!
//! | step | file |
//! |---|---|
//! | `STUDY.toml` | `file.rs`, `overrides.rs` |
//! | tasks, named by what goes into them | `plan.rs`, `fingerprint.rs` |
//! | what tasks take, and jobs of several | `forecast.rs` |
//! | the directory of a study | `study_dir.rs` |
//! | one task after another, by one process at a time | `run.rs`, over the crate's `claim.rs` |
//! | what is finished, joined | `collect.rs`, `finished.rs`, `cell.rs`, `comparison.rs`, `results.rs` |
//! | whole runs, of their folds | `assemble.rs` |
//! | tables in the paper's form, and the paper's own | `tables.rs`, `published.rs` |
//! | the report | `report.rs` |
//! | files of a cluster's engine | `emit.rs` |
//!
//! A task is one fold of one run. It reads and writes files of its own, so tasks may run in any order and at once, and a study is
//! collected at any time from those that are finished.

mod assemble;
mod cell;
mod collect;
mod comparison;
mod emit;
mod file;
mod fingerprint;
mod finished;
mod forecast;
mod overrides;
mod plan;
mod published;
mod report;
mod results;
mod run;
mod study_dir;
mod tables;

pub use crate::claim::{ClusterJob, Holder};
pub use crate::data_hashes::DataHashes;
pub use assemble::{AssembledRun, assemble};
pub use collect::collect;
pub use emit::{Engine, emit};
pub use file::{Reference, StudyFile, StudyRun};
pub use forecast::{Forecast, Job, Resources};
pub use plan::{PlannedModel, PlannedRun, StudyPlan, Task};
pub use results::{
    Cell, Comparison, ComparisonKind, ComparisonResult, CorrectedT, Estimate, FoldResult, PairedResult,
    Published, SeedLogRank, StudyResults, UnfinishedTask,
};
pub use run::{TaskEnd, TaskRunner};
pub(crate) use study_dir::FINISHED;
pub use study_dir::{Failure, TaskState, state};
pub use tables::tables;
