//! All folds of a run, one after another, into a run directory.

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::atomic::AtomicBool;
use std::time::{Duration, Instant};

use candle_core::Device;
use cf_model::kernels::device::{self, DeviceName};

use crate::config::RunConfig;
use crate::data_hashes::{DataHashes, FileHashes};
use crate::environment::{Environment, peak_rss_bytes};
use crate::error::{Error, Result};
use crate::evaluate::{self, Cost, Summary};
use crate::event::Event;
use crate::fold_claims::FoldClaims;
use crate::fold_state::HistoryRow;
use crate::input_hash;
use crate::memory::MemoryBudget;
use crate::plan::Plan;
use crate::report;
use crate::run_claim::{check_directory, config_hash, write_settings};
use crate::run_dir::{self, fold_files};
use crate::trainer::{TrainingContext, remove_state, train_fold};

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
/// If the directory holds another run, another process trains one of the folds, the data can't be used, training fails, or `stop` was set
/// (what is done is saved).
pub fn cross_validate(
    config: &RunConfig,
    run: &Path,
    options: &RunOptions,
    stop: &AtomicBool,
    observe: &mut dyn FnMut(Event),
) -> Result<Summary> {
    // What costs nothing to refuse is refused before anything is read.
    check_precision(config, options)?;
    check_directory(run, config, options.resume)?;
    let plan = Plan::new(config, &options.device, &options.folds)?;
    plan.warn_of_doubts(&mut BTreeSet::new());
    plan.warn_of_slides_left_out(&config.cohort.name, &mut BTreeSet::new());
    plan.warn_of_patients_validated_twice(&mut BTreeSet::new());
    let hashes = || plan.data_hashes(config, &mut FileHashes::default(), (run, stop));
    carry_out(config, (&plan, hashes), (run, Held::ByFold), options, stop, observe)
}

/// How a process keeps others from what it trains.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Held {
    /// By claims on folds: other processes may train other folds of the run.
    ByFold,
    /// The whole directory is its own.
    Whole,
}

/// Refuses a precision in which the device does not compute.
///
/// # Errors
/// If it is one.
pub(crate) fn check_precision(config: &RunConfig, options: &RunOptions) -> Result<()> {
    if device::computes_in(&options.device, config.training.precision.dtype()) {
        return Ok(());
    }
    Err(Error::PrecisionOfCpu { device: options.device_name })
}

/// How often a process tries to say what came of all folds, and how long it waits for another one in between.
const CONCLUSIONS: usize = 10;
const BETWEEN_CONCLUSIONS: Duration = Duration::from_millis(100);

