//! What a kernel sees at each position of a map, gathered by the device that the map is on.

use candle_core::{DType, Result, Tensor};

use super::FeatureMaps;

/// The pixels under a square kernel at every output position: `[n_images, positions, kernel * kernel, channels]`, zero outside the
/// map. The kernel is centred, and positions are `stride` apart.
pub(super) fn windows(x: &FeatureMaps, kernel: usize, stride: usize) -> Result<Tensor> {
    let (n_images, n_pixels, channels) = (x.n_images, x.side * x.side, x.channels);
    let pixels = x.values.reshape((n_images, n_pixels, channels))?;
    // One pixel more, of zeros, for what lies outside.
    let outside = Tensor::zeros((n_images, 1, channels), DType::F32, pixels.device())?;
    let pixels = Tensor::cat(&[&pixels, &outside], 1)?;
    let seen = seen(x.side, kernel, stride);
    let n = seen.len();
    let gathered = pixels.index_select(&Tensor::from_vec(seen, n, pixels.device())?, 1)?;
    gathered.reshape((n_images, n / (kernel * kernel), kernel * kernel, channels))
}

/// The largest value of each 3 x 3 window, at a stride of 2, of maps without negative values: zeros outside win nowhere.
pub(in crate::resnet) fn max_pool(x: &FeatureMaps) -> Result<FeatureMaps> {
    let side = x.side.div_ceil(2);
    let seen = windows(x, 3, 2)?;
    let under = |place: usize| seen.narrow(2, place, 1)?.contiguous();
    // Candle's reduction over an inner axis reads channel by channel; maxima of whole maps stream through memory.
    let largest = (1..9).try_fold(under(0)?, |largest, place| largest.maximum(&under(place)?))?;
    let values = largest.reshape((x.n_images * side * side, x.channels))?;
    Ok(FeatureMaps { values, n_images: x.n_images, side, channels: x.channels })
}

/// Pixels of one image, row by row under the kernel, position by position; `side * side` stands for one outside the map.
fn seen(side: usize, kernel: usize, stride: usize) -> Vec<u32> {
    let (side_out, padding) = (side.div_ceil(stride), kernel / 2);
    let along = |position: usize, offset: usize| {
        (position * stride + offset).checked_sub(padding).filter(|&at| at < side)
    };
    let mut seen = Vec::with_capacity(side_out * side_out * kernel * kernel);
    for position in 0..side_out * side_out {
        for offset in 0..kernel * kernel {
            let y = along(position / side_out, offset / kernel);
            let x = along(position % side_out, offset % kernel);
            let at = y.zip(x).map_or(side * side, |(y, x)| y * side + x);
            seen.push(at as u32);
        }
    }
    seen
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn windows_are_centred_and_zero_outside() {
        let values = (1..=9).flat_map(|value| [value as f32, -(value as f32)]).collect();
        let x = FeatureMaps::of_values(values, 1, 3, 2);
        let found = windows(&x, 3, 2).unwrap();
        assert_eq!(found.dims(), [1, 4, 9, 2]);
        let first = found.narrow(3, 0, 1).unwrap().reshape((4, 9)).unwrap().to_vec2::<f32>().unwrap();
        assert_eq!(first[0], [0.0, 0.0, 0.0, 0.0, 1.0, 2.0, 0.0, 4.0, 5.0]);
        assert_eq!(first[1], [0.0, 0.0, 0.0, 2.0, 3.0, 0.0, 5.0, 6.0, 0.0]);
        assert_eq!(first[3], [5.0, 6.0, 0.0, 8.0, 9.0, 0.0, 0.0, 0.0, 0.0]);
        let points = windows(&x, 1, 2).unwrap().flatten_all().unwrap().to_vec1::<f32>().unwrap();
        assert_eq!(points, [1.0, -1.0, 3.0, -3.0, 7.0, -7.0, 9.0, -9.0]);
    }
}
