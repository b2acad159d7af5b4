//! A study for the engine of a cluster: files that its users read, edit and start.
//!
//! The engines start `cf-train study run --index`, and nothing else is asked of them: what is finished, what may be taken over and
//! what goes on from where is known in the study's directory. Their files hold no state that the study depends on.

use std::path::{Path, PathBuf};
use std::str::FromStr;

use askama::Template;

use super::forecast::Job;
use super::plan::StudyPlan;
use super::study_dir::{self, TaskState};
use crate::byte_size::ByteSize;
use crate::error::{Error, Result};
use crate::run_dir;
use crate::shell::shell;

/// Elements of one Slurm array: with more, clusters would have to raise `MaxArraySize` from what it is by default.
const MAX_ARRAY: usize = 1000;

/// Minutes up to which jobs share an array, whose elements all ask for the same.
const TIME_CLASSES: [u64; 9] = [15, 30, 60, 120, 240, 480, 1440, 2880, 10_080];

/// Where the files for Slurm are.
const SLURM: &str = "slurm";

/// Seconds that Slurm takes as a signal's notice.
const MAX_NOTICE_SECONDS: u64 = 65_535;

/// What distributes the tasks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Engine {
    /// Job arrays, with what `sbatch` takes.
    Slurm,
    /// A workflow of Snakemake 8 or later.
    Snakemake,
    /// A workflow of Nextflow's DSL2.
    Nextflow,
}

impl FromStr for Engine {
    type Err = String;

    fn from_str(text: &str) -> std::result::Result<Self, String> {
        match text {
            "slurm" => Ok(Self::Slurm),
            "snakemake" => Ok(Self::Snakemake),
            "nextflow" => Ok(Self::Nextflow),
            _ => Err("expected slurm, snakemake or nextflow".to_owned()),
        }
    }
}

#[derive(Template)]
#[template(path = "study/job.sbatch", escape = "none")]
struct JobScript<'a> {
    name: &'a str,
    program: &'a str,
    study: &'a str,
    cpus: u16,
    gpu: bool,
}

#[derive(Template)]
#[template(path = "study/collect.sbatch", escape = "none")]
struct CollectScript<'a> {
    name: &'a str,
    program: &'a str,
    study: &'a str,
}

#[derive(Template)]
#[template(path = "study/submit.sh", escape = "none")]
struct SubmitScript<'a> {
    name: &'a str,
    study: &'a str,
    n_tasks: usize,
    n_jobs: usize,
    arrays: Vec<Array>,
}

#[derive(Template)]
#[template(path = "study/Snakefile", escape = "none")]
struct Snakefile<'a> {
    name: &'a str,
    program: &'a str,
    study: &'a str,
    cpus: u16,
    gpu: bool,
}

#[derive(Template)]
#[template(path = "study/main.nf", escape = "none")]
struct NextflowScript<'a> {
    name: &'a str,
    program: &'a str,
    study: &'a str,
    cpus: u16,
    gpu: bool,
}

#[derive(Template)]
#[template(path = "study/nextflow.config", escape = "none")]
struct NextflowConfig;

/// One job array.
struct Array {
    /// The file that has a line for each element.
    list: String,
    lines: String,
    n_tasks: usize,
    last: usize,
    memory_mib: u64,
    time: String,
    notice_seconds: u64,
    predicted_memory: ByteSize,
    predicted_minutes: String,
}

/// Writes the files of `engine` into a directory of its name in the study `dir`, whose tasks `program` will run. For Slurm, tasks that
/// are finished by now are left out. Returns what was written; the first is what to start.
///
/// # Errors
/// If `dir` holds no study, everything is finished, a path is not text, or a file can't be written.
pub fn emit(dir: &Path, engine: Engine, program: &Path) -> Result<Vec<PathBuf>> {
    let plan = StudyPlan::read(dir)?;
    let study = dir.canonicalize().map_err(Error::io("find", dir))?;
    let [study_text, program_text] = [&study, program].map(|path| {
        let text = path.to_str().filter(|text| !text.contains(['\n', '\r']));
        text.ok_or_else(|| Error::data(path, "is not plain text, which scripts need"))
    });
    let (study_text, program_text) = (study_text?, program_text?);
    // Names of studies stand in comments.
    let name = plan.name.replace(['\n', '\r'], " ");
    let (cpus, gpu) = (plan.resources.cpus, plan.resources.gpu);
    match engine {
        Engine::Slurm => {
            let (study, program) = (&shell(study_text), &shell(program_text));
            let arrays = arrays(dir, &plan)?;
            let lists: Vec<(String, String)> =
                arrays.iter().map(|array| (array.list.clone(), array.lines.clone())).collect();
            let n_tasks = arrays.iter().map(|array| array.n_tasks).sum();
            let n_jobs = arrays.iter().map(|array| array.last + 1).sum();
            let mut files = vec![
                (
                    "submit.sh".to_owned(),
                    rendered(&SubmitScript { name: &name, study, n_tasks, n_jobs, arrays })?,
                ),
                ("job.sbatch".to_owned(), rendered(&JobScript { name: &name, program, study, cpus, gpu })?),
                ("collect.sbatch".to_owned(), rendered(&CollectScript { name: &name, program, study })?),
            ];
            files.extend(lists);
            write(&dir.join(SLURM), files)
        }
        Engine::Snakemake => {
            let (study, program) = (&python(study_text)?, &python(program_text)?);
            let text = rendered(&Snakefile { name: &name, program, study, cpus, gpu })?;
            write(&dir.join("snakemake"), vec![("Snakefile".to_owned(), text)])
        }
        Engine::Nextflow => {
            let (study, program) = (&groovy(study_text), &groovy(program_text));
            let text = rendered(&NextflowScript { name: &name, program, study, cpus, gpu })?;
            let config = rendered(&NextflowConfig)?;
            write(
                &dir.join("nextflow"),
                vec![("main.nf".to_owned(), text), ("nextflow.config".to_owned(), config)],
            )
        }
    }
}

