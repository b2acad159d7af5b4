//! Reading checkpoints: our safetensors, and released PyTorch state dicts in zip-format `.pt`.
//!
//! Parameter names are the same in both, so weights travel either way. Ours say in their metadata what they are; of a
//! foreign file the variant and the widths are read from names and shapes, and what shapes cannot tell (heads) comes
//! from the caller.

use std::collections::{BTreeMap, HashMap};
use std::path::{Path, PathBuf};

use candle_core::{DType, Device, Tensor};
use cf_layers::{ParamStore, kernels};

use crate::amil::{AmilConfig, AmilForm};
use crate::config::{CrossFusionConfig, ModelConfig};
use crate::crossfusion::Variant;
use crate::dsmil::DsmilConfig;
use crate::error::{Error, Result};
use crate::model::SurvivalModel;
use crate::model_name::ModelName;
use crate::transmil::TransMilConfig;

/// Metadata key of the model configuration, as JSON.
pub const METADATA_MODEL: &str = "model";

/// Metadata key of the width of the backbone features.
pub const METADATA_BACKBONE_DIM: &str = "backbone_dim";

/// Metadata key of the order of the patches that the model was trained on: `row-major` or `file`.
pub const METADATA_ROW_ORDER: &str = "row_order";

/// Metadata key of what the model was trained in: `f32`, `bf16` or `f64`.
pub const METADATA_PRECISION: &str = "precision";

/// Metadata key of what the features that the model was trained on are called: `features.backbone`.
pub const METADATA_ENCODER: &str = "encoder";

/// Metadata key of the edges of the time bins, months, as a JSON array of one more than there are bins.
pub const METADATA_TIME_BINS: &str = "time_bin_edges_months";

/// A checkpoint in memory: its values by name, and what it says of itself.
#[derive(Debug)]
pub struct Checkpoint {
    path: PathBuf,
    values: BTreeMap<String, Tensor>,
    metadata: HashMap<String, String>,
}

impl Checkpoint {
    /// Reads a checkpoint by its extension, `.safetensors` or `.pt`.
    ///
    /// # Errors
    /// If the file can't be read or is neither, or a value is not finite.
    pub fn read(path: &Path) -> Result<Self> {
        let checkpoint = match path.extension().and_then(|extension| extension.to_str()) {
            Some("safetensors") => Self::read_safetensors(path),
            Some("pt" | "pth") => Self::read_state_dict(path),
            _ => Err(fault(path, "unknown kind of file, expected .safetensors or .pt")),
        }?;
        for (name, value) in &checkpoint.values {
            if !is_finite(value)? {
                let reason = format!(
                    "`{name}` holds NaN or an infinite number, expected finite weights; its training diverged or the file is \
                     damaged: take another checkpoint"
                );
                return Err(fault(path, reason));
            }
        }
        Ok(checkpoint)
    }

    fn read_safetensors(path: &Path) -> Result<Self> {
        let bytes = std::fs::read(path).map_err(|error| fault(path, error))?;
        let (_, header) =
            safetensors::SafeTensors::read_metadata(&bytes).map_err(|error| fault(path, error))?;
        let metadata = header.metadata().clone().unwrap_or_default();
        let values = candle_core::safetensors::load_buffer(&bytes, &Device::Cpu)?;
        Ok(Self { path: path.to_owned(), values: values.into_iter().collect(), metadata })
    }

    fn read_state_dict(path: &Path) -> Result<Self> {
        let mut values = BTreeMap::new();
        for tensor in wsi_bags::pt::read_state_dict(path)? {
            values.insert(tensor.name, Tensor::from_vec(tensor.values, tensor.shape, &Device::Cpu)?);
        }
        Ok(Self { path: path.to_owned(), values, metadata: HashMap::new() })
    }

    /// What the file says of itself; empty for a foreign file.
    pub fn metadata(&self) -> &HashMap<String, String> {
        &self.metadata
    }

    /// The values by name.
    pub fn values(&self) -> &BTreeMap<String, Tensor> {
        &self.values
    }

