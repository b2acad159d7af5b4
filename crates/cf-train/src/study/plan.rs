//! The list of tasks of a study: one fold of one run each, named by what goes into it.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::atomic::AtomicBool;

use candle_core::Device;
use cf_model::ModelName;
use serde::{Deserialize, Serialize};

use super::file::{Faults, Reference, StudyFile, StudyRun, reason_of};
use super::fingerprint::{self, CODE_VERSION};
use super::forecast::{self, BagSizes, Forecast, Job, Resources};
use super::study_dir;
use crate::config::RunConfig;
use crate::data_hashes::{DataHashes, FileHashes};
use crate::error::{Error, Result};
use crate::fold_data::FoldData;
use crate::plan::Plan;
use crate::{protocol, run_dir};

/// `plan.json`: everything that running and collecting a study needs beside the data.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct StudyPlan {
    /// What reports call the study.
    pub name: String,
    /// The version that planned it, and has to run it.
    pub cf_train: String,
    /// Labels of the cohorts, in the order of the tables.
    pub cohorts: Vec<String>,
    /// The models, in the order of the file.
    pub models: Vec<PlannedModel>,
    /// Labels of the encoders; Table 1 is on the first.
    pub backbones: Vec<String>,
    /// Seeds.
    pub seeds: Vec<u64>,
    /// The model that the others are compared with.
    pub reference: Reference,
    /// Cross-validations, sorted by their names.
    pub runs: Vec<PlannedRun>,
    /// What each task is given on a cluster.
    pub resources: Resources,
    /// Tasks, sorted by their runs and folds.
    pub tasks: Vec<Task>,
    /// The tasks as a cluster is given them, sorted by memory.
    pub jobs: Vec<Job>,
}

/// A row of Table 1.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PlannedModel {
    /// What the study calls it.
    pub label: String,
    /// What it is.
    pub model: String,
}

/// One cross-validation of a study.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PlannedRun {
    /// `COHORT.MODEL.BACKBONE.sSEED`, in letters that file names may have.
    pub name: String,
    /// Label of its cohort.
    pub cohort: String,
    /// Label of its model.
    pub model: String,
    /// Label of its encoder.
    pub backbone: String,
    /// Its seed.
    pub seed: u64,
    /// Its protocol, with what was changed in it.
    pub protocol: String,
}

/// One fold of one run.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Task {
    /// `RUN.fFOLD-HASH`. The hash is of settings, data and version: another hash, another result.
    pub id: String,
    /// Name of its run.
    pub run: String,
    /// Its fold.
    pub fold: usize,
    /// What it reads.
    pub data: DataHashes,
    /// What it is predicted to take.
    pub forecast: Forecast,
}

impl StudyPlan {
    /// Joins tables, folds and bags of every run, names the tasks, and predicts what each takes with `resources`.
    ///
    /// # Errors
    /// [`Error::Study`] with all faults of all runs, if one of them could not run; else as [`StudyFile::read`].
    pub fn new(path: &Path, resources: Resources) -> Result<(Self, BTreeMap<String, RunConfig>)> {
        let study = StudyFile::read(path)?;
        let mut faults = Faults::default();
        let mut known = Known::default();
        let mut configs = BTreeMap::new();
        let mut runs = Vec::new();
        let mut tasks = Vec::new();
        for run in &study.runs {
            let name = run_name(run);
            match plan_run(&name, run, &study.folds, &resources, &mut known) {
                Ok(of_run) => tasks.extend(of_run),
                Err(error) => {
                    let place = [&run.cohort, &run.model, &run.backbone].map(String::as_str).join(", ");
                    faults.add(&place, &reason_of(error, path));
                }
            }
            if configs.insert(name.clone(), run.config.clone()).is_some() {
                faults.add(
                    &name,
                    "two runs have this name in letters and digits, expected labels that differ in these",
                );
            }
            runs.push(PlannedRun {
                name,
                cohort: run.cohort.clone(),
                model: run.model.clone(),
                backbone: run.backbone.clone(),
                seed: run.seed,
                protocol: match study.lists_seeds {
                    true => protocol::describe_but_seed(&run.config),
                    false => protocol::describe(&run.config),
                },
            });
        }
        faults.into_result(path)?;
        runs.sort_by(|a, b| a.name.cmp(&b.name));
        tasks.sort_by(|a, b| (&a.run, a.fold).cmp(&(&b.run, b.fold)));
        let model_of = |label: &String| {
            let run = study.runs.iter().find(|run| run.model == *label);
            let model = run.map_or(ModelName::Crossfusion, |run| run.config.model.name());
            PlannedModel { label: label.clone(), model: model.to_string() }
        };
        let plan = Self {
            name: study.name.clone(),
            cf_train: CODE_VERSION.to_owned(),
            cohorts: study.cohorts.clone(),
            models: study.models.iter().map(model_of).collect(),
            backbones: study.backbones.clone(),
            seeds: study.seeds.clone(),
            reference: study.reference.clone(),
            runs,
            jobs: forecast::jobs(&tasks, &resources),
            resources,
            tasks,
        };
        Ok((plan, configs))
    }

