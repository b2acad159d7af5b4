//! The memory of one training step, predicted from the model and the size of a bag.
//!
//! With parameters `P`, bytes per number `s`, channels `d`, hidden channels `h = d * mlp_ratio` and `N = ceil(sqrt(n))^2` the
//! tokens of the source scale `n` padded to a square, the peak is the sum of
//!
//! - **weights** `4 P s`: values, gradients, and the two moments of Adam;
//! - **bags** `2 (n5 + n10 + n20) dim s`: the bag in use and the one read ahead;
//! - **activations** that the backward pass needs, in numbers:
//!   - projection of each scale of `m` patches: `2 m d` (none where `dim = d`);
//!   - each cross-attention of `n` source tokens over `m`: `n (7 d + 2 h) + 3 m d`;
//!   - each Pad-Transformer: `N (4 d + 2 L (9 d + 2 h))` for `L` layers, with padding, position encoding and norm;
//!   - convolutional processor: `9 N d` (`4 N d` without a mix, `5 N d` for concatenation);
//!   - final Pad-Transformer: `N (8 d + (2 L - 1) (9 d + 2 h))`: its last layer asks for one token;
//! - **gradients in flight** `4 m d` of the largest scale: inputs, keys and values of its cross-attention;
//! - **program** 64 MiB: code, threads, tables.
//!
//! The formula is CrossFusion's; for the other models `P`, bags and program are the same, and activations are so many numbers per
//! 20x patch. Attention weights are not among them: they are computed twice and never stored.

use cf_model::{CrossFusionConfig, ModelConfig, ModelName, Variant};
use serde::Serialize;
use wsi_bags::Magnification;

/// Code, thread stacks and tables of a run.
const PROGRAM_BYTES: u64 = 64 << 20;

/// Patches of a bag by magnification; 0 where the model does not read one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct BagSize {
    /// At 5x.
    pub x5: usize,
    /// At 10x.
    pub x10: usize,
    /// At 20x.
    pub x20: usize,
}

impl BagSize {
    /// Pairs of neighbouring magnifications that are both there: coarse and fine, each with its name.
    pub(super) fn neighbours(self) -> impl Iterator<Item = (&'static str, usize, &'static str, usize)> {
        [("x5", self.x5, "x10", self.x10), ("x10", self.x10, "x20", self.x20)]
            .into_iter()
            .filter(|(_, coarse, _, fine)| *coarse > 0 && *fine > 0)
    }

    fn at(self, magnification: Magnification) -> usize {
        match magnification {
            Magnification::X5 => self.x5,
            Magnification::X10 => self.x10,
            Magnification::X20 => self.x20,
        }
    }

    fn total(self) -> usize {
        self.x5 + self.x10 + self.x20
    }
}

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

