//! MuSTMIL: attention per scale and over all scales, on tuples of a 20x patch and those that hold it (Marini et al., 2021).

use candle_core::Tensor;
use candle_nn::VarBuilder;
use cf_layers::kernels::Activation;
use cf_layers::{ForwardCtx, Linear, attention_pool};
use serde::{Deserialize, Serialize};
use wsi_bags::Magnification;

use crate::attribution::{self, Module, scatter};
use crate::config::reject;
use crate::discrete_time::N_BINS;
use crate::error::Result;
use crate::input::BagTensors;
use crate::model::{SurvivalModel, SurvivalOutput};

const NAME: &str = "mustmil";
const WIDTH: usize = 256;
const ATTENTION_WIDTH: usize = 128;
/// Attention branches: one per output.
const N_BRANCHES: usize = N_BINS;

/// Whether a parameter is of a scale's own output, which without a weight learns nothing.
pub(crate) fn is_of_scale_output(parameter: &str) -> bool {
    !parameter.starts_with("joint.") && !parameter.contains(".embed.")
}

/// The settings of MuSTMIL.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct MustMilConfig {
    /// Scales from 20x up: 3 (20x, 10x, 5x) or 2 (20x, 10x).
    pub num_scales: usize,
    /// Weight of the loss of each scale's own output, at least 0, beside the joint one's. At 0 these outputs stay at their initial
    /// weights, and nothing depends on them.
    pub scale_loss_weight: f64,
}

impl Default for MustMilConfig {
    fn default() -> Self {
        Self { num_scales: 3, scale_loss_weight: 1.0 }
    }
}

impl MustMilConfig {
    pub(crate) fn check(&self) -> Result<()> {
        if !(2..=3).contains(&self.num_scales) {
            return reject("num_scales", self.num_scales, "2 or 3");
        }
        if !self.scale_loss_weight.is_finite() || self.scale_loss_weight < 0.0 {
            return reject("scale_loss_weight", self.scale_loss_weight, "at least 0");
        }
        Ok(())
    }

    /// From coarse to fine, as everywhere.
    pub(crate) fn magnifications(&self) -> &'static [Magnification] {
        if self.num_scales == 2 { &[Magnification::X10, Magnification::X20] } else { &Magnification::ALL }
    }
}

/// The model. Parameters per scale `x20`, `x10`, `x5`: `embed`, `attention.{0,2}`, `head`; and `joint` without `embed`.
#[derive(Debug, Clone)]
pub struct MustMil {
    /// From fine to coarse: the order of concatenation.
    scales: Vec<(Magnification, Linear, Branches)>,
    joint: Branches,
    config: MustMilConfig,
    backbone_dim: usize,
}

/// Attention with a weight per branch and a linear head over what all branches pool.
#[derive(Debug, Clone)]
struct Branches {
    hidden: Linear,
    scores: Linear,
    head: Linear,
}

/// What one attention makes of a bag.
struct Pooled {
    weights: Tensor,
    means: Tensor,
    logits: Tensor,
}

impl Branches {
    fn new(d: usize, vb: VarBuilder<'_>) -> Result<Self> {
        Ok(Self {
            hidden: Linear::uniform(d, ATTENTION_WIDTH, vb.pp("attention.0"))?,
            scores: Linear::uniform(ATTENTION_WIDTH, N_BRANCHES, vb.pp("attention.2"))?,
            head: Linear::uniform(N_BRANCHES * d, N_BINS, vb.pp("head"))?,
        })
    }

    fn scores(&self, x: &Tensor) -> Result<Tensor> {
        Ok(self.scores.forward(&self.hidden.forward_with(x, Activation::Tanh)?)?)
    }

    fn pool(&self, scores: &Tensor, x: &Tensor) -> Result<Pooled> {
        let (weights, means) = attention_pool(scores, x)?;
        let flat = means.flatten_all()?.unsqueeze(0)?;
        Ok(Pooled { weights, means, logits: self.head.forward(&flat)?.squeeze(0)? })
    }
}

impl MustMil {
    /// Builds the model for features of `backbone_dim` columns.
    ///
    /// # Errors
    /// If a parameter is missing from `vb` or has another shape.
    pub fn new(config: &MustMilConfig, backbone_dim: usize, vb: VarBuilder<'_>) -> Result<Self> {
        let scale = |&at: &Magnification| -> Result<_> {
            let vb = vb.pp(at.to_string());
            Ok((at, Linear::uniform(backbone_dim, WIDTH, vb.pp("embed"))?, Branches::new(WIDTH, vb)?))
        };
        Ok(Self {
            scales: config.magnifications().iter().rev().map(scale).collect::<Result<_>>()?,
            joint: Branches::new(WIDTH * config.num_scales, vb.pp("joint"))?,
            config: config.clone(),
            backbone_dim,
        })
    }
}

impl SurvivalModel for MustMil {
    fn forward(&self, bag: &BagTensors, ctx: &mut ForwardCtx) -> Result<SurvivalOutput> {
        let mut embedded = Vec::with_capacity(self.scales.len());
        let mut auxiliary = Vec::with_capacity(self.scales.len());
        let weight = self.config.scale_loss_weight;
        for (at, embed, branches) in &self.scales {
            // Coarse patches are embedded and scored once, then repeated for each fine patch that they hold.
            let own = embed.forward(bag.features(*at, self.backbone_dim)?)?;
            let mut scores = branches.scores(&own)?;
            let n_own = own.dim(0)?;
            let mut x = own;
            if *at != Magnification::X20 {
                let parents = bag.patches.parents(Magnification::X20, *at, NAME)?;
                let parents = Tensor::new(parents.as_slice(), x.device())?;
                (x, scores) = (x.index_select(&parents, 0)?, scores.index_select(&parents, 0)?);
            }
            let Pooled { weights, means, logits } = branches.pool(&scores, &x)?;
            for (name, value) in [("e", &x), ("A", &weights), ("M", &means), ("z", &logits)] {
                ctx.tap(&format!("{name}_{at}"), value);
            }
            // Attention that never learns says nothing of the model.
            if weight > 0.0 {
                attribution::note(ctx, Module::Pooling, *at, || {
                    let weights = weights.mean(0)?;
                    if *at == Magnification::X20 {
                        return Ok(weights);
                    }
                    scatter(&weights, &bag.patches.parents(Magnification::X20, *at, NAME)?, n_own)
                })?;
                auxiliary.push((logits, weight));
            }
            embedded.push(x);
        }
        let joint = Tensor::cat(&embedded, 1)?;
        let Pooled { weights, means, logits } = self.joint.pool(&self.joint.scores(&joint)?, &joint)?;
        for (name, value) in [("e", &joint), ("A", &weights), ("M", &means)] {
            ctx.tap(name, value);
        }
        attribution::note(ctx, Module::JointPooling, Magnification::X20, || Ok(weights.mean(0)?))?;
        Ok(SurvivalOutput { auxiliary, ..SurvivalOutput::new(logits) })
    }

    fn magnifications(&self) -> &'static [Magnification] {
        self.config.magnifications()
    }
}
