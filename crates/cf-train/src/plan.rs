//! A run before it starts: tables, folds and bags joined, everything that can be refused refused.

mod flow;
mod joined;
mod planned_folds;
mod shared_patients;

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use candle_core::Device;
use serde::{Deserialize, Serialize};

use crate::bags::{BagSource, open_store};
use crate::cohort::{ClinicalTable, Slide};
use crate::config::RunConfig;
use crate::data_hashes::{self, DataHashes, FileHashes};
use crate::device_memory;
use crate::doctor::doubts_of_outcomes;
use crate::error::{Error, Result};
use crate::event::Event;
use crate::fold_data::{FoldData, LabelledSlide};
use crate::folds::{self, SameValidation};
use crate::memory::{BagSize, MemoryBudget};
use crate::run_dir;
use crate::slides_with_bags::{as_in_table, missing_from};
use crate::splits;
use crate::training_model;

pub(crate) use flow::of_bags as flow_of_bags;
pub use flow::{DroppedRecord, FlowRecord};

/// Everything that training needs and that is known before it.
#[derive(Debug)]
pub struct Plan {
    /// The folds asked for.
    pub folds: Vec<FoldData>,
    /// The others, but for those that can't be trained.
    others: Vec<FoldData>,
    /// The slides that some fold of the splits validates.
    validated: Vec<Slide>,
    /// Folds of the splits that validate the same as an earlier one.
    same_validation: Vec<SameValidation>,
    /// Which folds of the splits validate the same, and how many patients several of them do, in words.
    remarks_on_shared: Vec<String>,
    /// What makes the outcomes of the cohort doubtful, in words.
    doubts: Vec<String>,
    /// What `folds.json` will say.
    pub record: FoldsRecord,
    /// The bags.
    pub bags: BagSource,
}

/// `folds.json`: the cohort flow, and the slides of every fold.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct FoldsRecord {
    /// From the table to the folds, with every id that fell out.
    pub flow: Vec<FlowRecord>,
    /// Folds of the splits; an earlier version did not say.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub n_planned_folds: Option<usize>,
    /// The folds of this run.
    pub folds: Vec<FoldRecord>,
}

/// One fold: its parts and its time bins.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct FoldRecord {
    /// Its number.
    pub fold: usize,
    /// Training slides.
    pub n_train_slides: usize,
    /// Training slides with an event.
    pub n_train_events: usize,
    /// Training slides with more patches than `training.max_patches`; none without that key.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub n_train_drawn: Option<usize>,
    /// Validation slides.
    pub n_validation_slides: usize,
    /// Patients of the validation slides.
    pub n_validation_patients: usize,
    /// Validation slides with an event.
    pub n_validation_events: usize,
    /// Five edges.
    pub time_bin_edges_months: Vec<f64>,
    /// Slides trained on.
    pub train: Vec<String>,
    /// Slides held out of training to select the epoch.
    pub inner_validation: Vec<String>,
    /// Patients of these; no prediction names them. An earlier version did not say.
    #[serde(skip_serializing_if = "Vec::is_empty", default)]
    pub inner_validation_patients: Vec<String>,
    /// Slides validated on.
    pub validation: Vec<String>,
}

impl FoldRecord {
    /// The slides of every part.
    pub(crate) fn slides(&self) -> impl Iterator<Item = &String> {
        [&self.train, &self.inner_validation, &self.validation].into_iter().flatten()
    }
}

