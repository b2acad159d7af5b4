//! The configuration of a run: as written in TOML, checked, and with every default filled in.

mod examined;
mod inner_validation;
mod loss_kind;
mod sections;

use std::path::{Path, PathBuf};

use candle_core::DType;
use cf_model::ModelConfig;
use cf_model::kernels::device::stored_type;
use serde::{Deserialize, Serialize};
use toml::Table;
use wsi_bags::Layout;

use crate::byte_size::ByteSize;
use crate::cohort::CohortConfig;
use crate::config_keys;
use crate::error::{Error, Result};
use crate::protocol::Protocol;
use crate::splits::HeldOutUse;

pub(crate) use examined::{ConfigFaultKind, Examined};
pub use inner_validation::InnerValidation;
pub use loss_kind::LossKind;
pub use sections::ExternalConfig;

/// Everything that determines a cross-validated run.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RunConfig {
    /// The patients and their folds.
    pub cohort: CohortConfig,
    /// The bags.
    pub features: FeaturesConfig,
    /// The model and its own settings.
    pub model: ModelConfig,
    /// How it is trained and selected.
    pub training: TrainingConfig,
}

/// Where the bags lie: one directory, or one for each magnification.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FeaturesConfig {
    /// The directory. Excludes `roots`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub dir: Option<PathBuf>,
    /// How it is laid out, by the name of a [`wsi_bags::Layout`]; detected when left out.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub layout: Option<String>,
    /// The encoder whose features are read.
    pub backbone: String,
    /// A directory for each magnification. Excludes `dir` and `layout`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub roots: Option<FeatureRoots>,
}

/// Directories that hold the bags of one magnification each, in the form of any tool.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FeatureRoots {
    /// 5x.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub x5: Option<PathBuf>,
    /// 10x.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub x10: Option<PathBuf>,
    /// 20x.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub x20: Option<PathBuf>,
}

/// How a model is trained; the defaults are the paper's.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TrainingConfig {
    /// `paper` or `sound`: schedule, sampling, selection and time bins (required).
    pub protocol: Protocol,
    /// Epochs, at most (`paper`) or exactly (`sound`); at least 1. 100 and 20 by default.
    pub max_epochs: usize,
    /// Peak learning rate of Adam, above 0.
    pub learning_rate: f64,
    /// L2 penalty that is added to the gradient (not decoupled), at least 0.
    pub weight_decay: f64,
    /// Bags per optimiser step, at least 1; each loss is divided by it.
    pub accumulation: usize,
    /// Weight of the uncensored part of the loss, in `[0, 1]`; validation uses 0.
    pub alpha: f64,
    /// What is minimised.
    pub loss: LossKind,
    /// In what the model computes.
    pub precision: Precision,
    /// What a training step, and on a GPU the bags that stay there beside it, may use, such as `12 GiB`; by default what the machine
    /// offers when the run begins. It decides what is kept between the passes and what is made again, and changes no number.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub memory_budget: Option<ByteSize>,
    /// Seed of every random stream.
    pub seed: u64,
    /// `sound` only: what the epoch is selected on.
    pub inner_validation: InnerValidation,
    /// Patches of any magnification that a visit in training sees of a slide, at most, at least 1; all where it is left out. Which is
    /// drawn at each visit: see [`crate::visit::rule`].
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_patches: Option<usize>,
    /// Start from the weights of this safetensors or `.pt` file instead of drawing them.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub initial_weights: Option<PathBuf>,
}

/// The floats of a run's parameters, activations, gradients and optimiser.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Precision {
    /// Single precision.
    F32,
    /// Single precision, but for matrix products, whose operands are rounded to bf16 and whose sums are single precision.
    Bf16,
    /// Double precision, on plain loops: to tell what rounding does to a result.
    F64,
}

impl Precision {
    /// As configurations and checkpoints name it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::F32 => "f32",
            Self::Bf16 => "bf16",
            Self::F64 => "f64",
        }
    }

    /// That whose models compute in `dtype`, as a device has it.
    pub(crate) fn of_compute(dtype: DType) -> Self {
        match dtype {
            DType::BF16 => Self::Bf16,
            DType::F64 => Self::F64,
            _ => Self::F32,
        }
    }

    /// The element type of tensors.
    pub fn dtype(self) -> DType {
        stored_type(self.compute_dtype())
    }

    /// What models are built to compute in.
    pub fn compute_dtype(self) -> DType {
        match self {
            Self::F32 => DType::F32,
            Self::Bf16 => DType::BF16,
            Self::F64 => DType::F64,
        }
    }
}

