//! Which model, and of what size.

use std::fmt;
use std::str::FromStr;

use candle_core::{DType, Device, Shape, Tensor};
use candle_nn::var_builder::SimpleBackend;
use candle_nn::{Init, VarBuilder};
use cf_layers::Residual;
use serde::{Deserialize, Serialize};
use wsi_bags::Magnification;

use crate::crossfusion::{CrossFusion, Variant};
use crate::error::{Error, Result};
use crate::model::SurvivalModel;

/// A model and its own settings; in TOML a table with a `name` and that model's fields.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "name", rename_all = "kebab-case")]
pub enum ModelConfig {
    /// The paper's model.
    Crossfusion(CrossFusionConfig),
    /// Fusion by concatenation and projection instead of the Convolutional Processor (Table 1, w/o CP).
    CrossfusionWoCp(CrossFusionConfig),
    /// 20x patches only, no cross-attention (Table 1, w/o F&C).
    CrossfusionWoFc(CrossFusionConfig),
}

/// The names that `--model` and `model.name` accept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ModelName {
    /// `crossfusion`.
    Crossfusion,
    /// `crossfusion-wo-cp`.
    CrossfusionWoCp,
    /// `crossfusion-wo-fc`.
    CrossfusionWoFc,
}

/// The settings of CrossFusion and its ablations; the defaults are the paper's.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct CrossFusionConfig {
    /// Channels after the projection; even, and a multiple of `num_heads`.
    pub embed_dim: usize,
    /// Attention heads, at least 1.
    pub num_heads: usize,
    /// Transformer layers per block, at least 1.
    pub num_layers: usize,
    /// Hidden channels of feed-forward parts, as a multiple of `embed_dim`; above 0.
    pub mlp_ratio: f64,
    /// Dropout of feed-forward parts and (per channel) of the Convolutional Processor, in `[0, 1)`.
    pub dropout: f64,
    /// Dropout of self-attention weights, in `[0, 1)`.
    pub attention_dropout: f64,
    /// Keeps attention dropout active in evaluation. The released code does, so its validation scores are random;
    /// for comparison with it only.
    pub attention_dropout_at_eval: bool,
    /// Where the residuals of Transformer layers start.
    pub residual: ResidualForm,
}

/// [`Residual`] as it is written in a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ResidualForm {
    /// [`Residual::Released`].
    Released,
    /// [`Residual::PreNorm`].
    Prenorm,
}

impl From<ResidualForm> for Residual {
    fn from(form: ResidualForm) -> Self {
        match form {
            ResidualForm::Released => Self::Released,
            ResidualForm::Prenorm => Self::PreNorm,
        }
    }
}

impl Default for CrossFusionConfig {
    fn default() -> Self {
        Self {
            embed_dim: 512,
            num_heads: 4,
            num_layers: 1,
            mlp_ratio: 2.0,
            dropout: 0.3,
            attention_dropout: 0.2,
            attention_dropout_at_eval: false,
            residual: ResidualForm::Released,
        }
    }
}

impl CrossFusionConfig {
    /// Hidden channels of the feed-forward parts.
    pub fn hidden_dim(&self) -> usize {
        (self.embed_dim as f64 * self.mlp_ratio).round() as usize
    }

    fn check(&self) -> Result<()> {
        let reject = |field, found: String, expected| Err(Error::Config { field, found, expected });
        if self.num_heads == 0 {
            return reject("num_heads", self.num_heads.to_string(), "at least 1");
        }
        if self.embed_dim == 0 || !self.embed_dim.is_multiple_of(2 * self.num_heads) {
            let expected = "an even number of channels for each of num_heads heads";
            return reject("embed_dim", self.embed_dim.to_string(), expected);
        }
        if self.num_layers == 0 {
            return reject("num_layers", self.num_layers.to_string(), "at least 1");
        }
        if !self.mlp_ratio.is_finite() || self.hidden_dim() == 0 {
            return reject("mlp_ratio", self.mlp_ratio.to_string(), "a positive number");
        }
        for (field, p) in [("dropout", self.dropout), ("attention_dropout", self.attention_dropout)] {
            if !(0.0..1.0).contains(&p) {
                return reject(field, p.to_string(), "a probability in [0, 1)");
            }
        }
        Ok(())
    }
}

impl ModelConfig {
    /// The model of this name with the paper's settings.
    pub fn default_of(name: ModelName) -> Self {
        Self::of(name, CrossFusionConfig::default())
    }

    /// The model of this name with the given settings.
    pub fn of(name: ModelName, settings: CrossFusionConfig) -> Self {
        match name {
            ModelName::Crossfusion => Self::Crossfusion(settings),
            ModelName::CrossfusionWoCp => Self::CrossfusionWoCp(settings),
            ModelName::CrossfusionWoFc => Self::CrossfusionWoFc(settings),
        }
    }

    /// Its name.
    pub fn name(&self) -> ModelName {
        match self {
            Self::Crossfusion(_) => ModelName::Crossfusion,
            Self::CrossfusionWoCp(_) => ModelName::CrossfusionWoCp,
            Self::CrossfusionWoFc(_) => ModelName::CrossfusionWoFc,
        }
    }

    /// The settings of a CrossFusion model.
    pub fn settings(&self) -> &CrossFusionConfig {
        match self {
            Self::Crossfusion(settings)
            | Self::CrossfusionWoCp(settings)
            | Self::CrossfusionWoFc(settings) => settings,
        }
    }

