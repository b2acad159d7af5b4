//! `cf-train study`.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Instant;

use cf_train::byte_size::ByteSize;
use cf_train::study::{
    self, Engine, Resources, StudyPlan, Task, TaskEnd, TaskRunner, TaskState, UnfinishedTask,
};
use cf_train::{Error, Remedy};

use super::device::TrainingDeviceArguments;
use super::progress::Progress;
use super::{Failure, TEMPORARY, assemble, cv, number_list, print, print_error, print_json, threads};

/// What `--index` alone stands for: the variable in which Slurm says it.
const ARRAY_INDEX: &str = "$SLURM_ARRAY_TASK_ID";

/// Many models on many cohorts: planned, run task by task, collected into tables.
#[derive(Debug, clap::Subcommand)]
pub(super) enum Action {
    /// Join tables, folds and bags of every run, and write the list of tasks.
    Plan(PlanArguments),
    /// Run the tasks of a study that are not finished, or one of them.
    Run(RunArguments),
    /// Join what is finished into tables, with tests between methods, and list what is missing.
    Collect(CollectArguments),
    /// Put the folds of finished runs together into run directories, for report, apply, test and heatmaps.
    Assemble(assemble::AssembleArguments),
    /// Write the files with which Slurm, Snakemake or Nextflow run a study on a cluster.
    Emit(EmitArguments),
}

/// Join tables, folds and bags of every run, and write the list of tasks.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Example, in examples/configs:\n  cf-train simulate --kind additive --out additive\n  \
                  cf-train study plan table1-simulated.toml --out studies/table1\n\n\
                  A study whose data or settings cannot run is refused with all faults listed (exit code 3). Planning again into \
                  the same directory keeps what is finished and still part of the study.\n\n\
                  Memory and minutes are predicted from the sizes of the bags. --cpus, --gpu and --job-minutes say what a task is \
                  given on a cluster; they matter to `study emit` alone, and to no result."
)]
pub(super) struct PlanArguments {
    /// The study (TOML); its relative paths start from its own directory.
    #[arg(value_name = "STUDY.toml")]
    study: PathBuf,
    /// Directory of the study.
    #[arg(long, value_name = "DIR")]
    out: PathBuf,
    /// Processors that a task is given on a cluster.
    #[arg(long, value_name = "N", default_value_t = Resources::default().cpus, value_parser = clap::value_parser!(u16).range(1..))]
    cpus: u16,
    /// A task is given a GPU.
    #[arg(long)]
    gpu: bool,
    /// Put tasks together that take less than so many minutes, as jobs of a cluster; 0 for a job each.
    #[arg(long, value_name = "MIN", default_value_t = Resources::default().job_minutes)]
    job_minutes: u32,
    /// Print the plan as JSON.
    #[arg(long)]
    json: bool,
}

/// Run the tasks of a study that are not finished, or one of them.
#[derive(Debug, clap::Args)]
#[command(after_help = "Example:\n  cf-train study run studies/table1\n\n\
                  SIGTERM, SIGINT or SIGUSR1 saves the state of the task in progress and exits with 75; the same command goes on \
                  and ends with the same bytes. A task that fails is recorded, the others go on, and the exit code is that of the \
                  first failure, or 75 where one is temporary, such as a full disk. The command may run several times at once, here \
                  and on other machines: a task is run by one of them, and those that others are at when this one ends make its \
                  exit code 75.\n\n\
                  In a job array of Slurm, `--index` alone takes the task of the array's index.")]
pub(super) struct RunArguments {
    /// Directory of the study.
    #[arg(value_name = "DIR")]
    dir: PathBuf,
    /// Only the task with this id, or the beginning of it.
    #[arg(long, value_name = "ID", conflicts_with = "index")]
    task: Option<String>,
    /// Only the tasks at these positions of the plan, from 0, such as 3 or 0-4,7; by default that of the index of a Slurm array.
    #[arg(long, value_name = "LIST", num_args = 0..=1, default_missing_value = ARRAY_INDEX)]
    index: Option<String>,
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
    /// End with exit code 75 where a task is missing. All that is there is joined all the same.
    #[arg(long)]
    complete: bool,
}

/// Write the files with which Slurm, Snakemake or Nextflow run a study on a cluster.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Example:\n  cf-train study emit studies/table1 --engine slurm\n  studies/table1/slurm/submit.sh\n\n\
                  The files are short, explained inside, and meant to be edited: queues and accounts are your cluster's. For Slurm \
                  they hold what is not finished when they are written; write them again to submit what is missing. The study's \
                  directory and this program must be where the cluster's nodes see them. docs/cluster.md walks through each engine."
)]
pub(super) struct EmitArguments {
    /// Directory of the study.
    #[arg(value_name = "DIR")]
    dir: PathBuf,
    /// What runs it: slurm, snakemake or nextflow.
    #[arg(long)]
    engine: Engine,
    /// The program that nodes run. This one by default.
    #[arg(long, value_name = "FILE")]
    program: Option<PathBuf>,
}