impl RunConfig {
    /// Reads `path`, applies `overrides` (`("training.seed", "8")`, values in TOML or bare text), fills in defaults,
    /// checks every value and makes paths absolute against the file's directory.
    ///
    /// # Errors
    /// If the file can't be read, is not TOML, has an unknown key (the error names the nearest valid one), lacks a
    /// required one, or holds a value out of its range.
    pub fn read(path: &Path, overrides: &[(String, String)]) -> Result<Self> {
        Self::of_known_keys(read_table(path, overrides)?, path)
    }

    /// The configuration of a table whose keys are known, as [`RunConfig::read`] makes it of those of the file `path`.
    pub(crate) fn of_known_keys(mut table: Table, path: &Path) -> Result<Self> {
        let fault = |reason: String| Error::Config { path: path.to_owned(), reason };
        config_keys::fill_defaults(&mut table).map_err(fault)?;
        let mut config: Self =
            table.try_into().map_err(|error: toml::de::Error| fault(toml_reason(&error)))?;
        config.check().map_err(fault)?;
        config.resolve_paths(&base_of(path)?);
        Ok(config)
    }

    /// The configuration as TOML, complete: reading it again gives the same run.
    ///
    /// # Errors
    /// If a path is not UTF-8.
    pub fn to_toml(&self) -> Result<String> {
        toml::to_string(self)
            .map_err(|error| Error::Config { path: PathBuf::from("config.toml"), reason: error.to_string() })
    }

    /// What the held-out parts of the split files are for.
    pub fn held_out_use(&self) -> HeldOutUse {
        self.training.inner_validation.held_out_use(self.cohort.evaluate)
    }

    /// The settings that results depend on: without where the data lie, of which hashes are kept, and without what changes no
    /// number. What was moved, or is seen by another path, is the same.
    #[must_use]
    pub(crate) fn of_results(&self) -> Self {
        let mut settings = self.clone();
        settings.cohort.clinical = PathBuf::new();
        settings.cohort.splits = PathBuf::new();
        settings.cohort.slides = None;
        settings.features.dir = None;
        settings.features.roots = None;
        settings.training.initial_weights = None;
        settings.training.memory_budget = None;
        settings
    }

    fn check(&self) -> std::result::Result<(), String> {
        self.value_faults().into_iter().next().map_or(Ok(()), Err)
    }

    /// Every value out of its range, in words.
    fn value_faults(&self) -> Vec<String> {
        let mut faults: Vec<String> = self.cohort.check().err().into_iter().collect();
        faults.extend(self.cohort.check_name().err());
        if self.cohort.splits.as_os_str().is_empty() {
            faults.push("cohort.splits is empty, expected a folder or file of splits".to_owned());
        }
        faults.extend(self.training.value_faults());
        faults.extend(self.training.inner_validation.fault_with(self.cohort.evaluate));
        faults.extend(self.features.check().err());
        faults.extend(self.model.check().err().map(|error| error.to_string()));
        if self.training.loss == LossKind::Cox && self.training.accumulation == 1 {
            faults.push(
                "training.accumulation is 1, expected at least 2 with training.loss cox, which compares the slides of a group: of one \
                 slide alone nothing is learned"
                    .to_owned(),
            );
        }
        if self.training.loss == LossKind::Cox && self.model.has_auxiliary_outputs() {
            faults.push(format!(
                "training.loss is cox, which needs a model of one output; a {} with these settings trains several",
                self.model.name()
            ));
        }
        faults.extend(self.training.loss.fault_with(self.model.head(), self.model.name()));
        faults
    }

    fn resolve_paths(&mut self, base: &Path) {
        self.cohort.resolve_paths(base);
        self.features.resolve_paths(base);
        self.training.initial_weights.iter_mut().for_each(|path| *path = base.join(&*path));
    }
}

