//! One pre-norm transformer block: attention and an MLP, each added to what goes past it.

use candle_core::{Device, Result, Tensor};
use cf_layers::kernels::{self, Compute};
use rayon::prelude::*;

use crate::linear::{Linear, Norm};
use crate::ops;

/// What stands between the two layers of an MLP.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Activation {
    /// GELU by the error function.
    Gelu,
    /// `x * sigmoid(1.702 x)`.
    QuickGelu,
    /// SiLU of the first half of the channels, times the second.
    SwiGlu,
}

impl Activation {
    /// Channels that it makes of `width`.
    pub(crate) fn width_after(self, width: usize) -> usize {
        match self {
            Self::Gelu | Self::QuickGelu => width,
            Self::SwiGlu => width / 2,
        }
    }
}

/// Two linear layers and an activation.
#[derive(Debug)]
pub(crate) struct Mlp {
    pub(crate) fc1: Linear,
    pub(crate) activation: Activation,
    pub(crate) fc2: Linear,
}

impl Mlp {
    fn forward(&self, x: &Tensor) -> Result<Tensor> {
        let hidden = self.fc1.forward(x)?;
        let hidden = match self.activation {
            Activation::Gelu => kernels::gelu(&hidden, None)?,
            Activation::QuickGelu => ops::quick_gelu(hidden)?,
            Activation::SwiGlu => ops::swiglu(&hidden)?,
        };
        self.fc2.forward(&hidden)
    }
}

/// A block with its weights.
#[derive(Debug)]
pub(crate) struct Block {
    pub(crate) norm1: Norm,
    /// Queries, keys and values side by side.
    pub(crate) qkv: Linear,
    pub(crate) out: Linear,
    pub(crate) norm2: Norm,
    pub(crate) mlp: Mlp,
    pub(crate) n_heads: usize,
}

impl Block {
    /// Replaces the tokens, `[n_images * n_tokens, width]`, by those after this block. Images do not see each other.
    pub(crate) fn forward(&self, tokens: &Tensor, n_images: usize) -> Result<()> {
        let n_tokens = tokens.dim(0)? / n_images;
        let qkv = self.qkv.forward(&self.norm1.forward(tokens)?)?;
        let attended = by_image(tokens.device(), n_images, |image| {
            kernels::self_attention(
                &qkv.narrow(0, image * n_tokens, n_tokens)?,
                self.n_heads,
                None,
                Compute::AsStored,
            )
        })?;
        kernels::add_in_place(tokens, &self.out.forward(&attended)?)?;
        kernels::add_in_place(tokens, &self.mlp.forward(&self.norm2.forward(tokens)?)?)
    }

    /// The first token of each image after this block, `[n_images, width]`: the work of one query per image.
    fn first_tokens(&self, tokens: &Tensor, n_images: usize) -> Result<Tensor> {
        let (n, width) = tokens.dims2()?;
        let n_tokens = n / n_images;
        let first = |of: &Tensor| {
            of.reshape((n_images, n_tokens, width))?.narrow(1, 0, 1)?.squeeze(1)?.force_contiguous()
        };
        let normed = self.norm1.forward(tokens)?;
        let queries = self.qkv.outputs(0, width)?.forward(&first(&normed)?)?;
        let keys_and_values = self.qkv.outputs(width, 2 * width)?.forward(&normed)?;
        let attended = by_image(tokens.device(), n_images, |image| {
            let seen = keys_and_values.narrow(0, image * n_tokens, n_tokens)?;
            kernels::attention(&queries.narrow(0, image, 1)?, &seen, self.n_heads, None, Compute::AsStored)
        })?;
        let tokens = first(tokens)?;
        kernels::add_in_place(&tokens, &self.out.forward(&attended)?)?;
        kernels::add_in_place(&tokens, &self.mlp.forward(&self.norm2.forward(&tokens)?)?)?;
        Ok(tokens)
    }
}

/// The first token of each image after all blocks; the last block computes no other.
pub(crate) fn first_tokens(blocks: &[Block], tokens: Tensor, n_images: usize) -> Result<Tensor> {
    let Some((last, before)) = blocks.split_last() else { return Ok(tokens) };
    for block in before {
        block.forward(&tokens, n_images)?;
    }
    last.first_tokens(&tokens, n_images)
}

/// The results of `f` for each image, below each other: across threads on the CPU, enqueued one after the other on a GPU.
pub(crate) fn by_image(
    device: &Device,
    n_images: usize,
    f: impl Fn(usize) -> Result<Tensor> + Send + Sync,
) -> Result<Tensor> {
    let parts: Result<Vec<Tensor>> = if device.is_cpu() {
        (0..n_images).into_par_iter().map(f).collect()
    } else {
        (0..n_images).map(f).collect()
    };
    Tensor::cat(&parts?, 0)
}
