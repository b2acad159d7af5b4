//! Runs tasks: each in a directory beside its final name, which it gets when it is complete.

use std::fs::File;
use std::path::Path;
use std::sync::atomic::AtomicBool;

use candle_core::Device;
use cf_model::kernels::device::DeviceName;

use super::fingerprint::{self, CODE_VERSION, DataHashes, FileHashes};
use super::plan::{self, StudyPlan, Task};
use super::study_dir::{self, Failure};
use crate::config::RunConfig;
use crate::cross_validation::{RunOptions, carry_out};
use crate::error::{Error, Result};
use crate::evaluate::Summary;
use crate::event::Event;
use crate::plan::Plan;
use crate::run_dir;

/// What became of a task that was asked for.
#[derive(Debug)]
pub enum TaskEnd {
    /// It ran to its end.
    Ran(Box<Summary>),
    /// It was finished before; nothing was done.
    WasFinished,
    /// Another process is at it; nothing was done.
    IsRunning,
    /// It stopped; the reason is recorded in the study's directory.
    Failed(Error),
}

/// Runs tasks of one study, one after another.
#[derive(Debug)]
pub struct TaskRunner<'a> {
    dir: &'a Path,
    plan: &'a StudyPlan,
    device_name: DeviceName,
    device: Device,
    files: FileHashes,
}

impl<'a> TaskRunner<'a> {
    /// For the study in `dir`, on a device that was opened by its name.
    ///
    /// # Errors
    /// If the plan was made by another version of this program, whose results would carry this one's name.
    pub fn new(
        dir: &'a Path,
        plan: &'a StudyPlan,
        (device_name, device): (DeviceName, Device),
    ) -> Result<Self> {
        if plan.cf_train != CODE_VERSION {
            return Err(Error::data(
                &dir.join(study_dir::PLAN),
                format!("is of cf-train {}, this is {CODE_VERSION}; plan the study again", plan.cf_train),
            ));
        }
        Ok(Self { dir, plan, device_name, device, files: FileHashes::default() })
    }

    /// Runs a task, or goes on with it where it was interrupted. A finished task is left as it is.
    ///
    /// # Errors
    /// [`Error::Task`] if `stop` was set (what is done is saved, and running the task again goes on from there), or the study's
    /// directory can't be written. A failure of the task itself is [`TaskEnd::Failed`].
    pub fn run(&mut self, task: &Task, stop: &AtomicBool, observe: &mut dyn FnMut(Event)) -> Result<TaskEnd> {
        let of_task = |source: Error| Error::Task { id: task.id.clone(), source: Box::new(source) };
        let unfinished = study_dir::unfinished(self.dir, task);
        let finished = study_dir::finished(self.dir, task);
        let is_finished = || finished.join(study_dir::FINISHED).is_file();
        if is_finished() {
            return Ok(TaskEnd::WasFinished);
        }
        run_dir::create_dir(&unfinished).map_err(of_task)?;
        let Some(_lock) = lock(&unfinished).map_err(of_task)? else { return Ok(TaskEnd::IsRunning) };
        if is_finished() {
            // Another process finished it in between, and what was made above is empty.
            std::fs::remove_dir(&unfinished).map_err(Error::io("remove", &unfinished)).map_err(of_task)?;
            return Ok(TaskEnd::WasFinished);
        }
        let failed = study_dir::failed(self.dir, task);
        match self.train(task, &unfinished, stop, observe) {
            Ok(summary) => {
                run_dir::write_json(&unfinished.join(study_dir::FINISHED), task).map_err(of_task)?;
                std::fs::rename(&unfinished, &finished)
                    .map_err(Error::io("rename to", &finished))
                    .map_err(of_task)?;
                if failed.is_file() {
                    std::fs::remove_file(&failed).map_err(Error::io("remove", &failed)).map_err(of_task)?;
                }
                Ok(TaskEnd::Ran(Box::new(summary)))
            }
            Err(error @ Error::Interrupted { .. }) => Err(of_task(error)),
            Err(error) => {
                run_dir::write_json(&failed, &Failure::of(&error)).map_err(of_task)?;
                Ok(TaskEnd::Failed(of_task(error)))
            }
        }
    }

    fn train(
        &mut self,
        task: &Task,
        run: &Path,
        stop: &AtomicBool,
        observe: &mut dyn FnMut(Event),
    ) -> Result<Summary> {
        let config = plan::config_of(self.dir, &task.run)?;
        let fold_plan = Plan::new(&config, &self.device, &[task.fold])?;
        for fold in &fold_plan.folds {
            let data = DataHashes::of(&config, fold, &fold_plan.bags, &mut self.files)?;
            self.check_as_planned(task, &config, &data)?;
        }
        // Where the data lie and what memory a step may use is not part of a task: an interrupted one may go on elsewhere.
        run_dir::write(&run.join(run_dir::CONFIG), config.to_toml()?.as_bytes())?;
        let options = RunOptions {
            folds: vec![task.fold],
            resume: true,
            device_name: self.device_name,
            device: self.device.clone(),
        };
        carry_out(&config, &fold_plan, run, &options, stop, observe)
    }

    /// Refuses to give a task's name to the results of other settings or data.
    fn check_as_planned(&self, task: &Task, config: &RunConfig, data: &DataHashes) -> Result<()> {
        let planned = &task.data;
        let what = if data.slides != planned.slides {
            "the slides of its fold, their outcomes or time bins"
        } else if data.bags != planned.bags {
            "its bags"
        } else if data.initial_weights != planned.initial_weights {
            "the weights that it starts from"
        } else {
            let run = self.plan.run_of(self.dir, task)?;
            let labels = [run.cohort.as_str(), run.model.as_str(), run.backbone.as_str()];
            if task.id.ends_with(&fingerprint::task_hash(config, labels, task.fold, data)?) {
                return Ok(());
            }
            "its settings"
        };
        let config = study_dir::config(self.dir, &task.run);
        Err(Error::data(&config, format!("{what} are not those that were planned; plan the study again")))
    }
}

/// Holds a directory until the returned file is dropped, or `None` while another process holds it.
///
/// File systems without locks let everyone in: there, a task must not be run twice at once.
fn lock(dir: &Path) -> Result<Option<File>> {
    let file = File::open(dir).map_err(Error::io("open", dir))?;
    match file.try_lock() {
        Ok(()) => Ok(Some(file)),
        Err(std::fs::TryLockError::WouldBlock) => Ok(None),
        Err(std::fs::TryLockError::Error(error)) => {
            tracing::debug!(%error, "this file system has no locks");
            Ok(Some(file))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_process_at_a_time_holds_a_task() {
        let dir = tempfile::tempdir().unwrap();
        let first = lock(dir.path()).unwrap();
        assert!(first.is_some() && lock(dir.path()).unwrap().is_none());
        drop(first);
        assert!(lock(dir.path()).unwrap().is_some());
    }
}
