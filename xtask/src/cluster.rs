//! `cargo xtask cluster`: a study of 24 trainings on a real Slurm, disturbed, and through Snakemake, against an undisturbed run.
//!
//! Slurm's daemons run for the occasion, on this machine and in a folder below `target`. During the array one task is cancelled, one
//! queued again, one killed with SIGKILL, one meets a full disk, and one is cut by its time limit. What was missing is submitted
//! again, and then every file that a task leaves must be the same bytes as without all that.

mod daemons;
mod disturbance;
mod small_study;

use std::path::Path;
use std::time::{Duration, Instant};

use crate::demo::{built_binary, fresh_folder};
use crate::failure::Failure;
use crate::step::{Step, shown_time};
use daemons::Slurm;
use small_study::SmallStudy;

/// What Slurm needs, with the packages that have it.
const PROGRAMS: [(&str, &str); 4] =
    [("munged", "munge"), ("slurmctld", "slurmctld"), ("slurmd", "slurmd"), ("sbatch", "slurm-client")];

/// An array of so few small tasks is over by then, on a machine that does other things as well.
const PATIENCE: Duration = Duration::from_secs(1500);

/// Runs it all, or says why it skips.
pub(crate) fn run(root: &Path) -> Result<(), Failure> {
    if let Some((program, package)) = PROGRAMS.iter().find(|(program, _)| which(program).is_none()) {
        println!("skipped: no `{program}` (Debian: {package}; slurm-wlm has all of Slurm)");
        return Ok(());
    }
    if Step::new(root, "id", &["-u"]).stdout()?.trim() != "0" {
        println!("skipped: Slurm's daemons and a small disk want root");
        return Ok(());
    }
    let start = Instant::now();
    Step::cargo(root, &["build", "-p", "cf-train", "--bin", "cf-train"]).run()?;
    let cf_train = built_binary(root, "debug", "cf-train")?;
    let folder = fresh_folder(root, "cluster")?;
    let study = SmallStudy::make(&folder, &cf_train)?;

    told("undisturbed, one process", || study.run_alone("alone"))?;
    let slurm = Slurm::start(&folder.join("daemons"))?;
    println!("{}", slurm.command("sinfo", &[]).stdout()?.trim_end());
    told("Slurm, disturbed", || disturbance::run(&study, &slurm))?;
    study.compare("alone", "slurm")?;
    match snakemake() {
        None => println!(
            "skipped: no `snakemake` (PyPI: snakemake, snakemake-executor-plugin-slurm; CF_SNAKEMAKE names it)"
        ),
        Some(snakemake) => {
            told("Snakemake on this machine", || {
                study.run_snakemake("snakemake", &snakemake, &["--cores", "2"], None)
            })?;
            study.compare("alone", "snakemake")?;
            let slurm_arguments = [
                "--executor",
                "slurm",
                "--jobs",
                "8",
                "--default-resources",
                "slurm_partition=main",
                "--slurm-no-account",
                "--slurm-status-command",
                "squeue",
                "--slurm-init-seconds-before-status-checks",
                "5",
            ];
            told("Snakemake through its Slurm executor", || {
                study.run_snakemake("snakemake-slurm", &snakemake, &slurm_arguments, Some(&slurm))
            })?;
            study.compare("alone", "snakemake-slurm")?;
        }
    }
    slurm.stop()?;
    println!("cluster: all of it in {}", shown_time(start.elapsed()));
    Ok(())
}

fn told<T>(name: &str, work: impl FnOnce() -> Result<T, Failure>) -> Result<T, Failure> {
    println!("== {name}");
    let start = Instant::now();
    let done = work()?;
    println!("== {name}: {}", shown_time(start.elapsed()));
    Ok(done)
}

/// Asks until the answer is there; `what` is waited for.
fn wait_for<T>(what: &str, mut ask: impl FnMut() -> Result<Option<T>, Failure>) -> Result<T, Failure> {
    let start = Instant::now();
    loop {
        if let Some(answer) = ask()? {
            return Ok(answer);
        }
        if start.elapsed() > PATIENCE {
            return Err(Failure::new(format!("waited {} for {what}", shown_time(start.elapsed()))));
        }
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// The path of a program; Debian keeps daemons where not every shell looks.
fn which(program: &str) -> Option<std::path::PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let folders = std::env::split_paths(&path).chain(["/usr/sbin", "/usr/local/sbin"].map(Into::into));
    folders.map(|folder| folder.join(program)).find(|path| path.is_file())
}

fn snakemake() -> Option<std::path::PathBuf> {
    std::env::var_os("CF_SNAKEMAKE").map(Into::into).or_else(|| which("snakemake"))
}
