//! The Convolutional Processor: three maps mixed into one, then seen through several kernel sizes.

use candle_core::{Error, Result, Tensor};
use candle_nn::VarBuilder;

use crate::dropout::channel_dropout;
use crate::init;
use crate::kernels::{self, NormedFor, TokenGrid};
use crate::layer_norm::LayerNorm;
use crate::linear::Linear;
use crate::merged_conv::MergedConv;
use crate::mode::ForwardCtx;

/// The sizes and dropout of a [`ConvProcessor`].
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct ConvProcessorConfig {
    /// Channels of the maps and of the output tokens; even.
    pub d: usize,
    /// Probability of zeroing a whole channel between the convolutions and the projection.
    pub dropout: f64,
    /// Maps to mix: 3 for CrossFusion, 1 for its single-scale ablation, which has no mixing weights.
    pub n_maps: usize,
}

/// Weighted sum of the maps, grouped 7x7, 5x5, 3x3 and 1x1 convolutions from `d` to `d / 2` channels summed, ReLU, channel
/// dropout, linear back to `d`, norm.
///
/// The mixing weights are stored as the released 1x1x1 three-dimensional convolution, `conv3d.weight`
/// `[1, n_maps, 1, 1, 1]`. ReLU and channel dropout are in the released code and not in the paper. Parameters
/// `conv3d`, `conv_block.0.{proj, proj1, proj2, x_proj}`, `linear.{0, 1}`.
#[derive(Debug, Clone)]
pub struct ConvProcessor {
    mix: Option<Mix>,
    convs: MergedConv,
    project: Linear,
    norm: LayerNorm,
    config: ConvProcessorConfig,
}

#[derive(Debug, Clone)]
struct Mix {
    weights: Tensor,
    bias: Tensor,
}

impl ConvProcessor {
    /// Builds the processor.
    ///
    /// # Errors
    /// If `d` is odd, or the parameters are missing from `vb` or have other shapes.
    pub fn new(config: ConvProcessorConfig, vb: VarBuilder<'_>) -> Result<Self> {
        let ConvProcessorConfig { d, n_maps, .. } = config;
        if !d.is_multiple_of(2) {
            return Err(Error::Msg(format!("the convolutional processor halves its width, and {d} is odd")));
        }
        let mix = if n_maps == 1 {
            None
        } else {
            let vb = vb.pp("conv3d");
            let weights = vb.get_with_hints((1, n_maps, 1, 1, 1), "weight", init::conv_weight(1, 1))?;
            Some(Mix { weights, bias: vb.get_with_hints(1, "bias", init::ZERO)? })
        };
        let branches = [("proj", 7), ("proj1", 5), ("proj2", 3), ("x_proj", 1)];
        Ok(Self {
            mix,
            convs: MergedConv::new(d / 2, 2, &branches, vb.pp("conv_block.0"))?,
            project: Linear::new(d / 2, d, vb.pp("linear.0"))?,
            norm: LayerNorm::new(d, vb.pp("linear.1"))?,
            config,
        })
    }

    /// For a processor that is only evaluated from here on; see [`Linear::freeze`].
    ///
    /// # Errors
    /// As [`Linear::freeze`].
    pub fn freeze(&mut self) -> Result<()> {
        self.project.freeze()
    }

    /// `maps`: the scales in the order (source, fine, coarse), each `[side * side, d]`. Returns `[side * side, d]`.
    ///
    /// # Errors
    /// If the number of maps is not that of this processor, or a map does not hold `side * side` tokens of its width.
    pub fn forward(&self, maps: &[&Tensor], side: usize, ctx: &mut ForwardCtx) -> Result<Tensor> {
        let mixed = match (&self.mix, maps) {
            (None, [map]) => (*map).clone(),
            (Some(mix), maps) if maps.len() == self.config.n_maps => {
                kernels::mix(maps, &mix.weights, &mix.bias)?
            }
            _ => {
                return Err(Error::Msg(format!(
                    "the convolutional processor got {} maps, expected {}",
                    maps.len(),
                    self.config.n_maps
                )));
            }
        };
        self.forward_mixed(mixed, side, ctx)
    }

    /// The part of one map in the mix of all: `total` and the map times its weight, or without a `total` the constant and that. `index` is
    /// the map's place in the order of [`Self::forward`]. For maps that are made one after the other.
    ///
    /// # Errors
    /// If this processor has no such map.
    pub fn mix_in(&self, total: Option<Tensor>, map: Tensor, index: usize) -> Result<Tensor> {
        let Some(mix) = &self.mix else {
            return Ok(map);
        };
        let weighted = map.broadcast_mul(&mix.weights.flatten_all()?.narrow(0, index, 1)?)?;
        drop(map);
        match total {
            Some(total) => total + weighted,
            None => weighted.broadcast_add(&mix.bias),
        }
    }

    /// [`Self::forward`] from the mix of its maps on.
    ///
    /// # Errors
    /// If the map does not hold `side * side` tokens of the width of this processor.
    pub fn forward_mixed(&self, mixed: Tensor, side: usize, ctx: &mut ForwardCtx) -> Result<Tensor> {
        let features = kernels::relu(&self.convs.forward(&mixed, TokenGrid::square(side))?)?;
        drop(mixed);
        let features = channel_dropout(&features, "channels", self.config.dropout, ctx)?;
        self.project.forward_normed(&features, &self.norm, NormedFor::Anything)
    }
}
