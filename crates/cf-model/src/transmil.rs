//! TransMIL: Nystrom attention and position encoding over patches in storage order (Shao et al., 2021), on 20x patches.

use candle_core::Tensor;
use candle_nn::{Init, VarBuilder};
use cf_layers::kernels::Activation;
use cf_layers::{
    ForwardCtx, LayerNorm, Linear, NystromAttention, NystromConfig, Ppeg, fold_square_pad, square_pad,
};
use serde::{Deserialize, Serialize};
use wsi_bags::Magnification;

use crate::attribution::{self, Module};
use crate::config::check_probability;
use crate::discrete_time::N_BINS;
use crate::error::Result;
use crate::input::BagTensors;
use crate::model::{SurvivalModel, SurvivalOutput};

const WIDTH: usize = 512;

/// The settings of TransMIL.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct TransMilConfig {
    /// Dropout of the attention's output, in `[0, 1)`.
    pub dropout: f64,
}

impl Default for TransMilConfig {
    fn default() -> Self {
        Self { dropout: 0.1 }
    }
}

impl TransMilConfig {
    pub(crate) fn check(&self) -> Result<()> {
        check_probability("dropout", self.dropout)
    }
}

/// Projection, square padding, class token, and two attention layers with position encoding between them. Parameter names are
/// those of released checkpoints.
#[derive(Debug, Clone)]
pub struct TransMil {
    project: Linear,
    class_token: Tensor,
    layers: [(LayerNorm, NystromAttention); 2],
    position: Ppeg,
    norm: LayerNorm,
    head: Linear,
    backbone_dim: usize,
}

impl TransMil {
    /// Builds the model for features of `backbone_dim` columns.
    ///
    /// # Errors
    /// If a parameter is missing from `vb` or has another shape.
    pub fn new(config: &TransMilConfig, backbone_dim: usize, vb: VarBuilder<'_>) -> Result<Self> {
        let attention = NystromConfig {
            d: WIDTH,
            n_heads: 8,
            n_landmarks: WIDTH / 2,
            n_iterations: 6,
            conv_taps: 33,
            dropout: config.dropout,
        };
        let layer = |name: &str| -> Result<_> {
            let vb = vb.pp(name);
            Ok((LayerNorm::new(WIDTH, vb.pp("norm"))?, NystromAttention::new(attention, vb.pp("attn"))?))
        };
        let standard_normal = Init::Randn { mean: 0.0, stdev: 1.0 };
        Ok(Self {
            project: Linear::uniform(backbone_dim, WIDTH, vb.pp("_fc1.0"))?,
            class_token: vb
                .get_with_hints((1, 1, WIDTH), "cls_token", standard_normal)?
                .reshape((1, WIDTH))?,
            layers: [layer("layer1")?, layer("layer2")?],
            position: Ppeg::uniform(WIDTH, vb.pp("pos_layer"))?,
            norm: LayerNorm::new(WIDTH, vb.pp("norm"))?,
            head: Linear::uniform(WIDTH, N_BINS, vb.pp("_fc2"))?,
            backbone_dim,
        })
    }
}

impl SurvivalModel for TransMil {
    fn forward(&self, bag: &BagTensors, ctx: &mut ForwardCtx) -> Result<SurvivalOutput> {
        let x = bag.features(Magnification::X20, self.backbone_dim)?;
        let projected = self.project.forward_with(x, Activation::Relu)?;
        ctx.tap("fc", &projected);
        let (grid, side) = square_pad(&projected)?;
        let tokens = Tensor::cat(&[&self.class_token, &grid], 0)?;
        ctx.tap("h", &tokens);
        let [(norm_1, attention_1), (norm_2, attention_2)] = &self.layers;
        let normed = norm_1.forward(&tokens)?;
        ctx.tap("LN", &normed);
        let tokens = (&tokens + attention_1.forward(&normed, ctx)?)?;
        ctx.tap("layer1", &tokens);
        let tokens = self.position.forward_past_class_token(&tokens, side)?;
        ctx.tap("ppeg", &tokens);
        // The head reads the class token alone.
        let normed = norm_2.forward(&tokens)?;
        let attended = attention_2.forward_first(&normed, ctx)?;
        attribution::note(ctx, Module::ClassToken, Magnification::X20, || {
            let row = attention_2.first_row(&normed)?.narrow(0, 1, side * side)?;
            Ok(fold_square_pad(&row, x.dim(0)?)?)
        })?;
        let class_token = (tokens.narrow(0, 0, 1)? + attended)?;
        ctx.tap("layer2", &class_token);
        let class_token = self.norm.forward(&class_token)?;
        ctx.tap("class_token", &class_token);
        Ok(SurvivalOutput::new(self.head.forward(&class_token)?.squeeze(0)?))
    }

    fn magnifications(&self) -> &'static [Magnification] {
        &[Magnification::X20]
    }
}
