//! The published encoders: their sizes, their preparation of patches, and where their weights come from.

use std::path::Path;

use candle_core::{Device, Result, Tensor};

use crate::clip::{Clip, ClipConfig};
use crate::conch::{Conch, ConchConfig};
use crate::hidden_act::{HIDDEN_ACT, HiddenAct};
use crate::name::EncoderName;
use crate::pixels::Pixels;
use crate::preprocess::{Preprocessing, Resize, Statistics};
use crate::resample::Filter;
use crate::resnet::{Resnet, ResnetConfig};
use crate::vit::{Activation, Vit, VitConfig};
use crate::weights::{Parameters, Weights};

/// UNI2-h (Chen et al., 2024).
const UNI2_H: VitConfig = VitConfig {
    side: 224,
    patch: 14,
    width: 1536,
    depth: 24,
    n_heads: 24,
    activation: Activation::SwiGlu,
    hidden: 8192,
    layer_scale: true,
    n_registers: 8,
};

/// The tile encoder of Prov-GigaPath (Xu et al., 2024).
const PROV_GIGAPATH: VitConfig = VitConfig { side: 224, patch: 16, depth: 40, n_registers: 0, ..UNI2_H };

/// CONCH v1 (Lu et al., 2024).
const CONCH: ConchConfig = ConchConfig {
    trunk: VitConfig {
        side: 448,
        patch: 16,
        width: 768,
        depth: 12,
        n_heads: 12,
        activation: Activation::Gelu,
        hidden: 3072,
        layer_scale: false,
        n_registers: 0,
    },
    width: 512,
    n_heads: 8,
};

/// QuiltNet-B-32 (Ikezogwo et al., 2023).
const QUILTNET: ClipConfig = ClipConfig {
    side: 224,
    patch: 32,
    width: 768,
    depth: 12,
    n_heads: 12,
    hidden: 3072,
    activation: Activation::QuickGelu,
};

/// What a published encoder is.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Published {
    pub(crate) preprocessing: Preprocessing,
    pub(crate) architecture: Architecture,
    /// Repository on Hugging Face and file in it.
    pub(crate) repository: &'static str,
    pub(crate) file: &'static str,
}

impl Published {
    /// The encoder of this name; `None` for the one without weights.
    pub(crate) fn of(name: EncoderName) -> Option<Self> {
        let imagenet =
            |resize, filter| Preprocessing { resize, filter, crop: 224, statistics: Statistics::IMAGENET };
        let openai = |side| Preprocessing {
            resize: Resize::ShorterSide(side),
            filter: Filter::Bicubic,
            crop: side,
            statistics: Statistics::OPENAI,
        };
        let resnet = |n_stages| Self {
            preprocessing: imagenet(Resize::Square(224), Filter::Bilinear),
            architecture: Architecture::Resnet(ResnetConfig { n_stages }),
            repository: "timm/resnet50.tv_in1k",
            file: "model.safetensors",
        };
        Some(match name {
            EncoderName::Resnet50 => resnet(4),
            EncoderName::Resnet50Clam => resnet(3),
            EncoderName::Conch => Self {
                preprocessing: openai(448),
                architecture: Architecture::Conch(CONCH),
                repository: "MahmoodLab/CONCH",
                file: "pytorch_model.bin",
            },
            EncoderName::Uni2H => Self {
                preprocessing: imagenet(Resize::ShorterSide(224), Filter::Bilinear),
                architecture: Architecture::Vit(UNI2_H),
                repository: "MahmoodLab/UNI2-h",
                file: "pytorch_model.bin",
            },
            EncoderName::Quiltnet => Self {
                preprocessing: openai(224),
                architecture: Architecture::Clip(QUILTNET),
                repository: "wisdomik/QuiltNet-B-32",
                file: "pytorch_model.bin",
            },
            EncoderName::ProvGigapath => Self {
                preprocessing: imagenet(Resize::ShorterSide(256), Filter::Bicubic),
                architecture: Architecture::Vit(PROV_GIGAPATH),
                repository: "prov-gigapath/prov-gigapath",
                file: "pytorch_model.bin",
            },
            EncoderName::StainTexture => return None,
        })
    }
}

/// One of the networks of this crate, with its sizes.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Architecture {
    Resnet(ResnetConfig),
    Vit(VitConfig),
    Conch(ConchConfig),
    Clip(ClipConfig),
}

