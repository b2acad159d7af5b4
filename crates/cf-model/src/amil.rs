//! AMIL: gated attention pooling (Ilse et al., 2018) on 20x patches.

use candle_core::Tensor;
use candle_nn::VarBuilder;
use cf_layers::kernels::Activation;
use cf_layers::{ForwardCtx, GatedAttention, Linear, attention_pool, dropout};
use serde::{Deserialize, Serialize};
use wsi_bags::Magnification;

use crate::attribution::{self, Module};
use crate::discrete_time::N_BINS;
use crate::error::Result;
use crate::input::BagTensors;
use crate::model::{SurvivalModel, SurvivalOutput};

const WIDTH: usize = 512;
const ATTENTION_WIDTH: usize = 256;
/// Channels of the additional layer of the survival form.
const HIDDEN: usize = 256;
const SURVIVAL_DROPOUT: f64 = 0.25;

/// The settings of AMIL.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct AmilConfig {
    /// Which published form.
    pub form: AmilForm,
}

/// The published forms of AMIL.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum AmilForm {
    /// What the paper's Table 1 compares with: no dropout, one layer after pooling.
    #[default]
    Fair,
    /// The form of the Patch-GCN and MCAT comparisons: dropout 0.25 and a hidden layer after pooling.
    Survival,
    /// `fair` with attention by a tanh layer alone (Ilse et al., 2018, eq. 8).
    Ungated,
}

/// Projection, attention over patches, linear head. Parameter names are those of released checkpoints; the hidden layer of the
/// survival form is `hidden`, the layers of ungated attention `attention_net.2.{0,2}`.
#[derive(Debug, Clone)]
pub struct Amil {
    project: Linear,
    attention: Attention,
    hidden: Option<Linear>,
    head: Linear,
    dropout: f64,
    backbone_dim: usize,
}

/// What scores a patch.
#[derive(Debug, Clone)]
enum Attention {
    Gated(GatedAttention),
    Ungated { hidden: Linear, score: Linear },
}

impl Attention {
    fn new(form: AmilForm, dropout: f64, vb: VarBuilder<'_>) -> Result<Self> {
        Ok(match form {
            AmilForm::Fair | AmilForm::Survival => {
                Self::Gated(GatedAttention::new(WIDTH, ATTENTION_WIDTH, dropout, vb)?)
            }
            AmilForm::Ungated => Self::Ungated {
                hidden: Linear::uniform(WIDTH, ATTENTION_WIDTH, vb.pp("0"))?,
                score: Linear::uniform(ATTENTION_WIDTH, 1, vb.pp("2"))?,
            },
        })
    }

    /// `[n, WIDTH]` to `[n, 1]`.
    fn forward(&self, x: &Tensor, ctx: &mut ForwardCtx) -> Result<Tensor> {
        Ok(match self {
            Self::Gated(attention) => attention.forward(x, ctx)?,
            Self::Ungated { hidden, score } => score.forward(&hidden.forward_with(x, Activation::Tanh)?)?,
        })
    }
}

impl Amil {
    /// Builds the model for features of `backbone_dim` columns.
    ///
    /// # Errors
    /// If a parameter is missing from `vb` or has another shape.
    pub fn new(config: &AmilConfig, backbone_dim: usize, vb: VarBuilder<'_>) -> Result<Self> {
        let (dropout, hidden) = match config.form {
            AmilForm::Fair | AmilForm::Ungated => (0.0, None),
            AmilForm::Survival => (SURVIVAL_DROPOUT, Some(Linear::uniform(WIDTH, HIDDEN, vb.pp("hidden"))?)),
        };
        let pooled = if hidden.is_some() { HIDDEN } else { WIDTH };
        Ok(Self {
            project: Linear::uniform(backbone_dim, WIDTH, vb.pp("attention_net.0"))?,
            attention: Attention::new(config.form, dropout, vb.pp("attention_net.2"))?,
            hidden,
            head: Linear::uniform(pooled, N_BINS, vb.pp("classifiers"))?,
            dropout,
            backbone_dim,
        })
    }
}

impl SurvivalModel for Amil {
    fn forward(&self, bag: &BagTensors, ctx: &mut ForwardCtx) -> Result<SurvivalOutput> {
        let x = bag.features(Magnification::X20, self.backbone_dim)?;
        let projected = self.project.forward_with(x, Activation::Relu)?;
        ctx.tap("h1", &projected);
        let projected = dropout(&projected, "input", self.dropout, ctx)?;
        let scores = self.attention.forward(&projected, ctx)?;
        let (weights, mut pooled) = attention_pool(&scores, &projected)?;
        for (name, value) in [("score", &scores), ("alpha", &weights), ("pooled", &pooled)] {
            ctx.tap(name, value);
        }
        attribution::note(ctx, Module::Pooling, Magnification::X20, || Ok(weights.clone()))?;
        if let Some(hidden) = &self.hidden {
            pooled = dropout(&hidden.forward_with(&pooled, Activation::Relu)?, "hidden", self.dropout, ctx)?;
        }
        Ok(SurvivalOutput::new(self.head.forward(&pooled)?.squeeze(0)?))
    }

    fn magnifications(&self) -> &'static [Magnification] {
        &[Magnification::X20]
    }
}
