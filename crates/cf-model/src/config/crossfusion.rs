//! The settings of CrossFusion.

use cf_layers::Residual;
use serde::{Deserialize, Serialize};
use wsi_bags::Magnification;

use super::ranges::{check_costly_count, check_probability, reject};
use crate::crossfusion::Variant;
use crate::error::Result;

/// The settings of CrossFusion and its ablations; the defaults are the paper's.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct CrossFusionConfig {
    /// Channels after the projection, at most 10000; even, and a multiple of `num_heads`.
    pub embed_dim: usize,
    /// Attention heads, at least 1.
    pub num_heads: usize,
    /// Transformer layers per block, 1 to 10000.
    pub num_layers: usize,
    /// Hidden channels of feed-forward parts, as a multiple of `embed_dim`; above 0, at most 100.
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
    /// The patches that the form of one scale reads (w/o F&C): 20x as its text and code say, or the 10x that its name suggests.
    #[serde(skip_serializing_if = "SingleMagnification::is_default")]
    pub single_magnification: SingleMagnification,
}

/// What [`Variant::Single`] reads.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum SingleMagnification {
    /// 20x, as published.
    #[default]
    X20,
    /// 10x.
    X10,
}

impl SingleMagnification {
    fn is_default(&self) -> bool {
        *self == Self::default()
    }
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
            single_magnification: SingleMagnification::X20,
        }
    }
}

impl CrossFusionConfig {
    /// Hidden channels of the feed-forward parts.
    pub fn hidden_dim(&self) -> usize {
        (self.embed_dim as f64 * self.mlp_ratio).round() as usize
    }

    /// The magnifications that this form reads.
    pub fn magnifications(&self, variant: Variant) -> &'static [Magnification] {
        match (variant, self.single_magnification) {
            (Variant::Full | Variant::Concat, _) => &Magnification::ALL,
            (Variant::Single, SingleMagnification::X20) => &[Magnification::X20],
            (Variant::Single, SingleMagnification::X10) => &[Magnification::X10],
        }
    }

    /// The magnification whose patches the tokens of the fused map come from.
    pub fn source(&self, variant: Variant) -> Magnification {
        match (variant, self.single_magnification) {
            (Variant::Full | Variant::Concat, _) | (Variant::Single, SingleMagnification::X10) => {
                Magnification::X10
            }
            (Variant::Single, SingleMagnification::X20) => Magnification::X20,
        }
    }

    pub(super) fn check(&self) -> Result<()> {
        check_costly_count("num_heads", self.num_heads)?;
        check_costly_count("embed_dim", self.embed_dim)?;
        // The Convolutional Processor halves it.
        if !self.embed_dim.is_multiple_of(2) || !self.embed_dim.is_multiple_of(self.num_heads) {
            return reject("embed_dim", self.embed_dim, "an even number, and a multiple of num_heads");
        }
        check_costly_count("num_layers", self.num_layers)?;
        if !(0.0..=100.0).contains(&self.mlp_ratio) || self.hidden_dim() == 0 {
            return reject("mlp_ratio", self.mlp_ratio, "above 0, at most 100");
        }
        check_probability("dropout", self.dropout)?;
        check_probability("attention_dropout", self.attention_dropout)
    }
}
