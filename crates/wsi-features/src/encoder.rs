//! What the pipeline needs of an encoder.

use patch_encoders::{Encoder, RgbImage};

/// Turns patches into feature vectors. The published encoders and `stain-texture` are [`Encoder`]; anything else that
/// does so may take its place.
pub trait PatchEncoder: Sync {
    /// The name under which features are stored.
    fn name(&self) -> &str;

    /// Side of the square patches that it is given, in pixels.
    fn patch_side(&self) -> usize;

    /// Width of a feature vector.
    fn feature_dim(&self) -> usize;

    /// The features of each patch, `[patches, feature_dim]` row by row, all finite.
    ///
    /// # Errors
    /// Those of [`Encoder::encode`].
    fn encode(&self, patches: &[RgbImage]) -> patch_encoders::Result<Vec<f32>>;
}

impl PatchEncoder for Encoder {
    fn name(&self) -> &str {
        Encoder::name(self).as_str()
    }

    fn patch_side(&self) -> usize {
        Encoder::patch_side(self)
    }

    fn feature_dim(&self) -> usize {
        Encoder::feature_dim(self)
    }

    fn encode(&self, patches: &[RgbImage]) -> patch_encoders::Result<Vec<f32>> {
        Encoder::encode(self, patches)
    }
}
