//! The encoders by name.

use std::fmt;
use std::str::FromStr;

use crate::error::{Error, Result};
use crate::published::Published;
use crate::stain_texture::N_FEATURES;
use crate::weights::Parameters;

/// An encoder of this crate. Text in and out is the name that command lines and bags use.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum EncoderName {
    /// `resnet50`: the whole ResNet50, 2048 features.
    Resnet50,
    /// `resnet50-clam`: ResNet50 up to its third stage, as CLAM cuts it, 1024 features.
    Resnet50Clam,
    /// `conch`: CONCH v1, 512 features before the contrastive projection.
    Conch,
    /// `uni2-h`: UNI2-h, 1536 features.
    Uni2H,
    /// `quiltnet`: QuiltNet-B-32, 768 features before the visual projection.
    Quiltnet,
    /// `prov-gigapath`: the tile encoder of Prov-GigaPath, 1536 features.
    ProvGigapath,
    /// `stain-texture`: stain and texture statistics, see [`stain_texture`](crate::stain_texture); no weights.
    StainTexture,
}

impl EncoderName {
    /// Every encoder.
    pub const ALL: [Self; 7] = [
        Self::Resnet50,
        Self::Resnet50Clam,
        Self::Conch,
        Self::Uni2H,
        Self::Quiltnet,
        Self::ProvGigapath,
        Self::StainTexture,
    ];

    /// The name.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Resnet50 => "resnet50",
            Self::Resnet50Clam => "resnet50-clam",
            Self::Conch => "conch",
            Self::Uni2H => "uni2-h",
            Self::Quiltnet => "quiltnet",
            Self::ProvGigapath => "prov-gigapath",
            Self::StainTexture => "stain-texture",
        }
    }

    /// Width of its feature vectors.
    #[must_use]
    pub fn feature_dim(self) -> usize {
        Published::of(self).map_or(N_FEATURES, |published| published.architecture.feature_dim())
    }

    /// Whether it is of no use without a file of weights.
    #[must_use]
    pub fn needs_weights(self) -> bool {
        Published::of(self).is_some()
    }

    /// The number of its learned parameters, from its sizes alone; 0 for `stain-texture`.
    #[must_use]
    pub fn n_parameters(self) -> usize {
        self.parameters().map_or(0, |parameters| parameters.n_scalars())
    }

    /// Its parameters, as its published file names them.
    pub(crate) fn parameters(self) -> Option<Parameters> {
        Published::of(self).map(|published| published.architecture.parameters())
    }

    /// All names, for a message.
    pub(crate) fn list() -> String {
        Self::ALL.map(Self::as_str).join(", ")
    }
}

impl fmt::Display for EncoderName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

impl FromStr for EncoderName {
    type Err = Error;

    fn from_str(name: &str) -> Result<Self> {
        let found = Self::ALL.into_iter().find(|encoder| encoder.as_str() == name);
        found.ok_or_else(|| Error::UnknownEncoder { name: name.to_owned() })
    }
}
