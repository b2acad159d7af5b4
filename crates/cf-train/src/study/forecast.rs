//! What tasks take, and how they are put together for a cluster: a prediction for each, and jobs of several small ones.

use std::collections::HashMap;
use std::path::PathBuf;

use candle_core::Device;
use cf_model::kernels::Retention;
use serde::{Deserialize, Serialize};

use super::plan::Task;
use crate::config::RunConfig;
use crate::duration::{self, Processor};
use crate::error::Result;
use crate::fold_data::{FoldData, LabelledSlide};
use crate::memory::{BagSize, MemoryBudget, NumberBytes};
use crate::plan::Plan;

/// Host memory of a process that computes on a GPU: its driver's and libraries' share.
const GPU_PROCESS_BYTES: u64 = 2 << 30;

/// Times the predicted minutes that are asked for: processors of clusters differ, and share disks.
const TIME_MARGIN: f64 = 3.0;

/// Minutes of starting up and reading that are asked for besides.
const EXTRA_MINUTES: f64 = 10.0;

/// Seconds for saving a state that are asked for besides.
const NOTICE_SECONDS: u64 = 90;

/// Times the predicted memory that is asked for.
const MEMORY_MARGIN: f64 = 1.25;

/// GiB that are asked for: few sizes, so that few arrays hold all jobs.
const SIZES_GIB: [u64; 16] = [1, 2, 3, 4, 6, 8, 12, 16, 24, 32, 48, 64, 96, 128, 192, 256];

/// What each task is given on a cluster.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Resources {
    /// Processors.
    pub cpus: u16,
    /// Whether it is given a GPU.
    pub gpu: bool,
    /// Tasks that are predicted to take fewer minutes run one after another in one job; 0 for a job each.
    pub job_minutes: u32,
}

impl Default for Resources {
    fn default() -> Self {
        Self { cpus: 4, gpu: false, job_minutes: 30 }
    }
}

/// What a task is predicted to take.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Forecast {
    /// From its beginning to its end, all epochs included.
    pub minutes: f64,
    /// Of the machine's memory, at most.
    pub memory_bytes: u64,
    /// Of the GPU's, where it has one.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub gpu_memory_bytes: Option<u64>,
    /// From a request to stop until it has stopped, at most: the step on its largest bag, or a group of such with the Cox loss.
    pub stop_seconds: u64,
}

/// Tasks that run one after another: what is submitted.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Job {
    /// Positions of its tasks in the plan, as `cf-train study run --index` takes them: `0-4` or `7`.
    pub index: String,
    /// Positions of its tasks in the plan, from 0.
    pub tasks: Vec<usize>,
    /// Memory to ask for, with a margin.
    pub memory_mib: u64,
    /// Minutes to ask for, with a margin.
    pub minutes: u64,
    /// Seconds before the time limit at which to ask it to stop, with a margin.
    pub notice_seconds: u64,
}

/// Sizes of bags that were described already; the runs of a study share most of theirs.
#[derive(Debug, Default)]
pub(super) struct BagSizes(HashMap<Vec<PathBuf>, BagSize>);

impl BagSizes {
    fn of(&mut self, slides: &[LabelledSlide], plan: &Plan) -> Result<Vec<BagSize>> {
        let size = |labelled: &LabelledSlide| {
            let slide = labelled.slide.slide_id.as_str();
            // Models that read other magnifications read other files, or fewer of their groups.
            let mut key = plan.bags.files_of(slide);
            key.push(PathBuf::from(format!("{:?}", plan.bags.magnifications())));
            if let Some(size) = self.0.get(&key) {
                return Ok(*size);
            }
            let size = plan.bags.size(slide)?;
            self.0.insert(key, size);
            Ok(size)
        };
        slides.iter().map(size).collect()
    }
}

/// Predicts what a fold takes.
///
/// # Errors
/// If a bag's description can't be read, or the model can't be built for its features.
pub(super) fn forecast(
    config: &RunConfig,
    plan: &Plan,
    fold: &FoldData,
    resources: &Resources,
    sizes: &mut BagSizes,
) -> Result<Forecast> {
    let dim = plan.bags.backbone_dim();
    let train = sizes.of(&fold.train, plan)?;
    let mut validation = sizes.of(&fold.validation, plan)?;
    validation.extend(sizes.of(&fold.inner_validation, plan)?);
    let budget = MemoryBudget {
        model: &config.model,
        n_parameters: config.model.n_parameters(dim)?,
        dim,
        number_bytes: NumberBytes::of(config.training.precision, &Device::Cpu),
        // What this machine offers says nothing of those that will run the task.
        bytes: config.training.memory_budget.map(|size| size.0),
        read_ahead: None,
        max_patches: config.training.max_patches,
    }
    .reading(train.iter().copied());
    let all: Vec<BagSize> = train.iter().chain(&validation).copied().collect();
    let most = budget.fold_bytes(&train, &all);
    let in_host = |bag: &BagSize| {
        // Bags are read whole, whatever a step sees of them.
        let parts = MemoryBudget { max_patches: None, ..budget }.predict(*bag, Retention::Recompute);
        parts.weights_bytes + parts.bag_bytes + parts.read_ahead_bytes
    };
    let (processor, memory_bytes, gpu_memory_bytes) = if resources.gpu {
        let host = train.iter().map(in_host).max().unwrap_or(0);
        (Processor::Gpu, host.saturating_add(GPU_PROCESS_BYTES), Some(most))
    } else {
        (Processor::Threads(resources.cpus), most, None)
    };
    let seconds =
        duration::fold_seconds(&config.model, &config.training, dim, &train, &validation, processor);
    // Hundredths, so that a plan is the same wherever it is made.
    let minutes = (seconds / 60.0 * 100.0).ceil() / 100.0;
    let stop = duration::stop_seconds(&config.model, &config.training, dim, &train, &validation, processor);
    let stop_seconds = stop.ceil() as u64;
    Ok(Forecast { minutes, memory_bytes, gpu_memory_bytes, stop_seconds })
}

