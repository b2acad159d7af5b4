//! Whole runs of a study: the folds that were trained as tasks of their own, side by side in a run directory, which everything reads that reads
//! a run.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use serde::Serialize;

use super::finished::{self, FinishedRun};
use super::plan::{StudyPlan, Task};
use super::results::UnfinishedTask;
use super::study_dir;
use crate::cohort::Slide;
use crate::config_keys::nearest;
use crate::environment::Environment;
use crate::error::{Error, Result};
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
    /// Its directory; `None` where folds are missing.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub directory: Option<PathBuf>,
    /// Folds that are finished.
    pub n_finished: usize,
    /// The tasks of the others.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub missing: Vec<UnfinishedTask>,
    /// Folds of the plan.
    pub n_planned: usize,
    /// Mean C-index of slides and of patients, where it was assembled and they have one.
    pub c_index: Option<f64>,
    /// See [`Self::c_index`].
    pub patient_c_index: Option<f64>,
}

/// Makes a run directory `OUT/RUN` of every run of the study in `dir` whose planned folds are all finished, or of those whose names are or
/// begin as `asked`, and tells `observe` of each. A directory that was made before of the same tasks is completed. Neither tables nor bags are
/// read; weights are linked where the file system can, and the study's own files are left as they are.
///
/// # Errors
/// If no run is called so, a task can't be read, or a directory below `out` holds something else.
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
            missing: unfinished.iter().filter(is_of_run).cloned().collect(),
            n_planned: run.n_planned,
            c_index: None,
            patient_c_index: None,
        };
        if assembled.missing.is_empty() {
            let directory = out.join(&run.run.name);
            let summary = assemble_run((dir, &tasks), run, &directory)?;
            (assembled.c_index, assembled.patient_c_index) =
                (summary.c_index.mean, summary.patient_c_index.mean);
            assembled.directory = Some(directory);
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
    let is_complete =
        |task: &&&Task| run_dir::fold_dir(out, task.fold).join(fold_files::PREDICTIONS).is_file();
    let open: Vec<&&Task> = tasks.iter().filter(|task| !is_complete(task)).collect();
    let claims = FoldClaims::make(out, open.iter().map(|task| task.fold))?;
    for task in open {
        let from = run_dir::fold_dir(&study_dir::finished(dir, task), task.fold);
        copy_fold(&from, &run_dir::fold_dir(out, task.fold))?;
    }
    drop(claims);

    let mut records = Vec::new();
    let mut cost = Cost { wall_seconds: 0.0, peak_rss_bytes: 0 };
    for task in tasks {
        let finished = study_dir::finished(dir, task);
        records.push(run_dir::read_json::<FoldsRecord>(&finished.join(run_dir::FOLDS))?);
        let of_task: Summary = run_dir::read_json(&finished.join(run_dir::SUMMARY))?;
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

/// Copies a fold. Its predictions come last, as a fold that has them is complete.
fn copy_fold(from: &Path, to: &Path) -> Result<()> {
    run_dir::create_dir(to)?;
    let mut files = Vec::new();
    for entry in fs::read_dir(from).map_err(Error::io("read", from))? {
        let path = entry.map_err(Error::io("read", from))?.path();
        files.extend(path.is_file().then_some(path));
    }
    files.sort_by_key(|path| path.file_name().is_some_and(|name| name == fold_files::PREDICTIONS));
    for path in files {
        let Some(name) = path.file_name() else { continue };
        let to = to.join(name);
        run_dir::remove(&to)?;
        let is_linked =
            path.extension().is_some_and(|ending| ending == WEIGHTS) && fs::hard_link(&path, &to).is_ok();
        if !is_linked {
            let bytes = fs::read(&path).map_err(Error::io("read", &path))?;
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
    let read = |task: &&Task| run_dir::read_json(&study_dir::finished(dir, task).join(run_dir::ENVIRONMENT));
    let of_tasks: Vec<Environment> = tasks.iter().map(read).collect::<Result<_>>()?;
    let inputs = of_tasks.iter().flat_map(|of| of.inputs.iter().cloned());
    let inputs = input_hash::joined(&run.config, record, inputs)?;
    let first = of_tasks.into_iter().next();
    let first = first.ok_or_else(|| Error::data(dir, format!("has no task of run {}", run.run.name)))?;
    Ok(Environment { inputs, ..first })
}
