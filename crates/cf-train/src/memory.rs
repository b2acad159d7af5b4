//! The memory of one training step, predicted from the model and the size of a bag.
//!
//! With parameters `P`, bytes per number `s` (2 on a GPU in bf16 for what is kept only because it is costly to make again),
//! channels `d`, hidden channels `h = d * mlp_ratio` and `N = ceil(sqrt(n))^2` the tokens of the source scale `n` padded to a
//! square, the peak is the sum of
//!
//! - **weights** `4 P s`: values, gradients, and the two moments of Adam;
//! - **bags** `2 (n5 + n10 + n20) dim s`: the bag in use and the one read ahead, which in a run is counted as its largest;
//! - **activations** that the backward pass needs, in numbers:
//!   - projection of each scale of `m` patches: `2 m d` (none where `dim = d`);
//!   - each cross-attention of `n` source tokens over `m`: `n (5 d + h) + 2 m d`, or `4 n d` where projections and hidden
//!     channels are made again in the backward pass;
//!   - each layer on `N` tokens: `N (8 d + h)`, or `5 N d`; each Pad-Transformer has `2 L` layers and `3 N d` for padding,
//!     position encoding and norm;
//!   - convolutional processor: `9 N d` (`4 N d` without a mix, `5 N d` for concatenation);
//!   - final Pad-Transformer: `8 N d` and `2 L - 1` layers: its last asks for one token;
//! - **gradients in flight**: `7 m d + 12 n d` of the largest cross-attention or `17 N d` of a self-attention, whichever is
//!   more: projections, packed operands, and gradients in parts and together;
//! - **program** 64 MiB: code, threads, tables.
//!
//! The formula is CrossFusion's; for the other models `P`, bags and program are the same, and activations are so many numbers per
//! 20x patch, or of what a layer makes of a graph's nodes. Attention weights are not among them: they are computed twice and never
//! stored.

mod bag_size;
mod passes;

use candle_core::Device;
use cf_model::kernels::{Retention, device};
use cf_model::{CrossFusionConfig, DeepGraphSurvForm, ModelConfig, ModelName, Variant};
use serde::Serialize;

use crate::config::{Precision, RunConfig};
use crate::device_memory;
use crate::error::{Error, Result};

pub use bag_size::BagSize;
pub use passes::Work;

/// Code, thread stacks and tables of a run.
const PROGRAM_BYTES: u64 = 64 << 20;

/// Where the memory of a training step goes, in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct StepMemory {
    /// Parameters, gradients and two moments.
    pub weights_bytes: u64,
    /// The bag in use.
    pub bag_bytes: u64,
    /// The bag read ahead of use; as large, at worst.
    pub read_ahead_bytes: u64,
    /// What the backward pass needs of the forward pass.
    pub activation_bytes: u64,
    /// Gradients in flight.
    pub gradient_bytes: u64,
    /// Code, threads, tables.
    pub program_bytes: u64,
}

/// Bytes of a number in the tensors of a training step.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NumberBytes {
    /// Of features, parameters, gradients and most activations.
    pub stored: usize,
    /// Of what is kept only because it is costly to make again.
    pub kept: usize,
}

impl NumberBytes {
    /// Single precision throughout.
    pub const SINGLE: Self = Self { stored: size_of::<f32>(), kept: size_of::<f32>() };

    /// Of a run in `precision` on `device`.
    pub fn of(precision: Precision, device: &Device) -> Self {
        let stored = precision.dtype();
        let kept = device::operand_type(device, stored, precision.compute_dtype().into());
        Self { stored: stored.size_in_bytes(), kept: kept.size_in_bytes() }
    }
}

