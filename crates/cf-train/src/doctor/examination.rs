//! The pass: each step takes what the ones before it left usable.

use std::path::Path;

use candle_core::Device;
use serde::Serialize;

use super::bag_comparison::{self, UsualBag};
use super::bag_join::{self, JoinedBags};
use super::bag_scan::{self, BagFacts};
use super::cluster_limits::{self, ClusterLimits, TimeForecast};
use super::cohort_check::{self, CohortFacts};
use super::disk::DiskForecast;
use super::fault::Fault;
use super::finding::{Finding, Severity, place};
use super::{fold_check, mpp_check, settings, weights_check};
use crate::byte_size::ByteSize;
use crate::config::RunConfig;
use crate::error::{Error, fitting_in_words};
use crate::fold_data::FoldData;
use crate::folds;
use crate::memory::{MemoryBudget, MemoryForecast, Work};
use crate::splits::{HeldOutUse, SplitSet};
use crate::visit::way_out;

/// From this share of the available memory on, a bag is worth a warning.
const TIGHT_MEMORY: f64 = 0.8;

/// All that was found.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Diagnosis {
    /// Findings that a run would stop at.
    pub errors: usize,
    /// Findings that a run would go on with.
    pub warnings: usize,
    /// Every finding, errors first, each kind in the order of the pass.
    pub findings: Vec<Finding>,
    /// The cohort; `None` where the table can't be used.
    pub cohort: Option<CohortFacts>,
    /// The largest bag; `None` where no bag could be read.
    pub memory: Option<MemoryForecast>,
    /// Of how many slides training sees a part; `None` without `training.max_patches`, and where no bag could be read.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub draws: Option<DrawForecast>,
    /// The longest fold; `None` where folds, bags or model can't be used.
    pub time: Option<TimeForecast>,
    /// The output's disk; `None` where the size of the model is unknown.
    pub disk: Option<DiskForecast>,
}

/// What `training.max_patches` leaves out of training.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct DrawForecast {
    /// Patches of any magnification that a visit sees, at most.
    pub max_patches: usize,
    /// Slides with more.
    pub n_drawn: usize,
    /// Slides whose bags were read.
    pub n_slides: usize,
}

impl Diagnosis {
    /// The error of a run that would stop at memory, and at nothing else.
    pub fn does_not_fit(&self) -> Option<Error> {
        let mut errors = self.findings.iter().filter(|finding| finding.severity == Severity::Error);
        let memory = self.memory.as_ref().filter(|_| errors.all(|finding| finding.fault == Fault::Memory))?;
        let needed_bytes = memory.predicted_peak_bytes;
        let budget_bytes = memory.available_bytes.filter(|available| needed_bytes > *available)?;
        let slide_id = memory.slide_id.clone();
        Some(match memory.work {
            Work::Training => Error::DoesNotFit {
                slide_id,
                n_patches: memory.n_patches.total(),
                n_seen: memory.n_patches_seen.total(),
                needed_bytes,
                budget_bytes,
                n_fitting: memory.n_fitting,
                fitting_max_patches: memory.fitting_max_patches,
            },
            Work::Evaluation => {
                let n_patches = memory.n_patches.total();
                Error::EvaluationDoesNotFit { slide_id, n_patches, needed_bytes, budget_bytes }
            }
        })
    }
}

