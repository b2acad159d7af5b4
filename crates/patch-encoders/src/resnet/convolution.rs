//! Convolutions of channels-last maps as matrix products, with the batch norm folded in and ReLU applied on the way out.
//!
//! On the CPU positions are worked on in strips: the pixels that a strip sees are gathered into a matrix that fits the cache, and what
//! the product gives is finished while it is there.

use candle_core::{Device, Error, Result, Storage, Tensor};
use cf_layers::kernels::{self, Compute};
use rayon::prelude::*;

use super::windows::windows;
use crate::pixels::Pixels;
use crate::rgb_image::CHANNELS;

/// PyTorch's epsilon of batch norms.
const EPS: f64 = 1e-5;

/// Values of a gathered strip, about: 1 MB.
const STRIP_VALUES: usize = 1 << 18;
/// Positions of a strip: enough that a product is more than the packing of its weights.
const STRIP_POSITIONS: std::ops::RangeInclusive<usize> = 256..=2048;

/// Square maps, channels last: `values` is `[n_images * side * side, channels]`.
#[derive(Debug)]
pub(super) struct FeatureMaps {
    pub(super) values: Tensor,
    pub(super) n_images: usize,
    pub(super) side: usize,
    pub(super) channels: usize,
}

impl FeatureMaps {
    pub(super) fn new(values: Vec<f32>, n_images: usize, side: usize, channels: usize) -> Result<Self> {
        let values = Tensor::from_vec(values, (n_images * side * side, channels), &Device::Cpu)?;
        Ok(Self { values, n_images, side, channels })
    }

    pub(super) fn of_pixels(pixels: &Pixels, device: &Device) -> Result<Self> {
        let shape = (pixels.n_images * pixels.side * pixels.side, CHANNELS);
        let values = Tensor::from_slice(&pixels.values, shape, device)?;
        Ok(Self { values, n_images: pixels.n_images, side: pixels.side, channels: CHANNELS })
    }

    pub(super) fn is_on_cpu(&self) -> bool {
        self.values.device().is_cpu()
    }

    /// Gives `f` the values.
    pub(super) fn with_values<R>(&self, f: impl FnOnce(&[f32]) -> R) -> Result<R> {
        with_values(&self.values, f)
    }
}

/// The sizes of a convolution without bias; its padding keeps the side at a stride of 1.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Geometry {
    pub(super) c_in: usize,
    pub(super) c_out: usize,
    pub(super) kernel: usize,
    pub(super) stride: usize,
}

impl Geometry {
    /// As PyTorch stores it.
    pub(super) fn weight_shape(self) -> [usize; 4] {
        [self.c_out, self.c_in, self.kernel, self.kernel]
    }

    fn is_pointwise(self) -> bool {
        (self.kernel, self.stride) == (1, 1)
    }
}

/// A convolution followed by a batch norm in evaluation.
#[derive(Debug)]
pub(super) struct Convolution {
    geometry: Geometry,
    /// `[c_out, kernel * kernel * c_in]`.
    weight: Tensor,
    bias: Tensor,
}

impl Convolution {
    /// Folds the norm, given by gain, shift, mean and variance, into the weight `[c_out, c_in, kernel, kernel]`.
    pub(super) fn folded(geometry: Geometry, weight: &Tensor, norm: [&Tensor; 4]) -> Result<Self> {
        let Geometry { c_in, c_out, kernel, .. } = geometry;
        let [gain, shift, mean, variance] = norm;
        let factor = (gain / (variance + EPS)?.sqrt()?)?;
        let weight = weight.broadcast_mul(&factor.reshape((c_out, 1, 1, 1))?)?;
        Ok(Self {
            geometry,
            weight: weight.permute((0, 2, 3, 1))?.reshape((c_out, kernel * kernel * c_in))?,
            bias: (shift - (mean * factor)?)?,
        })
    }

    /// Where its weights are.
    pub(super) fn device(&self) -> &Device {
        self.weight.device()
    }

