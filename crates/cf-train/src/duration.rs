//! How long a fold takes to train, predicted from the model and the sizes of its bags.
//!
//! Steps of CrossFusion and of spectral convolutions are counted in floating-point operations of their matrix products, a forward and
//! a backward pass being `TRAINING_PASSES` forward passes; those of the other models are so many seconds per patch at 20x, as they were
//! measured on the mean bag. Going over the parameters and saving them comes on top. Both meet what `docs/benchmarks.md` has for two
//! threads with AVX-512. Other processors, disks and GPUs differ by a factor of two or three, so what is asked of a cluster has to
//! leave room; a task that is cut off goes on where it was.

use cf_model::{CrossFusionConfig, DeepGraphSurvForm, ModelConfig, ModelName, Variant};

use crate::config::{LossKind, Precision, TrainingConfig};
use crate::memory::BagSize;

/// Operations per second and thread, by the mean and the largest bag of `docs/benchmarks.md`.
const THREAD_RATE: f64 = 85e9;

/// Operations per second of a GPU of a data centre, on the mean bag.
const GPU_RATE: f64 = 150e12;

/// Threads with which the other models were timed.
const TIMED_THREADS: f64 = 2.0;

/// How much faster the other models are taken to be on a GPU than on those threads; cautious.
const GPU_GAIN: f64 = 20.0;

/// How much longer spectral convolutions take than their matrix products at that rate: passes over all pairs, copies; cautious, from a
/// thousand nodes on a processor with other work.
const SPECTRAL_COST: f64 = 4.0;

/// Forward passes that a training step is worth.
const TRAINING_PASSES: f64 = 3.5;

/// Seconds of every pass whatever its bag: small operations, the optimiser.
const PASS_SECONDS: f64 = 0.004;

/// Bytes per second of going over parameters in memory.
const MEMORY_RATE: f64 = 10e9;

/// Times that a training step goes over the parameters, whatever its bag: their gradients are made and added to those of the group. With
/// a wide model on small bags that is most of a step.
const PARAMETER_PASSES: f64 = 5.0;

/// Copies of the parameters that are written after an epoch: they, Adam's two moments, and the best so far.
const SAVED_COPIES: f64 = 4.0;

/// Bytes per second of writing them.
const WRITING_RATE: f64 = 300e6;

/// How much longer double precision takes.
const F64_COST: f64 = 2.5;

/// Bytes per second of reading bags.
const READING_RATE: f64 = 1e9;

/// What a fold is computed with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Processor {
    /// So many threads.
    Threads(u16),
    /// A GPU.
    Gpu,
}

/// Predicts the seconds of one fold on features of `dim` columns, with all of its epochs: at most, where training may stop early.
pub fn fold_seconds(
    model: &ModelConfig,
    training: &TrainingConfig,
    dim: usize,
    train: &[BagSize],
    validation: &[BagSize],
    processor: Processor,
) -> f64 {
    let pass = |bag: &BagSize| pass_seconds(model, training, dim, *bag, processor);
    let validated: f64 = validation.iter().map(pass).sum();
    let trained: f64 = train.iter().map(|bag| bag_seconds(model, training, dim, *bag, processor)).sum();
    let trained = trained + train.len() as f64 * parameter_seconds(model, dim, processor);
    let saved = SAVED_COPIES * parameter_bytes(model, dim) / WRITING_RATE;
    let epochs = training.max_epochs as f64;
    // At its end a fold predicts its training slides once, and those it validates on for two epochs.
    epochs * (trained + saved + validated) + train.iter().map(pass).sum::<f64>() + 2.0 * validated
}

/// What an evaluation of a bag takes, its reading included.
fn pass_seconds(
    model: &ModelConfig,
    training: &TrainingConfig,
    dim: usize,
    bag: BagSize,
    processor: Processor,
) -> f64 {
    PASS_SECONDS + forward_seconds(model, training, dim, bag, processor) + reading_seconds(dim, bag)
}

