//! Table 1 in miniature, `examples/configs/table1-small.toml`, and directories of it.

use std::fs;
use std::path::{Path, PathBuf};

use serde_json::Value;

use super::daemons::Slurm;
use crate::failure::Failure;
use crate::step::Step;

const STUDY: &str = include_str!("../../../examples/configs/table1-small.toml");

/// Files of a fold that depend on nothing but the task.
const SAME: [&str; 6] = [
    "predictions.csv",
    "predictions_last.csv",
    "predictions_train.csv",
    "order.csv",
    "best.safetensors",
    "last.safetensors",
];

/// A study, and several directories of it.
pub(super) struct SmallStudy {
    pub(super) folder: PathBuf,
    cf_train: PathBuf,
}

/// A task of the plan.
pub(super) struct Task {
    pub(super) id: String,
    pub(super) fold: u64,
}

impl SmallStudy {
    pub(super) fn make(folder: &Path, cf_train: &Path) -> Result<Self, Failure> {
        let study = Self { folder: folder.to_owned(), cf_train: cf_train.to_owned() };
        let cohort =
            ["simulate", "--patients", "40", "--scale", "0.004", "--backbone-dim", "16", "--out", "additive"];
        study.cf_train(&cohort).run_logged(&folder.join("simulate.log"))?;
        let file = folder.join("study.toml");
        fs::write(&file, STUDY).map_err(|error| Failure::io("write", &file, &error))?;
        Ok(study)
    }

    pub(super) fn cf_train(&self, args: &[&str]) -> Step {
        Step::new(&self.folder, &self.cf_train, args)
    }

    /// Plans it into `name`, a job for each task where `more` says so.
    pub(super) fn plan(&self, name: &str, more: &[&str]) -> Result<Vec<Task>, Failure> {
        let plan = [&["study", "plan", "study.toml", "--out", name, "--cpus", "1"][..], more].concat();
        self.cf_train(&plan).run_logged(&self.log(&format!("{name}-plan")))?;
        let path = self.folder.join(name).join("plan.json");
        let text = fs::read_to_string(&path).map_err(|error| Failure::io("read", &path, &error))?;
        let plan: Value = serde_json::from_str(&text).map_err(|error| Failure::new(error.to_string()))?;
        let tasks = plan["tasks"].as_array().map(Vec::as_slice).unwrap_or_default();
        let task = |task: &Value| Task {
            id: task["id"].as_str().unwrap_or_default().to_owned(),
            fold: task["fold"].as_u64().unwrap_or_default(),
        };
        Ok(tasks.iter().map(task).collect())
    }

    pub(super) fn log(&self, name: &str) -> PathBuf {
        self.folder.join(format!("{name}.log"))
    }

    pub(super) fn run_alone(&self, name: &str) -> Result<(), Failure> {
        self.plan(name, &[])?;
        self.cf_train(&["--quiet", "study", "run", name]).run_logged(&self.log(&format!("{name}-run")))?;
        self.collect(name).map(|_| ())
    }

    /// What `collect` says where everything is there.
    pub(super) fn collect(&self, name: &str) -> Result<String, Failure> {
        self.cf_train(&["study", "collect", name, "--complete"]).stdout()
    }

    pub(super) fn emit(&self, name: &str, engine: &str) -> Result<(), Failure> {
        let emit = ["study", "emit", name, "--engine", engine];
        self.cf_train(&emit).run_logged(&self.log(&format!("{name}-emit")))
    }

    pub(super) fn run_snakemake(
        &self,
        name: &str,
        snakemake: &Path,
        more: &[&str],
        slurm: Option<&Slurm>,
    ) -> Result<(), Failure> {
        // Small tasks share jobs, but through Slurm, where there is more to see with several.
        let pack = if slurm.is_some() { "1" } else { "2" };
        self.plan(name, &["--job-minutes", pack])?;
        self.emit(name, "snakemake")?;
        let folder = self.folder.join(name).join("snakemake");
        let args = [&["-s", "Snakefile"][..], more].concat();
        let mut step = Step::new(&folder, snakemake, &args);
        if let Some(slurm) = slurm {
            step =
                step.env("SLURM_CONF", &slurm.conf().display().to_string()).env("PATH", &slurm.search_path());
        }
        step.run_logged(&self.log(name))?;
        print!("{}", last_lines(&self.collect(name)?, 1));
        Ok(())
    }

    /// Holds what the tasks of `other` left against those of `reference`, byte for byte.
    pub(super) fn compare(&self, reference: &str, other: &str) -> Result<(), Failure> {
        let tasks = self.folder.join(reference).join("tasks");
        let listed = fs::read_dir(&tasks).map_err(|error| Failure::io("read", &tasks, &error))?;
        let (mut n_tasks, mut n_files) = (0, 0);
        for entry in listed {
            let id = entry.map_err(|error| Failure::io("read", &tasks, &error))?.file_name();
            let fold = id
                .to_string_lossy()
                .rsplit_once(".f")
                .and_then(|(_, rest)| rest.split('-').next().map(str::to_owned));
            let fold = format!("fold_{}", fold.unwrap_or_default());
            for file in SAME {
                let read = |name: &str| {
                    let path = self.folder.join(name).join("tasks").join(&id).join(&fold).join(file);
                    fs::read(&path).map_err(|error| Failure::io("read", &path, &error))
                };
                if read(reference)? != read(other)? {
                    let id = id.to_string_lossy();
                    return Err(Failure::new(format!(
                        "{file} of {id} differs between {reference} and {other}"
                    )));
                }
                n_files += 1;
            }
            n_tasks += 1;
        }
        let left = self.folder.join(other).join("tasks");
        let left = fs::read_dir(&left).map_err(|error| Failure::io("read", &left, &error))?.count();
        if (n_tasks, left) != (24, 24) {
            return Err(Failure::new(format!(
                "{n_tasks} tasks in {reference}, {left} entries in {other}, expected 24"
            )));
        }
        println!("{other}: {n_files} files of {n_tasks} tasks are the bytes of {reference}");
        Ok(())
    }
}

/// The end of a text.
pub(super) fn last_lines(text: &str, n: usize) -> String {
    let lines: Vec<&str> = text.trim_end().lines().collect();
    lines[lines.len().saturating_sub(n)..].join("\n") + "\n"
}