/// Looks at everything that a run with this configuration would read. `out` is where the run would write, `device` what it
/// would compute on. `progress` hears how many bags were read, and of how many.
///
/// It fails at nothing: what can't be looked at is a finding. Reads every feature once.
pub fn examine(
    path: &Path,
    overrides: &[(String, String)],
    out: &Path,
    device: &Device,
    limits: ClusterLimits,
    progress: &mut dyn FnMut(usize, usize),
) -> Diagnosis {
    let mut findings = Vec::new();
    let examined = settings::examine(path, overrides, &mut findings);
    let (mut cohort, mut memory, mut draws, mut time, mut disk) = (None, None, None, None, None);
    if let Some(config) = &examined.cohort {
        let (table, facts) = cohort_check::examine(config, &mut findings).unzip();
        let held_out =
            examined.config.as_ref().map_or(HeldOutUse::Evaluate(config.evaluate), RunConfig::held_out_use);
        let splits = fold_check::examine(config, held_out, table.as_ref(), &mut findings);
        cohort = facts;
        if let Some(config) = &examined.config {
            let joined = bag_join::examine(config, table, &mut findings);
            let mut folds = Vec::new();
            let directory = config.features.directory().display().to_string();
            let bags = joined.as_ref().map_or_else(Vec::new, |joined| {
                folds = time_bins(config, joined, splits.as_ref(), &mut findings);
                let at = config.model.magnifications();
                mpp_check::examine(&joined.store, &joined.slide_ids, at, &mut findings);
                let store = (&joined.store, directory.as_str());
                bag_scan::examine(store, &joined.slide_ids, &config.model, &mut findings, progress)
            });
            draws =
                config.training.max_patches.filter(|_| !bags.is_empty()).map(|max_patches| DrawForecast {
                    max_patches,
                    n_drawn: bags.iter().filter(|bag| bag.size.most() > max_patches).count(),
                    n_slides: bags.len(),
                });
            let usual = joined.as_ref().and_then(|joined| {
                let first = config.model.magnifications()[0];
                let path_of = |slide_id: &str| joined.store.path_of(slide_id, first);
                bag_comparison::examine(&bags, &directory, path_of, &mut findings)
            });
            if examined.has_model {
                weights_check::examine(config, usual.as_ref(), &mut findings);
            }
            if let Some(usual) = usual.filter(|_| examined.has_model) {
                let n_folds = splits.as_ref().map_or(1, |splits| splits.folds.len());
                let whereto = (out, n_folds, device);
                (memory, disk) = resources(config, &usual, &bags, whereto, limits.memory, &mut findings);
                let limits = (limits, !device.is_cpu());
                time = cluster_limits::examine(config, &folds, usual.dim, &bags, limits, &mut findings);
            }
        }
    }
    if examined.config.is_none() {
        let found = "too little of the configuration is usable to look at the bags";
        findings.push(Finding::new(Severity::Note, Fault::NotExamined, place(path, ""), found));
    }
    findings.sort_by_key(|finding| finding.severity);
    let count = |severity| findings.iter().filter(|finding| finding.severity == severity).count();
    Diagnosis {
        errors: count(Severity::Error),
        warnings: count(Severity::Warning),
        findings,
        cohort,
        memory,
        draws,
        time,
        disk,
    }
}

/// Fits the time bins of every fold, once the folds themselves are sound. Returns the folds that can be trained on.
fn time_bins(
    config: &RunConfig,
    joined: &JoinedBags,
    splits: Option<&SplitSet>,
    findings: &mut Vec<Finding>,
) -> Vec<FoldData> {
    let mut usable = Vec::new();
    if findings.iter().any(|finding| finding.severity == Severity::Error) {
        return usable;
    }
    let (Some(cohort), Some(set)) = (&joined.cohort, splits) else { return usable };
    let path = &config.cohort.splits;
    let Ok(splits) = set.select(config.held_out_use()) else { return usable };
    let missing = |slide: &str| {
        let whole = joined.slide_ids.iter().any(|id| id == slide);
        Ok((!whole).then(|| "slide without a whole bag".to_owned()))
    };
    let bags = (config.features.directory(), joined.store.slide_ids());
    match folds::join(cohort, &splits, bags, missing) {
        Ok(joined) => {
            // Sound by the table alone, and alike once slides without bags are left out.
            findings.extend(joined.same_validation.iter().map(|same| {
                let at = place(&same.path, &format!("fold {}", same.fold));
                let reason = same.reason.clone();
                Finding::new(Severity::Error, Fault::SameValidation, at, reason)
            }));
            for (fold, split) in joined.folds.iter().zip(&splits) {
                match FoldData::new(cohort, fold, &config.training) {
                    Ok(data) => {
                        fold_check::examine_joined(&split.path, &data, &config.training, findings);
                        usable.push(data);
                    }
                    Err(reason) => {
                        let place = place(path, &format!("fold {}", fold.fold));
                        findings.push(Finding::new(Severity::Error, Fault::TimeBins, place, reason));
                    }
                }
            }
        }
        // Sound by the table alone, and emptied by slides without bags.
        Err(error) => {
            let (at, found) = match &error {
                Error::Data { path, reason } => (path, reason.clone()),
                error => (path, error.to_string()),
            };
            let finding = Finding::new(Severity::Error, Fault::EmptyFold, place(at, ""), found);
            let way_out =
                "extract the bags that the warnings name, or check features.dir and features.backbone";
            findings.push(finding.with_way_out(way_out.to_owned()));
        }
    }
    usable
}

