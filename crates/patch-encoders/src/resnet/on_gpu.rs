//! The network on a GPU: every convolution one matrix product of what lies under the kernel.

pub(super) mod windows;

use candle_core::{Result, Tensor};
use cf_layers::kernels::{self, Compute};

use super::{Bottleneck, Convolution, Geometry, Layers};
use crate::pixels::Pixels;
use crate::rgb_image::CHANNELS;
use windows::{max_pool, windows};

/// Square maps, channels last: `values` is `[n_images * side * side, channels]`.
#[derive(Debug)]
pub(super) struct FeatureMaps {
    pub(super) values: Tensor,
    pub(super) n_images: usize,
    pub(super) side: usize,
    pub(super) channels: usize,
}

/// A convolution with its bias.
#[derive(Debug)]
pub(super) struct InOneProduct {
    geometry: Geometry,
    /// `[c_out, kernel * kernel * c_in]`.
    weight: Tensor,
    bias: Tensor,
}

impl Convolution for InOneProduct {
    fn new(geometry: Geometry, weight: &Tensor, bias: &Tensor) -> Result<Self> {
        let Geometry { c_in, c_out, kernel, .. } = geometry;
        let weight = weight.permute((0, 2, 3, 1))?.reshape((c_out, kernel * kernel * c_in))?;
        Ok(Self { geometry, weight, bias: bias.clone() })
    }
}

impl InOneProduct {
    pub(super) fn forward(&self, x: &FeatureMaps) -> Result<FeatureMaps> {
        let Geometry { c_out, kernel, stride, .. } = self.geometry;
        let side = self.geometry.side_out(x.side);
        let input = if (kernel, stride) == (1, 1) {
            x.values.clone()
        } else {
            windows(x, kernel, stride)?.reshape((x.n_images * side * side, self.weight.dim(1)?))?
        };
        let values = kernels::linear(&input, &self.weight, &self.bias, Compute::AsStored)?;
        Ok(FeatureMaps { values, n_images: x.n_images, side, channels: c_out })
    }
}

impl FeatureMaps {
    #[cfg(test)]
    pub(super) fn of_values(values: Vec<f32>, n_images: usize, side: usize, channels: usize) -> Self {
        let shape = (n_images * side * side, channels);
        let values = Tensor::from_vec(values, shape, &candle_core::Device::Cpu).unwrap();
        Self { values, n_images, side, channels }
    }

    fn relu(self) -> Result<Self> {
        Ok(Self { values: kernels::relu(&self.values)?, ..self })
    }
}

#[derive(Debug)]
pub(crate) struct Network {
    layers: Layers<InOneProduct>,
}

impl Network {
    pub(super) fn new(layers: Layers<InOneProduct>) -> Self {
        Self { layers }
    }

    /// The mean over positions of the last stage, `[n_images, feature_dim]`.
    pub(super) fn forward(&self, pixels: &Pixels) -> Result<Tensor> {
        let Pixels { ref values, n_images, side } = *pixels;
        let shape = (n_images * side * side, CHANNELS);
        let values = Tensor::from_slice(values, shape, self.layers.stem.weight.device())?;
        let pixels = FeatureMaps { values, n_images, side, channels: CHANNELS };
        let mut x = max_pool(&self.layers.stem.forward(&pixels)?.relu()?)?;
        for block in &self.layers.blocks {
            x = block.forward(&x)?;
        }
        x.values.reshape((x.n_images, x.side * x.side, x.channels))?.mean(1)
    }
}

impl Bottleneck<InOneProduct> {
    fn forward(&self, x: &FeatureMaps) -> Result<FeatureMaps> {
        let inner = self.spatial.forward(&self.narrow.forward(x)?.relu()?)?.relu()?;
        let widened = self.widen.forward(&inner)?;
        let values = match &self.shortcut {
            None => (&widened.values + &x.values)?,
            Some(shortcut) => (&widened.values + shortcut.forward(x)?.values)?,
        };
        FeatureMaps { values, ..widened }.relu()
    }
}