    /// The model that the checkpoint holds, and its backbone width.
    ///
    /// `hints`, of the same model, fills what a foreign file's shapes cannot tell; it is ignored where the file describes
    /// itself.
    ///
    /// # Errors
    /// If the file is of another model than `name`, or of none that is known.
    pub fn describe(&self, name: ModelName, hints: &ModelConfig) -> Result<(ModelConfig, usize)> {
        let (config, backbone_dim) = match self.metadata.get(METADATA_MODEL) {
            Some(json) => {
                let config: ModelConfig = serde_json::from_str(json)
                    .map_err(|error| fault(&self.path, format!("metadata `{METADATA_MODEL}`: {error}")))?;
                let found = self.metadata.get(METADATA_BACKBONE_DIM).and_then(|text| text.parse().ok());
                let backbone_dim = found.ok_or_else(|| {
                    fault(
                        &self.path,
                        format!("metadata `{METADATA_BACKBONE_DIM}` is missing or not a number"),
                    )
                })?;
                (config, backbone_dim)
            }
            None => self.infer(hints)?,
        };
        if config.name() != name {
            return Err(fault(
                &self.path,
                format!("holds weights of `{}`, expected `{name}`", config.name()),
            ));
        }
        config.check()?;
        Ok((config, backbone_dim))
    }

    /// What the checkpoint's model computes in on `device`: what it was trained in where it says so and the device can, else f32.
    pub fn compute_dtype(&self, device: &Device) -> DType {
        match self.metadata.get(METADATA_PRECISION).map(String::as_str) {
            Some("bf16") => DType::BF16,
            Some("f64") if kernels::device::computes_in(device, DType::F64) => DType::F64,
            _ => DType::F32,
        }
    }

    /// Builds the checkpoint's model on `device`, for evaluation; the store gives gradients to who builds from it again.
    ///
    /// # Errors
    /// If a parameter is missing, has another shape, or is left over.
    pub fn build(
        &self,
        config: &ModelConfig,
        backbone_dim: usize,
        device: &Device,
    ) -> Result<(ParamStore, Box<dyn SurvivalModel>)> {
        let store = ParamStore::from_values(self.values.clone(), self.compute_dtype(device), device);
        let model = config.build(backbone_dim, store.eval_builder()).map_err(|error| {
            fault(&self.path, format!("is not a {} of this size: {error}", config.name()))
        })?;
        let known: Vec<String> = store.params().into_iter().map(|(name, _)| name).collect();
        let left_over: Vec<&str> =
            self.values.keys().filter(|name| !known.contains(name)).map(String::as_str).collect();
        if left_over.is_empty() {
            return Ok((store, model));
        }
        let shown = left_over.iter().take(5).copied().collect::<Vec<_>>().join(", ");
        Err(fault(
            &self.path,
            format!("holds {} parameters that a {} has not, such as {shown}", left_over.len(), config.name()),
        ))
    }

