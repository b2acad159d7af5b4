//! Runs tasks: each in a directory beside its final name, which it gets when it is complete.

use std::collections::BTreeSet;
use std::io::ErrorKind;
use std::path::Path;
use std::sync::atomic::AtomicBool;

use candle_core::Device;
use cf_model::kernels::device::DeviceName;

use super::fingerprint::{self, CODE_VERSION};
use super::plan::{self, StudyPlan, Task};
use super::study_dir::{self, Failure};
use crate::claim::{Claim, Claimed, Holder};
use crate::config::RunConfig;
use crate::cross_validation::{Held, RunOptions, carry_out, check_precision};
use crate::data_hashes::{DataHashes, FileHashes};
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
    /// Another process is at it; nothing was done. `None` where it has only just begun.
    IsRunning(Option<Holder>),
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
    on_lost: fn(&Path),
    files: FileHashes,
    /// Warnings that tasks of one cohort have in common.
    told: BTreeSet<String>,
}

impl<'a> TaskRunner<'a> {
    /// For the study in `dir`, on a device that was opened by its name. `on_lost` is called, on another thread, when a process took
    /// over the task that is running, because this one was not heard of for ten minutes: it must end at once.
    ///
    /// # Errors
    /// If the plan was made by another version of this program, whose results would carry this one's name.
    pub fn new(
        dir: &'a Path,
        plan: &'a StudyPlan,
        (device_name, device): (DeviceName, Device),
        on_lost: fn(&Path),
    ) -> Result<Self> {
        if plan.cf_train != CODE_VERSION {
            return Err(Error::data(
                &dir.join(study_dir::PLAN),
                format!("is of cf-train {}, this is {CODE_VERSION}; plan the study again", plan.cf_train),
            ));
        }
        Ok(Self {
            dir,
            plan,
            device_name,
            device,
            on_lost,
            files: FileHashes::default(),
            told: BTreeSet::new(),
        })
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
        let (claim, failed) = (study_dir::claim(self.dir, task), study_dir::failed(self.dir, task));
        if is_finished() && !claim.is_file() && !failed.is_file() {
            return Ok(TaskEnd::WasFinished);
        }
        let claim = match Claim::make(&claim, self.on_lost).map_err(of_task)? {
            Claimed::Ours(claim) => claim,
            Claimed::Others(_) if is_finished() => return Ok(TaskEnd::WasFinished),
            Claimed::Others(holder) => return Ok(TaskEnd::IsRunning(holder)),
        };
        if is_finished() {
            // By another process, in between, or one that was killed before it had cleared up.
            run_dir::remove(&failed).map_err(of_task)?;
            return Ok(TaskEnd::WasFinished);
        }
        // Asked for before hours of training rather than after.
        let occupied = std::fs::read_dir(&finished).is_ok_and(|mut entries| entries.next().is_some());
        if occupied {
            let error = not_a_task(&finished);
            run_dir::write_json(&failed, &Failure::of(&error)).map_err(of_task)?;
            return Ok(TaskEnd::Failed(of_task(error)));
        }
        run_dir::create_dir(&unfinished).map_err(of_task)?;
        let trained = self.train(task, &unfinished, stop, observe);
        if !claim.is_held().map_err(of_task)? {
            // Whatever came of it, the task is another process's now.
            return Ok(TaskEnd::IsRunning(None));
        }
        match trained {
            Ok(summary) => {
                run_dir::write_json(&unfinished.join(study_dir::FINISHED), task).map_err(of_task)?;
                finish(&unfinished, &finished).map_err(of_task)?;
                run_dir::remove(&failed).map_err(of_task)?;
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
        let options = RunOptions {
            folds: vec![task.fold],
            resume: true,
            device_name: self.device_name,
            device: self.device.clone(),
        };
        check_precision(&config, &options)?;
        let fold_plan = Plan::new(&config, &self.device, &options.folds)?;
        fold_plan.warn_of_slides_left_out(&config.cohort.name, &mut self.told);
        fold_plan.warn_of_patients_validated_twice(&mut self.told);
        let hashes = fold_plan.data_hashes(&config, &mut self.files, (run, stop))?;
        hashes.iter().try_for_each(|data| self.check_as_planned(task, &config, data))?;
        // Where the data lie and what memory a step may use is not part of a task: an interrupted one may go on elsewhere.
        run_dir::write(&run.join(run_dir::CONFIG), config.to_toml()?.as_bytes())?;
        carry_out(&config, (&fold_plan, || Ok(hashes)), (run, Held::Whole), &options, stop, observe)
    }

    /// Refuses to give a task's name to the results of other settings or data.
    fn check_as_planned(&self, task: &Task, config: &RunConfig, data: &DataHashes) -> Result<()> {
        let what = match data.change_since(&task.data) {
            Some(what) => what,
            None => {
                let run = self.plan.run_of(self.dir, task)?;
                let labels = [run.cohort.as_str(), run.model.as_str(), run.backbone.as_str()];
                if task.id.ends_with(&fingerprint::task_hash(config, labels, task.fold, data)?) {
                    return Ok(());
                }
                "its settings"
            }
        };
        let config = study_dir::config(self.dir, &task.run);
        Err(Error::data(&config, format!("{what} are not those that were planned; plan the study again")))
    }
}

/// The error of a directory that has a task's name and is none.
fn not_a_task(finished: &Path) -> Error {
    Error::data(
        finished,
        format!("holds files and no {}; move it away and run the task again", study_dir::FINISHED),
    )
}

/// Gives a complete directory its final name.
fn finish(unfinished: &Path, finished: &Path) -> Result<()> {
    match std::fs::rename(unfinished, finished) {
        // An engine may have made the empty directory; files are somebody's.
        Err(error) if error.kind() == ErrorKind::DirectoryNotEmpty => Err(not_a_task(finished)),
        renamed => renamed.map_err(Error::io("rename to", finished)),
    }
}
