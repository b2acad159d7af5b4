//! Writing weights: safetensors that name their model, byte for byte the same for the same weights.

use std::collections::{BTreeMap, HashMap};
use std::path::Path;

use candle_core::{Device, Tensor};
use cf_model::weights::{
    METADATA_BACKBONE_DIM, METADATA_ENCODER, METADATA_MODEL, METADATA_PRECISION, METADATA_ROW_ORDER,
    METADATA_TIME_BINS,
};
use cf_model::{ModelConfig, ParamStore};

use crate::config::Precision;
use crate::error::{Error, Result};
use crate::run_dir;

/// Metadata key of the hash of the settings trained with.
pub(crate) const METADATA_CONFIG_HASH: &str = "config_hash";

/// Metadata key of the epoch whose weights they are.
pub(crate) const METADATA_EPOCH: &str = "epoch";

/// What a checkpoint says of itself.
#[derive(Debug, Clone)]
pub struct CheckpointInfo<'a> {
    /// The model and its settings.
    pub model: &'a ModelConfig,
    /// Columns of the features.
    pub backbone_dim: usize,
    /// What the features are called: `features.backbone`.
    pub encoder: &'a str,
    /// Edges of the time bins, months.
    pub time_bin_edges_months: &'a [f64],
    /// Order of the patches trained on: `row-major` or `file`.
    pub row_order: &'a str,
    /// What it was trained in; who predicts with it computes in the same.
    pub precision: Precision,
    /// Hash of the resolved configuration.
    pub config_hash: u64,
    /// Fold that was validated.
    pub fold: usize,
    /// Epochs trained.
    pub epoch: usize,
}

/// Writes the parameters of `store`.
///
/// # Errors
/// If the file can't be written.
pub fn write(path: &Path, store: &ParamStore, info: &CheckpointInfo<'_>) -> Result<()> {
    let model = serde_json::to_string(info.model).map_err(|error| Error::data(path, error.to_string()))?;
    let time_bins = serde_json::to_string(info.time_bin_edges_months)
        .map_err(|error| Error::data(path, error.to_string()))?;
    let metadata = [
        (METADATA_MODEL, model),
        (METADATA_ENCODER, info.encoder.to_owned()),
        (METADATA_TIME_BINS, time_bins),
        (METADATA_BACKBONE_DIM, info.backbone_dim.to_string()),
        (METADATA_ROW_ORDER, info.row_order.to_owned()),
        (METADATA_PRECISION, info.precision.as_str().to_owned()),
        ("producer", format!("cf-train {}", env!("CARGO_PKG_VERSION"))),
        (METADATA_CONFIG_HASH, format!("{:016x}", info.config_hash)),
        ("fold", info.fold.to_string()),
        (METADATA_EPOCH, info.epoch.to_string()),
    ];
    let metadata = metadata.into_iter().map(|(key, value)| (key.to_owned(), value)).collect();
    let tensors = store.params().into_iter().map(|(name, var)| (name, var.as_detached_tensor())).collect();
    write_tensors(path, &tensors, metadata)
}

/// Writes named tensors as safetensors, from whatever device they are on.
pub(crate) fn write_tensors(
    path: &Path,
    tensors: &BTreeMap<String, Tensor>,
    metadata: HashMap<String, String>,
) -> Result<()> {
    let fault = |reason: String| Error::data(path, reason);
    let metadata = (!metadata.is_empty()).then_some(metadata);
    let tensors = tensors.iter().map(|(name, tensor)| Ok((name, tensor.to_device(&Device::Cpu)?)));
    let tensors: BTreeMap<&String, Tensor> = tensors.collect::<Result<_>>()?;
    let bytes = safetensors::serialize(tensors, metadata).map_err(|error| fault(error.to_string()))?;
    run_dir::write(path, &sort_header(bytes).map_err(fault)?)
}

/// Orders the keys of a safetensors header, whose metadata the library writes in the order of a hash map.
fn sort_header(mut bytes: Vec<u8>) -> std::result::Result<Vec<u8>, String> {
    let length = bytes.first_chunk::<8>().map(|head| u64::from_le_bytes(*head) as usize);
    let header =
        length.and_then(|length| bytes.get_mut(8..8 + length)).ok_or("safetensors without a header")?;
    let sorted: BTreeMap<String, serde_json::Value> =
        serde_json::from_slice(header).map_err(|error| error.to_string())?;
    let text = serde_json::to_string(&sorted).map_err(|error| error.to_string())?;
    let target = header.get_mut(..text.len()).ok_or("a sorted safetensors header outgrew the first")?;
    target.copy_from_slice(text.as_bytes());
    header[text.len()..].fill(b' ');
    Ok(bytes)
}