impl StepMemory {
    /// Predicts the memory of a step on a bag of features of `dim` columns.
    pub fn predict(
        model: &ModelConfig,
        n_parameters: usize,
        dim: usize,
        bag: BagSize,
        number_bytes: NumberBytes,
        retention: Retention,
    ) -> Self {
        let bytes = |numbers: f64| stored_bytes(numbers, number_bytes);
        let bag_bytes = Self::of_bag(model, dim, bag, number_bytes);
        let (activations, gradients) = match (model.as_crossfusion(), model) {
            (Some((variant, settings)), _) => {
                crossfusion((variant, settings), dim, bag, Retention::Recompute)
            }
            (None, ModelConfig::DeepGraphSurv(settings)) if settings.form == DeepGraphSurvForm::Spectral => {
                spectral(bag.x20.min(settings.max_nodes), dim)
            }
            (None, _) => baseline(model.name(), dim, bag),
        };
        let kept = match (model.as_crossfusion(), retention) {
            (Some((variant, settings)), Retention::Keep) => {
                crossfusion((variant, settings), dim, bag, Retention::Keep).0 - activations
            }
            _ => 0.0,
        };
        let kept_bytes = (kept * number_bytes.kept as f64) as u64;
        Self {
            weights_bytes: bytes(4.0 * n_parameters as f64),
            bag_bytes,
            read_ahead_bytes: bag_bytes,
            activation_bytes: bytes(activations).saturating_add(kept_bytes),
            gradient_bytes: bytes(gradients),
            program_bytes: PROGRAM_BYTES,
        }
    }

    /// The features that the model reads of a bag.
    fn of_bag(model: &ModelConfig, dim: usize, bag: BagSize, number_bytes: NumberBytes) -> u64 {
        let read: usize = model.magnifications().iter().map(|&at| bag.at(at)).sum();
        stored_bytes(read as f64 * dim as f64, number_bytes)
    }

    /// All of it.
    pub fn peak_bytes(&self) -> u64 {
        [
            self.weights_bytes,
            self.bag_bytes,
            self.read_ahead_bytes,
            self.activation_bytes,
            self.gradient_bytes,
            self.program_bytes,
        ]
        .into_iter()
        .fold(0, u64::saturating_add)
    }
}

/// In f64: a size that no machine has must not overflow.
fn stored_bytes(numbers: f64, number_bytes: NumberBytes) -> u64 {
    (numbers * number_bytes.stored as f64) as u64
}

/// Activations and gradients in flight of a CrossFusion, in numbers.
fn crossfusion(
    (variant, settings): (Variant, &CrossFusionConfig),
    dim: usize,
    bag: BagSize,
    retention: Retention,
) -> (f64, f64) {
    let (d, h) = (settings.embed_dim as f64, settings.hidden_dim() as f64);
    let layers = 2.0 * settings.num_layers as f64;
    let (layer, asked, answering) = match retention {
        Retention::Keep => (8.0 * d + h, 5.0 * d + h, 2.0 * d),
        Retention::Recompute => (5.0 * d, 4.0 * d, 0.0),
    };
    let projection = |n: usize| if dim == settings.embed_dim { 0.0 } else { 2.0 * n as f64 * d };
    let cross = |n: usize, m: usize| n as f64 * asked + m as f64 * answering;
    let (source, n_branches, fusion) = match variant {
        Variant::Full => (bag.x10, 3.0, 9.0),
        Variant::Concat => (bag.x10, 3.0, 5.0),
        Variant::Single => (bag.at(settings.source(variant)), 1.0, 4.0),
    };
    let square = (source as f64).sqrt().ceil().powi(2);
    let branch = square * (3.0 * d + layers * layer);
    let last = square * (8.0 * d + (layers - 1.0) * layer);
    let activations = n_branches * branch + square * fusion * d + last;
    let own = 17.0 * square * d;
    match variant {
        Variant::Single => (activations + projection(source), own),
        Variant::Full | Variant::Concat => {
            let context = projection(bag.total()) + cross(bag.x10, bag.x5) + cross(bag.x10, bag.x20);
            let over = 7.0 * bag.x5.max(bag.x20) as f64 * d + 12.0 * bag.x10 as f64 * d;
            (activations + context, own.max(over))
        }
    }
}

