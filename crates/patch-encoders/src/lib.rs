//! Patches of whole slide images to feature vectors.
//!
//! An [`Encoder`] is made by name, with its file of weights where it has one, and turns a batch of 8-bit RGB patches into
//! one vector each, on the CPU or, built with feature `cuda`, on a GPU ([`Encoder::open_on`]). It prepares patches as its authors did: [`resize()`] equals Pillow's in every sample.
//!
//! | name | features | prepared from a patch | architecture |
//! |---|---|---|---|
//! | `resnet50` | 2048 | 224 x 224, bilinear | ResNet50, mean over the last stage |
//! | `resnet50-clam` | 1024 | 224 x 224, bilinear | the same, mean over the third stage |
//! | `conch` | 512 | 448 x 448, bicubic | ViT-B/16 with attention pooling |
//! | `uni2-h` | 1536 | 224 x 224, bilinear | ViT-H/14 with 8 registers, class token |
//! | `quiltnet` | 768 | 224 x 224, bicubic | CLIP ViT-B/32, class token |
//! | `prov-gigapath` | 1536 | 256 x 256, bicubic, centre 224 x 224 | ViT-g/16, class token |
//! | `stain-texture` | 128 | as it is | none: see [`stain_texture`] |
//!
//! With feature `hub`, `hub::fetch_weights` gets the file by name from Hugging Face.
//!
//! ```
//! use patch_encoders::{Encoder, EncoderName, RgbImage};
//!
//! let encoder = Encoder::open(EncoderName::StainTexture, None)?;
//! let patch = RgbImage::new(256, 256, vec![230; 256 * 256 * 3])?;
//! let features = encoder.encode(&[patch.clone(), patch])?;
//! assert_eq!(features.len(), 2 * encoder.feature_dim());
//! # Ok::<(), patch_encoders::Error>(())
//! ```

mod clip;
mod conch;
mod convert;
mod encoder;
mod error;
mod hidden_act;
#[cfg(feature = "hub")]
pub mod hub;
mod linear;
mod name;
mod ops;
mod pixels;
mod preprocess;
mod published;
mod resample;
mod resnet;
mod rgb_image;
#[cfg(test)]
mod small_versions;
pub mod stain_texture;
mod tensor_file;
#[cfg(test)]
mod tiny_towers;
mod vit;
mod weights;
mod weights_hash;

pub use cf_layers::kernels::TensorAllocator;
pub use cf_layers::kernels::device::DeviceName;
pub use convert::{Converted, convert_weights};
pub use encoder::Encoder;
pub use error::{Error, Mismatch, Result};
pub use name::EncoderName;
pub use resample::{Filter, resize};
pub use rgb_image::RgbImage;
