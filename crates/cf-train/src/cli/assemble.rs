//! `cf-train study assemble`.

use std::path::PathBuf;

use cf_train::Error;
use cf_train::study::{self, AssembledRun};

use super::study::incomplete;
use super::{Failure, print, print_json};

/// Put the folds of finished runs together into run directories, for report, apply, test and heatmaps.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Example:\n  cf-train study assemble studies/table1 --out runs/table1 --run blca.crossfusion\n  \
                  cf-train apply --run runs/table1/blca.crossfusion.uni2-h.s7 --features features/new --out risks/new\n\n\
                  A run is one cohort, model, encoder and seed. OUT/RUN is what `cf-train cv` would have made of it, with summary and \
                  report. Runs that lack folds are listed; the exit code is 75 where they were asked for or none is whole. Called \
                  again, it adds what has been finished since. Neither tables nor bags are read. Weights are links to those of the \
                  study where the file system can: they take no room, and must not be edited in place."
)]
pub(super) struct AssembleArguments {
    /// Directory of the study.
    #[arg(value_name = "DIR")]
    dir: PathBuf,
    /// Directory to make run directories in.
    #[arg(long, value_name = "DIR")]
    out: PathBuf,
    /// Only runs of this name, or whose names begin so. May be given several times; all by default.
    #[arg(long, value_name = "NAME")]
    run: Vec<String>,
    /// Print what became of each run as JSON.
    #[arg(long)]
    json: bool,
}

pub(super) fn run(arguments: &AssembleArguments) -> Result<(), Failure> {
    let mut observe = |run: &AssembledRun| {
        if !arguments.json {
            print(&in_words(run));
        }
    };
    let runs = study::assemble(&arguments.dir, &arguments.run, &arguments.out, &mut observe)?;
    if arguments.json {
        print_json(&runs)?;
    }
    let failed: Vec<_> = runs.iter().filter_map(|run| Some((&run.run, run.fault.as_ref()?))).collect();
    if let Some((run, fault)) = failed.first() {
        let (path, n) = (arguments.dir.clone(), failed.len());
        let reason = format!("{n} of {} runs could not be assembled, such as {run}: {fault}", runs.len());
        return Err(Error::Data { path, reason }.into());
    }
    // Runs that were asked for are wanted whole, and of all of them one at least.
    let is_wanted = !arguments.run.is_empty() || runs.iter().all(|run| run.directory.is_none());
    let missing: Vec<_> = runs.iter().flat_map(|run| &run.missing).filter(|_| is_wanted).collect();
    missing.first().map_or(Ok(()), |first| Err(incomplete(&arguments.dir, missing.len(), first)))
}

fn in_words(run: &AssembledRun) -> String {
    let c_index = |value: Option<f64>| value.map_or_else(|| "-".to_owned(), |value| format!("{value:.3}"));
    match (&run.directory, &run.fault) {
        (Some(directory), _) => format!(
            "{}  {} folds, C-index {} of slides, {} of patients",
            directory.display(),
            run.n_planned,
            c_index(run.c_index),
            c_index(run.patient_c_index)
        ),
        (None, Some(fault)) => format!("failed: {}  {fault}", run.run),
        (None, None) => format!(
            "left out: {}  {} of {} folds are finished; missing: {}",
            run.run,
            run.n_finished,
            run.n_planned,
            cf_cli::listed(run.missing.iter().map(|task| format!("{} ({})", task.id, task.state)))
        ),
    }
}