/// Predicts the seconds of one training step, the bag's reading included.
pub fn step_seconds(
    model: &ModelConfig,
    training: &TrainingConfig,
    dim: usize,
    bag: BagSize,
    processor: Processor,
) -> f64 {
    bag_seconds(model, training, dim, bag, processor) + parameter_seconds(model, dim, processor)
}

/// What of a training step depends on its bag.
fn bag_seconds(
    model: &ModelConfig,
    training: &TrainingConfig,
    dim: usize,
    bag: BagSize,
    processor: Processor,
) -> f64 {
    // Groups of the Cox loss pass twice.
    let passes = TRAINING_PASSES + f64::from(u8::from(training.loss == LossKind::Cox));
    let seen = bag.at_most(training.max_patches);
    let pass = PASS_SECONDS + forward_seconds(model, training, dim, seen, processor);
    PASS_SECONDS + passes * pass + reading_seconds(dim, bag)
}

/// Predicts the seconds from a request to stop until a fold in training has stopped, at most: a step on its largest bag or, with the Cox
/// loss, which couples the bags of a group, a group of such. With `training.max_patches` an evaluation, which sees every patch, may take
/// longer.
pub fn stop_seconds(
    model: &ModelConfig,
    training: &TrainingConfig,
    dim: usize,
    train: &[BagSize],
    validation: &[BagSize],
    processor: Processor,
) -> f64 {
    let n_bags = match training.loss {
        LossKind::Cox => training.accumulation.min(train.len()),
        LossKind::Nll | LossKind::CrossEntropy | LossKind::Likelihood => 1,
    };
    let steps = train.iter().map(|bag| bag_seconds(model, training, dim, *bag, processor));
    let step = n_bags as f64 * (steps.fold(0.0, f64::max) + parameter_seconds(model, dim, processor));
    if training.max_patches.is_none() {
        return step;
    }
    let evaluated = train.iter().chain(validation);
    evaluated.map(|bag| pass_seconds(model, training, dim, *bag, processor)).fold(step, f64::max)
}

/// What of a training step depends on the parameters alone; next to nothing in a GPU's memory.
fn parameter_seconds(model: &ModelConfig, dim: usize, processor: Processor) -> f64 {
    match processor {
        Processor::Threads(_) => PARAMETER_PASSES * parameter_bytes(model, dim) / MEMORY_RATE,
        Processor::Gpu => 0.0,
    }
}

/// Of a model that cannot be, which is refused elsewhere, none.
fn parameter_bytes(model: &ModelConfig, dim: usize) -> f64 {
    model.n_parameters(dim).map_or(0.0, |n| (n * size_of::<f32>()) as f64)
}

fn reading_seconds(dim: usize, bag: BagSize) -> f64 {
    (bag.total() * dim * size_of::<f32>()) as f64 / READING_RATE
}

fn forward_seconds(
    model: &ModelConfig,
    training: &TrainingConfig,
    dim: usize,
    bag: BagSize,
    processor: Processor,
) -> f64 {
    let precision = if training.precision == Precision::F64 { F64_COST } else { 1.0 };
    let operations = match (model.as_crossfusion(), model) {
        (Some((variant, settings)), _) => Some(crossfusion_operations(variant, settings, dim, bag)),
        (None, ModelConfig::DeepGraphSurv(settings)) if settings.form == DeepGraphSurvForm::Spectral => {
            Some(spectral_operations(bag.x20.min(settings.max_nodes), dim))
        }
        (None, _) => None,
    };
    let timed = || timed_seconds(model.name(), dim, bag) / TRAINING_PASSES;
    precision
        * match (operations, processor) {
            (Some(operations), Processor::Threads(n)) => operations / (THREAD_RATE * f64::from(n)),
            (Some(operations), Processor::Gpu) => operations / GPU_RATE,
            (None, Processor::Threads(n)) => timed() * TIMED_THREADS / f64::from(n),
            (None, Processor::Gpu) => timed() / GPU_GAIN,
        }
}