impl StepMemory {
    /// Predicts the memory of a step on a bag of features of `dim` columns in numbers of `number_bytes`.
    pub fn predict(
        model: &ModelConfig,
        n_parameters: usize,
        dim: usize,
        bag: BagSize,
        number_bytes: usize,
    ) -> Self {
        // In f64: a size that no machine has must not overflow.
        let number = number_bytes as f64;
        let bytes = |numbers: f64| (numbers * number) as u64;
        let read: usize = model.magnifications().iter().map(|&at| bag.at(at)).sum();
        let bag_bytes = bytes(read as f64 * dim as f64);
        let (activations, gradients) = match model.as_crossfusion() {
            Some((variant, settings)) => crossfusion(variant, settings, dim, bag),
            None => baseline(model.name(), dim, bag),
        };
        Self {
            weights_bytes: bytes(4.0 * n_parameters as f64),
            bag_bytes,
            read_ahead_bytes: bag_bytes,
            activation_bytes: bytes(activations),
            gradient_bytes: bytes(gradients),
            program_bytes: PROGRAM_BYTES,
        }
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

/// Activations and gradients in flight of a CrossFusion, in numbers.
fn crossfusion(variant: Variant, settings: &CrossFusionConfig, dim: usize, bag: BagSize) -> (f64, f64) {
    let (d, h) = (settings.embed_dim as f64, settings.hidden_dim() as f64);
    let layers = 2.0 * settings.num_layers as f64;
    let layer = 9.0 * d + 2.0 * h;
    let projection = |n: usize| if dim == settings.embed_dim { 0.0 } else { 2.0 * n as f64 * d };
    let cross = |n: usize, m: usize| n as f64 * (7.0 * d + 2.0 * h) + 3.0 * m as f64 * d;
    let (source, n_branches, fusion) = match variant {
        Variant::Full => (bag.x10, 3.0, 9.0),
        Variant::Concat => (bag.x10, 3.0, 5.0),
        Variant::Single => (bag.x20, 1.0, 4.0),
    };
    let square = (source as f64).sqrt().ceil().powi(2);
    let branch = square * (4.0 * d + layers * layer) + square * d;
    let last = square * (8.0 * d + (layers - 1.0) * layer);
    let activations = n_branches * branch + square * fusion * d + last;
    let (context, largest) = match variant {
        Variant::Single => (projection(bag.x20), bag.x20),
        Variant::Full | Variant::Concat => (
            projection(bag.total()) + cross(bag.x10, bag.x5) + cross(bag.x10, bag.x20),
            bag.x5.max(bag.x10).max(bag.x20),
        ),
    };
    (activations + context, 4.0 * largest as f64 * d)
}

/// Activations and gradients in flight of the other models, in numbers: so many per patch at 20x, by counting what their layers
/// keep. ZoomMIL gathers twenty places per 5x patch, with zeros where there is none.
fn baseline(name: ModelName, dim: usize, bag: BagSize) -> (f64, f64) {
    let dim = dim as f64;
    let (per_patch, widest) = match name {
        ModelName::Amil => (3_100.0, 1_024.0),
        ModelName::Dsmil => (520.0, 256.0),
        ModelName::TransMil => (13_000.0, 3_072.0),
        ModelName::DeepGraphSurv => (6_200.0, 1_024.0),
        ModelName::PatchGcn => (10_500.0, 2_048.0),
        ModelName::Scmil => (9.0 * dim, 4.0 * dim),
        ModelName::ProtoSurv => (65_000.0, 4_608.0),
        ModelName::MustMil => (4_800.0, 1_536.0),
        ModelName::ZoomMil | ModelName::CsMil => (0.0, 0.0),
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
    /// Trainable numbers of the model.
    pub n_parameters: usize,
    /// Where the memory goes.
    pub parts: StepMemory,
    /// All of it.
    pub predicted_peak_bytes: u64,
    /// What the machine offers now; `None` where it does not tell.
    pub available_bytes: Option<u64>,
}

/// Memory that a new process may use: what the system calls available, within the limit of the control group.
pub(super) fn available_bytes() -> Option<u64> {
    let meminfo = std::fs::read_to_string("/proc/meminfo").ok()?;
    let line = meminfo.lines().find(|line| line.starts_with("MemAvailable:"))?;
    let kib: u64 = line.split_whitespace().nth(1)?.parse().ok()?;
    let limit = std::fs::read_to_string("/sys/fs/cgroup/memory.max").ok();
    let limit = limit.and_then(|text| text.trim().parse::<u64>().ok()).unwrap_or(u64::MAX);
    Some((kib * 1024).min(limit))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_mean_bag_takes_what_the_formula_says() {
        let model = ModelConfig::default_of(ModelName::Crossfusion);
        let bag = BagSize { x5: 895, x10: 3_449, x20: 13_496 };
        let step = StepMemory::predict(&model, 24_536_584, 2048, bag, 4);
        assert_eq!(step.weights_bytes, 24_536_584 * 16);
        assert_eq!(step.bag_bytes, 17_840 * 2048 * 4);
        // By hand, in rows of 512: projections 35,680; cross-attention 119,051; three branches of 31 and a final one of
        // 21 times 3,481 tokens, and 9 times for the processor.
        let rows = 35_680 + 119_051 + (3 * 31 + 21 + 9) * 3_481;
        assert_eq!(step.activation_bytes, rows * 2048);
        assert_eq!(step.gradient_bytes, 4 * 13_496 * 2048);
    }

    #[test]
    fn one_scale_needs_less_than_three_and_double_precision_twice() {
        let bag = BagSize { x5: 10, x10: 40, x20: 160 };
        let predict = |name, bytes| {
            let model = ModelConfig::default_of(name);
            StepMemory::predict(&model, 1000, 64, bag, bytes)
        };
        let whole = predict(ModelName::Crossfusion, 4);
        assert!(predict(ModelName::CrossfusionWoFc, 4).bag_bytes < whole.bag_bytes);
        assert_eq!(predict(ModelName::Crossfusion, 8).activation_bytes, 2 * whole.activation_bytes);
        let huge = CrossFusionConfig { embed_dim: 1 << 40, ..Default::default() };
        let huge = ModelConfig::Crossfusion(huge);
        assert!(StepMemory::predict(&huge, usize::MAX, 64, bag, 8).peak_bytes() > 1 << 62);
    }
}
