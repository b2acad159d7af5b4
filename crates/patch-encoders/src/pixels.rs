//! Prepared patches as numbers, the input of a network.

use rayon::prelude::*;

use crate::preprocess::SampleTable;
use crate::rgb_image::{CHANNELS, RgbImage};

/// Normalised square images, `[n_images, side, side, 3]`.
#[derive(Debug, Clone)]
pub(crate) struct Pixels {
    pub(crate) values: Vec<f32>,
    pub(crate) n_images: usize,
    pub(crate) side: usize,
}

impl Pixels {
    /// Images of `side x side` pixels with each sample replaced by its value.
    pub(crate) fn normalised(images: &[RgbImage], side: usize, table: &SampleTable) -> Self {
        let len = side * side * CHANNELS;
        let mut values = vec![0.0; images.len() * len];
        values.par_chunks_mut(len).zip(images).for_each(|(values, image)| {
            let (pixels, _) = image.pixels().as_chunks::<CHANNELS>();
            let (values, _) = values.as_chunks_mut::<CHANNELS>();
            for (value, pixel) in values.iter_mut().zip(pixels) {
                *value = std::array::from_fn(|channel| table[channel][usize::from(pixel[channel])]);
            }
        });
        Self { values, n_images: images.len(), side }
    }

    /// Squares of `patch x patch` pixels that tile each image from its top left corner, image by image and row by row:
    /// `[n_images * (side / patch)^2, patch * patch * 3]`.
    pub(crate) fn squares(&self, patch: usize) -> Vec<f32> {
        let (grid, row_len, run) = (self.side / patch, self.side * CHANNELS, patch * CHANNELS);
        let square_len = patch * run;
        let mut output = vec![0.0; self.n_images * grid * grid * square_len];
        let images = self.values.par_chunks(self.side * row_len);
        output.par_chunks_mut(grid * grid * square_len).zip(images).for_each(|(output, image)| {
            for (index, square) in output.chunks_mut(square_len).enumerate() {
                let (top, left) = (index / grid * patch, index % grid * run);
                for (target, row) in square.chunks_mut(run).zip(image[top * row_len..].chunks(row_len)) {
                    target.copy_from_slice(&row[left..left + run]);
                }
            }
        });
        output
    }
}