/// Activations and gradients in flight of spectral convolutions on a graph of `n` nodes, in numbers: each of five layers of `d` and
/// `d'` channels keeps nine matrices of all pairs and `13 d + 2 d'` numbers per node; distances are made in f64.
fn spectral(n: usize, dim: usize) -> (f64, f64) {
    let (n, dim) = (n as f64, dim as f64);
    let (inputs, outputs) = (2.0 * dim + 256.0 + 256.0 + 32.0, 256.0 + 256.0 + 128.0 + 32.0 + 1.0);
    let activations = 46.0 * n * n + n * (13.0 * inputs + 2.0 * outputs + dim);
    (activations, 6.0 * n * n + 8.0 * n * dim)
}

/// Activations and gradients in flight of the other models, in numbers: so many per patch at 20x, as much as their steps were measured to
/// take on bags of 13,496 (`cargo xtask bench baselines`) and of 48,112 patches, whichever was more. ZoomMIL gathers twenty places per 5x
/// patch, with zeros where there is none.
fn baseline(name: ModelName, dim: usize, bag: BagSize) -> (f64, f64) {
    let dim = dim as f64;
    let (per_patch, widest) = match name {
        ModelName::Amil => (4_950.0, 1_024.0),
        ModelName::Dsmil => (700.0, 256.0),
        ModelName::TransMil => (36_500.0, 3_072.0),
        ModelName::DeepGraphSurv => (9_800.0, 1_024.0),
        ModelName::PatchGcn => (16_500.0, 2_048.0),
        ModelName::Scmil => (26.0 * dim, 4.0 * dim),
        ModelName::ProtoSurv => (75_000.0, 4_608.0),
        ModelName::MustMil => (4_800.0, 1_536.0),
        ModelName::CsMil => (0.8 * dim + 800.0, 0.0),
        ModelName::ZoomMil => (1_200.0, 0.0),
        // Counted by layer above.
        ModelName::Crossfusion | ModelName::CrossfusionWoCp | ModelName::CrossfusionWoFc => (0.0, 0.0),
    };
    let gathered = match name {
        ModelName::ZoomMil => dim * (bag.x10 + bag.x20 + 20 * bag.x5) as f64,
        _ => 0.0,
    };
    let n = bag.x20 as f64;
    (n * per_patch + gathered, n * widest)
}

/// The memory that the largest bag of a run needs.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct MemoryForecast {
    /// The slide with the largest need.
    pub slide_id: String,
    /// Its patches.
    pub n_patches: BagSize,
    /// Those that a training step sees: with `training.max_patches`, about.
    pub n_patches_seen: BagSize,
    /// What takes so much: a training step or, where it does not see all patches, an evaluation.
    pub work: Work,
    /// Trainable numbers of the model.
    pub n_parameters: usize,
    /// Where the memory goes.
    pub parts: StepMemory,
    /// All of it.
    pub predicted_peak_bytes: u64,
    /// The memory budget, or what the machine offers now; `None` where neither is known.
    pub available_bytes: Option<u64>,
    /// Patches of a bag of such proportions that fit, about; all of them where that is not known.
    pub n_fitting: usize,
    /// What `training.max_patches` would have to be at most, if that is a way out.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub fitting_max_patches: Option<usize>,
}

/// What a run may use, and how each bag's step is made to stay within it.
#[derive(Debug, Clone, Copy)]
pub struct MemoryBudget<'a> {
    /// The model.
    pub model: &'a ModelConfig,
    /// Its trainable numbers.
    pub n_parameters: usize,
    /// Columns of the features.
    pub dim: usize,
    /// Bytes of its numbers.
    pub number_bytes: NumberBytes,
    /// What a step, and on a GPU the bags that stay there, may use; `None` where nobody says.
    pub bytes: Option<u64>,
    /// The largest bag that may be read ahead while a step works on another; `None`: one like that of the step.
    pub read_ahead: Option<BagSize>,
    /// Patches of any magnification that a step sees, at most: `training.max_patches`.
    pub max_patches: Option<usize>,
}

