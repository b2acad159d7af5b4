//! Maps of stain, unmixed from colour, and their pyramid of averages.

use crate::rgb_image::{CHANNELS, RgbImage};

/// Optical density of the three colours in pure haematoxylin (Ruifrok and Johnston, 2001), of length 1.
const HAEMATOXYLIN: [f64; CHANNELS] = [0.644_211, 0.716_556, 0.266_844];
/// The same for eosin.
const EOSIN: [f64; CHANNELS] = [0.092_789, 0.954_111, 0.283_111];

/// One value per pixel or per square of pixels, row by row.
#[derive(Debug, Clone)]
pub(super) struct Map {
    pub(super) width: usize,
    pub(super) height: usize,
    pub(super) values: Vec<f32>,
}

impl Map {
    pub(super) fn row(&self, y: usize) -> &[f32] {
        &self.values[y * self.width..][..self.width]
    }

    /// Means of squares of 2 x 2 values; an odd row or column at the end is left out.
    pub(super) fn halved(&self) -> Self {
        let (width, height) = (self.width / 2, self.height / 2);
        let mut values = Vec::with_capacity(width * height);
        for y in 0..height {
            let (above, _) = self.row(2 * y).as_chunks::<2>();
            let (below, _) = self.row(2 * y + 1).as_chunks::<2>();
            values.extend(above.iter().zip(below).map(|(a, b)| 0.25 * (a[0] + a[1] + (b[0] + b[1]))));
        }
        Self { width, height, values }
    }
}

/// A patch in stains, each map of the patch's size.
#[derive(Debug)]
pub(super) struct Stains {
    /// Haematoxylin and eosin, at least 0.
    pub(super) maps: [Map; 2],
    /// What both leave of the colour, signed.
    pub(super) residual: Vec<f32>,
    /// Optical density, mean of the colours.
    pub(super) density: Vec<f32>,
}

/// Haematoxylin and eosin averaged over squares of 1, 2, 4, .. 64 pixels.
pub(super) type Pyramid = [[Map; LEVELS]; 2];

/// Levels of a [`Pyramid`].
pub(super) const LEVELS: usize = 7;

impl Stains {
    /// Solves, for each pixel, `density of colour = h * HAEMATOXYLIN + e * EOSIN + residual * (their normal)`.
    pub(super) fn unmix(patch: &RgbImage) -> Self {
        let density: [f32; 256] =
            std::array::from_fn(|sample| (256.0 / (sample as f64 + 1.0)).log10() as f32);
        let [of_h, of_e, of_residual] = unmixing();
        let (pixels, _) = patch.pixels().as_chunks::<CHANNELS>();
        let densities: Vec<[f32; CHANNELS]> =
            pixels.iter().map(|pixel| pixel.map(|sample| density[usize::from(sample)])).collect();
        let project =
            |by: [f32; CHANNELS]| densities.iter().map(move |d| d[0] * by[0] + d[1] * by[1] + d[2] * by[2]);
        let map = |by| Map {
            width: patch.width(),
            height: patch.height(),
            values: project(by).map(|amount| amount.max(0.0)).collect(),
        };
        Self {
            maps: [map(of_h), map(of_e)],
            residual: project(of_residual).collect(),
            density: project([1.0 / 3.0; CHANNELS]).collect(),
        }
    }

    pub(super) fn pyramid(&self) -> Pyramid {
        self.maps.each_ref().map(|map| {
            let mut level = map.clone();
            std::array::from_fn(|_| {
                let halved = level.halved();
                std::mem::replace(&mut level, halved)
            })
        })
    }
}

/// The rows that give the amounts of haematoxylin, eosin and residual: the inverse of the matrix of their colours.
fn unmixing() -> [[f32; CHANNELS]; 3] {
    let normal = cross(HAEMATOXYLIN, EOSIN);
    let length = normal.map(|x| x * x).iter().sum::<f64>().sqrt();
    let residual = normal.map(|x| x / length);
    // Rows of the inverse are cross products of the columns over the determinant, which is the length of the normal.
    [cross(EOSIN, residual), cross(residual, HAEMATOXYLIN), normal]
        .map(|row| row.map(|x| (x / length) as f32))
}

fn cross(a: [f64; CHANNELS], b: [f64; CHANNELS]) -> [f64; CHANNELS] {
    [a[1] * b[2] - a[2] * b[1], a[2] * b[0] - a[0] * b[2], a[0] * b[1] - a[1] * b[0]]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mixture_is_unmixed_into_its_amounts() {
        let [of_h, of_e, of_residual] = unmixing();
        let mixture: [f32; CHANNELS] =
            std::array::from_fn(|i| (0.7 * HAEMATOXYLIN[i] + 0.2 * EOSIN[i]) as f32);
        let amount = |by: [f32; CHANNELS]| by.iter().zip(mixture).map(|(a, b)| a * b).sum::<f32>();
        assert!((amount(of_h) - 0.7).abs() < 1e-6);
        assert!((amount(of_e) - 0.2).abs() < 1e-6);
        assert!(amount(of_residual).abs() < 1e-6);
    }

    #[test]
    fn halving_averages_squares() {
        let map = Map { width: 3, height: 2, values: vec![1.0, 2.0, 9.0, 3.0, 6.0, 9.0] };
        let halved = map.halved();
        assert_eq!((halved.width, halved.height, halved.values), (1, 1, vec![3.0]));
    }
}
