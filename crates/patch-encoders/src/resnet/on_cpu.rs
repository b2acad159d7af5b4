//! The network on the CPU: weights packed once, maps in memory that is used again.

use std::sync::{Mutex, PoisonError};

use candle_core::{Device, Result, Tensor};
use cf_layers::kernels::{AfterConv, PackedConv2d, SquareMaps, Workers};
use rayon::prelude::*;

use super::{Bottleneck, Convolution, Geometry, Layers};
use crate::pixels::Pixels;
use crate::rgb_image::CHANNELS;

impl Convolution for PackedConv2d {
    fn new(geometry: Geometry, weight: &Tensor, bias: &Tensor) -> Result<Self> {
        Self::new(geometry, weight, bias)
    }
}

#[derive(Debug)]
pub(crate) struct Network {
    layers: Layers<PackedConv2d>,
    /// Memory of maps that a call has left: fetching and clearing it anew costs as much as some layers.
    spare: Mutex<Vec<Spare>>,
}

/// Images that go through the layers together: enough that reading the weights costs little beside using them.
const GROUP: usize = 8;

/// Memory for maps, of any size.
#[derive(Debug, Default)]
struct Spare(Vec<Vec<f32>>);

/// Square maps, channels last: the first values are `[n_images, side, side, channels]`.
#[derive(Debug)]
struct Maps {
    values: Vec<f32>,
    n_images: usize,
    side: usize,
    channels: usize,
}

impl Maps {
    fn len(&self) -> usize {
        self.n_images * self.side * self.side * self.channels
    }

    fn values(&self) -> &[f32] {
        &self.values[..self.len()]
    }

    fn values_mut(&mut self) -> &mut [f32] {
        let n = self.len();
        &mut self.values[..n]
    }
}

impl Spare {
    /// Maps of any values, in the smallest memory that holds them.
    fn take(&mut self, n_images: usize, side: usize, channels: usize) -> Maps {
        let len = n_images * side * side * channels;
        let values = match self.0.iter().position(|values| values.len() >= len) {
            Some(index) => self.0.remove(index),
            None => {
                self.0.pop();
                vec![0.0; len]
            }
        };
        Maps { values, n_images, side, channels }
    }

    fn give_back(&mut self, maps: Maps) {
        self.0.push(maps.values);
        self.0.sort_unstable_by_key(Vec::len);
    }

    fn convolved(
        &mut self,
        conv: &PackedConv2d,
        x: &Maps,
        after: AfterConv<'_>,
        workers: Workers,
    ) -> Result<Maps> {
        let shape = conv.shape();
        let mut output = self.take(x.n_images, shape.side_out(x.side), shape.c_out);
        let input = SquareMaps { values: x.values(), n_images: x.n_images, side: x.side };
        conv.forward(input, after, workers, output.values_mut())?;
        Ok(output)
    }
}

impl Network {
    pub(super) fn new(layers: Layers<PackedConv2d>) -> Self {
        Self { layers, spare: Mutex::default() }
    }

    /// The mean over positions of the last stage, `[n_images, feature_dim]`. A thread takes a group of images through all layers, where
    /// there is a group for each: none then waits for another after each layer.
    pub(super) fn forward(&self, pixels: &Pixels) -> Result<Tensor> {
        let Pixels { n_images, side, .. } = *pixels;
        let group_len = GROUP * side * side * CHANNELS;
        let group = |values: &[f32], workers| {
            let x = SquareMaps { values, n_images: values.len() / (side * side * CHANNELS), side };
            self.group(x, workers)
        };
        let means: Vec<Vec<f32>> = if n_images.div_ceil(GROUP) < rayon::current_num_threads() {
            pixels
                .values
                .chunks(group_len)
                .map(|values| group(values, Workers::Pool))
                .collect::<Result<_>>()?
        } else {
            let groups = pixels.values.par_chunks(group_len);
            groups.map(|values| group(values, Workers::Caller)).collect::<Result<_>>()?
        };
        let means = means.concat();
        Tensor::from_vec(means, (n_images, ()), &Device::Cpu)
    }