impl Plan {
    /// Reads tables and folds, looks for every bag, and fits the time bins. `only` picks folds; all where it is empty.
    ///
    /// # Errors
    /// If a table or fold file is unusable, ids do not join, bins can't be fitted, an asked fold does not exist, two of them validate the same, or bags or initial weights
    /// are not of one width and of this model.
    pub fn new(config: &RunConfig, device: &Device, only: &[usize]) -> Result<Self> {
        let table = ClinicalTable::read(&config.cohort)?;
        let doubts = doubts_of_outcomes(&config.cohort, &table);
        let splits = splits::read(&config.cohort.splits)?.select(config.held_out_use())?;
        if let Some(fold) = only.iter().find(|&&fold| splits.iter().all(|split| split.fold != fold)) {
            return Err(Error::data(
                &config.cohort.splits,
                format!("fold {fold} was asked for, found folds 0 to {}", splits.len() - 1),
            ));
        }
        let store = open_store(&config.features)?;
        let cohort = table.into_cohort(store.slide_ids())?;
        let missing = |slide: &str| missing_from(&store, slide, &config.model);
        let bag_ids = as_in_table(&store, &cohort);
        let joined = folds::join(&cohort, &splits, (config.features.directory(), &bag_ids), missing)?;
        let is_asked = |fold: usize| only.is_empty() || only.contains(&fold);
        let asked = joined.folds.iter().map(|fold| fold.fold).filter(|&at| is_asked(at)).collect();
        if let Some(error) = folds::same_among(&joined.same_validation, &asked) {
            return Err(error);
        }
        let (mut folds, mut others) = (Vec::new(), Vec::new());
        for fold in &joined.folds {
            let data = FoldData::new(&cohort, fold, &config.training);
            if is_asked(fold.fold) {
                let data = data.map_err(|reason| Error::data(&config.cohort.clinical, reason))?;
                if let Some(reason) = data.without_a_step(&config.training) {
                    return Err(Error::data(&config.cohort.splits, reason));
                }
                folds.push(data);
            } else {
                others.extend(data);
            }
        }
        let validated = flow::validated(&cohort, &joined);
        let remarks_on_shared = shared_patients::remarks(&joined, &validated);
        let record = FoldsRecord {
            flow: flow::of_cohort(&cohort, &joined, &validated),
            n_planned_folds: Some(joined.folds.len()),
            folds: folds.iter().map(FoldRecord::from).collect(),
        };
        let example = folds.iter().flat_map(|fold| &fold.train).next();
        let example = example.map_or_else(String::new, |labelled| labelled.slide.slide_id.clone());
        let tensors = (device, config.training.precision);
        let bags = BagSource::new(Arc::new(store), &config.model, tensors, &example)?;
        if let Some(path) = &config.training.initial_weights {
            training_model::check_initial(&config.model, bags.backbone_dim(), path)?;
        }
        let same_validation = joined.same_validation;
        let mut plan =
            Self { folds, others, validated, same_validation, remarks_on_shared, doubts, record, bags };
        for slide_id in slide_ids(plan.slides()) {
            plan.bags.check_described(slide_id)?;
        }
        if let Some(max_patches) = config.training.max_patches {
            for at in 0..plan.folds.len() {
                let trained = plan.sizes(plan.folds[at].train.iter())?;
                plan.record.folds[at].n_train_drawn = Some(n_drawn(&trained, max_patches));
            }
        }
        Ok(plan)
    }

    /// Says what makes the outcomes doubtful, but for what is `told` already.
    pub(crate) fn warn_of_doubts(&self, told: &mut BTreeSet<String>) {
        self.doubts.iter().for_each(|doubt| warn_once(doubt, told));
    }

    /// Says how many slides a run on `cohort` goes without, and why, but for what is `told` already.
    pub(crate) fn warn_of_slides_left_out(&self, cohort: &str, told: &mut BTreeSet<String>) {
        if let Some(left_out) = flow::left_out(&self.record.flow) {
            warn_once(
                &format!(
                    "{cohort}: left out: {left_out}; `cf-train cv --dry-run --json` and the report of a run say which"
                ),
                told,
            );
        }
    }

    /// What `folds.json` will say, with what it says already of other folds, at which another session may be.
    ///
    /// # Errors
    /// If it can't be read, and there is a complete fold that it may say something of.
    pub(crate) fn record_with_others(&self, run: &Path) -> Result<FoldsRecord> {
        let mut record = self.record.clone();
        record.folds.extend(self.recorded_others(run)?);
        record.folds.sort_by_key(|fold| fold.fold);
        let n_planned_folds = record.n_planned_folds.unwrap_or(record.folds.len());
        record.flow.extend(flow::of_run(&self.validated, &record.folds, n_planned_folds));
        Ok(record)
    }

