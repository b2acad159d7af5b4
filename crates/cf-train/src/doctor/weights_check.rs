//! The weights to start from, against the model and the bags.

use cf_model::weights::{Checkpoint, METADATA_ENCODER, METADATA_ROW_ORDER};

use super::bag_comparison::UsualBag;
use super::fault::Fault;
use super::finding::{Finding, Severity, place, without_path};
use crate::config::RunConfig;

/// Looks at `training.initial_weights`, if there are any.
pub(super) fn examine(config: &RunConfig, usual: Option<&UsualBag>, findings: &mut Vec<Finding>) {
    let Some(path) = &config.training.initial_weights else { return };
    let at = place(path, "");
    let checkpoint = match Checkpoint::read(path) {
        Ok(checkpoint) => checkpoint,
        Err(error) => {
            let found = without_path(&error.to_string(), path);
            findings.push(Finding::new(Severity::Error, Fault::InitialWeights, at, found));
            return;
        }
    };
    let (model, dim) = match checkpoint.describe(config.model.name(), &config.model) {
        Ok(described) => described,
        Err(error) => {
            let found = without_path(&error.to_string(), path);
            findings.push(Finding::new(Severity::Error, Fault::InitialWeights, at, found));
            return;
        }
    };
    let sizes = match (model.as_crossfusion(), config.model.as_crossfusion()) {
        (Some((_, has)), Some((_, wanted))) => vec![
            ("model.embed_dim", has.embed_dim as f64, wanted.embed_dim as f64),
            ("model.num_layers", has.num_layers as f64, wanted.num_layers as f64),
            ("model.mlp_ratio", has.mlp_ratio, wanted.mlp_ratio),
        ],
        // The sizes of the other models do not vary, but for the parameters that settings add.
        _ => {
            let count = |model: &cf_model::ModelConfig| model.n_parameters(dim).unwrap_or_default() as f64;
            vec![("parameters in number,", count(&model), count(&config.model))]
        }
    };
    for (what, has, wanted) in sizes {
        if has != wanted {
            let found = format!("weights of {what} {has}, the configuration says {wanted}");
            findings.push(Finding::new(Severity::Error, Fault::InitialWeights, at.clone(), found));
        }
    }
    let backbone = &config.features.backbone;
    if let Some(trained_on) = checkpoint.metadata().get(METADATA_ENCODER).filter(|name| *name != backbone) {
        let found =
            format!("weights trained on features called `{trained_on}`, those here are called `{backbone}`");
        findings.push(Finding::new(Severity::Warning, Fault::InitialWeights, at.clone(), found));
    }
    let Some(usual) = usual else { return };
    if dim != usual.dim {
        let found = format!("weights for features of {dim} columns, the bags have {}", usual.dim);
        findings.push(Finding::new(Severity::Error, Fault::FeatureWidth, at.clone(), found));
    }
    let trained_on = checkpoint.metadata().get(METADATA_ROW_ORDER);
    if let (Some(trained_on), Some(order)) = (trained_on, usual.row_order)
        && trained_on != order
    {
        let found =
            format!("weights trained on rows in order `{trained_on}`, the bags are in order `{order}`");
        findings.push(Finding::new(Severity::Warning, Fault::RowOrderMixed, at, found));
    }
}
