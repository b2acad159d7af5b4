//! `cf-train study`.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Instant;

use cf_train::Error;
use cf_train::study::{self, StudyPlan, Task, TaskEnd, TaskRunner, TaskState};

use super::device::TrainingDeviceArguments;
use super::progress::Progress;
use super::{Failure, cv, print, print_json, threads};

/// Many models on many cohorts: planned, run task by task, collected into tables.
#[derive(Debug, clap::Subcommand)]
pub(super) enum Action {
    /// Join tables, folds and bags of every run, and write the list of tasks.
    Plan(PlanArguments),
    /// Run the tasks of a study that are not finished, or one of them.
    Run(RunArguments),
    /// Join what is finished into tables, with tests between methods, and list what is missing.
    Collect(CollectArguments),
}

/// Join tables, folds and bags of every run, and write the list of tasks.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Example:\n  cf-train study plan examples/configs/table1-simulated.toml --out studies/table1\n\n\
                  A study whose data or settings cannot run is refused with all faults listed (exit code 3). Planning again into \
                  the same directory keeps what is finished and still part of the study."
)]
pub(super) struct PlanArguments {
    /// The study (TOML); its relative paths start from its own directory.
    #[arg(value_name = "STUDY.toml")]
    study: PathBuf,
    /// Directory of the study.
    #[arg(long, value_name = "DIR")]
    out: PathBuf,
    /// Print the plan as JSON.
    #[arg(long)]
    json: bool,
}

/// Run the tasks of a study that are not finished, or one of them.
#[derive(Debug, clap::Args)]
#[command(after_help = "Example:\n  cf-train study run studies/table1\n\n\
                  SIGTERM, SIGINT or SIGUSR1 saves the state of the task in progress and exits with 75; the same command goes on \
                  and ends with the same bytes. A task that fails is recorded, the others go on, and the exit code is that of the \
                  first failure. The command may run several times at once: a task is run by one of them.")]
pub(super) struct RunArguments {
    /// Directory of the study.
    #[arg(value_name = "DIR")]
    dir: PathBuf,
    /// Only the task with this id, or the beginning of it.
    #[arg(long, value_name = "ID", conflicts_with = "index")]
    task: Option<String>,
    /// Only the task at this position of the plan, from 0.
    #[arg(long, value_name = "N")]
    index: Option<usize>,
    #[command(flatten)]
    device: TrainingDeviceArguments,
    /// Threads to compute with. All that the process may use by default; results do not depend on it.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..))]
    threads: Option<u16>,
}

/// Join what is finished into tables, with tests between methods, and list what is missing.
#[derive(Debug, clap::Args)]
#[command(after_help = "Example:\n  cf-train study collect studies/table1\n\n\
                  Works at any time, also while tasks run. Writes tables/ (text, Markdown, LaTeX, CSV), report.html, and study.json, \
                  which has everything unrounded.")]
pub(super) struct CollectArguments {
    /// Directory of the study.
    #[arg(value_name = "DIR")]
    dir: PathBuf,
    /// Print study.json instead of the tables.
    #[arg(long)]
    json: bool,
}

pub(super) fn run(action: &Action, show_bars: bool) -> Result<(), Failure> {
    match action {
        Action::Plan(arguments) => plan(arguments),
        Action::Run(arguments) => run_tasks(arguments, show_bars),
        Action::Collect(arguments) => collect(arguments),
    }
}

fn plan(arguments: &PlanArguments) -> Result<(), Failure> {
    let (plan, configs) = StudyPlan::new(&arguments.study)?;
    plan.write(&arguments.out, &arguments.study, &configs)?;
    if arguments.json {
        return print_json(&plan);
    }
    let mut n_finished = 0;
    for (index, task) in plan.tasks.iter().enumerate() {
        let state = study::state(&arguments.out, task)?;
        n_finished += usize::from(state == TaskState::Finished);
        let mark = if state == TaskState::Finished { "finished" } else { "" };
        print(format!("{index:>5}  {:<60} {mark}", task.id).trim_end());
    }
    print(&format!(
        "{}: {} cohorts, {} models, {} encoders, {} seeds: {} runs, {} tasks, {n_finished} finished",
        plan.name,
        plan.cohorts.len(),
        plan.models.len(),
        plan.backbones.len(),
        plan.seeds.len(),
        plan.runs.len(),
        plan.tasks.len()
    ));
    Ok(())
}

fn run_tasks(arguments: &RunArguments, show_bars: bool) -> Result<(), Failure> {
    threads::apply(arguments.threads).map_err(Failure::Usage)?;
    let plan = StudyPlan::read(&arguments.dir)?;
    let tasks = tasks_asked_for(arguments, &plan)?;
    let stop = Arc::new(AtomicBool::new(false));
    cv::stop_at_signals(&stop, &arguments.dir)?;
    let mut runner = TaskRunner::new(&arguments.dir, &plan, arguments.device.open()?)?;
    let mut failures = Vec::new();
    for (index, task) in tasks.iter().enumerate() {
        let started = Instant::now();
        let mut progress = Progress::new(show_bars);
        let end = runner.run(task, &stop, &mut |event| progress.observe(event));
        progress.finish();
        let said = match end? {
            TaskEnd::Ran(summary) => {
                let c_index = summary.c_index.mean.map_or_else(|| "-".to_owned(), |c| format!("{c:.3}"));
                format!("C-index {c_index} ({:.0} s)", started.elapsed().as_secs_f64())
            }
            TaskEnd::WasFinished => "finished before".to_owned(),
            TaskEnd::IsRunning => "is run by another process".to_owned(),
            TaskEnd::Failed(error) => {
                let said = format!("failed: {}", error.with_causes());
                failures.push(error);
                said
            }
        };
        print(&format!("[{}/{}] {}  {said}", index + 1, tasks.len(), task.id));
    }
    let n_failed = failures.len();
    match failures.into_iter().next() {
        None => Ok(()),
        Some(first) => {
            Err(Error::FailedTasks { n_failed, n_tasks: tasks.len(), first: Box::new(first) }.into())
        }
    }
}

fn tasks_asked_for<'a>(arguments: &RunArguments, plan: &'a StudyPlan) -> Result<Vec<&'a Task>, Failure> {
    let dir: &Path = &arguments.dir;
    match (&arguments.task, arguments.index) {
        (Some(id), _) => Ok(vec![plan.task(dir, id)?]),
        (None, Some(index)) => match plan.tasks.get(index) {
            Some(task) => Ok(vec![task]),
            None => Err(Failure::Usage(format!(
                "--index is {index}, expected less than {}, the number of tasks",
                plan.tasks.len()
            ))),
        },
        (None, None) => Ok(plan.tasks.iter().collect()),
    }
}

fn collect(arguments: &CollectArguments) -> Result<(), Failure> {
    let results = study::collect(&arguments.dir)?;
    if arguments.json {
        return print_json(&results);
    }
    for table in study::tables(&results) {
        print(&table.to_text());
    }
    print(&format!("{} of {} tasks are finished", results.n_finished, results.n_tasks));
    for task in &results.unfinished {
        let reason = task.reason.as_ref().map_or_else(String::new, |reason| format!(": {reason}"));
        print(&format!("  {:<8} {}{reason}", task.state, task.id));
    }
    Ok(())
}
