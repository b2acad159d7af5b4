//! Whole runs of a study: the folds that were trained as tasks of their own, side by side in a run directory, which everything reads that reads
//! a run.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};

use serde::Serialize;
use serde::de::DeserializeOwned;

use super::finished::{self, FinishedRun};
use super::plan::{StudyPlan, Task};
use super::results::UnfinishedTask;
use super::study_dir;
use crate::cohort::Slide;
use crate::config_keys::nearest;
use crate::environment::Environment;
use crate::error::{Error, Remedy, Result};
use crate::evaluate::{self, Cost, FoldPredictions, Prediction, Summary};
use crate::fold_claims::FoldClaims;
use crate::plan::FoldsRecord;
use crate::run_claim::{check_directory, write_settings};
use crate::run_dir::{self, fold_files};
use crate::{input_hash, report};

/// Name endings of files of weights: large, and never written over in place.
const WEIGHTS: &str = "safetensors";

/// One run of a study, and what became of it.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct AssembledRun {
    /// Its name in the plan.
    pub run: String,
    /// Its directory; `None` where folds are missing, or it failed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub directory: Option<PathBuf>,
    /// Folds that are finished.
    pub n_finished: usize,
    /// The tasks of the others.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub missing: Vec<UnfinishedTask>,
    /// Why it could not be assembled of finished folds.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub fault: Option<String>,
    /// Folds of the plan.
    pub n_planned: usize,
    /// Mean C-index of slides and of patients, where it was assembled and they have one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub c_index: Option<f64>,
    /// See [`Self::c_index`].
    #[serde(skip_serializing_if = "Option::is_none")]
    pub patient_c_index: Option<f64>,
}

/// Makes a run directory `OUT/RUN` of every run of the study in `dir` whose planned folds are all finished, or of those whose names are or
/// begin as `asked`, and tells `observe` of each. A directory that was made before of the same tasks is completed. Neither tables nor bags are
/// read, and weights are linked where the file system can. A run that fails is listed, and the others go on.
///
/// # Errors
/// If no run is called so, no plan can be read, another process is at a fold below `out`, or the disk is full.
pub fn assemble(
    dir: &Path,
    asked: &[String],
    out: &Path,
    observe: &mut dyn FnMut(&AssembledRun),
) -> Result<Vec<AssembledRun>> {
    let plan = StudyPlan::read(dir)?;
    for name in asked {
        if !plan.runs.iter().any(|run| run.name.starts_with(name)) {
            let nearest = nearest(plan.runs.iter().map(|run| run.name.clone()), name);
            return Err(Error::data(
                dir,
                format!("has no run `{name}`, or one that begins so; the nearest name is {nearest}"),
            ));
        }
    }
    let (runs, unfinished) = finished::read(dir, &plan)?;
    let mut all = Vec::new();
    for run in runs.iter().filter(|run| is_asked(&plan, asked, &run.run.name)) {
        let tasks: Vec<&Task> = plan.tasks.iter().filter(|task| task.run == run.run.name).collect();
        let is_of_run = |missing: &&UnfinishedTask| tasks.iter().any(|task| task.id == missing.id);
        let mut assembled = AssembledRun {
            run: run.run.name.clone(),
            directory: None,
            n_finished: run.folds.len(),
            fault: None,
            missing: unfinished.iter().filter(is_of_run).cloned().collect(),
            n_planned: run.n_planned,
            c_index: None,
            patient_c_index: None,
        };
        if assembled.missing.is_empty() {
            let directory = out.join(&run.run.name);
            match assemble_run((dir, &tasks), run, &directory) {
                Ok(summary) => {
                    (assembled.c_index, assembled.patient_c_index) =
                        (summary.c_index.mean, summary.patient_c_index.mean);
                    assembled.directory = Some(directory);
                }
                // The others may be whole.
                Err(error) if error.remedy() == Remedy::FixInput => {
                    assembled.fault = Some(error.with_causes());
                }
                Err(error) => return Err(error),
            }
        }
        observe(&assembled);
        all.push(assembled);
    }
    Ok(all)
}