    /// Tests every setting without building anything.
    ///
    /// # Errors
    /// If a setting is out of its range; the error names it.
    pub fn check(&self) -> Result<()> {
        self.settings().check()
    }

    /// Whether evaluation draws from a random stream (see [`CrossFusionConfig::attention_dropout_at_eval`]).
    pub fn random_at_eval(&self) -> bool {
        let settings = self.settings();
        settings.attention_dropout_at_eval && settings.attention_dropout > 0.0
    }

    /// The magnifications that the model reads.
    pub fn magnifications(&self) -> &'static [Magnification] {
        Variant::from(self.name()).magnifications()
    }

    /// Builds the model for features of `backbone_dim` columns with the parameters of `vb`.
    ///
    /// # Errors
    /// If a setting is out of its range, or a parameter is missing or has another shape.
    pub fn build(&self, backbone_dim: usize, vb: VarBuilder<'_>) -> Result<Box<dyn SurvivalModel>> {
        self.check()?;
        if backbone_dim == 0 {
            return Err(Error::Config { field: "backbone_dim", found: "0".into(), expected: "at least 1" });
        }
        Ok(Box::new(CrossFusion::new(self.name().into(), self.settings(), backbone_dim, vb)?))
    }

    /// The number of trainable scalars, without allocating them.
    ///
    /// # Errors
    /// If a setting is out of its range.
    pub fn n_parameters(&self, backbone_dim: usize) -> Result<usize> {
        let counter = std::sync::Arc::new(std::sync::atomic::AtomicUsize::new(0));
        let backend = CountingBackend { n_parameters: std::sync::Arc::clone(&counter) };
        self.build(backbone_dim, VarBuilder::from_backend(Box::new(backend), DType::F32, Device::Cpu))?;
        Ok(counter.load(std::sync::atomic::Ordering::Relaxed))
    }
}

impl ModelName {
    /// Every model, in the order of Table 1.
    pub const ALL: [Self; 3] = [Self::Crossfusion, Self::CrossfusionWoCp, Self::CrossfusionWoFc];

    /// The name as it is written.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Crossfusion => "crossfusion",
            Self::CrossfusionWoCp => "crossfusion-wo-cp",
            Self::CrossfusionWoFc => "crossfusion-wo-fc",
        }
    }

    /// Where the model is described.
    pub fn paper(self) -> &'static str {
        match self {
            Self::Crossfusion => "Soraki et al., arXiv 2503.02064",
            Self::CrossfusionWoCp => "Soraki et al., arXiv 2503.02064, Table 1, w/o CP",
            Self::CrossfusionWoFc => "Soraki et al., arXiv 2503.02064, Table 1, w/o F&C",
        }
    }
}

impl fmt::Display for ModelName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

impl FromStr for ModelName {
    type Err = String;

    fn from_str(text: &str) -> std::result::Result<Self, String> {
        Self::ALL.into_iter().find(|name| name.as_str() == text).ok_or_else(|| {
            let known: Vec<_> = Self::ALL.iter().map(|name| name.as_str()).collect();
            format!("unknown model `{text}` (known models: {})", known.join(", "))
        })
    }
}

/// Hands out tensors that take no memory, and counts what was asked for.
struct CountingBackend {
    n_parameters: std::sync::Arc<std::sync::atomic::AtomicUsize>,
}

impl SimpleBackend for CountingBackend {
    fn get(
        &self,
        shape: Shape,
        _: &str,
        _: Init,
        dtype: DType,
        device: &Device,
    ) -> candle_core::Result<Tensor> {
        self.n_parameters.fetch_add(shape.elem_count(), std::sync::atomic::Ordering::Relaxed);
        Tensor::zeros((), dtype, device)?.broadcast_as(shape)
    }

    fn get_unchecked(&self, name: &str, _: DType, _: &Device) -> candle_core::Result<Tensor> {
        Err(candle_core::Error::CannotFindTensor { path: name.to_owned() })
    }

    fn contains_tensor(&self, _: &str) -> bool {
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parameter_counts_are_the_published_ones() {
        let count = |name, dim| ModelConfig::default_of(name).n_parameters(dim).unwrap();
        assert_eq!(count(ModelName::Crossfusion, 2048), 24_536_584);
        assert_eq!(count(ModelName::CrossfusionWoCp, 2048), 25_147_908);
        assert_eq!(count(ModelName::CrossfusionWoFc, 2048), 9_730_564);
        assert_eq!(count(ModelName::Crossfusion, 1024), 22_963_720);
        assert_eq!(count(ModelName::CrossfusionWoCp, 1024), 23_575_044);
        assert_eq!(count(ModelName::CrossfusionWoFc, 1024), 9_206_276);
    }

    #[test]
    fn each_setting_out_of_range_is_named() {
        let bad = [
            ("embed_dim", CrossFusionConfig { embed_dim: 30, ..Default::default() }),
            ("num_heads", CrossFusionConfig { num_heads: 0, ..Default::default() }),
            ("num_layers", CrossFusionConfig { num_layers: 0, ..Default::default() }),
            ("mlp_ratio", CrossFusionConfig { mlp_ratio: f64::NAN, ..Default::default() }),
            ("dropout", CrossFusionConfig { dropout: 1.0, ..Default::default() }),
            ("attention_dropout", CrossFusionConfig { attention_dropout: -0.1, ..Default::default() }),
        ];
        for (field, settings) in bad {
            let text = ModelConfig::Crossfusion(settings).check().unwrap_err().to_string();
            assert!(text.contains(&format!("model.{field} is")), "{text}");
        }
    }
}
