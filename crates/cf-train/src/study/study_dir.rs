//! The layout of a study's directory, and where its tasks stand.

use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::plan::Task;
use crate::claim::{self, Found};
use crate::error::{Error, Remedy, Result};
use crate::run_dir;

/// The study's file, as it was planned.
pub(super) const STUDY: &str = "study.toml";
/// The tasks.
pub(super) const PLAN: &str = "plan.json";
/// The configuration of every run.
pub(super) const CONFIGS: &str = "configs";
/// A directory for each task.
pub(super) const TASKS: &str = "tasks";
/// Tables 1 and 2.
pub(super) const TABLES: &str = "tables";
/// Everything that was collected.
pub(super) const RESULTS: &str = "study.json";
/// In a task's directory, written last: the task is finished.
pub(crate) const FINISHED: &str = "task.json";

/// The configuration of a run.
pub(super) fn config(dir: &Path, run: &str) -> PathBuf {
    dir.join(CONFIGS).join(format!("{run}.toml"))
}

/// Where a task is, or will be, once it is finished.
pub(super) fn finished(dir: &Path, task: &Task) -> PathBuf {
    dir.join(TASKS).join(&task.id)
}

/// Where a task is until then.
pub(super) fn unfinished(dir: &Path, task: &Task) -> PathBuf {
    dir.join(TASKS).join(format!("{}.partial", task.id))
}

/// Why a task failed when it was last tried.
pub(super) fn failed(dir: &Path, task: &Task) -> PathBuf {
    dir.join(TASKS).join(format!("{}.failed.json", task.id))
}

/// Who is at a task.
pub(super) fn claim(dir: &Path, task: &Task) -> PathBuf {
    dir.join(TASKS).join(format!("{}.claim", task.id))
}

/// Where a task stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum TaskState {
    /// Its results are there.
    Finished,
    /// It was tried, and stopped for this reason.
    Failed(Failure),
    /// A process is at it, and which.
    Running(String),
    /// It was interrupted, and goes on when it is run again.
    Begun,
    /// It was not tried yet.
    Waiting,
}

/// `ID.failed.json`: why a task stopped.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Failure {
    /// The error with its causes.
    pub reason: String,
    /// Whether the same may succeed next time, without a change.
    pub retry: bool,
}

impl Failure {
    pub(super) fn of(error: &Error) -> Self {
        Self { reason: error.with_causes(), retry: error.remedy() == Remedy::Retry }
    }
}

/// Where a task of the study in `dir` stands.
///
/// # Errors
/// If a claim or the record of a failure can't be read.
pub fn state(dir: &Path, task: &Task) -> Result<TaskState> {
    // Asked for first: a task that finishes in between is then finished, not gone.
    let claim = claim::find(&claim(dir, task))?;
    if finished(dir, task).join(FINISHED).is_file() {
        return Ok(TaskState::Finished);
    }
    if let Some(found) = claim.filter(|found| !found.is_stale()) {
        return Ok(TaskState::Running(by_whom(&found)));
    }
    let failed = failed(dir, task);
    if failed.is_file() {
        return Ok(TaskState::Failed(run_dir::read_json(&failed)?));
    }
    Ok(if unfinished(dir, task).is_dir() { TaskState::Begun } else { TaskState::Waiting })
}

/// `node7, process 4411, job 12_3, heard of 8 s ago`.
fn by_whom(found: &Found) -> String {
    let holder =
        found.holder.as_ref().map_or_else(|| "a process that has just begun".to_owned(), ToString::to_string);
    format!("{holder}, heard of {} s ago", found.silence().as_secs())
}