/// The same of spectral convolutions on a graph of `n` nodes, times [`SPECTRAL_COST`]: per layer the projection, all pairs' products,
/// two products with the Laplacian and the linear layer; and all distances.
fn spectral_operations(n: usize, dim: usize) -> f64 {
    let (n, dim) = (n as f64, dim as f64);
    let layer = |d: f64, out: f64| 2.0 * n * d * d + 6.0 * n * n * d + 6.0 * n * d * out;
    let backbone = layer(dim, 256.0) + layer(256.0, 256.0) + layer(256.0, 128.0);
    let attention = layer(dim, 32.0) + layer(32.0, 1.0);
    SPECTRAL_COST * (backbone + attention + 1.5 * n * n * dim)
}

/// Operations of the matrix products of a forward pass; a multiplication with its addition counts as two.
fn crossfusion_operations(variant: Variant, settings: &CrossFusionConfig, dim: usize, bag: BagSize) -> f64 {
    let (d, h) = (settings.embed_dim as f64, settings.hidden_dim() as f64);
    let layers = 2.0 * settings.num_layers as f64;
    let projection = |n: usize| 2.0 * n as f64 * d * dim as f64;
    let cross = |n: usize, m: usize| {
        let (n, m) = (n as f64, m as f64);
        n * (4.0 * d * d + 4.0 * d * h) + m * 4.0 * d * d + 4.0 * n * m * d
    };
    let (source, n_branches) = match variant {
        Variant::Full | Variant::Concat => (bag.x10, 3.0),
        Variant::Single => (bag.at(settings.source(variant)), 1.0),
    };
    let square = (source as f64).sqrt().ceil().powi(2);
    let layer = square * (8.0 * d * d + 4.0 * d * h) + 4.0 * square * square * d;
    // The last layer of all asks for one token.
    let branches = (n_branches * layers + layers - 1.0) * layer;
    match variant {
        Variant::Single => projection(source) + branches,
        Variant::Full | Variant::Concat => {
            projection(bag.total()) + cross(bag.x10, bag.x5) + cross(bag.x10, bag.x20) + branches
        }
    }
}

/// Seconds of a training step of the other models, in proportion to the mean bag's.
fn timed_seconds(name: ModelName, dim: usize, bag: BagSize) -> f64 {
    let (seconds, mean) = match name {
        ModelName::Amil => (0.469, 13_496.0),
        ModelName::Dsmil => (0.149, 13_496.0),
        ModelName::TransMil => (3.332, 13_496.0),
        ModelName::DeepGraphSurv => (0.578, 13_496.0),
        ModelName::PatchGcn => (0.978, 13_496.0),
        ModelName::Scmil => (12.646, 13_496.0),
        ModelName::ProtoSurv => (18.645, 13_496.0),
        ModelName::ZoomMil => (0.259, 13_496.0),
        ModelName::MustMil => (0.362, 13_496.0),
        ModelName::CsMil => (0.0045, 13_496.0),
        // Counted above.
        ModelName::Crossfusion | ModelName::CrossfusionWoCp | ModelName::CrossfusionWoFc => (0.0, 1.0),
    };
    // Landmarks and what is made of them are as many for a bag of any size.
    let fixed = if name == ModelName::TransMil { 0.35 } else { 0.0 };
    fixed + (seconds - fixed) * bag.x20 as f64 / mean * dim as f64 / 2048.0
}

#[cfg(test)]
mod tests {
    use cf_model::ModelConfig;

    use super::*;

    fn training() -> TrainingConfig {
        let mut training = toml::Table::new();
        training.insert("protocol".to_owned(), "sound".into());
        let mut table = toml::Table::new();
        for section in ["cohort", "features", "model"] {
            table.insert(section.to_owned(), toml::Table::new().into());
        }
        table.insert("training".to_owned(), training.into());
        crate::config_keys::fill_defaults(&mut table).unwrap();
        table["training"].clone().try_into().unwrap()
    }

