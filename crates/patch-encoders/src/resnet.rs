//! ResNet50 (He et al., 2016) as torchvision has it: the stride of a bottleneck lies on its 3 x 3 convolution.

mod convolution;
mod windows;

use candle_core::{Result, Tensor};
use rayon::prelude::*;

use crate::pixels::Pixels;
use crate::rgb_image::CHANNELS;
use crate::weights::{Parameters, Weights};
use convolution::{Convolution, FeatureMaps, Geometry};

/// Channels inside the bottlenecks of the first stage; each stage doubles them.
const WIDTH: usize = 64;
/// Channels that a bottleneck gives, per channel inside.
const EXPANSION: usize = 4;
/// Bottlenecks of each stage.
const DEPTHS: [usize; 4] = [3, 4, 6, 3];

/// How much of the network there is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct ResnetConfig {
    /// Stages: 4, or 3 where CLAM cuts it.
    pub(crate) n_stages: usize,
}

impl ResnetConfig {
    /// Width of the feature vector.
    pub(crate) fn feature_dim(self) -> usize {
        EXPANSION * (WIDTH << (self.n_stages - 1))
    }

    pub(crate) fn parameters(self) -> Parameters {
        let mut wanted = Vec::new();
        for part in self.parts() {
            wanted.push((format!("{}.weight", part.convolution), part.geometry.weight_shape().to_vec()));
            for value in ["weight", "bias", "running_mean", "running_var"] {
                wanted.push((format!("{}.{value}", part.norm), vec![part.geometry.c_out]));
            }
        }
        // The anchor comes first: `conv1.weight` ends other names too.
        let anchor = wanted.iter().position(|(name, _)| name == "layer1.0.downsample.0.weight");
        wanted.swap(0, anchor.unwrap_or(0));
        Parameters { wanted, unused: if self.n_stages == DEPTHS.len() { unused } else { unused_after_third } }
    }

    /// All convolutions with their batch norms: the stem, then each bottleneck's in order, its shortcut last.
    fn parts(self) -> Vec<Part> {
        let stem = Geometry { c_in: CHANNELS, c_out: WIDTH, kernel: 7, stride: 2 };
        let mut parts = vec![Part::new("conv1".to_owned(), "bn1".to_owned(), stem)];
        let mut c_in = WIDTH;
        for (stage, &depth) in DEPTHS.iter().enumerate().take(self.n_stages) {
            let inner = WIDTH << stage;
            let c_out = EXPANSION * inner;
            for index in 0..depth {
                let stride = if stage > 0 && index == 0 { 2 } else { 1 };
                let block = format!("layer{}.{index}", stage + 1);
                let geometries = [
                    Geometry { c_in, c_out: inner, kernel: 1, stride: 1 },
                    Geometry { c_in: inner, c_out: inner, kernel: 3, stride },
                    Geometry { c_in: inner, c_out, kernel: 1, stride: 1 },
                ];
                for (n, geometry) in (1..).zip(geometries) {
                    parts.push(Part::new(format!("{block}.conv{n}"), format!("{block}.bn{n}"), geometry));
                }
                if index == 0 {
                    let shortcut = Geometry { c_in, c_out, kernel: 1, stride };
                    let [convolution, norm] = [0, 1].map(|n| format!("{block}.downsample.{n}"));
                    parts.push(Part::new(convolution, norm, shortcut));
                }
                c_in = c_out;
            }
        }
        parts
    }
}

/// The classifier, and counters of training.
fn unused(name: &str) -> bool {
    name.starts_with("fc.") || name.ends_with(".num_batches_tracked")
}

fn unused_after_third(name: &str) -> bool {
    unused(name) || name.starts_with("layer4.")
}

/// A convolution and the batch norm after it, by their names in the file.
#[derive(Debug)]
struct Part {
    convolution: String,
    norm: String,
    geometry: Geometry,
}

impl Part {
    fn new(convolution: String, norm: String, geometry: Geometry) -> Self {
        Self { convolution, norm, geometry }
    }

    fn is_shortcut(&self) -> bool {
        self.convolution.contains("downsample")
    }

    fn load(&self, weights: &mut Weights) -> crate::Result<Convolution> {
        let weight = weights.take(&format!("{}.weight", self.convolution))?;
        let mut norm = |value: &str| weights.take(&format!("{}.{value}", self.norm));
        let (gain, shift) = (norm("weight")?, norm("bias")?);
        let (mean, variance) = (norm("running_mean")?, norm("running_var")?);
        Ok(Convolution::folded(self.geometry, &weight, [&gain, &shift, &mean, &variance])?)
    }
}

