//! One slide through one checkpoint: its survival curve, where the model looked, or the gradients of its loss.

mod attribution;

use std::collections::{BTreeMap, HashMap};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use candle_core::{DType, Device};
use cf_model::kernels::device::{Uploader, stored_type};
use cf_model::weights::{Checkpoint, METADATA_ENCODER, METADATA_ROW_ORDER, METADATA_TIME_BINS};
use cf_model::{
    BagTensors, ForwardCtx, Head, ModelConfig, ModelName, N_BINS, Patches, SurvivalModel, SurvivalOutput,
};
use serde::Serialize;
use survival_metrics::Status;
use wsi_bags::{Bag, slide_stem};

use crate::bag_upload::BagUpload;
use crate::bags::{open_store, row_order};
use crate::config::FeaturesConfig;
use crate::device_memory::naming_the_bag;
use crate::error::{Error, Result};
use crate::loss;
use crate::memory::BagSize;
use crate::missing_fact;

pub use attribution::{AttributionOptions, SlideAttribution, attribute};

/// Weight of the uncensored part in [`gradients`].
const ALPHA: f64 = 0.2;

/// A slide and the checkpoint that reads it.
#[derive(Debug, Clone)]
pub struct Target<'a> {
    /// `.safetensors` or `.pt`.
    pub checkpoint: &'a Path,
    /// The model that it holds, with what a foreign checkpoint's shapes cannot tell.
    pub model: ModelConfig,
    /// Where the bags lie, and of which encoder they are read.
    pub features: &'a FeaturesConfig,
    /// The slide, with or without its extension.
    pub slide: &'a str,
    /// What to compute on.
    pub device: Device,
}

/// The output of `predict`.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct SlidePrediction {
    /// The slide.
    pub slide: String,
    /// Model output, where the model ends with hazards.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub logits: Option<[f64; N_BINS]>,
    /// Probability of the event in each bin, given survival up to it: the sigmoids of the logits.
    pub hazards: [f64; N_BINS],
    /// Survival past each bin.
    pub survival: [f64; N_BINS],
    /// Edges of the bins in months, the first and the last just beyond the times trained on; left out where the checkpoint does not say them.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub time_bin_edges_months: Option<Vec<f64>>,
    /// Minus the sum of `survival`, or the log risk that the model ends with; higher is worse.
    pub risk: f64,
}

/// The output of `grad`.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct SlideGradients {
    /// The model's training loss: negative log-likelihood, alpha 0.2, and its own terms where it has some.
    pub loss: f64,
    /// L2 norm of the loss's gradient by each parameter.
    pub grad_norms: BTreeMap<String, f64>,
}

impl SlidePrediction {
    /// Whether the risk is minus the sum of the survival curve, and not a log risk.
    pub fn risk_is_of_survival(&self) -> bool {
        self.risk == -self.survival.iter().sum::<f64>()
    }

    /// What a checkpoint's model says of a slide.
    ///
    /// # Errors
    /// If it is not finite.
    pub(crate) fn new(slide: &str, checkpoint: &Path, output: &SurvivalOutput) -> Result<Self> {
        let numbers = output.numbers()?;
        let distribution = numbers.distribution()?;
        let logits = if numbers.head == Head::Hazards { Some(numbers.logits()?) } else { None };
        let risk = numbers.risk()?;
        let all = numbers.values.iter().chain(&distribution.survival).chain([&risk]);
        check_finite((slide, checkpoint), "the prediction", all.copied())?;
        Ok(Self {
            slide: slide_stem(slide).to_owned(),
            logits,
            hazards: distribution.hazards,
            survival: distribution.survival,
            time_bin_edges_months: None,
            risk,
        })
    }
}

/// Refuses numbers of a slide that finite features and a checkpoint's finite weights overflowed to.
fn check_finite(
    (slide, checkpoint): (&str, &Path),
    what: &str,
    numbers: impl IntoIterator<Item = f64>,
) -> Result<()> {
    let Some(found) = numbers.into_iter().find(|number| !number.is_finite()) else { return Ok(()) };
    let reason = format!(
        "{what} holds {found}, expected finite numbers: the slide's features or the weights of {} are too large to compute with; \
         compare the features with those that the model was trained on",
        checkpoint.display()
    );
    Err(cf_model::Error::Bag { slide_id: slide.to_owned(), reason }.into())
}