impl TrainingConfig {
    fn value_faults(&self) -> Vec<String> {
        let positive = |x: f64| x.is_finite() && x > 0.0;
        let within = |x: f64, upper: f64| (0.0..=upper).contains(&x);
        let faults = [
            (self.max_epochs == 0, "max_epochs", self.max_epochs.to_string(), "at least 1"),
            (
                !positive(self.learning_rate),
                "learning_rate",
                self.learning_rate.to_string(),
                "a positive number",
            ),
            (
                !within(self.weight_decay, f64::MAX),
                "weight_decay",
                self.weight_decay.to_string(),
                "at least 0",
            ),
            (self.accumulation == 0, "accumulation", self.accumulation.to_string(), "at least 1"),
            (self.max_patches == Some(0), "max_patches", "0".to_owned(), "at least 1; without it, all"),
            (!within(self.alpha, 1.0), "alpha", self.alpha.to_string(), "a weight in [0, 1]"),
            (
                matches!(self.inner_validation, InnerValidation::Share(share) if !within(share, 0.5)),
                "inner_validation",
                self.inner_validation.to_string(),
                "a share in [0, 0.5], or \"val\"",
            ),
            (
                self.protocol == Protocol::Paper && self.inner_validation.selects(),
                "inner_validation",
                self.inner_validation.to_string(),
                "0 in the `paper` protocol, which selects on the validation fold",
            ),
        ];
        let broken = faults.into_iter().filter(|fault| fault.0);
        broken
            .map(|(_, field, found, expected)| format!("training.{field} is {found}, expected {expected}"))
            .collect()
    }
}

impl FeaturesConfig {
    /// The bags of a directory; its layout is detected where none is given.
    pub fn of_directory(dir: &Path, layout: Option<Layout>, backbone: &str) -> Self {
        Self {
            dir: Some(dir.to_owned()),
            layout: layout.map(|layout| layout.to_string()),
            backbone: backbone.to_owned(),
            roots: None,
        }
    }

    /// The directory, and those of 5x, 10x and 20x.
    pub(crate) fn directories(&self) -> [Option<&Path>; 4] {
        let roots = self.roots.as_ref();
        let of = |root: fn(&FeatureRoots) -> Option<&PathBuf>| roots.and_then(root);
        let at = [of(|at| at.x5.as_ref()), of(|at| at.x10.as_ref()), of(|at| at.x20.as_ref())];
        [self.dir.as_ref(), at[0], at[1], at[2]].map(|path| path.map(PathBuf::as_path))
    }

    /// [`Self::directories`], whatever the path to them.
    pub(crate) fn places(&self) -> [Option<PathBuf>; 4] {
        let place = |path: &Path| path.canonicalize().unwrap_or_else(|_| path.to_owned());
        self.directories().map(|path| path.map(place))
    }

    /// Where faults of the bags as a whole are: the directory, or the first of the directories.
    pub fn directory(&self) -> &Path {
        self.directories().into_iter().flatten().next().unwrap_or(Path::new(""))
    }

    fn resolve_paths(&mut self, base: &Path) {
        let roots = self.roots.iter_mut().flat_map(|roots| [&mut roots.x5, &mut roots.x10, &mut roots.x20]);
        roots.flatten().chain(&mut self.dir).for_each(|path| *path = base.join(&*path));
    }

    fn check(&self) -> std::result::Result<(), String> {
        if self.dir.is_some() == self.roots.is_some() {
            return Err("features wants one of `dir` and `roots`".to_owned());
        }
        let Some(layout) = &self.layout else { return Ok(()) };
        if self.roots.is_some() {
            return Err("features.layout goes with `dir`; the forms of `roots` are detected".to_owned());
        }
        layout.parse::<Layout>().map(|_| ()).map_err(|error| format!("features.layout: {error}"))
    }
}

fn read_table(path: &Path, overrides: &[(String, String)]) -> Result<Table> {
    let fault = |reason: String| Error::Config { path: path.to_owned(), reason };
    let text = std::fs::read_to_string(path).map_err(Error::io("read", path))?;
    let mut table: Table = text.parse().map_err(|error: toml::de::Error| fault(toml_reason(&error)))?;
    for (key, value) in overrides {
        config_keys::set(&mut table, key, value).map_err(fault)?;
    }
    config_keys::check(&table, config_keys::Sources { text: &text, overrides }).map_err(fault)?;
    Ok(table)
}

/// The directory that relative paths of a configuration start from.
fn base_of(path: &Path) -> Result<PathBuf> {
    // A bare file name has an empty parent, which can't be made absolute.
    let parent = path.parent().filter(|parent| !parent.as_os_str().is_empty());
    let base = parent.unwrap_or(Path::new("."));
    std::path::absolute(base).map_err(Error::io("resolve", base))
}

/// The error of a TOML document on one line, its place first.
pub(crate) fn toml_reason(error: &toml::de::Error) -> String {
    let text = error.to_string();
    text.lines()
        .filter(|line| !line.trim_start().starts_with('|'))
        .map(str::trim)
        .collect::<Vec<_>>()
        .join("; ")
}