    fn group(&self, input: SquareMaps<'_>, workers: Workers) -> Result<Vec<f32>> {
        let kept = || self.spare.lock().unwrap_or_else(PoisonError::into_inner);
        let mut spare = kept().pop().unwrap_or_default();
        let stem = &self.layers.stem;
        let mut x = spare.take(input.n_images, stem.shape().side_out(input.side), stem.shape().c_out);
        stem.forward(input, AfterConv::Relu, workers, x.values_mut())?;
        let pooled = max_pool(&x, workers, &mut spare);
        spare.give_back(std::mem::replace(&mut x, pooled));
        for block in &self.layers.blocks {
            let output = block.forward(&x, workers, &mut spare)?;
            spare.give_back(std::mem::replace(&mut x, output));
        }
        let means = means(&x);
        spare.give_back(x);
        kept().push(spare);
        Ok(means)
    }
}

impl Bottleneck<PackedConv2d> {
    fn forward(&self, x: &Maps, workers: Workers, spare: &mut Spare) -> Result<Maps> {
        let narrow = spare.convolved(&self.narrow, x, AfterConv::Relu, workers)?;
        let inner = spare.convolved(&self.spatial, &narrow, AfterConv::Relu, workers)?;
        spare.give_back(narrow);
        let shortcut = match &self.shortcut {
            Some(shortcut) => Some(spare.convolved(shortcut, x, AfterConv::Identity, workers)?),
            None => None,
        };
        let added = AfterConv::AddRelu(shortcut.as_ref().unwrap_or(x).values());
        let output = spare.convolved(&self.widen, &inner, added, workers)?;
        spare.give_back(inner);
        if let Some(shortcut) = shortcut {
            spare.give_back(shortcut);
        }
        Ok(output)
    }
}

/// The mean over positions, `[n_images, channels]`.
fn means(x: &Maps) -> Vec<f32> {
    let n_positions = x.side * x.side;
    let mut means = vec![0.0; x.n_images * x.channels];
    let images = x.values().chunks(n_positions * x.channels);
    for (means, image) in means.chunks_mut(x.channels).zip(images) {
        for position in image.chunks(x.channels) {
            means.iter_mut().zip(position).for_each(|(mean, value)| *mean += value);
        }
        means.iter_mut().for_each(|mean| *mean /= n_positions as f32);
    }
    means
}

/// The largest value of each 3 x 3 window, at a stride of 2. Windows are cut at the edges, as padding by minus infinity would. NaN stays
/// NaN.
fn max_pool(x: &Maps, workers: Workers, spare: &mut Spare) -> Maps {
    let (side, channels) = (x.side.div_ceil(2), x.channels);
    let mut pooled = spare.take(x.n_images, side, channels);
    let (values, row_len) = (x.values(), x.side * channels);
    let pool_row = |(index, output): (usize, &mut [f32])| {
        let (image, y) = (index / side, index % side);
        let rows = (2 * y).saturating_sub(1)..(2 * y + 2).min(x.side);
        for (position, output) in output.chunks_mut(channels).enumerate() {
            output.fill(f32::NEG_INFINITY);
            let columns = (2 * position).saturating_sub(1)..(2 * position + 2).min(x.side);
            for row in rows.clone() {
                let row = &values[(image * x.side + row) * row_len..][..row_len];
                for value in row[columns.start * channels..columns.end * channels].chunks(channels) {
                    for (largest, &value) in output.iter_mut().zip(value) {
                        *largest = if value > *largest || value.is_nan() { value } else { *largest };
                    }
                }
            }
        }
    };
    let rows = pooled.values_mut();
    match workers {
        Workers::Caller => rows.chunks_mut(side * channels).enumerate().for_each(pool_row),
        Workers::Pool => rows.par_chunks_mut(side * channels).enumerate().for_each(pool_row),
    }
    pooled
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    pub(in crate::resnet) fn pooled(
        values: Vec<f32>,
        n_images: usize,
        side: usize,
        channels: usize,
    ) -> Vec<f32> {
        max_pool(&Maps { values, n_images, side, channels }, Workers::Pool, &mut Spare::default()).values
    }

    #[test]
    fn nan_is_not_pooled_away() {
        let mut values = vec![0.0; 16];
        values[5] = f32::NAN;
        assert!(pooled(values, 1, 4, 1).iter().all(|value| value.is_nan()));
    }
}