    /// What `folds.json` says of folds that were not asked for.
    fn recorded_others(&self, run: &Path) -> Result<Vec<FoldRecord>> {
        let path = run.join(run_dir::FOLDS);
        if !path.is_file() {
            return Ok(Vec::new());
        }
        let before: FoldsRecord = match (run_dir::read_json(&path), self.complete_other(run)?) {
            (Ok(before), _) => before,
            // Cut off by a disk that was full or a machine that failed: all that it said is said again.
            (Err(_), None) => return Ok(Vec::new()),
            (Err(error), Some(fold)) => {
                let reason = error.with_causes();
                return Err(Error::data(
                    &path,
                    format!(
                        "can't be read, and fold {fold} is complete: --resume without --folds writes it again ({reason})"
                    ),
                ));
            }
        };
        Ok(before.folds.into_iter().filter(|fold| self.is_other(fold.fold)).collect())
    }

    /// Whether a fold is not one of those asked for.
    pub(crate) fn is_other(&self, fold: usize) -> bool {
        self.folds.iter().all(|planned| planned.fold != fold)
    }

    /// A fold of the run that is complete and was not asked for.
    fn complete_other(&self, run: &Path) -> Result<Option<usize>> {
        let is_complete = |(_, dir): &(usize, PathBuf)| dir.join(run_dir::fold_files::PREDICTIONS).is_file();
        let folds = run_dir::folds_in(run)?.into_iter().filter(is_complete);
        Ok(folds.map(|(fold, _)| fold).find(|&fold| self.is_other(fold)))
    }

    /// Refuses to join folds with those of another process that were begun on other slides, outcomes or weights, or on other bags where these
    /// lie in another place now.
    ///
    /// # Errors
    /// If there is such a fold, or its note can't be read.
    pub(crate) fn check_others(
        &self,
        run: &Path,
        config: &RunConfig,
        initial_weights: Option<&String>,
    ) -> Result<()> {
        let before = RunConfig::read(&run.join(run_dir::CONFIG), &[])?;
        let is_elsewhere = before.features.places() != config.features.places();
        let mut known = FileHashes::default();
        for (fold, dir) in run_dir::folds_in(run)?.into_iter().filter(|(fold, _)| self.is_other(*fold)) {
            let data = self.others.iter().find(|other| other.fold == fold);
            data_hashes::check_other(&dir, data, initial_weights)?;
            if is_elsewhere {
                data_hashes::check_bags_of_other(&dir, data, &self.bags, &mut known)?;
            }
        }
        Ok(())
    }

    /// Hashes of the data of each fold.
    ///
    /// # Errors
    /// If a file can't be read; [`Error::Interrupted`] if `stop` was set.
    pub(crate) fn data_hashes(
        &self,
        config: &RunConfig,
        files: &mut FileHashes,
        (run, stop): (&Path, &AtomicBool),
    ) -> Result<Vec<DataHashes>> {
        if !files.sample_all(&self.bags, slide_ids(self.slides()), stop)? {
            let fold = self.folds.first().map_or(0, |fold| fold.fold);
            return Err(Error::Interrupted { fold, epoch: 1, path: run.to_owned() });
        }
        self.folds.iter().map(|fold| DataHashes::of(config, fold, &self.bags, files)).collect()
    }

    /// Every slide of every fold, again for each of its parts.
    fn slides(&self) -> impl Iterator<Item = &LabelledSlide> {
        let parts =
            self.folds.iter().flat_map(|fold| [&fold.train, &fold.inner_validation, &fold.validation]);
        parts.flatten()
    }

