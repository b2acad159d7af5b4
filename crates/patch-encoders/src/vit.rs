//! A vision transformer in timm's form (Dosovitskiy et al., 2021; registers: Darcet et al., 2024), as published encoders vary it.

mod block;

use candle_core::{Result, Tensor};

use crate::linear::{Linear, Norm, linear_parameters, norm_parameters};
use crate::pixels::Pixels;
use crate::rgb_image::CHANNELS;
use crate::weights::Weights;

pub(crate) use block::{Activation, Block, Mlp, by_image, first_tokens};

/// timm's epsilon of layer norms.
const EPS: f64 = 1e-6;

/// The sizes and the choices of one transformer.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct VitConfig {
    /// Side of its images, in pixels.
    pub(crate) side: usize,
    /// Side of the square that becomes a token.
    pub(crate) patch: usize,
    pub(crate) width: usize,
    pub(crate) depth: usize,
    pub(crate) n_heads: usize,
    pub(crate) activation: Activation,
    /// Outputs of the first layer of the MLP; a gated activation halves them.
    pub(crate) hidden: usize,
    /// Whether each residual has a learned factor per channel.
    pub(crate) layer_scale: bool,
    /// Tokens between the class token and the patches, which have no position. Without any, the class token has one.
    pub(crate) n_registers: usize,
}

impl VitConfig {
    /// Patches per image.
    fn n_patches(&self) -> usize {
        (self.side / self.patch).pow(2)
    }

    /// Tokens that come before the patches.
    fn n_prefix(&self) -> usize {
        1 + self.n_registers
    }

    /// Tokens per image.
    pub(crate) fn n_tokens(&self) -> usize {
        self.n_prefix() + self.n_patches()
    }

    fn n_positions(&self) -> usize {
        if self.n_registers > 0 { self.n_patches() } else { self.n_tokens() }
    }

    /// Names, after `root`, and shapes of all parameters.
    pub(crate) fn parameters(&self, root: &str) -> Vec<(String, Vec<usize>)> {
        let Self { width, patch, hidden, .. } = *self;
        let mut all = vec![
            (format!("{root}patch_embed.proj.weight"), vec![width, CHANNELS, patch, patch]),
            (format!("{root}patch_embed.proj.bias"), vec![width]),
            (format!("{root}cls_token"), vec![1, 1, width]),
            (format!("{root}pos_embed"), vec![1, self.n_positions(), width]),
        ];
        if self.n_registers > 0 {
            all.push((format!("{root}reg_token"), vec![1, self.n_registers, width]));
        }
        for index in 0..self.depth {
            let block = format!("{root}blocks.{index}");
            all.extend(norm_parameters(&format!("{block}.norm1"), width));
            all.extend(linear_parameters(&format!("{block}.attn.qkv"), 3 * width, width));
            all.extend(linear_parameters(&format!("{block}.attn.proj"), width, width));
            all.extend(norm_parameters(&format!("{block}.norm2"), width));
            all.extend(linear_parameters(&format!("{block}.mlp.fc1"), hidden, width));
            let gated = self.activation.width_after(hidden);
            all.extend(linear_parameters(&format!("{block}.mlp.fc2"), width, gated));
            if self.layer_scale {
                all.extend(["ls1", "ls2"].map(|scale| (format!("{block}.{scale}.gamma"), vec![width])));
            }
        }
        all.extend(norm_parameters(&format!("{root}norm"), width));
        all
    }
}

/// A transformer with its weights.
#[derive(Debug)]
pub(crate) struct Vit {
    embedding: Embedding,
    blocks: Vec<Block>,
    norm: Norm,
}

impl Vit {
    /// Takes the parameters whose names begin with `root`.
    pub(crate) fn load(config: &VitConfig, weights: &mut Weights, root: &str) -> crate::Result<Self> {
        let embedding = Embedding::load(config, weights, root)?;
        let blocks = (0..config.depth)
            .map(|index| load_block(config, weights, &format!("{root}blocks.{index}")))
            .collect::<crate::Result<_>>()?;
        Ok(Self { embedding, blocks, norm: Norm::take(weights, &format!("{root}norm"), EPS)? })
    }

    /// The class token of each image after the last norm, `[n_images, width]`.
    pub(crate) fn class_tokens(&self, pixels: &Pixels) -> Result<Tensor> {
        let tokens = self.embedding.forward(pixels)?;
        self.norm.forward(&first_tokens(&self.blocks, tokens, pixels.n_images)?)
    }

