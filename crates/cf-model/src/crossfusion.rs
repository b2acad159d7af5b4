//! CrossFusion and its two ablations: one model, three configurations.
//!
//! Roles of the magnifications: coarse = 5x, source = 10x, fine = 20x; without context scales, 20x is the source.

use candle_core::{Result as TensorResult, Tensor};
use candle_nn::VarBuilder;
use cf_layers::kernels::NormedFor;
use cf_layers::{
    ConvProcessor, ConvProcessorConfig, CrossAttentionBlock, CrossAttentionConfig, ForwardCtx, LayerNorm,
    Linear, PadTransformer, SelfAttentionConfig, TransformerConfig, init,
};
use wsi_bags::Magnification;

use crate::attribution::{self, Module};
use crate::config::CrossFusionConfig;
use crate::discrete_time::N_BINS;
use crate::error::{Error, Result};
use crate::input::BagTensors;
use crate::model::{SurvivalModel, SurvivalOutput};

/// Which of the three published forms a [`CrossFusion`] has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Variant {
    /// Three scales, fused by the Convolutional Processor.
    Full,
    /// Three scales, fused by concatenation and projection (w/o CP).
    Concat,
    /// One scale only, 20x as published, through a Convolutional Processor without a mix (w/o F&C).
    Single,
}

impl Variant {
    /// How published checkpoints of this form call the parts of the model.
    fn names(self) -> Names {
        match self {
            Self::Full => Names {
                projection: "_lin_proj",
                norm: "_transformer_ln",
                coarse: "c",
                source: "s",
                fine: "f",
            },
            Self::Concat | Self::Single => Names {
                projection: "_pre_cross_attn",
                norm: "_ln",
                coarse: "coarse",
                source: "source",
                fine: "fine",
            },
        }
    }
}

/// The parts of parameter names that differ between the published forms.
struct Names {
    projection: &'static str,
    norm: &'static str,
    coarse: &'static str,
    source: &'static str,
    fine: &'static str,
}

/// The model of the paper, or one of its ablations.
#[derive(Debug, Clone)]
pub struct CrossFusion {
    source: Branch,
    context: Option<Context>,
    fusion: Fusion,
    class_token: Tensor,
    final_transformer: PadTransformer,
    final_norm: LayerNorm,
    head: Linear,
    magnifications: &'static [Magnification],
    /// Where the tokens of the fused map come from.
    source_at: Magnification,
    backbone_dim: usize,
}

/// The coarse and fine scales, and how the source looks at them.
#[derive(Debug, Clone)]
struct Context {
    coarse: Branch,
    coarse_attention: CrossAttentionBlock,
    fine: Branch,
    fine_attention: CrossAttentionBlock,
}

#[derive(Debug, Clone)]
enum Fusion {
    ConvProcessor(ConvProcessor),
    Concat { project: Linear, norm: LayerNorm },
}

/// One scale: its projection, and the Pad-Transformer of the tokens that come from it.
#[derive(Debug, Clone)]
struct Branch {
    projection: Projection,
    transformer: PadTransformer,
    norm: LayerNorm,
}

/// From backbone features to tokens. Where both widths agree there is nothing to learn.
#[derive(Debug, Clone)]
enum Projection {
    Identity,
    Linear(Linear, LayerNorm),
}

impl Projection {
    fn new(backbone_dim: usize, d: usize, vb: VarBuilder<'_>) -> TensorResult<Self> {
        if backbone_dim == d {
            return Ok(Self::Identity);
        }
        Ok(Self::Linear(Linear::new(backbone_dim, d, vb.pp(0))?, LayerNorm::new(d, vb.pp(1))?))
    }

    fn forward(&self, features: &Tensor, output: NormedFor) -> TensorResult<Tensor> {
        match self {
            Self::Identity => Ok(features.clone()),
            Self::Linear(project, norm) => project.forward_normed(features, norm, output),
        }
    }
}

impl Branch {
    fn forward(&self, tokens: &Tensor, ctx: &mut ForwardCtx) -> TensorResult<(Tensor, usize)> {
        let (tokens, side) = self.transformer.forward(tokens, ctx)?;
        Ok((self.norm.forward(&tokens)?, side))
    }

    /// [`Self::forward`] of the source scale, which is drawn on its patches.
    fn forward_source(
        &self,
        tokens: &Tensor,
        at: Magnification,
        ctx: &mut ForwardCtx,
    ) -> Result<(Tensor, usize)> {
        if !ctx.notes_attention() {
            return Ok(self.forward(tokens, ctx)?);
        }
        let (tokens, side, received) = self.transformer.forward_with_received(tokens, ctx)?;
        attribution::note(ctx, Module::SourcePt, at, || Ok(received))?;
        Ok((self.norm.forward(&tokens)?, side))
    }
}