/// The settings of a model: the paper's, or those of a file (TOML) for what a released checkpoint's shapes cannot tell.
///
/// # Errors
/// If the file can't be read, or has a setting that the model has not.
pub fn model_config(name: ModelName, file: Option<&Path>) -> Result<ModelConfig> {
    let Some(path) = file else { return Ok(ModelConfig::default_of(name)) };
    let text = std::fs::read_to_string(path).map_err(|source| Error::Io {
        action: "read",
        path: path.to_owned(),
        source,
    })?;
    let fault = |reason: String| Error::Config { path: path.to_owned(), reason };
    let mut settings: toml::Table =
        text.parse().map_err(|error: toml::de::Error| fault(error.to_string()))?;
    let value = toml::Value::String(name.as_str().to_owned());
    if settings.insert("name".to_owned(), value).is_some() {
        return Err(fault("unknown field `name`: --model says it".to_owned()));
    }
    let model: ModelConfig =
        settings.try_into().map_err(|error: toml::de::Error| fault(error.to_string()))?;
    model.check().map_err(|error| fault(error.to_string()))?;
    Ok(model)
}

/// Predicts the survival of one slide, in the precision that the checkpoint was trained in and without any dropout.
///
/// # Errors
/// If the checkpoint is of another model or width, the bag can't be read, or the prediction is not finite.
pub fn predict(target: &Target<'_>) -> Result<SlidePrediction> {
    let trained = TrainedModel::read(target.checkpoint, &target.model, &target.device)?;
    let bag = trained.read_bag(target)?;
    warn_of_draws(&trained, target.slide);
    let dtype = trained.config.feature_type(bag.feature_dim(), &target.device, trained.compute);
    let bag = tensors(target, &bag, dtype)?;
    trained.predict(target.slide, &bag, &target.device)
}

/// The gradients of one slide's loss, all dropout off.
///
/// # Errors
/// As [`predict`], of loss and gradients; and if `time_bin` is not below 4.
pub fn gradients(target: &Target<'_>, time_bin: usize, status: Status) -> Result<SlideGradients> {
    if time_bin >= N_BINS {
        return Err(Error::Model(cf_model::Error::Config {
            field: "n_bins",
            found: format!("asked for bin {time_bin}"),
            expected: "a bin from 0 to 3",
        }));
    }
    let checkpoint = Checkpoint::read(target.checkpoint)?;
    let (config, backbone_dim) = checkpoint.describe(target.model.name(), &target.model)?;
    let (store, _) = checkpoint.build(&config, backbone_dim, &target.device)?;
    let model = config.build(backbone_dim, store.builder())?;
    let says = |key: &str| checkpoint.metadata().get(key).map(String::as_str);
    let bag = read_bag(target, says, &config, backbone_dim)?;
    let bag = tensors(target, &bag, stored_type(checkpoint.compute_dtype(&target.device)))?;
    let (loss, grads) = naming_the_bag(&target.device, target.slide, BagSize::of(&bag), || {
        let output = model.forward(&bag, &mut ForwardCtx::eval())?;
        let (loss, scalar) = output.training_loss(1.0, |logits| {
            let at = loss::nll(logits, time_bin, status, ALPHA);
            (at.loss, at.gradient)
        })?;
        check_finite((target.slide, target.checkpoint), "the loss", [loss])?;
        Ok((loss, cf_model::kernels::backward(&scalar)?))
    })?;
    let norm = |(name, var): (String, candle_core::Var)| {
        let Some(grad) = grads.get(&var) else {
            let expected = config.is_without_gradient_at_eval(&name);
            return if expected { Ok((name, 0.0)) } else { Err(Error::NoGradient { name }) };
        };
        let squares = grad.to_dtype(DType::F64)?.sqr()?.sum_all()?.to_scalar::<f64>()?;
        let what = format!("the gradient of `{name}`");
        check_finite((target.slide, target.checkpoint), &what, [squares])?;
        Ok((name, squares.sqrt()))
    };
    let grad_norms = store.params().into_iter().map(norm).collect::<Result<_>>()?;
    Ok(SlideGradients { loss, grad_norms })
}

/// A checkpoint's model for evaluation alone, and what the checkpoint says of it.
pub(crate) struct TrainedModel {
    path: PathBuf,
    pub(crate) config: ModelConfig,
    /// Columns of the features.
    pub(crate) backbone_dim: usize,
    model: Box<dyn SurvivalModel>,
    /// What the model computes in.
    pub(crate) compute: DType,
    metadata: HashMap<String, String>,
    /// As [`SlidePrediction::time_bin_edges_months`].
    pub(crate) time_bin_edges_months: Option<Vec<f64>>,
}