/// Whether a run was asked for by its name or the beginning of it. A whole name is not the beginning of another.
fn is_asked(plan: &StudyPlan, asked: &[String], run: &str) -> bool {
    let is_whole = |name: &String| plan.runs.iter().any(|run| run.name == *name);
    asked.is_empty()
        || asked.iter().any(|name| if is_whole(name) { run == name } else { run.starts_with(name.as_str()) })
}

fn assemble_run((dir, tasks): (&Path, &[&Task]), run: &FinishedRun<'_>, out: &Path) -> Result<Summary> {
    let is_there = out.join(run_dir::CONFIG).is_file();
    check_directory(out, &run.config, is_there)?;
    if is_there {
        check_folds(dir, tasks, out)?;
    }
    write_settings(out, &run.config)?;
    let mut open = Vec::new();
    for task in tasks {
        let from = run_dir::fold_dir(&study_dir::finished(dir, task), task.fold);
        let to = run_dir::fold_dir(out, task.fold);
        let files = files_of(&from)?;
        if files.iter().any(|name| !to.join(name).is_file()) {
            open.push((task.fold, from, to, files));
        }
    }
    let claims = claim(out, open.iter().map(|(fold, ..)| *fold))?;
    // What a call that was killed left of them.
    run_dir::remove_unfinished(out, |fold| open.iter().any(|(of, ..)| *of == fold))?;
    for (_, from, to, files) in &open {
        copy_fold(from, to, files)?;
    }
    drop(claims);
    tasks.iter().try_for_each(|task| FoldClaims::clear(out, task.fold))?;

    let mut records = Vec::new();
    let mut cost = Cost { wall_seconds: 0.0, peak_rss_bytes: 0 };
    for task in tasks {
        records.push(read::<FoldsRecord>(dir, task, run_dir::FOLDS)?);
        let of_task: Summary = read(dir, task, run_dir::SUMMARY)?;
        cost.wall_seconds += of_task.wall_seconds;
        cost.peak_rss_bytes = cost.peak_rss_bytes.max(of_task.peak_rss_bytes);
    }
    if records.windows(2).any(|pair| !pair[0].is_of_the_same_cohort(&pair[1])) {
        tracing::warn!(
            run = run.run.name,
            "the table had other rows when some of the folds were trained: the cohort flow is that of the last fold"
        );
    }
    let record = FoldsRecord::joined(records, &validated(&run.predictions)?)
        .ok_or_else(|| Error::data(dir, format!("has no task of run {}", run.run.name)))?;
    run_dir::write_json(&out.join(run_dir::FOLDS), &record)?;
    run_dir::write_json(&out.join(run_dir::ENVIRONMENT), &environment(dir, tasks, run, &record)?)?;
    let summary = evaluate::summarise(&run.config, &run.predictions, cost)?;
    run_dir::write_json(&out.join(run_dir::SUMMARY), &summary)?;
    report::write(out, out, None)?;
    Ok(summary)
}

/// Refuses a directory with folds that are not those of the tasks.
fn check_folds(dir: &Path, tasks: &[&Task], out: &Path) -> Result<()> {
    for (fold, there) in run_dir::folds_in(out)? {
        let task = tasks.iter().find(|task| task.fold == fold);
        let predicted = |fold_dir: &Path| {
            fs::read(fold_dir.join(fold_files::PREDICTIONS)).ok().filter(|rows| !rows.is_empty())
        };
        let is_same = task.is_some_and(|task| {
            let trained = run_dir::fold_dir(&study_dir::finished(dir, task), fold);
            match predicted(&there) {
                Some(rows) => predicted(&trained) == Some(rows),
                // Begun by a call like this one, and not by a training.
                None => !there.join(fold_files::STATE).exists(),
            }
        });
        if !is_same {
            return Err(Error::data(
                &there,
                "is not what the study trained; choose another --out, or move this run away".to_owned(),
            ));
        }
    }
    Ok(())
}