impl CrossFusion {
    /// Builds the model for features of `backbone_dim` columns. Parameter names are those of published checkpoints.
    ///
    /// # Errors
    /// If a parameter is missing from `vb` or has another shape.
    pub fn new(
        variant: Variant,
        config: &CrossFusionConfig,
        backbone_dim: usize,
        vb: VarBuilder<'_>,
    ) -> Result<Self> {
        let d = config.embed_dim;
        let names = variant.names();
        let transformer = TransformerConfig {
            attention: SelfAttentionConfig {
                d,
                n_heads: config.num_heads,
                dropout: config.attention_dropout,
                dropout_at_eval: config.attention_dropout_at_eval,
            },
            n_layers: config.num_layers,
            hidden: config.hidden_dim(),
            dropout: config.dropout,
            residual: config.residual.into(),
        };
        let branch = |scale: &str| -> TensorResult<Branch> {
            Ok(Branch {
                projection: Projection::new(backbone_dim, d, vb.pp(format!("{scale}{}", names.projection)))?,
                transformer: PadTransformer::new(transformer, vb.pp(format!("{scale}_transformer")))?,
                norm: LayerNorm::new(d, vb.pp(format!("{scale}{}", names.norm)))?,
            })
        };
        let cross_attention = |scale: &str| {
            let config = CrossAttentionConfig {
                d,
                n_heads: config.num_heads,
                hidden: config.hidden_dim(),
                dropout: config.dropout,
            };
            CrossAttentionBlock::new(config, &format!("{scale}_cross_attn"), vb.clone())
        };
        let context = match variant {
            Variant::Single => None,
            Variant::Full | Variant::Concat => Some(Context {
                coarse: branch(names.coarse)?,
                coarse_attention: cross_attention(names.coarse)?,
                fine: branch(names.fine)?,
                fine_attention: cross_attention(names.fine)?,
            }),
        };
        let conv_processor = |n_maps| {
            let config = ConvProcessorConfig { d, dropout: config.dropout, n_maps };
            ConvProcessor::new(config, vb.pp("conv_processor")).map(Fusion::ConvProcessor)
        };
        let fusion = match variant {
            Variant::Full => conv_processor(3)?,
            Variant::Single => conv_processor(1)?,
            Variant::Concat => Fusion::Concat {
                project: Linear::new(3 * d, d, vb.pp("pre_final_linear.0"))?,
                norm: LayerNorm::new(d, vb.pp("pre_final_linear.1"))?,
            },
        };
        Ok(Self {
            source: branch(names.source)?,
            context,
            fusion,
            class_token: vb.get_with_hints((1, 1, d), "cls_token", init::CLASS_TOKEN)?.reshape((1, d))?,
            final_transformer: PadTransformer::new(transformer, vb.pp("final_transformer"))?,
            final_norm: LayerNorm::new(d, vb.pp("final_ln"))?,
            head: Linear::new(d, N_BINS, vb.pp("mlp_head.0"))?,
            magnifications: config.magnifications(variant),
            source_at: config.source(variant),
            backbone_dim,
        })
    }

    fn features<'a>(&self, bag: &'a BagTensors, magnification: Magnification) -> Result<&'a Tensor> {
        let features = bag.at(magnification)?;
        let (_, found) = features.dims2()?;
        if found != self.backbone_dim {
            return Err(Error::FeatureDim { magnification, found, expected: self.backbone_dim });
        }
        Ok(features)
    }

    /// Fused tokens `[side * side, d]` and the side.
    fn fused(&self, bag: &BagTensors, ctx: &mut ForwardCtx) -> Result<(Tensor, usize)> {
        let Some(context) = &self.context else {
            let tokens =
                self.source.projection.forward(self.features(bag, self.source_at)?, NormedFor::Anything)?;
            let (map, side) = self.source.forward_source(&tokens, self.source_at, ctx)?;
            return Ok((self.fusion.forward(&[&map], side, ctx)?, side));
        };
        let source =
            self.source.projection.forward(self.features(bag, Magnification::X10)?, NormedFor::Anything)?;
        let coarse =
            context.coarse.projection.forward(self.features(bag, Magnification::X5)?, NormedFor::Products)?;
        let fine =
            context.fine.projection.forward(self.features(bag, Magnification::X20)?, NormedFor::Products)?;
        for (module, at, attention, tokens) in [
            (Module::CoarseCab, Magnification::X5, &context.coarse_attention, &coarse),
            (Module::FineCab, Magnification::X20, &context.fine_attention, &fine),
        ] {
            attribution::note(ctx, module, at, || Ok(attention.received(&source, tokens)?))?;
        }
        let coarse = context.coarse_attention.forward(&source, &coarse, ctx)?;
        let fine = context.fine_attention.forward(&source, &fine, ctx)?;
        let (coarse, _) = context.coarse.forward(&coarse, ctx)?;
        let (fine, _) = context.fine.forward(&fine, ctx)?;
        let (source, side) = self.source.forward_source(&source, Magnification::X10, ctx)?;
        Ok((self.fusion.forward(&[&source, &fine, &coarse], side, ctx)?, side))
    }
}

impl Fusion {
    /// `maps` in the order (source, fine, coarse), each `[side * side, d]`.
    fn forward(&self, maps: &[&Tensor], side: usize, ctx: &mut ForwardCtx) -> TensorResult<Tensor> {
        match self {
            Self::ConvProcessor(processor) => processor.forward(maps, side, ctx),
            Self::Concat { project, norm } => {
                project.forward_normed(&Tensor::cat(maps, 1)?, norm, NormedFor::Anything)
            }
        }
    }
}

impl SurvivalModel for CrossFusion {
    fn forward(&self, bag: &BagTensors, ctx: &mut ForwardCtx) -> Result<SurvivalOutput> {
        let (fused, side) = self.fused(bag, ctx)?;
        let tokens = Tensor::cat(&[&self.class_token, &fused], 0)?;
        let class_token = if ctx.notes_attention() {
            let at = self.source_at;
            let n = bag.at(at)?.dim(0)?;
            let (class_token, row) =
                self.final_transformer.forward_with_class_token_row(&tokens, (side, n), ctx)?;
            attribution::note(ctx, Module::FinalPt, at, || Ok(row))?;
            class_token
        } else {
            self.final_transformer.forward_with_class_token(&tokens, side, ctx)?
        };
        let class_token = self.final_norm.forward(&class_token)?;
        Ok(SurvivalOutput::new(self.head.forward(&class_token)?.squeeze(0)?))
    }

    fn magnifications(&self) -> &'static [Magnification] {
        self.magnifications
    }
}