    /// Within a third of what `docs/benchmarks.md` has of steps and passes on two threads.
    #[test]
    fn predictions_meet_the_times_that_were_measured() {
        let (model, training) = (ModelConfig::default_of(ModelName::Crossfusion), training());
        let mean = BagSize { x5: 895, x10: 3_449, x20: 13_496 };
        let largest = BagSize { x5: 9_000, x10: 35_000, x20: 137_990 };
        let forward = |bag| forward_seconds(&model, &training, 2048, bag, Processor::Threads(2));
        for (predicted, measured) in [
            (forward(mean), 2.549),
            (TRAINING_PASSES * forward(mean), 9.528),
            (TRAINING_PASSES * forward(largest), 636.4),
        ] {
            assert!((predicted / measured - 1.0).abs() < 0.34, "{predicted} {measured}");
        }
        let gpu = TRAINING_PASSES * forward_seconds(&model, &training, 2048, mean, Processor::Gpu);
        assert!((0.005..0.02).contains(&gpu), "{gpu}");
    }

    /// An epoch of 19 training and 5 validation slides took 2.6 to 3.3 s on two threads, 0.9 s of it for saving.
    #[test]
    fn a_wide_model_takes_its_time_on_small_bags() {
        let (model, training) = (ModelConfig::default_of(ModelName::Crossfusion), training());
        let bags = [BagSize { x5: 8, x10: 26, x20: 90 }; 24];
        let fold = |n| {
            let training = TrainingConfig { max_epochs: n, ..training.clone() };
            fold_seconds(&model, &training, 128, &bags[..19], &bags[19..], Processor::Threads(2))
        };
        let epoch = fold(2) - fold(1);
        assert!((2.0..4.0).contains(&epoch), "{epoch}");
    }

    #[test]
    fn a_graph_takes_as_long_for_any_bag_beyond_its_limit() {
        let (training, processor) = (training(), Processor::Threads(2));
        let spectral = r#"{"name":"deepgraphsurv","form":"spectral"}"#;
        let model: ModelConfig = serde_json::from_str(spectral).unwrap();
        let seconds =
            |x20| forward_seconds(&model, &training, 2048, BagSize { x5: 0, x10: 0, x20 }, processor);
        assert_eq!(seconds(1000), seconds(137_990));
        assert!(seconds(500) < seconds(1000) / 2.0);
    }

    #[test]
    fn a_group_of_the_cox_loss_is_not_left_half_done() {
        let model = ModelConfig::default_of(ModelName::Crossfusion);
        let bags = [BagSize { x5: 90, x10: 345, x20: 1_350 }, BagSize { x5: 895, x10: 3_449, x20: 13_496 }];
        let of = |loss, accumulation| {
            let training = TrainingConfig { loss, accumulation, ..training() };
            let processor = Processor::Threads(2);
            let step = step_seconds(&model, &training, 2048, bags[1], processor);
            stop_seconds(&model, &training, 2048, &bags, &[], processor) / step
        };
        assert_eq!((of(LossKind::Nll, 32), of(LossKind::Cox, 1)), (1.0, 1.0));
        assert_eq!(of(LossKind::Cox, 32), 2.0, "no group is larger than the fold");
    }

    #[test]
    fn more_threads_take_less_and_more_epochs_more_time() {
        let training = training();
        let longer = TrainingConfig { max_epochs: 2 * training.max_epochs, ..training.clone() };
        let bags = [BagSize { x5: 90, x10: 345, x20: 1_350 }; 20];
        for name in [ModelName::Crossfusion, ModelName::TransMil] {
            let model = ModelConfig::default_of(name);
            let seconds = |training: &TrainingConfig, n| {
                fold_seconds(&model, training, 2048, &bags[..16], &bags[16..], Processor::Threads(n))
            };
            let (two, four) = (seconds(&training, 2), seconds(&training, 4));
            assert!(four < two && two < 2.0 * four, "{two} {four}");
            let doubled = seconds(&longer, 2) / two;
            assert!((1.8..2.0).contains(&doubled), "{doubled}");
        }
    }
}