impl<'a> MemoryBudget<'a> {
    /// The budget of a run on features of `dim` columns: `training.memory_budget`, or what the device offers now.
    ///
    /// # Errors
    /// If the model can't be built for features of that width, or the device's driver fails.
    pub fn new(config: &'a RunConfig, dim: usize, device: &Device) -> Result<Self> {
        let training = &config.training;
        Ok(Self {
            model: &config.model,
            n_parameters: config.model.n_parameters(dim)?,
            dim,
            number_bytes: NumberBytes::of(training.precision, device),
            bytes: device_memory::budget_bytes(training.memory_budget, device)?,
            read_ahead: None,
            max_patches: training.max_patches,
        })
    }

    /// The same for a run that reads `bags`: the largest of them may be ahead of any step.
    #[must_use]
    pub fn reading(self, bags: impl IntoIterator<Item = BagSize>) -> Self {
        Self { read_ahead: bags.into_iter().max_by_key(|&bag| self.bag_bytes(bag)), ..self }
    }

    fn bag_bytes(&self, bag: BagSize) -> u64 {
        StepMemory::of_bag(self.model, self.dim, bag, self.number_bytes)
    }

    /// The prediction for a bag, of which the step may see a part; the one ahead is read whole.
    pub fn predict(&self, bag: BagSize, retention: Retention) -> StepMemory {
        let seen = bag.at_most(self.max_patches);
        let parts =
            StepMemory::predict(self.model, self.n_parameters, self.dim, seen, self.number_bytes, retention);
        StepMemory { read_ahead_bytes: self.bag_bytes(self.read_ahead.unwrap_or(bag)), ..parts }
    }

    /// What a step on this bag leaves for its backward pass: all that is costly to make again, if it fits.
    pub fn retention(&self, bag: BagSize) -> Retention {
        match self.bytes {
            Some(bytes) if self.predict(bag, Retention::Keep).peak_bytes() > bytes => Retention::Recompute,
            _ => Retention::Keep,
        }
    }

    /// Patches of a bag of the proportions of `bag` whose step would fit, about, and no more than it has.
    pub(crate) fn n_fitting(&self, bag: BagSize) -> usize {
        let bag = bag.at_most(self.max_patches);
        let needed = self.predict(bag, Retention::Recompute);
        // Of a bag that is drawn from, the one ahead of it stays whole.
        let ahead = if self.max_patches.is_some() { needed.read_ahead_bytes } else { 0 };
        let fixed = needed.weights_bytes + needed.program_bytes + ahead;
        let left = self.bytes.unwrap_or(u64::MAX).saturating_sub(fixed) as f64;
        let share = left / needed.peak_bytes().saturating_sub(fixed).max(1) as f64;
        (share.min(1.0) * bag.total() as f64) as usize
    }

    /// Refuses what takes more than the budget, which `error` is told.
    fn within(&self, needed_bytes: u64, error: impl FnOnce(u64) -> Error) -> Result<()> {
        self.bytes
            .filter(|budget| needed_bytes > *budget)
            .map_or(Ok(()), |budget_bytes| Err(error(budget_bytes)))
    }

    /// The most that a step on any of `bags` takes, with what it is of. The way out that an error names lets evaluations of `evaluated`
    /// fit, too.
    ///
    /// # Errors
    /// [`Error::DoesNotFit`] if one takes more than the budget although everything is made again that can be.
    pub fn check(
        &self,
        bags: &[(String, BagSize)],
        evaluated: &[(String, BagSize)],
    ) -> Result<Option<(String, BagSize, u64)>> {
        let least = |bag: BagSize| self.predict(bag, Retention::Recompute).peak_bytes();
        let Some((slide_id, bag, needed_bytes)) = costliest(bags, least) else { return Ok(None) };
        self.within(needed_bytes, |budget_bytes| Error::DoesNotFit {
            slide_id: slide_id.clone(),
            n_patches: bag.total(),
            n_seen: bag.at_most(self.max_patches).total(),
            needed_bytes,
            budget_bytes,
            n_fitting: self.n_fitting(bag),
            fitting_max_patches: self.fitting_max_patches(&sizes(bags), &sizes(evaluated)),
        })?;
        // A smaller bag of which all is kept may take more than the largest.
        let taken = |bag: BagSize| self.predict(bag, self.retention(bag)).peak_bytes();
        Ok(costliest(bags, taken).map(|(slide_id, bag, bytes)| (slide_id.clone(), bag, bytes)))
    }
}

