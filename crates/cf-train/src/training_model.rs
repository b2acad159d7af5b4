//! The model of a fold: its parameters drawn or taken from a file.

use std::path::Path;

use candle_core::{DType, Device};
use cf_model::weights::Checkpoint;
use cf_model::{ModelConfig, ParamStore, SurvivalModel};

use crate::bags::BagSource;
use crate::config::TrainingConfig;
use crate::error::{Error, Result};

/// A model in training and the same one without a graph, over one set of parameters.
pub(crate) fn build(
    model: &ModelConfig,
    training: &TrainingConfig,
    bags: &BagSource,
) -> Result<(ParamStore, [Box<dyn SurvivalModel>; 2])> {
    let store = ParamStore::seeded(training.seed, training.precision.compute_dtype(), bags.device());
    let trainable = model.build(bags.backbone_dim(), store.builder())?;
    let detached = model.build(bags.backbone_dim(), store.eval_builder())?;
    Ok((store, [trainable, detached]))
}

/// Refuses a file of weights that a model of this width can't start from.
///
/// # Errors
/// If it can't be read, or is of another model or width.
pub(crate) fn check_initial(model: &ModelConfig, backbone_dim: usize, path: &Path) -> Result<()> {
    let store = ParamStore::seeded(0, DType::F32, &Device::Cpu);
    model.build(backbone_dim, store.builder())?;
    assign_initial(&store, path)
}

/// Overwrites the drawn weights with those of a file.
pub(crate) fn assign_initial(store: &ParamStore, path: &Path) -> Result<()> {
    let checkpoint = Checkpoint::read(path)?;
    let n_known = store.params().len();
    let n_found = checkpoint.values().len();
    store.assign(checkpoint.values()).map_err(|error| {
        Error::data(
            path,
            format!("is not of this model and width ({n_found} tensors, expected {n_known}): {error}"),
        )
    })
}