pub(super) fn run(action: &Action, show_bars: bool) -> Result<(), Failure> {
    match action {
        Action::Plan(arguments) => plan(arguments),
        Action::Run(arguments) => run_tasks(arguments, show_bars),
        Action::Collect(arguments) => collect(arguments),
        Action::Assemble(arguments) => assemble::run(arguments),
        Action::Emit(arguments) => emit(arguments),
    }
}

fn plan(arguments: &PlanArguments) -> Result<(), Failure> {
    let PlanArguments { cpus, gpu, job_minutes, .. } = *arguments;
    let (plan, configs) = StudyPlan::new(&arguments.study, Resources { cpus, gpu, job_minutes })?;
    plan.write(&arguments.out, &arguments.study, &configs)?;
    if arguments.json {
        return print_json(&plan);
    }
    let mut n_finished = 0;
    print(&format!("{:>5}  {:<60} {:>9} {:>8}", "index", "task", "minutes", "memory"));
    for (index, task) in plan.tasks.iter().enumerate() {
        let state = study::state(&arguments.out, task)?;
        n_finished += usize::from(state == TaskState::Finished);
        let mark = if state == TaskState::Finished { "finished" } else { "" };
        let (minutes, memory) = (task.forecast.minutes, ByteSize(task.forecast.memory_bytes).to_string());
        print(format!("{index:>5}  {:<60} {minutes:>9.1} {memory:>8}  {mark}", task.id).trim_end());
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
    let minutes: f64 = plan.tasks.iter().map(|task| task.forecast.minutes).sum();
    let each = if gpu { "a GPU".to_owned() } else { format!("{cpus} processors") };
    print(&format!(
        "predicted: {:.1} h in all with {each} per task; {} jobs for a cluster (cf-train study emit)",
        minutes / 60.0,
        plan.jobs.len()
    ));
    Ok(())
}

fn run_tasks(arguments: &RunArguments, show_bars: bool) -> Result<(), Failure> {
    threads::apply(arguments.threads).map_err(Failure::Usage)?;
    let plan = StudyPlan::read(&arguments.dir)?;
    let tasks = tasks_asked_for(arguments, &plan)?;
    let stop = Arc::new(AtomicBool::new(false));
    cv::stop_at_signals(&stop, &arguments.dir)?;
    let mut runner = TaskRunner::new(&arguments.dir, &plan, arguments.device.open()?, end_at_once)?;
    let n_tasks = tasks.len();
    let say = |index: usize, task: &Task, said: &str| {
        // The results are in files: a disk that is full behind stdout fails no task.
        let _ = cf_cli::print(&format!("[{}/{n_tasks}] {}  {said}\n", index + 1, task.id));
    };
    let (mut failures, mut elsewhere) = (Vec::new(), Vec::new());
    let mut open: Vec<(usize, &Task)> = tasks.into_iter().enumerate().collect();
    let mut is_first_look = true;
    while !open.is_empty() {
        let n_open = open.len();
        let mut left = Vec::new();
        elsewhere.clear();
        for (index, task) in open {
            let started = Instant::now();
            let mut progress = Progress::new(show_bars);
            let end = runner.run(task, &stop, &mut |event| progress.observe(event));
            progress.finish();
            match end? {
                TaskEnd::Ran(summary) => {
                    let c_index = summary.c_index.mean.map_or_else(|| "-".to_owned(), |c| format!("{c:.3}"));
                    let seconds = started.elapsed().as_secs_f64();
                    say(index, task, &format!("C-index {c_index} ({seconds:.0} s)"));
                }
                TaskEnd::WasFinished => say(index, task, "finished before"),
                TaskEnd::IsRunning(holder) => {
                    let by = holder.map_or_else(String::new, |holder| format!(": {holder}"));
                    if is_first_look {
                        say(index, task, &format!("is run by another process{by}"));
                    }
                    left.push((index, task));
                    elsewhere.push(format!("{}{by}", task.id));
                }
                TaskEnd::Failed(error) => {
                    tracing::error!("[{}/{n_tasks}] {}  failed: {}", index + 1, task.id, error.with_causes());
                    failures.push(error);
                }
            }
        }
        // What others were at when it was looked at may be finished, or free, by now.
        if !is_first_look && left.len() == n_open {
            break;
        }
        (open, is_first_look) = (left, false);
    }
    let n_failed = failures.len();
    // What may succeed next time decides, so that an engine tries again; what can't then fails again, at once.
    let temporary = failures.iter().position(|error| error.remedy() == Remedy::Retry).unwrap_or(0);
    match (failures.into_iter().nth(temporary), elsewhere.first()) {
        (Some(one), _) => Err(Error::FailedTasks { n_failed, n_tasks, one: Box::new(one) }.into()),
        (None, Some(first)) => {
            Err(Error::TasksElsewhere { n_elsewhere: elsewhere.len(), n_tasks, first: first.clone() }.into())
        }
        (None, None) => Ok(()),
    }
}

/// Leaves a task that another process took over, since this one had not been heard of, to that process.
#[expect(
    clippy::exit,
    reason = "whatever else this process did, it would do to files that are another's by now"
)]
fn end_at_once(claim: &Path) {
    print_error(&format!(
        "{}: another process took this task over, having heard nothing of this one for ten minutes",
        claim.display()
    ));
    std::process::exit(i32::from(TEMPORARY))
}

