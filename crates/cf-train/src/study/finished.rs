//! The finished folds of a run, read back from its tasks.

use std::path::Path;

use super::plan::{self, PlannedRun, StudyPlan};
use super::results::UnfinishedTask;
use super::study_dir::{self, TaskState, state};
use crate::config::RunConfig;
use crate::error::{Error, Remedy, Result};
use crate::evaluate::{self, FoldPredictions};
use crate::fold_state::HistoryRow;
use crate::protocol::UNSELECTABLE_EPOCHS;
use crate::run_dir::{self, fold_files};

/// A run with those of its folds that are finished.
#[derive(Debug)]
pub(super) struct FinishedRun<'a> {
    pub(super) run: &'a PlannedRun,
    pub(super) config: RunConfig,
    /// In order.
    pub(super) folds: Vec<FinishedFold>,
    /// Of the same folds.
    pub(super) predictions: Vec<FoldPredictions>,
    /// Folds of the plan.
    pub(super) n_planned: usize,
}

/// A finished task.
#[derive(Debug)]
pub(super) struct FinishedFold {
    pub(super) task: String,
    pub(super) fold: usize,
    pub(super) history: Vec<HistoryRow>,
    /// Validated slides over slides trained on.
    pub(super) test_to_train: f64,
}

impl FinishedFold {
    /// Of the epochs that the protocol `paper` may select; the last where there is none.
    pub(super) fn best_epoch_c_index(&self) -> Option<f64> {
        let selectable = self.history.iter().filter(|row| row.epoch > UNSELECTABLE_EPOCHS);
        let best = selectable.filter_map(|row| row.validation_c_index).max_by(f64::total_cmp);
        best.or_else(|| self.final_epoch_c_index())
    }

    pub(super) fn final_epoch_c_index(&self) -> Option<f64> {
        self.history.last().and_then(|row| row.validation_c_index)
    }

    pub(super) fn seconds(&self) -> f64 {
        self.history.iter().map(|row| row.seconds).sum()
    }
}

/// Reads every finished task, by run, and lists the others, damaged ones among them.
///
/// # Errors
/// If a configuration can't be read, or the system refuses to read a task.
pub(super) fn read<'a>(
    dir: &Path,
    plan: &'a StudyPlan,
) -> Result<(Vec<FinishedRun<'a>>, Vec<UnfinishedTask>)> {
    let mut runs = Vec::new();
    let mut unfinished = Vec::new();
    for run in &plan.runs {
        let (mut folds, mut predictions) = (Vec::new(), Vec::new());
        let tasks = plan.tasks.iter().filter(|task| task.run == run.name);
        let n_planned = tasks.clone().count();
        for task in tasks {
            let (state, reason) = match state(dir, task)? {
                TaskState::Finished => {
                    let finished = study_dir::finished(dir, task);
                    match read_fold(&finished, &task.id) {
                        Ok((fold, of_fold)) => {
                            folds.push(fold);
                            predictions.push(of_fold);
                            continue;
                        }
                        Err(error) if error.remedy() == Remedy::FixInput => {
                            let way_out = format!("remove {} and run the task again", finished.display());
                            ("damaged", Some(format!("{}; {way_out}", error.with_causes())))
                        }
                        Err(error) => return Err(error),
                    }
                }
                TaskState::Failed(failure) => ("failed", Some(failure.reason)),
                TaskState::Running(holder) => ("running", Some(holder)),
                TaskState::Begun => ("begun", None),
                TaskState::Waiting => ("waiting", None),
            };
            unfinished.push(UnfinishedTask { id: task.id.clone(), state: state.to_owned(), reason });
        }
        runs.push(FinishedRun {
            run,
            config: plan::config_of(dir, &run.name)?,
            folds,
            predictions,
            n_planned,
        });
    }
    Ok((runs, unfinished))
}

fn read_fold(run: &Path, task: &str) -> Result<(FinishedFold, FoldPredictions)> {
    let Some(predictions) = evaluate::read_predictions(run)?.pop() else {
        return Err(Error::data(run, "holds no fold, expected a finished task"));
    };
    let history = run_dir::read_csv(&run_dir::fold_dir(run, predictions.fold).join(fold_files::HISTORY))?;
    let record = &predictions.record;
    let test_to_train = record.n_validation_slides as f64 / record.n_train_slides.max(1) as f64;
    Ok((FinishedFold { task: task.to_owned(), fold: predictions.fold, history, test_to_train }, predictions))
}