fn resources(
    config: &RunConfig,
    usual: &UsualBag,
    bags: &[BagFacts],
    (out, n_folds, device): (&Path, usize, &Device),
    asked_for: Option<ByteSize>,
    findings: &mut Vec<Finding>,
) -> (Option<MemoryForecast>, Option<DiskForecast>) {
    // A faulty setting was told of with the configuration.
    let Ok(mut budget) = MemoryBudget::new(config, usual.dim, device) else { return (None, None) };
    if let Some(ByteSize(bytes)) = asked_for {
        // Of another machine, whatever this one has.
        budget.bytes =
            Some(config.training.memory_budget.map_or(bytes, |configured| configured.0.min(bytes)));
    }
    let budget = budget.reading(bags.iter().map(|bag| bag.size));
    let n_parameters = budget.n_parameters;
    let largest = bags.iter().max_by_key(|bag| budget.most(bag.size).1.peak_bytes());
    let memory = largest.map(|bag| {
        let (work, parts) = budget.most(bag.size);
        let predicted_peak_bytes = parts.peak_bytes();
        let is_too_much = budget.bytes.is_some_and(|available| predicted_peak_bytes > available);
        MemoryForecast {
            slide_id: bag.slide_id.clone(),
            n_patches: bag.size,
            n_patches_seen: bag.size.at_most(budget.max_patches),
            work,
            n_parameters,
            parts,
            predicted_peak_bytes,
            available_bytes: budget.bytes,
            n_fitting: budget.n_fitting(bag.size),
            fitting_max_patches: is_too_much
                .then(|| {
                    let sizes: Vec<_> = bags.iter().map(|bag| bag.size).collect();
                    budget.fitting_max_patches(&sizes, &sizes)
                })
                .flatten(),
        }
    });
    findings.extend(memory.as_ref().and_then(memory_finding));
    let disk = DiskForecast::new(out, n_parameters, budget.number_bytes.stored, n_folds);
    if let Some(free) = disk.free_bytes.filter(|free| *free < disk.needed_bytes) {
        let found = format!("a run needs {}, {} are free", ByteSize(disk.needed_bytes), ByteSize(free));
        let place = disk.directory.display().to_string();
        findings.push(Finding::new(Severity::Error, Fault::DiskSpace, place, found));
    }
    (memory, Some(disk))
}

fn memory_finding(forecast: &MemoryForecast) -> Option<Finding> {
    let available = forecast.available_bytes?;
    let share = forecast.predicted_peak_bytes as f64 / available.max(1) as f64;
    let severity = match share {
        share if share > 1.0 => Severity::Error,
        share if share > TIGHT_MEMORY => Severity::Warning,
        _ => return None,
    };
    let (all, seen) = (forecast.n_patches.total(), forecast.n_patches_seen.total());
    let work = match forecast.work {
        Work::Training if seen < all => format!("a training step on {seen} of its {all} patches"),
        Work::Training => format!("a training step on its {all} patches"),
        Work::Evaluation => format!("an evaluation of all its {all} patches"),
    };
    let mut found = format!(
        "{work} is predicted to take {}, {} are available",
        ByteSize(forecast.predicted_peak_bytes),
        ByteSize(available)
    );
    if severity == Severity::Error && forecast.work == Work::Training {
        found.push_str(&format!(", {}", fitting_in_words(forecast.n_fitting)));
    }
    let finding = Finding::new(severity, Fault::Memory, format!("slide {}", forecast.slide_id), found);
    let limit =
        forecast.fitting_max_patches.map_or_else(String::new, |fitting| format!(", or {}", way_out(fitting)));
    let hint = format!("{}{limit}; see memory.parts of --json for what takes it", finding.way_out);
    Some(finding.with_way_out(hint))
}
