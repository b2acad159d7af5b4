//! CrossFusion and its two ablations: one model, three configurations.
//!
//! Roles of the magnifications: coarse = 5x, source = 10x, fine = 20x; without context scales, 20x is the source.

use candle_core::{Result as TensorResult, Tensor};
use candle_nn::VarBuilder;
use cf_layers::kernels::NormedFor;
use cf_layers::{
    ConvProcessor, ConvProcessorConfig, CrossAttentionBlock, CrossAttentionConfig, ForwardCtx, LayerNorm,
    Linear, Mode, PadTransformer, SelfAttentionConfig, TransformerConfig, init,
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
    drops_in_evaluation: bool,
}

/// Source patches from which an evaluation on a GPU makes one branch after the other.
const ONE_BRANCH_FROM: usize = 16_384;

/// A scale that the source looks at.
type Scale<'a> = (Magnification, &'a Branch, &'a CrossAttentionBlock);

/// The coarse and fine scales, and how the source looks at them.
#[derive(Debug, Clone)]
struct Context {
    coarse: Branch,
    coarse_attention: CrossAttentionBlock,
    fine: Branch,
    fine_attention: CrossAttentionBlock,
}

impl Context {
    /// Coarse and fine.
    fn scales(&self) -> [Scale<'_>; 2] {
        [
            (Magnification::X5, &self.coarse, &self.coarse_attention),
            (Magnification::X20, &self.fine, &self.fine_attention),
        ]
    }
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
    fn freeze(&mut self) -> TensorResult<()> {
        if let Projection::Linear(project, _) = &mut self.projection {
            project.freeze()?;
        }
        self.transformer.freeze()
    }

    fn forward(&self, tokens: Tensor, ctx: &mut ForwardCtx) -> TensorResult<(Tensor, usize)> {
        let (tokens, side) = self.transformer.forward(tokens, ctx)?;
        Ok((self.norm.forward(&tokens)?, side))
    }

    /// [`Self::forward`] of the source scale, which is drawn on its patches.
    fn forward_source(
        &self,
        tokens: Tensor,
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
            drops_in_evaluation: config.attention_dropout_at_eval && config.attention_dropout > 0.0,
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
            let tokens = self.source_tokens(bag)?;
            let (map, side) = self.source.forward_source(tokens, self.source_at, ctx)?;
            return Ok((self.fusion.forward(&[&map], side, ctx)?, side));
        };
        let scales @ [coarse_scale, fine_scale] = context.scales();
        if let Fusion::ConvProcessor(processor) = &self.fusion
            && self.had_better_go_by_branches(self.features(bag, self.source_at)?, ctx)
        {
            return self.fused_by_branches(bag, scales, processor, ctx);
        }
        let source = self.source_tokens(bag)?;
        for (module, (at, branch, attention)) in
            [(Module::CoarseCab, coarse_scale), (Module::FineCab, fine_scale)]
        {
            let features = self.features(bag, at)?;
            attribution::note(ctx, module, at, || {
                Ok(attention.received(&source, &branch.projection.forward(features, NormedFor::Products)?)?)
            })?;
        }
        let coarse = self.seen_by(&source, bag, coarse_scale, ctx)?;
        let fine = self.seen_by(&source, bag, fine_scale, ctx)?;
        let (coarse, _) = context.coarse.forward(coarse, ctx)?;
        let (fine, _) = context.fine.forward(fine, ctx)?;
        let (source, side) = self.source.forward_source(source, Magnification::X10, ctx)?;
        Ok((self.fusion.forward(&[&source, &fine, &coarse], side, ctx)?, side))
    }

    /// Whether an evaluation holds as little as it can: of a long bag on a GPU, and where it makes no difference, as it would to the order of
    /// dropout sites.
    fn had_better_go_by_branches(&self, source: &Tensor, ctx: &ForwardCtx) -> bool {
        let is_long =
            source.device().is_cuda() && source.dims().first().is_some_and(|&n| n > ONE_BRANCH_FROM);
        let is_plain = ctx.mode() == Mode::Eval && !self.drops_in_evaluation && !ctx.notes_attention();
        is_long && is_plain && !self.class_token.track_op()
    }

    /// [`Self::fused`] of a long bag in evaluation, a branch after the other: the tokens of the source are projected again for each, which
    /// costs less than to hold them.
    fn fused_by_branches(
        &self,
        bag: &BagTensors,
        [coarse, fine]: [Scale<'_>; 2],
        processor: &ConvProcessor,
        ctx: &mut ForwardCtx,
    ) -> Result<(Tensor, usize)> {
        let seen = |scale, ctx: &mut ForwardCtx| self.seen_by(&self.source_tokens(bag)?, bag, scale, ctx);
        let tokens = seen(fine, ctx)?;
        let (map, _) = fine.1.forward(tokens, ctx)?;
        let mixed = processor.mix_in(None, map, 1)?;
        let tokens = seen(coarse, ctx)?;
        let (map, _) = coarse.1.forward(tokens, ctx)?;
        let mixed = processor.mix_in(Some(mixed), map, 2)?;
        let (map, side) = self.source.forward(self.source_tokens(bag)?, ctx)?;
        let mixed = processor.mix_in(Some(mixed), map, 0)?;
        Ok((processor.forward_mixed(mixed, side, ctx)?, side))
    }

    fn source_tokens(&self, bag: &BagTensors) -> Result<Tensor> {
        let features = self.features(bag, self.source_at)?;
        Ok(self.source.projection.forward(features, NormedFor::Anything)?)
    }

    /// The source's tokens with what they see at another scale.
    fn seen_by(
        &self,
        source: &Tensor,
        bag: &BagTensors,
        (at, branch, attention): Scale<'_>,
        ctx: &mut ForwardCtx,
    ) -> Result<Tensor> {
        let features = self.features(bag, at)?;
        let rows = |first: usize, n: usize| {
            branch.projection.forward(&features.narrow(0, first, n)?, NormedFor::Products)
        };
        Ok(attention.forward_over(source, (features.dim(0)?, &rows), ctx)?)
    }
}