    /// Holds the training steps against the memory that a run may use, and tells the observer what the largest takes. Returns the budget
    /// of a run that reads these bags.
    ///
    /// # Errors
    /// [`Error::DoesNotFit`] if it takes more, [`Error::EvaluationDoesNotFit`] if an evaluation does, or a bag's description can't be read.
    pub fn check_memory<'a>(
        &self,
        budget: MemoryBudget<'a>,
        observe: &mut dyn FnMut(Event),
    ) -> Result<MemoryBudget<'a>> {
        let trained = self.sizes(self.folds.iter().flat_map(|fold| &fold.train))?;
        let budget = budget.reading(trained.iter().map(|(_, size)| *size));
        if let Some(max_patches) = budget.max_patches {
            let n_drawn = n_drawn(&trained, max_patches);
            observe(Event::Drawn { max_patches, n_drawn, n_slides: trained.len() });
        }
        let (budget_bytes, evaluated) = (budget.bytes, self.sizes(self.slides())?);
        if let Some((_, size, predicted_bytes)) = budget.check(&trained, &evaluated)? {
            let n_patches = size.at_most(budget.max_patches).total();
            observe(Event::Memory { n_patches, predicted_bytes, budget_bytes });
        }
        if let Some((size, predicted_bytes)) = budget.check_evaluation(&evaluated)? {
            observe(Event::Evaluation { n_patches: size.total(), predicted_bytes, budget_bytes });
        }
        Ok(budget)
    }

    /// Lets bags stay on a GPU, as many as it and the budget hold beside a training step, and tells the observer how many these are.
    ///
    /// # Errors
    /// If a bag's description can't be read, or the device's driver fails.
    pub(crate) fn fill_device(
        &self,
        budget: &MemoryBudget<'_>,
        observe: &mut dyn FnMut(Event),
    ) -> Result<()> {
        let Some(offered) = device_memory::offered_bytes(self.bags.device())? else {
            return Ok(());
        };
        let offered = budget.bytes.map_or(offered, |bytes| bytes.min(offered));
        let bags = self.sizes(self.slides())?;
        let beside = offered.saturating_sub(budget.most_bytes(bags.iter().map(|(_, size)| *size)));
        let (n_resident, bytes) = self.bags.keep_resident(beside, &bags);
        observe(Event::Resident { n_resident, n_bags: bags.len(), bytes });
        Ok(())
    }

    /// Slides in order of their ids, and the sizes of their bags.
    fn sizes<'a>(&self, slides: impl Iterator<Item = &'a LabelledSlide>) -> Result<Vec<(String, BagSize)>> {
        slide_ids(slides).into_iter().map(|slide| Ok((slide.to_owned(), self.bags.size(slide)?))).collect()
    }
}

/// Warns of what is not `told` yet.
fn warn_once(remark: &str, told: &mut BTreeSet<String>) {
    if told.insert(remark.to_owned()) {
        tracing::warn!("{remark}");
    }
}

/// Slides of which a visit in training sees a part.
fn n_drawn(slides: &[(String, BagSize)], max_patches: usize) -> usize {
    slides.iter().filter(|(_, size)| size.most() > max_patches).count()
}

fn slide_ids<'a>(slides: impl Iterator<Item = &'a LabelledSlide>) -> BTreeSet<&'a str> {
    slides.map(|labelled| labelled.slide.slide_id.as_str()).collect()
}

fn n_patients<'a>(slides: impl Iterator<Item = &'a Slide>) -> usize {
    slides.map(|slide| slide.patient_id.as_str()).collect::<std::collections::BTreeSet<_>>().len()
}

impl From<&FoldData> for FoldRecord {
    fn from(data: &FoldData) -> Self {
        let events = |slides: &[LabelledSlide]| {
            slides.iter().filter(|labelled| labelled.slide.outcome.is_event()).count()
        };
        let ids = |slides: &[LabelledSlide]| {
            slides.iter().map(|labelled| labelled.slide.slide_id.clone()).collect()
        };
        let patients = |slides: &[LabelledSlide]| {
            let patients: BTreeSet<&String> =
                slides.iter().map(|labelled| &labelled.slide.patient_id).collect();
            patients.into_iter().cloned().collect()
        };
        Self {
            fold: data.fold,
            n_train_slides: data.train.len(),
            n_train_events: events(&data.train),
            n_train_drawn: None,
            n_validation_slides: data.validation.len(),
            n_validation_patients: n_patients(data.validation.iter().map(|labelled| &labelled.slide)),
            n_validation_events: events(&data.validation),
            time_bin_edges_months: data.bins.edges_months().to_vec(),
            train: ids(&data.train),
            inner_validation: ids(&data.inner_validation),
            inner_validation_patients: patients(&data.inner_validation),
            validation: ids(&data.validation),
        }
    }
}