/// Puts small tasks of like memory together, in the plan's order.
pub(super) fn jobs(tasks: &[Task], resources: &Resources) -> Vec<Job> {
    let sizes: Vec<u64> = tasks.iter().map(|task| memory_mib(task.forecast.memory_bytes)).collect();
    let mut distinct = sizes.clone();
    distinct.sort_unstable();
    distinct.dedup();
    let mut jobs: Vec<Job> = Vec::new();
    for size in distinct {
        let mut job: Vec<(usize, &Task)> = Vec::new();
        for ((index, task), _) in tasks.iter().enumerate().zip(&sizes).filter(|(_, of)| **of == size) {
            let minutes: f64 = job.iter().map(|(_, task)| task.forecast.minutes).sum();
            if !job.is_empty() && minutes + task.forecast.minutes > f64::from(resources.job_minutes) {
                jobs.push(Job::new(&std::mem::take(&mut job), size));
            }
            job.push((index, task));
        }
        jobs.push(Job::new(&job, size));
    }
    jobs
}

impl Job {
    fn new(tasks: &[(usize, &Task)], memory_mib: u64) -> Self {
        let minutes: f64 = tasks.iter().map(|(_, task)| task.forecast.minutes).sum();
        let stop = tasks.iter().map(|(_, task)| task.forecast.stop_seconds).max().unwrap_or(0);
        let tasks: Vec<usize> = tasks.iter().map(|(index, _)| *index).collect();
        Self {
            index: ranges(&tasks),
            tasks,
            memory_mib,
            // In steps of five.
            minutes: ((minutes * TIME_MARGIN + EXTRA_MINUTES) / 5.0).ceil() as u64 * 5,
            notice_seconds: (stop as f64 * TIME_MARGIN) as u64 + NOTICE_SECONDS,
        }
    }

    /// This job without the tasks that `is_done` tells; `None` where nothing is left.
    pub(super) fn without(&self, is_done: impl Fn(usize) -> bool) -> Option<Self> {
        let tasks: Vec<usize> = self.tasks.iter().copied().filter(|&index| !is_done(index)).collect();
        (!tasks.is_empty()).then(|| Self { index: ranges(&tasks), tasks, ..self.clone() })
    }
}

/// The next size in which memory is asked for, with a margin.
fn memory_mib(bytes: u64) -> u64 {
    let gib = bytes as f64 * MEMORY_MARGIN / (1_u64 << 30) as f64;
    let known = SIZES_GIB.iter().copied().find(|&size| size as f64 >= gib);
    known.unwrap_or_else(|| (gib / 128.0).ceil() as u64 * 128) * 1024
}

/// `0-4,7` for 0, 1, 2, 3, 4 and 7.
fn ranges(sorted: &[usize]) -> String {
    let mut parts: Vec<(usize, usize)> = Vec::new();
    for &index in sorted {
        match parts.last_mut() {
            Some((_, last)) if *last + 1 == index => *last = index,
            _ => parts.push((index, index)),
        }
    }
    let shown = |(first, last): &(usize, usize)| {
        if first == last { first.to_string() } else { format!("{first}-{last}") }
    };
    parts.iter().map(shown).collect::<Vec<_>>().join(",")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::data_hashes::DataHashes;

    fn task(minutes: f64, gib: f64) -> Task {
        let memory_bytes = (gib * (1_u64 << 30) as f64) as u64;
        Task {
            id: String::new(),
            run: String::new(),
            fold: 0,
            data: DataHashes { slides: String::new(), bags: String::new(), initial_weights: None },
            forecast: Forecast { minutes, memory_bytes, gpu_memory_bytes: None, stop_seconds: 20 },
        }
    }

    #[test]
    fn small_tasks_of_like_memory_share_a_job() {
        let tasks: Vec<Task> =
            [(10.0, 1.0), (10.0, 1.0), (9.0, 20.0), (10.0, 1.0), (10.0, 1.1), (45.0, 1.0), (1.0, 1.0)]
                .map(|(minutes, gib)| task(minutes, gib))
                .into();
        let of = |job_minutes| {
            let jobs = jobs(&tasks, &Resources { job_minutes, ..Resources::default() });
            jobs.into_iter().map(|job| (job.index, job.memory_mib / 1024, job.minutes)).collect::<Vec<_>>()
        };
        let job = |index: &str, gib, minutes| (index.to_owned(), gib, minutes);
        assert_eq!(
            of(30),
            [job("0-1,3", 2, 100), job("4", 2, 40), job("5", 2, 145), job("6", 2, 15), job("2", 32, 40)]
        );
        assert_eq!(of(0).len(), 7);
        assert_eq!(of(1000).len(), 2);
    }

    #[test]
    fn what_is_done_is_taken_out_of_a_job() {
        let small = task(10.0, 1.0);
        let job = Job::new(&[3, 4, 5, 9].map(|index| (index, &small)), 1024);
        assert_eq!((job.minutes, job.notice_seconds), (130, 150));
        assert_eq!(job.index, "3-5,9");
        assert_eq!(job.without(|index| index == 4).unwrap().index, "3,5,9");
        assert_eq!(job.without(|_| true), None);
        assert_eq!(memory_mib(1), 1024);
        assert_eq!(memory_mib(300 << 30), 384 * 1024);
    }
}