    /// The convolution alone.
    pub(super) fn forward(&self, x: &FeatureMaps) -> Result<FeatureMaps> {
        if !x.is_on_cpu() {
            return self.in_one_product(x, Ok);
        }
        self.finished(x, |_, output, product| output.copy_from_slice(product))
    }

    /// The convolution, then ReLU.
    pub(super) fn forward_relu(&self, x: &FeatureMaps) -> Result<FeatureMaps> {
        if !x.is_on_cpu() {
            return self.in_one_product(x, |product| product.relu());
        }
        self.finished(x, |_, output, product| {
            output.iter_mut().zip(product).for_each(|(output, &value)| *output = value.max(0.0));
        })
    }

    /// The convolution plus `residual`, then ReLU.
    pub(super) fn forward_add_relu(&self, x: &FeatureMaps, residual: &FeatureMaps) -> Result<FeatureMaps> {
        if !x.is_on_cpu() {
            return self.in_one_product(x, |product| (product + &residual.values)?.relu());
        }
        residual.with_values(|residual| {
            self.finished(x, |first, output, product| {
                let added = &residual[first..][..output.len()];
                for ((output, &value), &added) in output.iter_mut().zip(product).zip(added) {
                    *output = (value + added).max(0.0);
                }
            })
        })?
    }

    /// All positions at once, as a GPU has it, and what `finish` makes of them.
    fn in_one_product(
        &self,
        x: &FeatureMaps,
        finish: impl FnOnce(Tensor) -> Result<Tensor>,
    ) -> Result<FeatureMaps> {
        let Geometry { c_out, kernel, stride, .. } = self.geometry;
        let (side, row_len) = (x.side.div_ceil(stride), self.weight.dim(1)?);
        let input = if self.geometry.is_pointwise() {
            x.values.clone()
        } else {
            windows(x, kernel, stride)?.reshape((x.n_images * side * side, row_len))?
        };
        let product = kernels::linear(&input, &self.weight, &self.bias, Compute::AsStored)?;
        Ok(FeatureMaps { values: finish(product)?, n_images: x.n_images, side, channels: c_out })
    }

    /// Computes strips of positions and lets `finish` write each, given the index of its first value.
    fn finished(
        &self,
        x: &FeatureMaps,
        finish: impl Fn(usize, &mut [f32], &[f32]) + Sync,
    ) -> Result<FeatureMaps> {
        let Geometry { c_out, kernel, stride, c_in } = self.geometry;
        if x.channels != c_in {
            return Err(Error::Msg(format!("a convolution of {c_in} channels got {}", x.channels)));
        }
        let side = x.side.div_ceil(stride);
        let row_len = kernel * kernel * c_in;
        let strip = (STRIP_VALUES / row_len).clamp(*STRIP_POSITIONS.start(), *STRIP_POSITIONS.end());
        let mut output = vec![0.0; x.n_images * side * side * c_out];
        x.with_values(|values| {
            output.par_chunks_mut(strip * c_out).enumerate().try_for_each(|(index, output)| {
                let (first, n) = (index * strip, output.len() / c_out);
                let input = if self.geometry.is_pointwise() {
                    x.values.narrow(0, first, n)?
                } else {
                    let gathered = self.gather(values, x.side, side, first, n);
                    Tensor::from_vec(gathered, (n, row_len), &Device::Cpu)?
                };
                let product = kernels::linear(&input, &self.weight, &self.bias, Compute::AsStored)?;
                with_values(&product, |product| finish(first * c_out, output, product))
            })
        })??;
        FeatureMaps::new(output, x.n_images, side, c_out)
    }

