//! Where a model, or the models of a run together, looked on one slide.

use std::path::PathBuf;

use cf_model::kernels::device::stored_type;
use cf_model::{Attribution, AttributionLayer, BagTensors, ModelConfig, N_BINS};
use survival_metrics::{CurveLookup, PredictedSurvival};
use wsi_bags::{Bag, SlideInfo};

use super::{SlidePrediction, Target, TrainedModel, tensors, warn_of_draws};
use crate::bags::open_store;
use crate::device_memory::naming_the_bag;
use crate::error::{Error, Result};
use crate::memory::BagSize;
use crate::missing_fact;

/// A slide's prediction, where the model looked for it, and the patches that it looked at.
#[derive(Debug)]
pub struct SlideAttribution {
    /// As [`predict`](super::predict) gives it. Of several models, the mean risk, and their mean survival past the first end of each time bin
    /// among them, without logits.
    pub prediction: SlidePrediction,
    /// Whether the risk is minus the sum of a survival curve, or the mean of such risks, and not a log risk.
    pub risk_is_of_survival: bool,
    /// A number for each patch, from each part of the model that attends; with [`AttributionOptions::occlusion`] also its effect. Of several
    /// models, the means.
    pub layers: Vec<AttributionLayer>,
    /// The slide's patches: places, sizes and what their file states.
    pub bag: Bag,
    /// What the file of the patches states of the slide.
    pub info: SlideInfo,
}

/// What [`attribute`] computes, and of which models.
#[derive(Default)]
pub struct AttributionOptions<'a> {
    /// Checkpoints of the same run besides the target's: every number is the mean over all of their models.
    pub averaged_with: Vec<PathBuf>,
    /// The parts of the slide to remove, one pass each, at most; none leaves occlusion out.
    pub occlusion: Option<usize>,
    /// Is told of each pass of occlusion: how many are done, and of how many.
    pub progress: Option<&'a mut dyn FnMut(usize, usize)>,
}

/// [`predict`](super::predict), and where the model looked; of several models, the means over them.
///
/// The mean effect of a part of the slide is its effect on the mean risk, by which the models of a run are applied to slides that took no part
/// in it.
///
/// # Errors
/// As [`predict`](super::predict), those of [`cf_model::occlude`], and if checkpoints are of models that differ.
pub fn attribute(target: &Target<'_>, mut options: AttributionOptions<'_>) -> Result<SlideAttribution> {
    let first = TrainedModel::read(target.checkpoint, &target.model, &target.device)?;
    let bag = first.read_bag(target)?;
    warn_of_draws(&first, target.slide);
    let info = slide_info(target, &first.config)?;
    let on_device = tensors(target, &bag, stored_type(first.compute))?;
    let n_models = 1 + options.averaged_with.len();
    let others = std::mem::take(&mut options.averaged_with);
    let mut found = vec![of_model((&first, 0, n_models), target, (&bag, &on_device), &mut options)?];
    for (at, path) in (1..).zip(&others) {
        let model = TrainedModel::read(path, &target.model, &target.device)?;
        if (&model.config, model.backbone_dim) != (&first.config, first.backbone_dim) {
            let reason = format!(
                "is of another model than {}: settings or the width of features differ; take the checkpoints of one run",
                target.checkpoint.display()
            );
            return Err(Error::data(path, reason));
        }
        found.push(of_model((&model, at, n_models), target, (&bag, &on_device), &mut options)?);
    }
    let (predictions, layers): (Vec<_>, Vec<_>) = found.into_iter().unzip();
    let risk_is_of_survival = predictions.iter().all(SlidePrediction::risk_is_of_survival);
    let (prediction, layers) = (averaged(predictions)?, mean_layers(layers));
    Ok(SlideAttribution { prediction, risk_is_of_survival, layers, bag, info })
}