/// Claims folds, so that no other process writes into them meanwhile.
fn claim(out: &Path, folds: impl Iterator<Item = usize>) -> Result<FoldClaims> {
    FoldClaims::make(out, folds).map_err(|error| match error {
        Error::FoldElsewhere { claim, .. } => Error::FoldElsewhere {
            claim,
            reason: "another process assembles or trains this fold; wait for it, or remove this file if that process is gone"
                .to_owned(),
        },
        error => error,
    })
}

/// A file of a finished task.
fn read<T: DeserializeOwned>(dir: &Path, task: &Task, name: &str) -> Result<T> {
    let finished = study_dir::finished(dir, task);
    run_dir::read_json(&finished.join(name)).map_err(|error| match error.remedy() {
        Remedy::FixInput => damaged(&finished, &error.with_causes()),
        _ => error,
    })
}

fn damaged(finished: &Path, fault: &str) -> Error {
    Error::data(finished, format!("{fault}; remove this directory and run the task again"))
}

/// The files of a finished fold, its predictions last, as a fold that has them is complete.
fn files_of(from: &Path) -> Result<Vec<OsString>> {
    let mut files = Vec::new();
    for entry in fs::read_dir(from).map_err(Error::io("read", from))? {
        let entry = entry.map_err(Error::io("read", from))?;
        files.extend(entry.path().is_file().then(|| entry.file_name()));
    }
    for wanted in [fold_files::BEST, fold_files::LAST] {
        if !files.iter().any(|name| name == wanted) {
            return Err(damaged(from.parent().unwrap_or(from), &format!("has no {wanted}")));
        }
    }
    files.sort_by_key(|name| name == fold_files::PREDICTIONS);
    Ok(files)
}

fn copy_fold(from: &Path, to: &Path, files: &[OsString]) -> Result<()> {
    run_dir::create_dir(to)?;
    for name in files {
        let (from, to) = (from.join(name), to.join(name));
        run_dir::remove(&to)?;
        let is_linked =
            from.extension().is_some_and(|ending| ending == WEIGHTS) && fs::hard_link(&from, &to).is_ok();
        if !is_linked {
            let bytes = fs::read(&from).map_err(Error::io("read", &from))?;
            run_dir::write(&to, &bytes)?;
        }
    }
    Ok(())
}

/// The slides that the folds validate, once each.
fn validated(folds: &[FoldPredictions]) -> Result<Vec<Slide>> {
    let rows: BTreeMap<&str, &Prediction> =
        folds.iter().flat_map(|fold| &fold.selected).map(|row| (row.slide_id.as_str(), row)).collect();
    let slide = |row: &Prediction| {
        Ok(Slide {
            case_id: row.case_id.clone(),
            slide_id: row.slide_id.clone(),
            patient_id: row.patient_id().to_owned(),
            outcome: row.outcome()?,
        })
    };
    rows.into_values().map(slide).collect()
}

/// Versions and machine of the first task, and what all of them read; a study's tasks may have run on several machines.
fn environment(
    dir: &Path,
    tasks: &[&Task],
    run: &FinishedRun<'_>,
    record: &FoldsRecord,
) -> Result<Environment> {
    let of_tasks = tasks.iter().map(|task| read(dir, task, run_dir::ENVIRONMENT));
    let of_tasks: Vec<Environment> = of_tasks.collect::<Result<_>>()?;
    let inputs = of_tasks.iter().flat_map(|of| of.inputs.iter().cloned());
    let inputs = input_hash::joined(&run.config, record, inputs)?;
    let first = of_tasks.into_iter().next();
    let first = first.ok_or_else(|| Error::data(dir, format!("has no task of run {}", run.run.name)))?;
    Ok(Environment { inputs, ..first })
}