/// [`cross_validate`] from the plan on, with what makes the hashes of its folds.
pub(crate) fn carry_out(
    config: &RunConfig,
    (plan, hashes): (&Plan, impl FnOnce() -> Result<Vec<DataHashes>>),
    (run, held): (&Path, Held),
    options: &RunOptions,
    stop: &AtomicBool,
    observe: &mut dyn FnMut(Event),
) -> Result<Summary> {
    check_precision(config, options)?;
    let memory = MemoryBudget::new(config, plan.bags.backbone_dim(), &options.device)?;
    let memory = plan.check_memory(memory, observe)?;
    check_directory(run, config, options.resume)?;
    plan.check_same_in(run)?;
    plan.check_recorded(run)?;
    // A run that is there keeps its settings until it is known that it goes on; one that is interrupted before that goes on, too.
    if !run.join(run_dir::CONFIG).is_file() {
        write_settings(run, config)?;
    }
    let is_complete = |fold: usize| run_dir::fold_dir(run, fold).join(fold_files::PREDICTIONS).is_file();
    let unfinished = plan.folds.iter().map(|data| data.fold).filter(|&fold| !is_complete(fold));
    let claims = match held {
        Held::ByFold => FoldClaims::make(run, unfinished)?,
        Held::Whole => FoldClaims::default(),
    };
    let hashes = hashes()?;
    for (fold, hashes) in plan.folds.iter().zip(&hashes) {
        hashes.check_begun(&run_dir::fold_dir(run, fold.fold))?;
    }
    let initial_weights = hashes.first().and_then(|hashes| hashes.initial_weights.as_ref());
    plan.check_others(run, config, initial_weights)?;
    write_settings(run, config)?;
    run_dir::remove_unfinished(run, |fold| !plan.is_other(fold))?;
    let inputs = input_hash::of_run(config)?;
    // Another process may be at other folds of the run: who writes says what all said before.
    let mut noted = None;
    let mut note = || -> Result<()> {
        let record = plan.record_with_others(run)?;
        run_dir::write_json(&run.join(run_dir::FOLDS), &record)?;
        if noted.as_ref() == Some(&record) {
            return Ok(());
        }
        let mut inputs = inputs.clone();
        inputs.extend(input_hash::of_folds(config, &record, &plan.bags)?);
        let device = (options.device_name, &options.device);
        let environment = Environment::read(device, config.training.seed, inputs)?;
        run_dir::write_json(&run.join(run_dir::ENVIRONMENT), &environment)?;
        noted = Some(record);
        Ok(())
    };
    let context = TrainingContext {
        config,
        bags: &plan.bags,
        run_dir: run,
        config_hash: config_hash(config)?,
        claims,
        memory,
        stop,
    };
    plan.fill_device(&memory, observe)?;
    let started = Instant::now();
    if plan.folds.iter().any(|data| !is_complete(data.fold)) {
        // They are of the folds that were complete before, and would seem to be of all where this process is interrupted.
        run_dir::remove(&run.join(run_dir::REPORT))?;
        run_dir::remove(&run.join(run_dir::OVER_TIME))?;
        run_dir::remove(&run.join(run_dir::SUMMARY))?;
    }
    for (data, hashes) in plan.folds.iter().zip(&hashes) {
        let dir = run_dir::fold_dir(run, data.fold);
        if is_complete(data.fold) {
            tracing::info!(fold = data.fold, "complete already");
            // A process that was killed just then may have left them.
            remove_state(run, data.fold)?;
            FoldClaims::clear(run, data.fold)?;
            continue;
        }
        tracing::info!(
            fold = data.fold,
            n_train = data.train.len(),
            n_validation = data.validation.len(),
            "training"
        );
        note()?;
        run_dir::create_dir(&dir)?;
        run_dir::write_json(&dir.join(fold_files::DATA), hashes)?;
        train_fold(&context, data, observe)?;
    }

    // Another process may finish a fold of the run just then, and say what came of all: one of the two finds files of the other.
    for _ in 1..CONCLUSIONS {
        match note().and_then(|()| conclude(config, run, started)) {
            Err(Error::Data { .. }) => std::thread::sleep(BETWEEN_CONCLUSIONS),
            other => return other,
        }
    }
    note()?;
    conclude(config, run, started)
}