/// The arrays of what is not finished.
fn arrays(dir: &Path, plan: &StudyPlan) -> Result<Vec<Array>> {
    let mut is_done = Vec::with_capacity(plan.tasks.len());
    for task in &plan.tasks {
        is_done.push(study_dir::state(dir, task)? == TaskState::Finished);
    }
    let done = |index: usize| is_done.get(index).copied().unwrap_or(false);
    let mut classes: Vec<((u64, u64), Vec<Job>)> = Vec::new();
    for job in plan.jobs.iter().filter_map(|job| job.without(done)) {
        let longest = TIME_CLASSES.iter().copied().find(|&class| job.minutes <= class).unwrap_or(u64::MAX);
        let class = (job.memory_mib, longest);
        match classes.iter_mut().find(|(known, jobs)| *known == class && jobs.len() < MAX_ARRAY) {
            Some((_, jobs)) => jobs.push(job),
            None => classes.push((class, vec![job])),
        }
    }
    if classes.is_empty() {
        return Err(Error::data(
            dir,
            "has no task that is not finished; `cf-train study collect` joins them",
        ));
    }
    classes.sort_by_key(|(class, _)| *class);
    let mut arrays: Vec<Array> = classes.iter().map(|(_, jobs)| array(plan, jobs)).collect();
    // Elements that wait read their lines when they start: a list that was submitted stays what it was.
    let mut number = 0;
    for array in &mut arrays {
        array.list = loop {
            number += 1;
            let name = format!("jobs-{number}.txt");
            match std::fs::read_to_string(dir.join(SLURM).join(&name)) {
                Ok(lines) if lines != array.lines => {}
                _ => break name,
            }
        };
    }
    Ok(arrays)
}

fn array(plan: &StudyPlan, jobs: &[Job]) -> Array {
    let most = |of: fn(&Job) -> u64| jobs.iter().map(of).max().unwrap_or(0);
    let forecasts = |job: &Job| -> Vec<_> {
        job.tasks.iter().filter_map(|&index| plan.tasks.get(index)).map(|task| task.forecast).collect()
    };
    let minutes = jobs.iter().map(|job| forecasts(job).iter().map(|forecast| forecast.minutes).sum::<f64>());
    let memory = jobs.iter().flat_map(forecasts).map(|forecast| forecast.memory_bytes).max().unwrap_or(0);
    let time = most(|job| job.minutes);
    Array {
        list: String::new(),
        lines: jobs.iter().map(|job| job.index.clone() + "\n").collect(),
        n_tasks: jobs.iter().map(|job| job.tasks.len()).sum(),
        last: jobs.len().saturating_sub(1),
        memory_mib: most(|job| job.memory_mib),
        time: format!("{:02}:{:02}:00", time / 60, time % 60),
        notice_seconds: most(|job| job.notice_seconds).min(MAX_NOTICE_SECONDS),
        predicted_memory: ByteSize(memory),
        predicted_minutes: shown_minutes(minutes.fold(0.0, f64::max)),
    }
}

/// `12 min`, `1.5 h`.
pub(super) fn shown_minutes(minutes: f64) -> String {
    match minutes {
        minutes if minutes < 1.0 => "less than a minute".to_owned(),
        minutes if minutes < 90.0 => format!("{minutes:.0} min"),
        minutes => format!("{:.1} h", minutes / 60.0),
    }
}

fn rendered(template: &impl Template) -> Result<String> {
    let text = template.render();
    text.map_err(|error| Error::data(Path::new("template"), format!("cannot be filled in: {error}")))
}

fn write(dir: &Path, files: Vec<(String, String)>) -> Result<Vec<PathBuf>> {
    run_dir::create_dir(dir)?;
    let mut written = Vec::new();
    for (name, mut text) in files {
        let path = dir.join(name);
        if !text.ends_with('\n') {
            text.push('\n');
        }
        run_dir::write(&path, text.as_bytes())?;
        if path.extension().is_some_and(|extension| extension == "sh") {
            make_executable(&path)?;
        }
        written.push(path);
    }
    Ok(written)
}

fn make_executable(path: &Path) -> Result<()> {
    use std::os::unix::fs::PermissionsExt;
    let change = || {
        let mut permissions = std::fs::metadata(path)?.permissions();
        // Whoever may read it may run it.
        let readable = permissions.mode() & 0o444;
        permissions.set_mode(permissions.mode() | readable >> 2);
        std::fs::set_permissions(path, permissions)
    };
    change().map_err(Error::io("make executable", path))
}

/// As a Python literal, in which JSON's escapes mean the same.
fn python(text: &str) -> Result<String> {
    serde_json::to_string(text).map_err(|error| Error::data(Path::new(text), error.to_string()))
}

/// As a Groovy literal. Its scripts put it in single quotes for the shell, which cannot hold one.
fn groovy(text: &str) -> String {
    format!("'{}'", text.replace('\\', r"\\").replace('\'', r"\'"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_mean_the_same_to_every_language() {
        assert_eq!(python("/a b/\"x\"").unwrap(), r#""/a b/\"x\"""#);
        assert_eq!(groovy(r"/a\b/it's"), r"'/a\\b/it\'s'");
    }

    #[test]
    fn minutes_are_shown_as_people_say_them() {
        assert_eq!(shown_minutes(0.4), "less than a minute");
        assert_eq!(shown_minutes(12.4), "12 min");
        assert_eq!(shown_minutes(150.0), "2.5 h");
    }
}