    /// The pixels under the kernel at `n` output positions from `first` on, a row each; zero outside the map.
    fn gather(&self, values: &[f32], side_in: usize, side_out: usize, first: usize, n: usize) -> Vec<f32> {
        let Geometry { c_in, kernel, stride, .. } = self.geometry;
        let (run, padding) = (kernel * c_in, kernel / 2);
        let mut output = vec![0.0; n * kernel * run];
        for (position, rows) in (first..).zip(output.chunks_mut(kernel * run)) {
            let (image, y, x) =
                (position / (side_out * side_out), position / side_out % side_out, position % side_out);
            // Where the window begins, counted from `padding` pixels outside the map.
            let (top, left) = (y * stride, x * stride);
            let begin = padding.saturating_sub(left);
            let end = kernel.min(side_in + padding - left);
            for (dy, row) in rows.chunks_mut(run).enumerate() {
                let Some(y) = (top + dy).checked_sub(padding).filter(|&y| y < side_in) else { continue };
                let start = ((image * side_in + y) * side_in + left + begin - padding) * c_in;
                row[begin * c_in..end * c_in].copy_from_slice(&values[start..][..(end - begin) * c_in]);
            }
        }
        output
    }
}

/// Gives `f` the values of a contiguous tensor of f32.
fn with_values<R>(tensor: &Tensor, f: impl FnOnce(&[f32]) -> R) -> Result<R> {
    let (storage, layout) = tensor.storage_and_layout();
    let (Storage::Cpu(storage), Some((start, end))) = (&*storage, layout.contiguous_offsets()) else {
        return Err(Error::Msg("feature maps must lie contiguous on the CPU".to_owned()));
    };
    let values = storage.as_slice::<f32>()?.get(start..end);
    values.map(f).ok_or_else(|| Error::Msg("feature maps end before their layout does".to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Values without a pattern, in [-1, 1).
    fn values(n: usize, salt: usize) -> Vec<f32> {
        let hash = |i: usize| (i + 97 * salt + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 40;
        (0..n).map(|i| hash(i) as f32 / (1 << 23) as f32 - 1.0).collect()
    }

    fn maps(side: usize, channels: usize) -> FeatureMaps {
        FeatureMaps::new(values(2 * side * side * channels, 1), 2, side, channels).unwrap()
    }

    fn largest_difference(a: &FeatureMaps, b: &FeatureMaps) -> f32 {
        assert_eq!((a.values.dims(), a.side, a.channels), (b.values.dims(), b.side, b.channels));
        let difference = (&a.values - &b.values).unwrap().abs().unwrap().flatten_all().unwrap();
        difference.max(0).unwrap().to_scalar().unwrap()
    }

    #[test]
    fn in_strips_and_in_one_product_convolutions_are_the_same() {
        for (side, kernel, stride, c_in) in
            [(9, 7, 2, 3), (8, 3, 1, 4), (7, 3, 2, 4), (8, 1, 2, 5), (6, 1, 1, 5)]
        {
            let geometry = Geometry { c_in, c_out: 6, kernel, stride };
            let shape = geometry.weight_shape();
            let weight = Tensor::from_vec(values(shape.iter().product(), 2), &shape, &Device::Cpu).unwrap();
            let norm = [3, 4, 5, 6].map(|salt| Tensor::from_vec(values(6, salt), 6, &Device::Cpu).unwrap());
            let [gain, shift, mean, spread] = norm;
            let variance = (spread.sqr().unwrap() + 0.1).unwrap();
            let layer = Convolution::folded(geometry, &weight, [&gain, &shift, &mean, &variance]).unwrap();
            let x = maps(side, c_in);
            let rectified = |product: Tensor| product.relu();
            let relu = (layer.forward_relu(&x).unwrap(), layer.in_one_product(&x, rectified).unwrap());
            // Sums of at most 147 products in other orders.
            assert!(largest_difference(&relu.0, &relu.1) < 1e-5, "{geometry:?}");
            let residual = layer.forward(&x).unwrap();
            let added = layer.in_one_product(&x, |product| (product + &residual.values)?.relu()).unwrap();
            let sum = layer.forward_add_relu(&x, &residual).unwrap();
            assert!(largest_difference(&sum, &added) < 1e-5, "{geometry:?}");
        }
    }
}
