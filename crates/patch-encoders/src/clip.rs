//! CLIP's vision tower in the names of Hugging Face (Radford et al., 2021), which QuiltNet-B-32 has.

use candle_core::{DType, Result, Tensor};

use crate::linear::{Linear, Norm, linear_parameters, norm_parameters};
use crate::pixels::Pixels;
use crate::rgb_image::CHANNELS;
use crate::vit::{Activation, Block, Embedding, Mlp, first_tokens};
use crate::weights::{Parameters, Weights};

const ROOT: &str = "vision_model";
/// What the tower of no other encoder has.
pub(crate) const PATCH_EMBEDDING: &str = "vision_model.embeddings.patch_embedding.weight";
const EPS: f64 = 1e-5;

/// The sizes of the tower.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct ClipConfig {
    /// Side of its images, in pixels.
    pub(crate) side: usize,
    /// Side of the square that becomes a token.
    pub(crate) patch: usize,
    pub(crate) width: usize,
    pub(crate) depth: usize,
    pub(crate) n_heads: usize,
    pub(crate) hidden: usize,
    /// GELU or its approximation: what `config.json` calls `hidden_act`.
    pub(crate) activation: Activation,
}

impl ClipConfig {
    /// Tokens per image.
    pub(crate) fn n_tokens(&self) -> usize {
        1 + (self.side / self.patch).pow(2)
    }

    pub(crate) fn parameters(&self) -> Parameters {
        let Self { width, patch, hidden, .. } = *self;
        let embeddings = format!("{ROOT}.embeddings");
        let mut wanted = vec![
            (PATCH_EMBEDDING.to_owned(), vec![width, CHANNELS, patch, patch]),
            (format!("{embeddings}.class_embedding"), vec![width]),
            (format!("{embeddings}.position_embedding.weight"), vec![self.n_tokens(), width]),
        ];
        wanted.extend(norm_parameters(&format!("{ROOT}.pre_layrnorm"), width));
        for index in 0..self.depth {
            let layer = format!("{ROOT}.encoder.layers.{index}");
            wanted.extend(norm_parameters(&format!("{layer}.layer_norm1"), width));
            for projection in ["q_proj", "k_proj", "v_proj", "out_proj"] {
                wanted.extend(linear_parameters(&format!("{layer}.self_attn.{projection}"), width, width));
            }
            wanted.extend(norm_parameters(&format!("{layer}.layer_norm2"), width));
            wanted.extend(linear_parameters(&format!("{layer}.mlp.fc1"), hidden, width));
            wanted.extend(linear_parameters(&format!("{layer}.mlp.fc2"), width, hidden));
        }
        wanted.extend(norm_parameters(&format!("{ROOT}.post_layernorm"), width));
        Parameters { wanted, unused }
    }
}

/// The text tower, the projections into the common space, and the numbers of the positions.
fn unused(name: &str) -> bool {
    const NAMES: [&str; 4] = [
        "visual_projection.weight",
        "text_projection.weight",
        "logit_scale",
        "vision_model.embeddings.position_ids",
    ];
    NAMES.contains(&name) || name.starts_with("text_model.")
}

/// The tower with its weights.
#[derive(Debug)]
pub(crate) struct Clip {
    embedding: Embedding,
    norm_before: Norm,
    blocks: Vec<Block>,
    norm_after: Norm,
}

impl Clip {
    pub(crate) fn load(config: &ClipConfig, weights: &mut Weights) -> crate::Result<Self> {
        let weight = weights.take(PATCH_EMBEDDING)?;
        let class = weights.take(&format!("{ROOT}.embeddings.class_embedding"))?.unsqueeze(0)?;
        let positions = weights.take(&format!("{ROOT}.embeddings.position_embedding.weight"))?;
        let bias = Tensor::zeros(config.width, DType::F32, weight.device())?;
        Ok(Self {
            embedding: Embedding::with_class_position(Linear { weight, bias }, &class, &positions)?,
            norm_before: Norm::take(weights, &format!("{ROOT}.pre_layrnorm"), EPS)?,
            blocks: (0..config.depth)
                .map(|index| load_block(config, weights, &format!("{ROOT}.encoder.layers.{index}")))
                .collect::<crate::Result<_>>()?,
            norm_after: Norm::take(weights, &format!("{ROOT}.post_layernorm"), EPS)?,
        })
    }

    /// The class token of each image after the last norm, `[n_images, width]`, before the visual projection.
    pub(crate) fn forward(&self, pixels: &Pixels) -> Result<Tensor> {
        let tokens = self.norm_before.forward(&self.embedding.forward(pixels)?)?;
        self.norm_after.forward(&first_tokens(&self.blocks, tokens, pixels.n_images)?)
    }
}

fn load_block(config: &ClipConfig, weights: &mut Weights, name: &str) -> crate::Result<Block> {
    let mut attention = |layer: &str| Linear::take(weights, &format!("{name}.self_attn.{layer}"));
    let qkv = [attention("q_proj")?, attention("k_proj")?, attention("v_proj")?];
    let out = attention("out_proj")?;
    Ok(Block {
        norm1: Norm::take(weights, &format!("{name}.layer_norm1"), EPS)?,
        qkv: Linear::side_by_side(&qkv)?,
        out,
        norm2: Norm::take(weights, &format!("{name}.layer_norm2"), EPS)?,
        mlp: Mlp {
            fc1: Linear::take(weights, &format!("{name}.mlp.fc1"))?,
            activation: config.activation,
            fc2: Linear::take(weights, &format!("{name}.mlp.fc2"))?,
        },
        n_heads: config.n_heads,
    })
}
