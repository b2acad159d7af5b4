//! An encoder ready to encode.

use std::path::Path;

use candle_core::Device;
use cf_layers::kernels::device::DeviceName;
use rayon::prelude::*;

use crate::error::{Error, Result};
use crate::name::EncoderName;
use crate::pixels::Pixels;
use crate::preprocess::{Preprocessing, SampleTable};
use crate::published::{Loaded, Network, Published};
use crate::rgb_image::RgbImage;
use crate::stain_texture;

/// Side of the patches that all encoders are made for, in pixels.
const PATCH_SIDE: usize = 256;

/// Images that a GPU is given at once: enough to fill it, and the largest encoder then needs some 3 GiB.
const IMAGES_PER_PASS_ON_GPU: usize = 128;

/// An encoder with its weights. Encoding changes nothing in it, so threads may share it.
#[derive(Debug)]
pub struct Encoder {
    name: EncoderName,
    feature_dim: usize,
    kind: Kind,
    weights_sha256: Option<String>,
    warnings: Vec<String>,
}

#[derive(Debug)]
enum Kind {
    StainTexture,
    Learned(Box<Learned>),
}

#[derive(Debug)]
struct Learned {
    preprocessing: Preprocessing,
    table: SampleTable,
    network: Network,
    images_per_pass: usize,
}

impl Encoder {
    /// The encoder of this name. `weights` is the file that its authors publish (`pytorch_model.bin`, or safetensors with
    /// the same names), none for `stain-texture`.
    ///
    /// A dict of weights may lie under `state_dict`, and one prefix may stand before all names. Weights in 16 bits are
    /// widened to f32, in which everything is computed. Parts of published files that the encoder does not use, such as
    /// a text tower, are left out; any other name that it does not know is an error. QuiltNet's activation (`hidden_act`) is
    /// what the file states, as [`convert_weights`](crate::convert_weights) keeps it, else what a `config.json` beside it
    /// states, else CLIP's own, `quick_gelu`, with a [warning](Self::warnings).
    ///
    /// # Errors
    /// If the file is missing, damaged, or of another model, or a weight is not finite.
    pub fn open(name: EncoderName, weights: Option<&Path>) -> Result<Self> {
        Self::open_on(DeviceName::Cpu, name, weights)
    }

    /// The same on a device; `stain-texture` is of the CPU wherever.
    ///
    /// # Errors
    /// As [`Self::open`], and if the device cannot be used.
    pub fn open_on(device: DeviceName, name: EncoderName, weights: Option<&Path>) -> Result<Self> {
        let (published, path) = match (Published::of(name), weights) {
            (None, None) => {
                return Ok(Self {
                    name,
                    feature_dim: stain_texture::N_FEATURES,
                    kind: Kind::StainTexture,
                    weights_sha256: None,
                    warnings: Vec::new(),
                });
            }
            (None, Some(path)) => return Err(Error::WeightsRefused { path: path.to_owned(), encoder: name }),
            (Some(published), None) => {
                let published = format!("{} of {}", published.file, published.repository);
                return Err(Error::WeightsNeeded { encoder: name, published });
            }
            (Some(published), Some(path)) => (published, path),
        };
        Self::load(name, &published, path, &device.open()?)
    }

    /// The encoder with the sizes and the preparation of `published`.
    pub(crate) fn load(
        name: EncoderName,
        published: &Published,
        weights: &Path,
        device: &Device,
    ) -> Result<Self> {
        let Published { preprocessing, architecture, .. } = *published;
        let Loaded { network, weights_sha256, warnings } = architecture.load(name, weights, device)?;
        let learned = Learned {
            preprocessing,
            table: preprocessing.statistics.table(),
            network,
            images_per_pass: if device.is_cpu() {
                architecture.images_per_pass()
            } else {
                IMAGES_PER_PASS_ON_GPU
            },
        };
        Ok(Self {
            name,
            feature_dim: architecture.feature_dim(),
            kind: Kind::Learned(Box::new(learned)),
            weights_sha256: Some(weights_sha256),
            warnings,
        })
    }

    /// Its name.
    #[must_use]
    pub fn name(&self) -> EncoderName {
        self.name
    }

    /// SHA-256 of its weights, hexadecimal: the same for the same names, shapes and values as f32 (and activation, of QuiltNet),
    /// whatever file they lie in. `None` for `stain-texture`, which has none.
    #[must_use]
    pub fn weights_sha256(&self) -> Option<&str> {
        self.weights_sha256.as_deref()
    }

    /// What a person should know of the file of weights, such as an activation that nothing states.
    #[must_use]
    pub fn warnings(&self) -> &[String] {
        &self.warnings
    }

    /// Side of the square patches that it is made for, in pixels. Others are accepted and resized like these.
    #[must_use]
    pub fn patch_side(&self) -> usize {
        PATCH_SIDE
    }

    /// Width of its feature vectors.
    #[must_use]
    pub fn feature_dim(&self) -> usize {
        self.feature_dim
    }

    /// The features of each patch, `[patches, feature_dim]` row by row, all finite. Memory does not grow with the number of
    /// patches but by their features. Uses all threads of the pool that it is called in.
    ///
    /// # Errors
    /// [`Error::NonFiniteFeature`] if the weights lead to such.
    pub fn encode(&self, patches: &[RgbImage]) -> Result<Vec<f32>> {
        let features = match &self.kind {
            Kind::StainTexture => {
                let features: Vec<Vec<f32>> = patches.par_iter().map(stain_texture::encode).collect();
                features.concat()
            }
            Kind::Learned(learned) => learned.encode(patches)?,
        };
        match features.iter().position(|feature| !feature.is_finite()) {
            None => Ok(features),
            Some(index) => {
                Err(Error::NonFiniteFeature { encoder: self.name, patch_idx: index / self.feature_dim })
            }
        }
    }
}

impl Learned {
    fn encode(&self, patches: &[RgbImage]) -> Result<Vec<f32>> {
        let mut features = Vec::new();
        for patches in patches.chunks(self.images_per_pass) {
            let prepared = patches.par_iter().map(|patch| self.preprocessing.apply(patch));
            let images: Vec<RgbImage> = prepared.collect::<Result<_>>()?;
            let pixels = Pixels::normalised(&images, self.preprocessing.crop, &self.table);
            features.extend(self.network.forward(&pixels)?.flatten_all()?.to_vec1::<f32>()?);
        }
        Ok(features)
    }
}