impl Architecture {
    /// The parameters, by their names in the published file.
    pub(crate) fn parameters(&self) -> Parameters {
        match self {
            Self::Resnet(config) => config.parameters(),
            Self::Vit(config) => Parameters { wanted: config.parameters(""), unused: |_| false },
            Self::Conch(config) => config.parameters(),
            Self::Clip(config) => config.parameters(),
        }
    }

    /// Width of the feature vector.
    pub(crate) fn feature_dim(&self) -> usize {
        match self {
            Self::Resnet(config) => config.feature_dim(),
            Self::Vit(config) => config.width,
            Self::Conch(config) => config.width,
            Self::Clip(config) => config.width,
        }
    }

    /// Images that one pass holds: enough to fill the products, few enough that activations stay small. Those of a
    /// transformer take some 0.3 GB; a ResNet hands its images to threads in groups, whose maps take 0.1 GB each.
    pub(crate) fn images_per_pass(&self) -> usize {
        const TOKENS: usize = 4096;
        let n_tokens = match self {
            Self::Resnet(_) => return Resnet::IMAGES_PER_PASS,
            Self::Vit(config) => config.n_tokens(),
            Self::Conch(config) => config.trunk.n_tokens(),
            Self::Clip(config) => config.n_tokens(),
        };
        (TOKENS / n_tokens).max(1)
    }

    /// The network with the weights of a file, on `device`.
    ///
    /// # Errors
    /// If the file is not one of this encoder, or it or a `config.json` beside it says what is not known here.
    pub(crate) fn load(&self, encoder: EncoderName, path: &Path, device: &Device) -> crate::Result<Loaded> {
        let mut weights = Weights::open(path, encoder, &self.parameters(), device)?;
        let mut warnings: Vec<String> = weights.file().rivals().into_iter().collect();
        let mut setting = None;
        let network = match self {
            Self::Resnet(config) => Network::Resnet(Resnet::load(*config, &mut weights, device)?),
            Self::Vit(config) => Network::Vit(Vit::load(config, &mut weights, "")?),
            Self::Conch(config) => Network::Conch(Conch::load(config, &mut weights)?),
            Self::Clip(config) => {
                let HiddenAct { activation, name, warning } = HiddenAct::of(weights.file())?;
                warnings.extend(warning);
                setting = Some([HIDDEN_ACT, name]);
                Network::Clip(Clip::load(&ClipConfig { activation, ..*config }, &mut weights)?)
            }
        };
        Ok(Loaded { network, weights_sha256: weights.finish(setting), warnings })
    }
}

/// A network that was read from a file.
#[derive(Debug)]
pub(crate) struct Loaded {
    pub(crate) network: Network,
    /// By which bags tell its weights apart.
    pub(crate) weights_sha256: String,
    /// What a person should know of the file.
    pub(crate) warnings: Vec<String>,
}

/// A network with its weights.
#[derive(Debug)]
pub(crate) enum Network {
    Resnet(Resnet),
    Vit(Vit),
    Conch(Conch),
    Clip(Clip),
}

impl Network {
    /// `[n_images, feature_dim]`.
    pub(crate) fn forward(&self, pixels: &Pixels) -> Result<Tensor> {
        match self {
            Self::Resnet(network) => network.forward(pixels),
            Self::Vit(network) => network.class_tokens(pixels),
            Self::Conch(network) => network.forward(pixels),
            Self::Clip(network) => network.forward(pixels),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_giants_have_their_published_numbers_of_parameters() {
        let n_parameters = |name: EncoderName| name.n_parameters();
        assert_eq!(n_parameters(EncoderName::Uni2H), 681_394_176);
        assert_eq!(n_parameters(EncoderName::ProvGigapath), 1_134_953_984);
        assert_eq!(n_parameters(EncoderName::Resnet50), 23_508_032);
        // Hugging Face's CLIPVisionModel of these sizes.
        assert_eq!(n_parameters(EncoderName::Quiltnet), 87_456_000);
    }

    #[test]
    fn the_giants_have_their_published_numbers_of_tensors() {
        let n_tensors = |config: VitConfig| config.parameters("").len();
        assert_eq!(n_tensors(UNI2_H), 343);
        assert_eq!(n_tensors(PROV_GIGAPATH), 566);
    }
}