    /// Reads the model and its sizes off the names and shapes of a released state dict.
    fn infer(&self, hints: &ModelConfig) -> Result<(ModelConfig, usize)> {
        let has = |name: &str| self.values.contains_key(name);
        let (variant, projection) = if has("f_transformer_ln.weight") {
            (Variant::Full, "f_lin_proj.0.weight")
        } else if has("pre_final_linear.0.weight") {
            (Variant::Concat, "fine_pre_cross_attn.0.weight")
        } else if has("source_ln.weight") {
            (Variant::Single, "source_pre_cross_attn.0.weight")
        } else {
            return self.infer_baseline(hints);
        };
        let hints = hints.as_crossfusion().map(|(_, settings)| settings.clone()).unwrap_or_default();
        let dims = |name: &str| self.values.get(name).map(|tensor| tensor.dims().to_vec());
        let embed_dim = match dims("final_ln.weight").as_deref() {
            Some(&[d]) => d,
            found => {
                return Err(fault(&self.path, format!("`final_ln.weight` is {found:?}, expected [d]")));
            }
        };
        let backbone_dim = match dims(projection).as_deref() {
            Some(&[_, backbone_dim]) => backbone_dim,
            // Without a projection the features already have the model's width.
            None => embed_dim,
            Some(found) => {
                return Err(fault(
                    &self.path,
                    format!("`{projection}` is {found:?}, expected [d, backbone]"),
                ));
            }
        };
        let layer = |index: usize| format!("final_transformer.pre_layers.layers.{index}.0.weight");
        let num_layers = (0..).take_while(|&index| has(&layer(index))).count();
        let hidden = match dims("final_transformer.pre_layers.layers.0.3.net.0.weight").as_deref() {
            Some(&[hidden, _]) => hidden,
            found => {
                let reason = format!(
                    "`final_transformer.pre_layers.layers.0.3.net.0.weight` is {found:?}, expected [hidden, d]"
                );
                return Err(fault(&self.path, reason));
            }
        };
        let mlp_ratio = hidden as f64 / embed_dim as f64;
        let settings = CrossFusionConfig { embed_dim, num_layers, mlp_ratio, ..hints };
        Ok((ModelConfig::crossfusion(variant, settings), backbone_dim))
    }

    /// Reads one of the methods that CrossFusion's authors released beside it off names and shapes.
    fn infer_baseline(&self, hints: &ModelConfig) -> Result<(ModelConfig, usize)> {
        let has = |name: &str| self.values.contains_key(name);
        let (found, projection) = if has("attention_net.0.weight") {
            let form = match (has("hidden.weight"), has("attention_net.2.0.weight")) {
                (true, _) => AmilForm::Survival,
                (false, true) => AmilForm::Ungated,
                (false, false) => AmilForm::Fair,
            };
            (ModelConfig::Amil(AmilConfig { form }), "attention_net.0.weight")
        } else if has("b_classifier.q.0.weight") {
            let learned_values = has("b_classifier.v.1.weight");
            let settings = DsmilConfig { learned_values, ..DsmilConfig::default() };
            (ModelConfig::Dsmil(settings), "b_classifier.q.0.weight")
        } else if has("_fc1.0.weight") {
            (ModelConfig::TransMil(TransMilConfig::default()), "_fc1.0.weight")
        } else {
            let shown = self.values.keys().take(3).cloned().collect::<Vec<_>>().join(", ");
            return Err(fault(
                &self.path,
                format!("no known model: {} tensors, such as {shown}", self.values.len()),
            ));
        };
        let backbone_dim = match self.values.get(projection).map(Tensor::dims) {
            Some(&[_, backbone_dim]) => backbone_dim,
            found => {
                return Err(fault(
                    &self.path,
                    format!("`{projection}` is {found:?}, expected [width, backbone]"),
                ));
            }
        };
        // What names and shapes tell wins over hints, which hold the rest.
        let config = match (found, hints) {
            (ModelConfig::Dsmil(found), ModelConfig::Dsmil(hints)) => {
                ModelConfig::Dsmil(DsmilConfig { learned_values: found.learned_values, ..hints.clone() })
            }
            (ModelConfig::TransMil(_), ModelConfig::TransMil(hints)) => ModelConfig::TransMil(hints.clone()),
            (found, _) => found,
        };
        Ok((config, backbone_dim))
    }
}

/// Whether a tensor holds neither NaN nor an infinite number, on whatever device it is.
///
/// # Errors
/// If a tensor operation fails.
pub fn is_finite(tensor: &Tensor) -> Result<bool> {
    if !matches!(tensor.dtype(), DType::F16 | DType::BF16 | DType::F32 | DType::F64) {
        return Ok(true);
    }
    // Zero times a number that is not finite is NaN.
    let zeros = tensor.detach().affine(0.0, 0.0)?;
    Ok(zeros.sum_all()?.to_dtype(DType::F64)?.to_scalar::<f64>()? == 0.0)
}

fn fault(path: &Path, reason: impl std::fmt::Display) -> Error {
    Error::Checkpoint { path: path.to_owned(), reason: reason.to_string() }
}
