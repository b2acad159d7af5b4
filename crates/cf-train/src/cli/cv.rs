//! `cf-train cv`.

use std::collections::BTreeSet;
use std::ops::RangeInclusive;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use cf_train::plan::Plan;
use cf_train::{Error, RunConfig, RunOptions, cross_validate};

use super::device::TrainingDeviceArguments;
use super::progress::Progress;
use super::{Failure, evaluate, number_list, print, print_json, threads};

/// Cross-validate a model into a run directory, with a report.
#[derive(Debug, clap::Args)]
#[command(after_help = "Example:\n  cf-train cv --config examples/configs/blca-crossfusion.toml \
                        --set features.dir=/data/blca --out runs/blca\n\n\
                        A run stopped by SIGTERM, SIGINT or SIGUSR1 saves its state and exits with 75; the same command \
                        with --resume goes on and ends with the same bytes (on a GPU where both have --deterministic).")]
pub(super) struct Arguments {
    /// Configuration (TOML); its relative paths start from its own directory.
    #[arg(long, value_name = "FILE")]
    config: PathBuf,
    /// Change a setting, such as training.seed=8. May be given several times.
    #[arg(long = "set", value_name = "KEY=VALUE", value_parser = parse_override)]
    overrides: Vec<(String, String)>,
    /// Run directory: new, or with --resume that of the same run.
    #[arg(long, value_name = "DIR", required_unless_present = "dry_run")]
    out: Option<PathBuf>,
    /// Folds to run, such as 0,2 or 0-4. All by default.
    #[arg(long, value_delimiter = ',', value_name = "LIST", value_parser = number_list::range)]
    folds: Vec<RangeInclusive<usize>>,
    #[command(flatten)]
    device: TrainingDeviceArguments,
    /// Continue a run that was interrupted.
    #[arg(long)]
    resume: bool,
    /// Threads to compute with. All that the process may use by default; results do not depend on it.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..))]
    threads: Option<u16>,
    /// Read everything, join tables, folds and bags, show what would be trained, and stop.
    #[arg(long)]
    dry_run: bool,
    /// Print the summary as JSON.
    #[arg(long)]
    json: bool,
}

pub(super) fn parse_override(text: &str) -> Result<(String, String), String> {
    let (key, value) = text.split_once('=').ok_or_else(|| format!("found `{text}`, expected KEY=VALUE"))?;
    Ok((key.trim().to_owned(), value.trim().to_owned()))
}

pub(super) fn run(arguments: &Arguments, show_bars: bool) -> Result<(), Failure> {
    threads::apply(arguments.threads).map_err(Failure::Usage)?;
    let config = RunConfig::read(&arguments.config, &arguments.overrides)?;
    let (device_name, device) = arguments.device.open()?;
    let folds = number_list::numbers(&arguments.folds);
    let Some(out) = arguments.out.as_ref().filter(|_| !arguments.dry_run) else {
        let plan = Plan::new(&config, &device, &folds)?;
        plan.warn_of_patients_validated_twice(&mut BTreeSet::new());
        return show_plan(&config, &plan, arguments.json);
    };
    let stop = Arc::new(AtomicBool::new(false));
    stop_at_signals(&stop, out)?;
    let options = RunOptions { folds, resume: arguments.resume, device_name, device };
    let mut progress = Progress::new(show_bars);
    let summary = cross_validate(&config, out, &options, &stop, &mut |event| progress.observe(event));
    progress.finish();
    let summary = summary?;
    if arguments.json {
        return print_json(&summary);
    }
    evaluate::print_summary(&summary);
    print(&format!("report: {}", out.join(cf_train::run_dir::REPORT).display()));
    Ok(())
}

/// Sets `stop` when the process is asked to end, so that what it does in `dir` is saved first.
pub(super) fn stop_at_signals(stop: &Arc<AtomicBool>, dir: &Path) -> Result<(), Failure> {
    for signal in [signal_hook::consts::SIGTERM, signal_hook::consts::SIGINT, signal_hook::consts::SIGUSR1] {
        signal_hook::flag::register(signal, Arc::clone(stop)).map_err(|source| Error::Io {
            action: "listen for signals for",
            path: dir.to_owned(),
            source,
        })?;
    }
    Ok(())
}

fn show_plan(config: &RunConfig, plan: &Plan, json: bool) -> Result<(), Failure> {
    if json {
        return print_json(&plan.record);
    }
    let backbone_dim = plan.bags.backbone_dim();
    let n_parameters = config.model.n_parameters(backbone_dim).map_err(Error::from)?;
    print(&format!(
        "{} on {} ({}, {backbone_dim} columns), protocol {}, {n_parameters} parameters",
        config.model.name(),
        config.cohort.name,
        config.features.backbone,
        cf_train::protocol::describe(config)
    ));
    for step in &plan.record.flow {
        print(&format!(
            "{:>6} slides {:>6} patients {:>6} events  {}",
            step.n_slides, step.n_patients, step.n_events, step.label
        ));
        for dropped in &step.dropped {
            print(&format!(
                "{:>6}   {}: {}",
                dropped.ids.len(),
                dropped.reason,
                cf_cli::listed(&dropped.ids)
            ));
        }
    }
    if let Some(max_patches) = config.training.max_patches {
        print(&format!("patches: {}", cf_train::visit::rule(max_patches)));
    }
    for fold in &plan.record.folds {
        let choosing = match fold.inner_validation.len() {
            0 => String::new(),
            n => format!(
                ", choose the epoch on {n} slides of {} patients",
                fold.inner_validation_patients.len()
            ),
        };
        let drawn = fold.n_train_drawn.map_or_else(String::new, |n| format!(", {n} with more patches"));
        print(&format!(
            "fold {}: train {} slides ({} events{drawn}){choosing}, validate {} slides of {} patients ({} events), bins {:?} months",
            fold.fold,
            fold.n_train_slides,
            fold.n_train_events,
            fold.n_validation_slides,
            fold.n_validation_patients,
            fold.n_validation_events,
            fold.time_bin_edges_months
        ));
    }
    Ok(())
}
