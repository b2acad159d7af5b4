//! ResNet50 (He et al., 2016) as torchvision has it: the stride of a bottleneck lies on its 3 x 3 convolution.

mod on_cpu;
mod on_gpu;

use candle_core::{Device, Result, Tensor};
use cf_layers::kernels::PackedConvShape as Geometry;

use crate::pixels::Pixels;
use crate::rgb_image::CHANNELS;
use crate::weights::{Parameters, Weights};

/// PyTorch's epsilon of batch norms.
const EPS: f64 = 1e-5;

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
            wanted.push((format!("{}.weight", part.convolution), part.weight_shape().to_vec()));
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

    /// As PyTorch stores it.
    fn weight_shape(&self) -> [usize; 4] {
        let Geometry { c_in, c_out, kernel, .. } = self.geometry;
        [c_out, c_in, kernel, kernel]
    }

    /// Its weight and its bias, with the batch norm folded in.
    fn load<C: Convolution>(&self, weights: &mut Weights) -> crate::Result<C> {
        let weight = weights.take(&format!("{}.weight", self.convolution))?;
        let mut norm = |value: &str| weights.take(&format!("{}.{value}", self.norm));
        let (gain, shift) = (norm("weight")?, norm("bias")?);
        let (mean, variance) = (norm("running_mean")?, norm("running_var")?);
        let (weight, bias) = folded(&weight, [&gain, &shift, &mean, &variance])?;
        Ok(C::new(self.geometry, &weight, &bias)?)
    }
}

/// The weight `[c_out, c_in, kernel, kernel]` and the bias of a convolution and the norm after it, given by gain, shift, mean and
/// variance.
fn folded(weight: &Tensor, norm: [&Tensor; 4]) -> Result<(Tensor, Tensor)> {
    let [gain, shift, mean, variance] = norm;
    let factor = (gain / (variance + EPS)?.sqrt()?)?;
    let weight = weight.broadcast_mul(&factor.reshape((factor.elem_count(), 1, 1, 1))?)?;
    Ok((weight, (shift - (mean * factor)?)?))
}

/// A convolution with bias in the form that a device computes.
trait Convolution: Sized {
    /// Weight `[c_out, c_in, kernel, kernel]`, bias `[c_out]`.
    fn new(geometry: Geometry, weight: &Tensor, bias: &Tensor) -> Result<Self>;
}

#[derive(Debug)]
struct Bottleneck<C> {
    narrow: C,
    spatial: C,
    widen: C,
    shortcut: Option<C>,
}

/// All layers with their weights.
#[derive(Debug)]
struct Layers<C> {
    stem: C,
    blocks: Vec<Bottleneck<C>>,
}

impl<C: Convolution> Layers<C> {
    fn load(config: ResnetConfig, weights: &mut Weights) -> crate::Result<Self> {
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
}

/// The network with its weights.
#[derive(Debug)]
pub(crate) enum Resnet {
    OnCpu(on_cpu::Network),
    OnGpu(on_gpu::Network),
}

impl Resnet {
    /// Images of a call on the CPU: groups for sixteen threads.
    pub(crate) const IMAGES_PER_PASS: usize = 128;

    pub(crate) fn load(config: ResnetConfig, weights: &mut Weights, device: &Device) -> crate::Result<Self> {
        Ok(if device.is_cpu() {
            Self::OnCpu(on_cpu::Network::new(Layers::load(config, weights)?))
        } else {
            Self::OnGpu(on_gpu::Network::new(Layers::load(config, weights)?))
        })
    }

    /// The mean over positions of the last stage, `[n_images, feature_dim]`.
    pub(crate) fn forward(&self, pixels: &Pixels) -> Result<Tensor> {
        match self {
            Self::OnCpu(network) => network.forward(pixels),
            Self::OnGpu(network) => network.forward(pixels),
        }
    }
}

#[cfg(test)]
mod tests {
    use cf_layers::kernels::{AfterConv, PackedConv2d, SquareMaps, Workers};

    use super::on_gpu::{FeatureMaps, InOneProduct};
    use super::*;

    /// Values without a pattern, in [-1, 1).
    fn values(n: usize, salt: usize) -> Vec<f32> {
        let hash = |i: usize| (i + 97 * salt + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 40;
        (0..n).map(|i| hash(i) as f32 / (1 << 23) as f32 - 1.0).collect()
    }

    fn vector(n: usize, salt: usize) -> Tensor {
        Tensor::from_vec(values(n, salt), n, &Device::Cpu).unwrap()
    }

    #[test]
    fn both_forms_of_a_convolution_and_its_norm_are_the_same() {
        for (side, kernel, stride, c_in) in
            [(9, 7, 2, 3), (8, 3, 1, 16), (7, 3, 2, 4), (8, 1, 2, 5), (6, 1, 1, 5), (14, 3, 1, 32)]
        {
            let geometry = Geometry { c_in, c_out: 16, kernel, stride };
            let weight = values(16 * c_in * kernel * kernel, 2);
            let weight = Tensor::from_vec(weight, (16, c_in, kernel, kernel), &Device::Cpu).unwrap();
            let [gain, shift, mean, spread] = [3, 4, 5, 6].map(|salt| vector(16, salt));
            let variance = (spread.sqr().unwrap() + 0.1).unwrap();
            let (weight, bias) = folded(&weight, [&gain, &shift, &mean, &variance]).unwrap();
            let x = values(2 * side * side * c_in, 1);
            let wanted = InOneProduct::new(geometry, &weight, &bias).unwrap();
            let wanted = wanted.forward(&FeatureMaps::of_values(x.clone(), 2, side, c_in)).unwrap();
            let wanted = wanted.values.flatten_all().unwrap().to_vec1::<f32>().unwrap();
            let packed = PackedConv2d::new(geometry, &weight, &bias).unwrap();
            let mut found = vec![f32::NAN; wanted.len()];
            let maps = SquareMaps { values: &x, n_images: 2, side };
            packed.forward(maps, AfterConv::Identity, Workers::Pool, &mut found).unwrap();
            let largest = wanted.iter().fold(0.0f32, |largest, value| largest.max(value.abs()));
            let difference = found.iter().zip(&wanted).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
            assert!(difference < 1e-5 * largest, "{geometry:?}: {difference:e} of {largest}");
        }
    }

    #[test]
    fn both_ways_to_pool_give_the_same_values() {
        for side in [1, 2, 7, 8] {
            let values: Vec<f32> =
                (0..2 * side * side * 3).map(|i: usize| (i.wrapping_mul(7919) % 101) as f32).collect();
            let wanted =
                on_gpu::windows::max_pool(&FeatureMaps::of_values(values.clone(), 2, side, 3)).unwrap();
            let found = on_cpu::tests::pooled(values, 2, side, 3);
            assert_eq!(found, wanted.values.flatten_all().unwrap().to_vec1::<f32>().unwrap());
        }
    }
}