impl TrainedModel {
    /// Reads a checkpoint of the model that `hints` names; they say what a foreign one's shapes cannot tell.
    ///
    /// # Errors
    /// If it can't be read, or is of another model.
    pub(crate) fn read(path: &Path, hints: &ModelConfig, device: &Device) -> Result<Self> {
        let checkpoint = Checkpoint::read(path)?;
        let (config, backbone_dim) = checkpoint.describe(hints.name(), hints)?;
        let (_, mut model) = checkpoint.build(&config, backbone_dim, device)?;
        model.freeze()?;
        let time_bins = checkpoint.metadata().get(METADATA_TIME_BINS);
        Ok(Self {
            path: path.to_owned(),
            time_bin_edges_months: time_bins.and_then(|text| serde_json::from_str(text).ok()),
            config,
            backbone_dim,
            model,
            compute: checkpoint.compute_dtype(device),
            metadata: checkpoint.metadata().clone(),
        })
    }

    /// What the checkpoint says under a key of its metadata.
    pub(crate) fn says(&self, key: &str) -> Option<&str> {
        self.metadata.get(key).map(String::as_str)
    }

    /// The slide's bag.
    ///
    /// # Errors
    /// If it can't be read, or is none for the model.
    fn read_bag(&self, target: &Target<'_>) -> Result<Bag> {
        read_bag(target, |key| self.says(key), &self.config, self.backbone_dim)
    }

    /// Predicts the survival of a slide whose bag is on `device`.
    ///
    /// # Errors
    /// If the pass fails, or the prediction is not finite.
    pub(crate) fn predict(&self, slide: &str, bag: &BagTensors, device: &Device) -> Result<SlidePrediction> {
        let pass = || Ok(self.model.forward(bag, &mut ForwardCtx::eval())?);
        let output = naming_the_bag(device, slide, BagSize::of(bag), pass)?;
        self.prediction(slide, &output)
    }

    fn prediction(&self, slide: &str, output: &SurvivalOutput) -> Result<SlidePrediction> {
        let prediction = SlidePrediction::new(slide, &self.path, output)?;
        Ok(SlidePrediction { time_bin_edges_months: self.time_bin_edges_months.clone(), ..prediction })
    }
}

/// Why predictions differ from those of the run that trained a model, if they do.
pub(crate) const WITHOUT_DRAWS: &str = "the model was evaluated with attention dropout (model.attention_dropout_at_eval), which is off \
                                        here: numbers differ from those of its run";

/// Tells where a model's predictions differ from those of its run.
fn warn_of_draws(trained: &TrainedModel, slide: &str) {
    if trained.config.random_at_eval() {
        // The run's numbers follow from its seed, which a checkpoint does not hold.
        tracing::warn!(slide, "{WITHOUT_DRAWS}");
    }
}

/// The slide's bag. `says` is what the checkpoint says under a key.
fn read_bag<'a>(
    target: &Target<'_>,
    says: impl Fn(&str) -> Option<&'a str>,
    config: &ModelConfig,
    backbone_dim: usize,
) -> Result<Bag> {
    let store = open_store(target.features)?;
    let bag = store
        .read(target.slide, config.magnifications())
        .map_err(|source| Error::Bag { slide_id: target.slide.to_owned(), source })?;
    config.check_bag(&bag).map_err(|error| missing_fact::of_model(error, &store))?;
    if bag.feature_dim() != backbone_dim {
        return Err(Error::data(
            target.checkpoint,
            format!(
                "reads features of {backbone_dim} columns, slide {} has {} of {}",
                target.slide,
                bag.feature_dim(),
                target.features.backbone
            ),
        ));
    }
    let backbone = target.features.backbone.as_str();
    if let Some(trained) = says(METADATA_ENCODER).filter(|trained| *trained != backbone) {
        tracing::warn!(
            slide = target.slide,
            found = backbone,
            trained,
            "the model was trained on features of another name; of another encoder, its prediction means nothing"
        );
    }
    let (trained_on, found) = (says(METADATA_ROW_ORDER), row_order(&bag));
    if trained_on.is_some_and(|trained| trained != found) {
        tracing::warn!(
            slide = target.slide,
            found,
            trained = trained_on,
            "the bag's rows are in another order than those the model was trained on; it folds them into a grid"
        );
    }
    Ok(bag)
}

/// The bag's features where the model computes; the bag itself takes no memory any more where it is mapped.
fn tensors(target: &Target<'_>, bag: &Bag, dtype: DType) -> Result<BagTensors> {
    let copy = || {
        let mut uploader = Uploader::new(&target.device, dtype)?;
        BagUpload::start(&mut uploader, bag, None, Arc::new(Patches::of(bag)))?.finish()
    };
    let copied = naming_the_bag(&target.device, target.slide, BagSize::of_bag(bag), copy)?;
    bag.sets().for_each(|(_, set)| set.features().release());
    Ok(copied)
}
