//! All folds of a run, one after another, into a run directory.

use std::path::Path;
use std::sync::atomic::AtomicBool;
use std::time::Instant;

use candle_core::Device;
use cf_model::kernels::device::DeviceName;

use crate::config::RunConfig;
use crate::environment::{Environment, peak_rss_bytes};
use crate::error::Result;
use crate::evaluate::{self, Cost, Summary};
use crate::event::Event;
use crate::fold_state::HistoryRow;
use crate::input_hash;
use crate::memory::MemoryBudget;
use crate::plan::{Plan, claim_directory, config_hash};
use crate::report;
use crate::run_dir::{self, fold_files};
use crate::trainer::{TrainingContext, train_fold};

/// How a run is carried out, as opposed to what it is.
#[derive(Debug, Clone)]
pub struct RunOptions {
    /// Folds to train; all where empty.
    pub folds: Vec<usize>,
    /// Continue what an earlier session left in the directory.
    pub resume: bool,
    /// The device's name, for the record.
    pub device_name: DeviceName,
    /// The device, as its name was opened.
    pub device: Device,
}

/// Trains every fold that is not complete yet, then writes summary and report.
///
/// # Errors
/// If the directory holds another run, the data can't be used, training fails, or `stop` was set (what is done is saved).
pub fn cross_validate(
    config: &RunConfig,
    run: &Path,
    options: &RunOptions,
    stop: &AtomicBool,
    observe: &mut dyn FnMut(Event),
) -> Result<Summary> {
    let plan = Plan::new(config, &options.device, &options.folds)?;
    carry_out(config, &plan, run, options, stop, observe)
}

/// [`cross_validate`] from the plan on.
pub(crate) fn carry_out(
    config: &RunConfig,
    plan: &Plan,
    run: &Path,
    options: &RunOptions,
    stop: &AtomicBool,
    observe: &mut dyn FnMut(Event),
) -> Result<Summary> {
    let config_toml = config.to_toml()?;
    let memory = MemoryBudget::new(config, plan.bags.backbone_dim(), &options.device)?;
    plan.check_memory(&memory)?;
    claim_directory(run, &config_toml, options.resume)?;
    run_dir::write_json(&run.join(run_dir::FOLDS), &plan.record)?;
    let device = (options.device_name, &options.device);
    let environment = Environment::read(device, config.training.seed, input_hash::of_run(config, plan)?)?;
    run_dir::write_json(&run.join(run_dir::ENVIRONMENT), &environment)?;

    let context = TrainingContext {
        config,
        bags: &plan.bags,
        run_dir: run,
        config_hash: config_hash(&config_toml),
        memory,
        stop,
    };
    let started = Instant::now();
    for data in &plan.folds {
        if run_dir::fold_dir(run, data.fold).join(fold_files::PREDICTIONS).is_file() {
            tracing::info!(fold = data.fold, "complete already");
            continue;
        }
        tracing::info!(
            fold = data.fold,
            n_train = data.train.len(),
            n_validation = data.validation.len(),
            "training"
        );
        train_fold(&context, data, observe)?;
    }

    let predictions = evaluate::read_predictions(run)?;
    // Of folds that another session trained, the history knows the seconds.
    let mut wall_seconds = 0.0;
    for fold in &predictions {
        let history: Vec<HistoryRow> =
            run_dir::read_csv(&run_dir::fold_dir(run, fold.fold).join(fold_files::HISTORY))?;
        wall_seconds += history.iter().map(|row| row.seconds).sum::<f64>();
    }
    let cost = Cost {
        wall_seconds: wall_seconds.max(started.elapsed().as_secs_f64()),
        peak_rss_bytes: peak_rss_bytes(),
    };
    let summary = evaluate::summarise(config, &predictions, cost)?;
    run_dir::write_json(&run.join(run_dir::SUMMARY), &summary)?;
    report::write(run)?;
    Ok(summary)
}