impl Fusion {
    fn freeze(&mut self) -> TensorResult<()> {
        match self {
            Self::ConvProcessor(processor) => processor.freeze(),
            Self::Concat { project, .. } => project.freeze(),
        }
    }

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
        drop(fused);
        let class_token = if ctx.notes_attention() {
            let at = self.source_at;
            let n = bag.at(at)?.dim(0)?;
            let (class_token, row) =
                self.final_transformer.forward_with_class_token_row(tokens, (side, n), ctx)?;
            attribution::note(ctx, Module::FinalPt, at, || Ok(row))?;
            class_token
        } else {
            self.final_transformer.forward_with_class_token(tokens, side, ctx)?
        };
        let class_token = self.final_norm.forward(&class_token)?;
        Ok(SurvivalOutput::new(self.head.forward(&class_token)?.squeeze(0)?))
    }

    fn freeze(&mut self) -> Result<()> {
        self.source.freeze()?;
        if let Some(Context { coarse, coarse_attention, fine, fine_attention }) = &mut self.context {
            [coarse, fine].into_iter().try_for_each(Branch::freeze)?;
            [coarse_attention, fine_attention].into_iter().try_for_each(CrossAttentionBlock::freeze)?;
        }
        self.fusion.freeze()?;
        self.final_transformer.freeze()?;
        Ok(self.head.freeze()?)
    }

    fn magnifications(&self) -> &'static [Magnification] {
        self.magnifications
    }
}

#[cfg(test)]
mod tests {
    use candle_core::{DType, Device};
    use cf_layers::{ParamStore, random};
    use rand::Rng;

    use super::*;

    #[test]
    fn branch_after_branch_gives_the_tokens_of_all_at_once() {
        let config = CrossFusionConfig { embed_dim: 16, num_heads: 2, ..CrossFusionConfig::default() };
        let store = ParamStore::seeded(3, DType::F64, &Device::Cpu);
        let model = CrossFusion::new(Variant::Full, &config, 24, store.eval_builder()).unwrap();
        let mut rng = random::stream(1, "bag");
        let mut features = |n: usize| {
            let values: Vec<f64> = (0..n * 24).map(|_| rng.random_range(-1.0..1.0)).collect();
            Some(Tensor::from_vec(values, (n, 24), &Device::Cpu).unwrap())
        };
        let bag =
            BagTensors { x5: features(5), x10: features(19), x20: features(70), ..BagTensors::default() };
        let (wanted, side) = model.fused(&bag, &mut ForwardCtx::eval()).unwrap();
        let (Some(context), Fusion::ConvProcessor(processor)) = (&model.context, &model.fusion) else {
            panic!("the full model has scales and a processor");
        };
        let (found, found_side) =
            model.fused_by_branches(&bag, context.scales(), processor, &mut ForwardCtx::eval()).unwrap();
        let difference =
            (found - wanted).unwrap().abs().unwrap().max_all().unwrap().to_scalar::<f64>().unwrap();
        assert!(difference < 1e-12 && side == found_side, "{difference:e}, sides {side} and {found_side}");
    }
}