    /// Writes `study.toml`, `configs/` and, last, `plan.json` into `dir`. Tasks that are finished there stay finished if the plan
    /// still has them.
    ///
    /// # Errors
    /// If `dir` holds something else than a study, or a file can't be written.
    pub fn write(&self, dir: &Path, study_file: &Path, configs: &BTreeMap<String, RunConfig>) -> Result<()> {
        let plan = dir.join(study_dir::PLAN);
        let own = [study_dir::CONFIGS, study_dir::TASKS, study_dir::STUDY, study_dir::PLAN];
        let text = std::fs::read(study_file).map_err(Error::io("read", study_file))?;
        let (tasks, study) = (dir.join(study_dir::TASKS), dir.join(study_dir::STUDY));
        // The tasks' folder is made first and the plan is written last: a call that was stopped in between leaves the others.
        let is_own = |path: &Path| {
            tasks.is_dir()
                && own.iter().any(|own| path == dir.join(own) || run_dir::is_beside(path, &dir.join(own)))
        };
        let foreign =
            |entry: std::io::Result<std::fs::DirEntry>| entry.is_ok_and(|entry| !is_own(&entry.path()));
        let occupied = std::fs::read_dir(dir).is_ok_and(|mut entries| entries.any(foreign));
        if occupied && !plan.is_file() {
            return Err(Error::data(dir, "is not empty and holds no study; choose another --out"));
        }
        if !plan.is_file() && std::fs::read(&study).is_ok_and(|found| found != text) {
            return Err(Error::data(&study, "is of another study that has no plan; choose another --out"));
        }
        run_dir::create_dir(&tasks)?;
        run_dir::create_dir(&dir.join(study_dir::CONFIGS))?;
        run_dir::write(&study, &text)?;
        for (name, config) in configs {
            run_dir::write(&study_dir::config(dir, name), config.to_toml()?.as_bytes())?;
        }
        run_dir::write_json(&plan, self)
    }

    /// Reads the plan of a study.
    ///
    /// # Errors
    /// If `dir` holds none.
    pub fn read(dir: &Path) -> Result<Self> {
        let path = dir.join(study_dir::PLAN);
        if !path.is_file() {
            return Err(Error::data(dir, "found no plan.json, expected a study of `cf-train study plan`"));
        }
        run_dir::read_json(&path)
    }

    /// The task at a position, of an id, or of the only id that begins so.
    ///
    /// # Errors
    /// If there is none, or more than one.
    pub fn task(&self, dir: &Path, asked: &str) -> Result<&Task> {
        if let Some(task) = self.tasks.iter().find(|task| task.id == asked) {
            return Ok(task);
        }
        let mut found = self.tasks.iter().filter(|task| task.id.starts_with(asked));
        match (found.next(), found.count()) {
            (Some(task), 0) => Ok(task),
            (None, _) => {
                Err(Error::data(dir, format!("has no task `{asked}`; `cf-train study collect` lists them")))
            }
            (Some(_), more) => {
                Err(Error::data(dir, format!("has {} tasks that begin with `{asked}`", more + 1)))
            }
        }
    }

    /// The run of a task.
    ///
    /// # Errors
    /// If the plan does not have it.
    pub fn run_of(&self, dir: &Path, task: &Task) -> Result<&PlannedRun> {
        let run = self.runs.iter().find(|run| run.name == task.run);
        run.ok_or_else(|| Error::data(&dir.join(study_dir::PLAN), format!("has no run `{}`", task.run)))
    }
}

/// What was read for one run and holds for others.
#[derive(Debug, Default)]
struct Known {
    files: FileHashes,
    sizes: BagSizes,
    /// Warnings that runs of one cohort have in common.
    told: BTreeSet<String>,
}

fn plan_run(
    name: &str,
    run: &StudyRun,
    folds: &[usize],
    resources: &Resources,
    known: &mut Known,
) -> Result<Vec<Task>> {
    // What a task reads is the same on every device.
    let plan = Plan::new(&run.config, &Device::Cpu, folds)?;
    plan.warn_of_doubts(&mut known.told);
    plan.warn_of_slides_left_out(&run.cohort, &mut known.told);
    let labels = [run.cohort.as_str(), run.model.as_str(), run.backbone.as_str()];
    let never = AtomicBool::new(false);
    let hashes = plan.data_hashes(&run.config, &mut known.files, (Path::new(name), &never))?;
    let task = |(fold, data): (&FoldData, DataHashes)| {
        let hash = fingerprint::task_hash(&run.config, labels, fold.fold, &data)?;
        let id = format!("{name}.f{}-{hash}", fold.fold);
        let forecast = forecast::forecast(&run.config, &plan, fold, resources, &mut known.sizes)?;
        Ok(Task { id, run: name.to_owned(), fold: fold.fold, data, forecast })
    };
    plan.folds.iter().zip(hashes).map(task).collect()
}

fn run_name(run: &StudyRun) -> String {
    let [cohort, model, backbone] = [&run.cohort, &run.model, &run.backbone].map(|label| file_name(label));
    format!("{cohort}.{model}.{backbone}.s{}", run.seed)
}

/// A label in letters that file names, shells and schedulers take.
pub(super) fn file_name(label: &str) -> String {
    label.chars().map(|c| if c.is_ascii_alphanumeric() || "-_".contains(c) { c } else { '-' }).collect()
}

/// The configuration of a run.
pub(super) fn config_of(dir: &Path, run: &str) -> Result<RunConfig> {
    RunConfig::read(&study_dir::config(dir, run), &[])
}
