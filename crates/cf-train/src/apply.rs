//! The models of a finished run, applied to slides whose outcomes nobody knows yet: a risk for each, and on which side of the cut that was
//! learned in training it lies.
//!
//! Nothing is fitted on the slides. The risk of a slide is the mean over the run's models, that of a patient the mean over the slides, as in
//! an external test.

mod files;
mod summary;

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::atomic::AtomicBool;

use candle_core::Device;
use cf_model::kernels::device::DeviceName;
use wsi_bags::{ErrorKind, Layout, Magnification};

use crate::bags::open_store;
use crate::byte_size::ByteSize;
use crate::cohort::SlideList;
use crate::config::{FeatureRoots, FeaturesConfig};
use crate::ensemble::{Ensemble, FaultyBags, TrainedRun};
use crate::environment::Environment;
use crate::error::{Error, Result};
use crate::event::Event;
use crate::input_hash::InputRecord;
use crate::run_dir;
use crate::slides_with_bags::{among, missing_from};

pub use files::{PATIENTS, PREDICTIONS};
pub use summary::{ApplySummary, LeftOut};

use summary::ScoredList;

/// The slides that models are applied to.
#[derive(Debug, Clone, Default)]
pub struct NewSlides {
    /// Directory of their bags; not read where there are `roots`.
    pub features: PathBuf,
    /// How it is laid out; detected where it is not said.
    pub layout: Option<Layout>,
    /// Directories of one magnification each, in place of `features`.
    pub roots: Vec<(Magnification, PathBuf)>,
    /// A table that lists them, in a column `slide_id` or `FILENAME`, and their patients in `case_id`, `PATIENT` or `patient_id`; all bags
    /// without one.
    pub table: Option<PathBuf>,
}

impl NewSlides {
    /// Where the bags lie, with features of the encoder `backbone`.
    ///
    /// # Errors
    /// If a magnification has two directories.
    fn config(&self, backbone: &str) -> Result<FeaturesConfig> {
        let directory = FeaturesConfig::of_directory(&self.features, self.layout, backbone);
        if self.roots.is_empty() {
            return Ok(directory);
        }
        let mut roots = FeatureRoots { x5: None, x10: None, x20: None };
        for (at, root) in &self.roots {
            let place = match at {
                Magnification::X5 => &mut roots.x5,
                Magnification::X10 => &mut roots.x10,
                Magnification::X20 => &mut roots.x20,
            };
            if place.replace(root.clone()).is_some() {
                let kind = ErrorKind::DuplicateMagnification { magnification: *at };
                return Err(Error::BagStore(kind.into()));
            }
        }
        Ok(FeaturesConfig { dir: None, layout: None, roots: Some(roots), ..directory })
    }
}

/// How models are applied.
#[derive(Debug, Clone)]
pub struct ApplyOptions {
    /// Folds whose models are applied; all that are finished where empty.
    pub folds: Vec<usize>,
    /// Times in months at which survival is predicted.
    pub months: Vec<f64>,
    /// What a pass may use; by default what the machine offers.
    pub memory_budget: Option<ByteSize>,
    /// The device's name, for the record.
    pub device_name: DeviceName,
    /// The device, as its name was opened.
    pub device: Device,
}

/// Applies the models of the run in `run` to slides and writes what comes of it into the directory `out`, which appears when it is
/// complete. Slides without a bag, or whose bag can't be read, are left out and listed. The observer hears of every slide.
///
/// # Errors
/// If `out` holds files, the run has no finished fold or no weights, the table or every bag is unusable, features are not those that the
/// models were trained on, the largest bag does not fit, or `stop` was set.
pub fn apply(
    slides: &NewSlides,
    (run, out): (&Path, &Path),
    options: &ApplyOptions,
    stop: &AtomicBool,
    observe: &mut dyn FnMut(Event),
) -> Result<ApplySummary> {
    let out = &run_dir::vacant(out)?;
    let run = TrainedRun::read(run, &options.folds)?;
    let features = slides.config(&run.config.features.backbone)?;
    let store = open_store(&features)?;
    let (mut list, listed_by) = match &slides.table {
        Some(table) => (SlideList::read(table)?, "the table of slides"),
        None => (SlideList::of_bags(store.slide_ids()), "the directory"),
    };
    let names = list.slides.iter().map(|slide| slide.slide_id.as_str());
    // What can't be read is left out with the others that can't, once all are opened.
    let unreadable = |error| FaultyBags::LeftOut.leave_out(error).map(|_| None);
    let missing = |slide: &str| missing_from(&store, slide, &run.config.model).or_else(unreadable);
    let (has_bag, left_out) = among(names, listed_by, (features.directory(), store.slide_ids()), missing)?;
    let mut has_bag = has_bag.into_iter();
    list.slides.retain(|_| has_bag.next().unwrap_or(false));

    let slide_ids: Vec<String> = list.slides.iter().map(|slide| slide.slide_id.clone()).collect();
    let ensemble = Ensemble::load(&run, options.memory_budget, &options.device)?;
    ensemble.check_months(&options.months)?;
    let applied = ensemble.apply((&slide_ids, FaultyBags::LeftOut), (store, &features), stop, observe)?;
    let unread: BTreeSet<&String> = applied.left_out.iter().map(|faulty| &faulty.slide_id).collect();
    list.slides.retain(|slide| !unread.contains(&slide.slide_id));
    let scored = ScoredList::new(&list, &run, (&applied.scores, &options.months))?;
    let summary = ApplySummary::new(
        (&run, &applied),
        (&scored, &options.months),
        left_out,
        list.takes_slides_for_patients(),
    );
    let device = (options.device_name, &options.device);
    let table = slides.table.iter().map(|table| InputRecord::of_file("table of slides", table, table));
    let mut inputs = table.collect::<Result<Vec<_>>>()?;
    inputs.extend(applied.inputs(&features)?);
    let environment = Environment::read(device, run.config.training.seed, inputs)?;
    run_dir::write_dir(out, |dir| files::write(dir, &scored, &summary, &environment))?;
    Ok(summary)
}
