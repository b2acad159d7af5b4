//! An external test: the models of a finished run, applied as they are to the slides of another cohort.
//!
//! Nothing is fitted on that cohort. The risk of a slide is the mean over the run's models, that of a patient the mean over the slides.

mod cohort;
mod files;
mod level;
mod page;
mod scored;
mod summary;

use std::path::Path;
use std::sync::atomic::AtomicBool;

use candle_core::Device;
use cf_model::kernels::device::DeviceName;

use crate::config::ExternalConfig;
use crate::ensemble::{Ensemble, FaultyBags, TrainedRun};
use crate::environment::Environment;
use crate::error::Result;
use crate::event::Event;
use crate::input_hash;
use crate::run_dir;

pub use files::{COHORT, PATIENTS, PREDICTIONS};
pub use level::{CutSource, ExternalCIndex, GroupCounts, GroupHazardRatio, RiskGroupSummary};
pub use summary::ExternalSummary;

use cohort::ExternalCohort;
use scored::ScoredSlides;

/// How a test is carried out.
#[derive(Debug, Clone)]
pub struct TestOptions {
    /// Folds whose models are applied; all that are finished where empty.
    pub folds: Vec<usize>,
    /// What becomes of patients that the run has seen.
    pub overlap: Overlap,
    /// Times in months at which survival is predicted: a column each.
    pub months: Vec<f64>,
    /// The device's name, for the record.
    pub device_name: DeviceName,
    /// The device, as its name was opened.
    pub device: Device,
}

/// What becomes of patients of the cohort that were in the run, too.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Overlap {
    /// The test is refused, with their names.
    Refused,
    /// They are scored, and listed.
    Allowed,
}

/// Applies the models of the run in `run` to a cohort and writes what comes of it into the directory `out`, which appears when it is
/// complete. The observer hears of every slide.
///
/// # Errors
/// If `out` holds files, the run has no finished fold or no weights, a table or bag is unusable, features are not those that the
/// models were trained on, patients were in the run and may not be, the largest bag does not fit, or `stop` was set.
pub fn test(
    config: &ExternalConfig,
    (run, out): (&Path, &Path),
    options: &TestOptions,
    stop: &AtomicBool,
    observe: &mut dyn FnMut(Event),
) -> Result<ExternalSummary> {
    let out = &run_dir::vacant(out)?;
    let run = TrainedRun::read(run, &options.folds)?;
    let (cohort, store) = ExternalCohort::join(config, &run, options.overlap)?;
    let ensemble = Ensemble::load(&run, config.memory_budget, &options.device)?;
    ensemble.check_months(&options.months)?;
    let applied = ensemble.apply(
        (&cohort.slide_ids(), FaultyBags::Refused),
        (store, &config.features),
        stop,
        observe,
    )?;
    let scored = ScoredSlides::new(&cohort.slides, &run, (&applied.scores, &options.months));
    let summary = ExternalSummary::new((config, &cohort), (&run, &applied), &scored)?;
    let device = (options.device_name, &options.device);
    let mut inputs = vec![input_hash::of_settings(COHORT, &config.to_toml()?)];
    inputs.extend(input_hash::of_tables(&config.cohort)?);
    inputs.extend(applied.inputs(&config.features)?);
    let environment = Environment::read(device, run.config.training.seed, inputs)?;
    let paper = run.config.model.name().paper();
    run_dir::write_dir(out, |dir| {
        files::write(dir, config, &scored, &summary, &environment)?;
        page::write(dir, config, (&scored, &summary, paper), &environment)
    })?;
    Ok(summary)
}