#[derive(Debug)]
struct Bottleneck {
    narrow: Convolution,
    spatial: Convolution,
    widen: Convolution,
    shortcut: Option<Convolution>,
}

impl Bottleneck {
    fn forward(&self, x: &FeatureMaps) -> Result<FeatureMaps> {
        let inner = self.spatial.forward_relu(&self.narrow.forward_relu(x)?)?;
        match &self.shortcut {
            None => self.widen.forward_add_relu(&inner, x),
            Some(shortcut) => self.widen.forward_add_relu(&inner, &shortcut.forward(x)?),
        }
    }
}

/// The network with its weights.
#[derive(Debug)]
pub(crate) struct Resnet {
    stem: Convolution,
    blocks: Vec<Bottleneck>,
}

impl Resnet {
    pub(crate) fn load(config: ResnetConfig, weights: &mut Weights) -> crate::Result<Self> {
        let parts = config.parts();
        let Some((stem, blocks)) = parts.split_first() else {
            return Err(candle_core::Error::Msg("a ResNet without a stem".to_owned()).into());
        };
        let stem = stem.load(weights)?;
        let mut parts = blocks.iter().peekable();
        let mut blocks = Vec::new();
        while let (Some(narrow), Some(spatial), Some(widen)) = (parts.next(), parts.next(), parts.next()) {
            let shortcut = parts.next_if(|part| part.is_shortcut());
            blocks.push(Bottleneck {
                narrow: narrow.load(weights)?,
                spatial: spatial.load(weights)?,
                widen: widen.load(weights)?,
                shortcut: shortcut.map(|part| part.load(weights)).transpose()?,
            });
        }
        Ok(Self { stem, blocks })
    }

    /// The mean over positions of the last stage, `[n_images, feature_dim]`.
    pub(crate) fn forward(&self, pixels: &Pixels) -> Result<Tensor> {
        let stem = self.stem.forward_relu(&FeatureMaps::of_pixels(pixels, self.stem.device())?)?;
        let mut x = if stem.is_on_cpu() { max_pool(&stem)? } else { windows::max_pool(&stem)? };
        for block in &self.blocks {
            x = block.forward(&x)?;
        }
        x.values.reshape((x.n_images, x.side * x.side, x.channels))?.mean(1)
    }
}

/// The largest value of each 3 x 3 window, at a stride of 2. Windows are cut at the edges, as padding by minus infinity would.
fn max_pool(x: &FeatureMaps) -> Result<FeatureMaps> {
    let side = x.side.div_ceil(2);
    let row_len = x.side * x.channels;
    let mut output = vec![0.0; x.n_images * side * side * x.channels];
    x.with_values(|values| {
        output.par_chunks_mut(side * x.channels).enumerate().for_each(|(index, output)| {
            let (image, y) = (index / side, index % side);
            let rows = (2 * y).saturating_sub(1)..(2 * y + 2).min(x.side);
            for (position, output) in output.chunks_mut(x.channels).enumerate() {
                output.fill(f32::NEG_INFINITY);
                let columns = (2 * position).saturating_sub(1)..(2 * position + 2).min(x.side);
                for row in rows.clone() {
                    let row = &values[(image * x.side + row) * row_len..][..row_len];
                    for value in row[columns.start * x.channels..columns.end * x.channels].chunks(x.channels)
                    {
                        for (largest, &value) in output.iter_mut().zip(value) {
                            *largest = if value > *largest { value } else { *largest };
                        }
                    }
                }
            }
        });
    })?;
    FeatureMaps::new(output, x.n_images, side, x.channels)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_ways_to_pool_give_the_same_values() {
        for side in [1, 2, 7, 8] {
            let values =
                (0..2 * side * side * 3).map(|i: usize| (i.wrapping_mul(7919) % 101) as f32).collect();
            let x = FeatureMaps::new(values, 2, side, 3).unwrap();
            let [a, b] = [max_pool(&x), windows::max_pool(&x)].map(|pooled| pooled.unwrap());
            assert_eq!(a.side, b.side);
            assert_eq!(a.values.to_vec2::<f32>().unwrap(), b.values.to_vec2::<f32>().unwrap());
        }
    }
}