    /// All tokens after the last norm, image by image, `[n_images * n_tokens, width]`.
    pub(crate) fn tokens(&self, pixels: &Pixels) -> Result<Tensor> {
        let tokens = self.embedding.forward(pixels)?;
        for block in &self.blocks {
            block.forward(&tokens, pixels.n_images)?;
        }
        self.norm.forward(&tokens)
    }
}

/// Factors of layer scale are multiplied into the layers before them.
fn load_block(config: &VitConfig, weights: &mut Weights, name: &str) -> crate::Result<Block> {
    let mut scaled = |layer: &str, scale: &str| -> crate::Result<Linear> {
        let layer = Linear::take(weights, &format!("{name}.{layer}"))?;
        if !config.layer_scale {
            return Ok(layer);
        }
        Ok(layer.scaled(&weights.take(&format!("{name}.{scale}.gamma"))?)?)
    };
    let (out, fc2) = (scaled("attn.proj", "ls1")?, scaled("mlp.fc2", "ls2")?);
    Ok(Block {
        norm1: Norm::take(weights, &format!("{name}.norm1"), EPS)?,
        qkv: Linear::take(weights, &format!("{name}.attn.qkv"))?,
        out,
        norm2: Norm::take(weights, &format!("{name}.norm2"), EPS)?,
        mlp: Mlp {
            fc1: Linear::take(weights, &format!("{name}.mlp.fc1"))?,
            activation: config.activation,
            fc2,
        },
        n_heads: config.n_heads,
    })
}

/// Images to tokens: squares of pixels through one linear layer, positions, and the tokens before them.
#[derive(Debug)]
pub(crate) struct Embedding {
    patch: usize,
    layer: Linear,
    /// Class token and registers, with their positions if they have any: `[n_prefix, width]`.
    prefix: Tensor,
    /// Positions of the patches, `[n_patches, width]`.
    positions: Tensor,
}

impl Embedding {
    fn load(config: &VitConfig, weights: &mut Weights, root: &str) -> crate::Result<Self> {
        let layer = Linear::take(weights, &format!("{root}patch_embed.proj"))?;
        let class = weights.take(&format!("{root}cls_token"))?.squeeze(0)?;
        let positions = weights.take(&format!("{root}pos_embed"))?.squeeze(0)?;
        if config.n_registers > 0 {
            let registers = weights.take(&format!("{root}reg_token"))?.squeeze(0)?;
            let prefix = Tensor::cat(&[class, registers], 0)?;
            return Ok(Self::new(layer, prefix, positions)?);
        }
        Ok(Self::with_class_position(layer, &class, &positions)?)
    }

    /// With a position for the class token before those of the patches: `class` `[1, width]`.
    pub(crate) fn with_class_position(layer: Linear, class: &Tensor, positions: &Tensor) -> Result<Self> {
        let n_patches = positions.dim(0)?.saturating_sub(1);
        let prefix = (class + positions.narrow(0, 0, 1)?)?;
        Self::new(layer, prefix, positions.narrow(0, 1, n_patches)?)
    }

    /// `layer` has the weight of a convolution, `[width, 3, patch, patch]`.
    fn new(layer: Linear, prefix: Tensor, positions: Tensor) -> Result<Self> {
        let (width, _, patch, _) = layer.weight.dims4()?;
        // The order of channels-last pixels.
        let weight = layer.weight.permute((0, 2, 3, 1))?.reshape((width, patch * patch * CHANNELS))?;
        Ok(Self { patch, layer: Linear { weight, ..layer }, prefix, positions })
    }

    /// All tokens, image by image: `[n_images * n_tokens, width]`.
    pub(crate) fn forward(&self, pixels: &Pixels) -> Result<Tensor> {
        let (n_patches, width) = self.positions.dims2()?;
        let (n_images, n_prefix) = (pixels.n_images, self.prefix.dim(0)?);
        let squares = pixels.squares(self.patch);
        let shape = (n_images * n_patches, self.patch * self.patch * CHANNELS);
        let patches = self.layer.forward(&Tensor::from_vec(squares, shape, self.positions.device())?)?;
        let patches = patches.reshape((n_images, n_patches, width))?.broadcast_add(&self.positions)?;
        let prefix = self.prefix.unsqueeze(0)?.broadcast_as((n_images, n_prefix, width))?;
        Tensor::cat(&[&prefix, &patches], 1)?.reshape((n_images * (n_prefix + n_patches), width))
    }
}
