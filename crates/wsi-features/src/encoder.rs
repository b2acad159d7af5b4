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

    /// What tells its weights apart from others, as [`Encoder::weights_sha256`]; `None` for an encoder without weights. Bags
    /// state it.
    fn weights_sha256(&self) -> Option<&str> {
        None
    }

    /// What a person should know of it before the first slide.
    fn warnings(&self) -> &[String] {
        &[]
    }

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

    fn weights_sha256(&self) -> Option<&str> {
        Encoder::weights_sha256(self)
    }

    fn warnings(&self) -> &[String] {
        Encoder::warnings(self)
    }

    fn encode(&self, patches: &[RgbImage]) -> patch_encoders::Result<Vec<f32>> {
        Encoder::encode(self, patches)
    }
}