/// What one model says, the one at place `at` of `n_models`.
fn of_model(
    (trained, at, n_models): (&TrainedModel, usize, usize),
    target: &Target<'_>,
    (bag, on_device): (&Bag, &BagTensors),
    options: &mut AttributionOptions<'_>,
) -> Result<(SlidePrediction, Vec<AttributionLayer>)> {
    naming_the_bag(&target.device, target.slide, BagSize::of(on_device), || {
        let Attribution { output, mut layers } = cf_model::attribute(trained.model.as_ref(), on_device)?;
        if let Some(max_parts) = options.occlusion {
            let mut on_pass = |done: usize, all: usize| {
                if let Some(progress) = options.progress.as_mut() {
                    progress(at * all + done, n_models * all);
                }
            };
            let lacking = |error| match open_store(target.features) {
                Ok(store) => missing_fact::of_occlusion(error, &store, bag),
                Err(_) => error.into(),
            };
            let occluded = cf_model::occlude(trained.model.as_ref(), on_device, max_parts, &mut on_pass);
            layers.extend(occluded.map_err(lacking)?);
        }
        Ok((trained.prediction(target.slide, &output)?, layers))
    })
}

/// Mean risk, and mean survival where the first of the models' bins ends, so that no model is asked beyond its times.
fn averaged(mut predictions: Vec<SlidePrediction>) -> Result<SlidePrediction> {
    let n_models = predictions.len();
    if n_models == 1 {
        return Ok(predictions.remove(0));
    }
    let mean =
        |of: &dyn Fn(&SlidePrediction) -> f64| predictions.iter().map(of).sum::<f64>() / n_models as f64;
    let all_edges: Option<Vec<&Vec<f64>>> =
        predictions.iter().map(|prediction| prediction.time_bin_edges_months.as_ref()).collect();
    let first_of = |edges: Vec<&Vec<f64>>| -> Vec<f64> {
        let first =
            |at: usize| edges.iter().filter_map(|edges| edges.get(at).copied()).fold(f64::MAX, f64::min);
        (0..=N_BINS).map(first).collect()
    };
    let time_bin_edges_months = all_edges.map(first_of);
    let mut survival = [0.0; N_BINS];
    match &time_bin_edges_months {
        Some(edges) => {
            for prediction in &predictions {
                let ends = prediction.time_bin_edges_months.as_deref().and_then(|edges| edges.get(1..));
                let curve = PredictedSurvival::new(
                    ends.unwrap_or_default(),
                    prediction.survival.to_vec(),
                    CurveLookup::Linear,
                )?;
                for (sum, months) in survival.iter_mut().zip(&edges[1..]) {
                    *sum += curve.at(0, *months) / n_models as f64;
                }
            }
        }
        // Bins whose months nobody knows have their numbers alone in common.
        None => survival = std::array::from_fn(|bin| mean(&|prediction| prediction.survival[bin])),
    }
    let before = |bin: usize| if bin == 0 { 1.0 } else { survival[bin - 1] };
    let hazard = |bin: usize| if before(bin) > 0.0 { 1.0 - survival[bin] / before(bin) } else { 1.0 };
    Ok(SlidePrediction {
        risk: mean(&|prediction| prediction.risk),
        slide: predictions.swap_remove(0).slide,
        logits: None,
        hazards: std::array::from_fn(hazard),
        survival,
        time_bin_edges_months,
    })
}

/// The mean of each layer; models of one configuration have the same.
fn mean_layers(by_model: Vec<Vec<AttributionLayer>>) -> Vec<AttributionLayer> {
    let n_models = by_model.len() as f64;
    let mut by_model = by_model.into_iter();
    let mut sums = by_model.next().unwrap_or_default();
    for layers in by_model {
        for (sum, layer) in sums.iter_mut().zip(&layers) {
            debug_assert_eq!((sum.module, sum.magnification), (layer.module, layer.magnification));
            sum.scores.iter_mut().zip(&layer.scores).for_each(|(sum, score)| *sum += score);
        }
    }
    for layer in &mut sums {
        layer.scores.iter_mut().for_each(|score| *score /= n_models);
    }
    sums
}

/// What the file of the slide's patches at the model's first magnification states of the slide.
fn slide_info(target: &Target<'_>, config: &ModelConfig) -> Result<SlideInfo> {
    let store = open_store(target.features)?;
    let Some(magnification) = config.magnifications().first() else { return Ok(SlideInfo::default()) };
    let described = store.describe(target.slide, *magnification);
    Ok(described.map_err(|source| Error::Bag { slide_id: target.slide.to_owned(), source })?.slide)
}
