//! What a job of a cluster is given, against what the longest fold is predicted to take.

use std::collections::BTreeMap;
use std::str::FromStr;

use serde::Serialize;

use super::bag_scan::BagFacts;
use super::fault::Fault;
use super::finding::{Finding, Severity};
use crate::allotment;
use crate::byte_size::ByteSize;
use crate::config::RunConfig;
use crate::duration::{self, Processor};
use crate::fold_data::{FoldData, LabelledSlide};
use crate::memory::BagSize;

/// What is asked of a cluster for each job.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct ClusterLimits {
    /// Memory; where it is not stated, that of the job this runs in, if it does.
    pub memory: Option<ByteSize>,
    /// Time.
    pub time: Option<TimeLimit>,
    /// Processors; where they are not stated, those that this process may use.
    pub cpus: Option<u16>,
}

/// A time limit, written as Slurm takes it: `MINUTES`, `HH:MM:SS`, `D-HH`, `D-HH:MM:SS`.
///
/// ```
/// use cf_train::doctor::TimeLimit;
///
/// assert_eq!("90".parse::<TimeLimit>().unwrap().seconds, 90 * 60);
/// assert_eq!("04:00:00".parse::<TimeLimit>().unwrap().seconds, 4 * 3600);
/// assert_eq!("1-12".parse::<TimeLimit>().unwrap().seconds, 36 * 3600);
/// assert!("soon".parse::<TimeLimit>().is_err());
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TimeLimit {
    /// Its length.
    pub seconds: u64,
}

impl FromStr for TimeLimit {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let fault = || format!("found `{text}`, expected minutes, HH:MM:SS or D-HH:MM:SS");
        let (days, rest) = match text.split_once('-') {
            Some((days, rest)) => (Some(days.parse::<u64>().map_err(|_| fault())?), rest),
            None => (None, text),
        };
        let parts: Result<Vec<u64>, String> =
            rest.split(':').map(|part| part.parse().map_err(|_| fault())).collect();
        let seconds = match (days, parts?.as_slice()) {
            (None, [minutes]) => minutes.checked_mul(60),
            (None, [minutes, seconds]) => minutes.checked_mul(60).and_then(|s| s.checked_add(*seconds)),
            (days, [hours, rest @ ..]) if rest.len() <= 2 => {
                let hours = days.unwrap_or(0).checked_mul(24).and_then(|day| day.checked_add(*hours));
                let minutes = rest.first().copied().unwrap_or(0);
                let seconds = rest.get(1).copied().unwrap_or(0);
                hours.and_then(|hours| {
                    hours.checked_mul(60)?.checked_add(minutes)?.checked_mul(60)?.checked_add(seconds)
                })
            }
            _ => None,
        };
        seconds.filter(|&seconds| seconds > 0).map(|seconds| Self { seconds }).ok_or_else(fault)
    }
}

/// How long the longest fold is predicted to take.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct TimeForecast {
    /// The fold.
    pub fold: usize,
    /// All of its epochs, on `cpus` processors or a GPU.
    pub predicted_seconds: f64,
    /// Processors that were reckoned with; `None` for a GPU.
    pub cpus: Option<u16>,
    /// What was stated as the time limit.
    pub limit_seconds: Option<u64>,
}

/// Predicts the longest of `folds`, and holds it against the limit.
pub(super) fn examine(
    config: &RunConfig,
    folds: &[FoldData],
    dim: usize,
    bags: &[BagFacts],
    (limits, is_gpu): (ClusterLimits, bool),
    findings: &mut Vec<Finding>,
) -> Option<TimeForecast> {
    let sizes: BTreeMap<&str, BagSize> = bags.iter().map(|bag| (bag.slide_id.as_str(), bag.size)).collect();
    let of = |slides: &[LabelledSlide]| -> Vec<BagSize> {
        slides.iter().filter_map(|labelled| sizes.get(labelled.slide.slide_id.as_str()).copied()).collect()
    };
    let cpus = limits.cpus.unwrap_or_else(|| u16::try_from(allotment::cpus()).unwrap_or(u16::MAX));
    let processor = if is_gpu { Processor::Gpu } else { Processor::Threads(cpus) };
    let seconds = |fold: &FoldData| {
        let validated = [of(&fold.validation), of(&fold.inner_validation)].concat();
        duration::fold_seconds(&config.model, &config.training, dim, &of(&fold.train), &validated, processor)
    };
    let predicted = folds.iter().map(|fold| (fold.fold, seconds(fold)));
    let (fold, predicted_seconds) = predicted.max_by(|a, b| a.1.total_cmp(&b.1))?;
    let forecast = TimeForecast {
        fold,
        predicted_seconds,
        cpus: (!is_gpu).then_some(cpus),
        limit_seconds: limits.time.map(|limit| limit.seconds),
    };
    findings.extend(limits.time.and_then(|limit| finding(&forecast, limit)));
    Some(forecast)
}

fn finding(forecast: &TimeForecast, limit: TimeLimit) -> Option<Finding> {
    let (predicted, limit) = (forecast.predicted_seconds, limit.seconds as f64);
    if predicted <= limit {
        return None;
    }
    let hours = |seconds: f64| format!("{:.1} h", seconds / 3600.0);
    let found = format!(
        "fold {} is predicted to take {}, {} are asked for: it would be cut off about {:.0} times",
        forecast.fold,
        hours(predicted),
        hours(limit),
        (predicted / limit).floor()
    );
    Some(Finding::new(Severity::Warning, Fault::ClusterTime, "time limit", found))
}