fn sizes(bags: &[(String, BagSize)]) -> Vec<BagSize> {
    bags.iter().map(|(_, bag)| *bag).collect()
}

/// The bag of which most is taken, and how much that is.
fn costliest(bags: &[(String, BagSize)], taken: impl Fn(BagSize) -> u64) -> Option<(&String, BagSize, u64)> {
    bags.iter().map(|(slide_id, bag)| (slide_id, *bag, taken(*bag))).max_by_key(|(.., bytes)| *bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    pub(super) const MEAN: BagSize = BagSize { x5: 895, x10: 3_449, x20: 13_496 };

    /// The published model on its features, within so many bytes.
    pub(super) fn published(model: &ModelConfig, bytes: u64) -> MemoryBudget<'_> {
        MemoryBudget {
            model,
            n_parameters: 24_536_584,
            dim: 2048,
            number_bytes: NumberBytes::SINGLE,
            bytes: Some(bytes),
            read_ahead: None,
            max_patches: None,
        }
    }

    #[test]
    fn the_mean_bag_takes_what_the_formula_says() {
        let model = ModelConfig::default_of(ModelName::Crossfusion);
        let predict =
            |retention| StepMemory::predict(&model, 24_536_584, 2048, MEAN, NumberBytes::SINGLE, retention);
        let step = predict(Retention::Keep);
        assert_eq!(step.weights_bytes, 24_536_584 * 16);
        assert_eq!(step.bag_bytes, 17_840 * 2048 * 4);
        // By hand, in rows of 512: projections 35,680; cross-attention 2 * 7 * 3,449 and twice the context; three branches of
        // 3 + 2 * 10 and a final one of 8 + 10 times 3,481 tokens, and 9 times for the processor.
        let rows = 35_680 + 2 * 7 * 3_449 + 2 * (13_496 + 895) + (3 * 23 + 18 + 9) * 3_481;
        assert_eq!(step.activation_bytes, rows * 2048);
        assert_eq!(step.gradient_bytes, (7 * 13_496 + 12 * 3_449) * 2048);
        let least = 35_680 + 2 * 4 * 3_449 + (3 * 13 + 13 + 9) * 3_481;
        assert_eq!(predict(Retention::Recompute).activation_bytes, least * 2048);

        let halved = NumberBytes { kept: 2, ..NumberBytes::SINGLE };
        let step = StepMemory::predict(&model, 24_536_584, 2048, MEAN, halved, Retention::Keep);
        assert_eq!(step.activation_bytes, least * 2048 + (rows - least) * 1024);
    }

    #[test]
    fn one_scale_needs_less_than_three_and_double_precision_twice() {
        let bag = BagSize { x5: 10, x10: 40, x20: 160 };
        let predict = |variant, stored| {
            let bytes = NumberBytes { stored, kept: stored };
            let model = ModelConfig::crossfusion(variant, CrossFusionConfig::default());
            StepMemory::predict(&model, 1000, 64, bag, bytes, Retention::Keep)
        };
        let whole = predict(Variant::Full, 4);
        assert!(predict(Variant::Single, 4).bag_bytes < whole.bag_bytes);
        assert_eq!(predict(Variant::Full, 8).activation_bytes, 2 * whole.activation_bytes);
        let huge = CrossFusionConfig { embed_dim: 1 << 40, ..Default::default() };
        let huge = ModelConfig::crossfusion(Variant::Full, huge);
        let huge = StepMemory::predict(&huge, usize::MAX, 64, bag, NumberBytes::SINGLE, Retention::Keep);
        assert!(huge.peak_bytes() > 1 << 62);
    }

    #[test]
    fn steps_of_the_compared_methods_take_no_more_than_predicted_nor_far_less() {
        // MiB at most on the mean bag at 2,048 features, without a bag read ahead: docs/benchmarks/baselines-amd.json.
        let measured = [
            ("amil", 409),
            ("dsmil", 220),
            ("transmil", 1763),
            ("deepgraphsurv", 662),
            ("patchgcn", 976),
            ("scmil", 3525),
            ("protosurv", 5306),
            ("zoommil", 513),
            ("mustmil", 553),
            ("csmil", 260),
        ];
        for (name, mib) in measured {
            let model = ModelConfig::default_of(name.parse().unwrap());
            let n_parameters = model.n_parameters(2048).unwrap();
            let step =
                StepMemory::predict(&model, n_parameters, 2048, MEAN, NumberBytes::SINGLE, Retention::Keep);
            let share = (step.peak_bytes() - step.read_ahead_bytes) as f64 / (f64::from(mib) * 1_048_576.0);
            assert!((0.98..1.45).contains(&share), "{name}: {share} of what was measured");
        }
    }

    #[test]
    fn a_graph_takes_no_more_for_patches_that_are_not_drawn() {
        let spectral = r#"{"name":"deepgraphsurv","form":"spectral","max_nodes":1000}"#;
        let model: ModelConfig = serde_json::from_str(spectral).unwrap();
        let predict = |x20| {
            let bag = BagSize { x20, ..MEAN };
            StepMemory::predict(&model, 10_594_378, 2048, bag, NumberBytes::SINGLE, Retention::Keep)
        };
        let (small, at_limit, mean) = (predict(500), predict(1000), predict(MEAN.x20));
        assert_eq!(mean.activation_bytes, at_limit.activation_bytes);
        assert_eq!(mean.bag_bytes, 13_496 * 2048 * 4);
        assert!(small.activation_bytes < at_limit.activation_bytes / 2, "pairs grow with the square");
        // By hand: 46 matrices of all pairs; 13 numbers for each of the 4,640 inputs of five layers, 2 for each of their 673 outputs.
        let numbers = 46_000_000 + 1000 * (13 * 4_640 + 2 * 673 + 2048);
        assert_eq!(at_limit.activation_bytes, numbers * 4);
    }

    #[test]
    fn a_budget_decides_what_is_kept_and_refuses_what_cannot_fit() {
        let model = ModelConfig::default_of(ModelName::Crossfusion);
        let budget = |bytes| published(&model, bytes);
        let [keep, recompute] = [Retention::Keep, Retention::Recompute]
            .map(|retention| budget(0).predict(MEAN, retention).peak_bytes());
        assert!(recompute < keep);
        assert_eq!(budget(keep).retention(MEAN), Retention::Keep);
        assert_eq!(budget(keep - 1).retention(MEAN), Retention::Recompute);
        let small = BagSize { x5: 9, x10: 35, x20: 135 };
        let bags = [("small".to_owned(), small), ("mean".to_owned(), MEAN)];
        let (slide, _, taken) = budget(keep - 1).check(&bags, &bags).unwrap().unwrap();
        assert_eq!((slide.as_str(), taken), ("mean", recompute));
        // The large bag may be ahead of a step on the small one, which by itself would fit.
        let room = budget(0).predict(small, Retention::Keep).peak_bytes();
        assert_eq!(budget(room).retention(small), Retention::Keep);
        let in_run = budget(room).reading([small, MEAN]);
        assert_eq!(in_run.retention(small), Retention::Recompute);
        assert_eq!(in_run.predict(small, Retention::Keep).read_ahead_bytes, 17_840 * 2048 * 4);
        assert_eq!(in_run.predict(MEAN, Retention::Keep), budget(0).predict(MEAN, Retention::Keep));
        let error = budget(recompute - 1).check(&bags, &bags).unwrap_err();
        assert_eq!(error.remedy(), crate::error::Remedy::LessMemory);
        let Error::DoesNotFit { n_fitting, n_patches, .. } = error else { panic!("{error}") };
        assert!(n_fitting < n_patches && n_fitting + 10 > n_patches, "{n_fitting} of {n_patches}");
    }
}