/// Writes what came of all complete folds.
fn conclude(config: &RunConfig, run: &Path, started: Instant) -> Result<Summary> {
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
    report::write(run, run, None)?;
    Ok(summary)
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::Ordering;

    use super::*;
    use crate::simulate::{CohortKind, SimulateOptions, simulate};

    /// What a fold leaves, but for the seconds.
    fn outcome(run: &Path) -> Vec<Vec<u8>> {
        let fold = run_dir::fold_dir(run, 0);
        [
            fold_files::PREDICTIONS,
            fold_files::PREDICTIONS_LAST,
            fold_files::PREDICTIONS_TRAIN,
            fold_files::LAST,
            fold_files::ORDER,
        ]
        .map(|file| std::fs::read(fold.join(file)).unwrap())
        .into()
    }

    #[test]
    fn a_run_is_the_same_however_many_bags_stay_on_the_device() {
        let dir = tempfile::tempdir().unwrap();
        let cohort = dir.path().join("cohort");
        let options = SimulateOptions {
            n_patients: 30,
            backbone_dim: 12,
            scale: 0.004,
            ..SimulateOptions::new(cohort.clone(), CohortKind::Additive)
        };
        simulate(&options, &mut |_, _| {}).unwrap();
        let settings =
            [("model.embed_dim", "8"), ("training.max_epochs", "2"), ("training.protocol", "paper")];
        let settings = settings.map(|(key, value)| (key.to_owned(), value.to_owned()));
        let config = RunConfig::read(&cohort.join("config.toml"), &settings).unwrap();
        let how =
            RunOptions { folds: vec![0], resume: false, device_name: DeviceName::Cpu, device: Device::Cpu };
        let stop = AtomicBool::new(false);

        let mut runs = Vec::new();
        for (name, share) in [("none", 0.0), ("some", 0.5), ("all", 1.0)] {
            let plan = Plan::new(&config, &how.device, &how.folds).unwrap();
            let slides = plan.folds.iter().flat_map(|fold| fold.train.iter().chain(&fold.validation));
            let size = |slide: &crate::fold_data::LabelledSlide| {
                let slide = &slide.slide.slide_id;
                (slide.clone(), plan.bags.size(slide).unwrap())
            };
            let sizes: Vec<_> = slides.map(size).collect();
            let (n, bytes) = plan.bags.keep_resident(u64::MAX, &sizes);
            assert_eq!(n, sizes.len());
            let (kept, _) = plan.bags.keep_resident((bytes as f64 * share) as u64, &sizes);
            assert!(kept as f64 >= share * 0.8 * n as f64 && (share == 1.0 || kept < n), "{kept} of {n}");
            let run = dir.path().join(name);
            let hashes = || plan.data_hashes(&config, &mut FileHashes::default(), (&run, &stop));
            carry_out(&config, (&plan, hashes), (&run, Held::ByFold), &how, &stop, &mut |_| {}).unwrap();
            runs.push(outcome(&run));
        }
        assert!(runs[0] == runs[1] && runs[0] == runs[2]);
    }

    #[test]
    fn a_fold_stopped_after_its_last_epoch_keeps_the_weights_of_that_epoch() {
        let dir = tempfile::tempdir().unwrap();
        let cohort = dir.path().join("cohort");
        let options = SimulateOptions {
            n_patients: 40,
            backbone_dim: 12,
            scale: 0.004,
            ..SimulateOptions::new(cohort.clone(), CohortKind::Additive)
        };
        simulate(&options, &mut |_, _| {}).unwrap();
        let settings =
            [("model.embed_dim", "8"), ("training.max_epochs", "9"), ("training.protocol", "paper")];
        let settings = settings.map(|(key, value)| (key.to_owned(), value.to_owned()));
        let config = RunConfig::read(&cohort.join("config.toml"), &settings).unwrap();
        let run = |out: &Path, resume: bool, stop: &AtomicBool| {
            let options =
                RunOptions { folds: vec![0], resume, device_name: DeviceName::Cpu, device: Device::Cpu };
            cross_validate(&config, out, &options, stop, &mut |_| {})
        };
        let whole = dir.path().join("whole");
        run(&whole, false, &AtomicBool::new(false)).unwrap();
        let expected = outcome(&whole);
        let weights = [fold_files::BEST, fold_files::LAST]
            .map(|file| std::fs::read(run_dir::fold_dir(&whole, 0).join(file)).unwrap());
        assert!(weights[0] != weights[1], "the selected epoch is the last: this shows nothing");

        // The last weights are written just before those of the selected epoch are looked up and validated.
        for attempt in 0.. {
            let out = dir.path().join(format!("stopped-{attempt}"));
            let (stop, is_over) = (AtomicBool::new(false), AtomicBool::new(false));
            let last = run_dir::fold_dir(&out, 0).join(fold_files::LAST);
            let stopped = std::thread::scope(|scope| {
                scope.spawn(|| {
                    while !last.is_file() && !is_over.load(Ordering::Relaxed) {
                        std::thread::yield_now();
                    }
                    stop.store(true, Ordering::Relaxed);
                });
                let stopped = run(&out, false, &stop);
                is_over.store(true, Ordering::Relaxed);
                stopped
            });
            // On a busy machine the fold may be over before.
            if stopped.is_ok() && attempt < 20 {
                continue;
            }
            assert!(matches!(stopped, Err(Error::Interrupted { .. })), "{stopped:?}");
            run(&out, true, &AtomicBool::new(false)).unwrap();
            assert!(outcome(&out) == expected);
            break;
        }
    }
}
