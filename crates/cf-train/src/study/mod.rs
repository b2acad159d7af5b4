//! Studies: many models on many cohorts, encoders and seeds, as independent tasks whose results are collected into tables.
//!
//! | step | file |
//! |---|---|
//! | `STUDY.toml` | `file.rs`, `overrides.rs` |
//! | tasks, named by what goes into them | `plan.rs`, `fingerprint.rs` |
//! | the directory of a study | `study_dir.rs` |
//! | one task after another | `run.rs` |
//!
//! A task is one fold of one run. It reads and writes files of its own, so tasks may run in any order and at once, and a study is
//! collected at any time from those that are finished.

mod file;
mod fingerprint;
mod overrides;
mod plan;
mod run;
mod study_dir;

pub use file::{Reference, StudyFile, StudyRun};
pub use fingerprint::DataHashes;
pub use plan::{PlannedModel, PlannedRun, StudyPlan, Task};
pub use run::{TaskEnd, TaskRunner};
pub use study_dir::{Failure, TaskState, state};