fn tasks_asked_for<'a>(arguments: &RunArguments, plan: &'a StudyPlan) -> Result<Vec<&'a Task>, Failure> {
    let dir: &Path = &arguments.dir;
    match (&arguments.task, &arguments.index) {
        (Some(id), _) => Ok(vec![plan.task(dir, id)?]),
        (None, Some(list)) => indices(list)?
            .into_iter()
            .map(|index| {
                plan.tasks.get(index).ok_or_else(|| {
                    Failure::Usage(format!(
                        "--index is {index}, expected less than {}, the number of tasks",
                        plan.tasks.len()
                    ))
                })
            })
            .collect(),
        (None, None) => Ok(plan.tasks.iter().collect()),
    }
}

/// Reads `3`, `0-4,7`, or what Slurm says.
fn indices(list: &str) -> Result<Vec<usize>, Failure> {
    let list = match list {
        ARRAY_INDEX => std::env::var(ARRAY_INDEX.trim_start_matches('$')).map_err(|_| {
            Failure::Usage(format!("--index needs a list such as 0-4,7 where {ARRAY_INDEX} is not set"))
        })?,
        list => list.to_owned(),
    };
    let ranges: Result<Vec<_>, String> = list.split(',').map(number_list::range).collect();
    let ranges = ranges.map_err(|_| {
        Failure::Usage(format!("--index is `{list}`, expected positions of tasks such as 3 or 0-4,7"))
    })?;
    Ok(number_list::numbers(&ranges))
}

fn collect(arguments: &CollectArguments) -> Result<(), Failure> {
    let results = study::collect(&arguments.dir)?;
    if arguments.json {
        print_json(&results)?;
    } else {
        for table in study::tables(&results) {
            print(&table.to_text());
        }
        let states = ["running", "begun", "failed", "damaged", "waiting"].map(|state| {
            let n = results.unfinished.iter().filter(|task| task.state == state).count();
            if n > 0 { format!(", {n} {state}") } else { String::new() }
        });
        print(&format!(
            "{} of {} tasks are finished{}",
            results.n_finished,
            results.n_tasks,
            states.concat()
        ));
        for task in &results.unfinished {
            let reason = task.reason.as_ref().map_or_else(String::new, |reason| format!(": {reason}"));
            print(&format!("  {:<8} {}{reason}", task.state, task.id));
        }
    }
    match results.unfinished.first().filter(|_| arguments.complete) {
        None => Ok(()),
        Some(first) => Err(incomplete(&arguments.dir, results.unfinished.len(), first)),
    }
}

/// The error of a study that was to be complete.
pub(super) fn incomplete(dir: &Path, n_missing: usize, first: &UnfinishedTask) -> Failure {
    let first = format!("{} ({})", first.id, first.state);
    Error::Incomplete { path: dir.to_owned(), n_missing, first }.into()
}

fn emit(arguments: &EmitArguments) -> Result<(), Failure> {
    let program = match &arguments.program {
        Some(program) => std::path::absolute(program),
        None => std::env::current_exe(),
    };
    let program = program.map_err(|error| Failure::Usage(format!("--program: cannot be found: {error}")))?;
    let files = study::emit(&arguments.dir, arguments.engine, &program)?;
    for file in &files {
        print(&format!("wrote {}", file.display()));
    }
    if let Some(first) = files.first() {
        let first = first.display();
        print(&match arguments.engine {
            Engine::Slurm => format!("submit with: {first}"),
            Engine::Snakemake => format!("run with: snakemake -s {first} --cores all"),
            Engine::Nextflow => format!("run with: nextflow run {first}"),
        });
    }
    Ok(())
}
