//! Bags of patch features from whole slide images: what they are in memory and on disk.

mod bag;
#[cfg(feature = "pt")]
mod element_type;
mod error;
mod features;
#[cfg(feature = "store")]
mod hdf5;
#[cfg(feature = "store")]
mod layout;
#[cfg(feature = "store")]
mod loader;
mod magnification;
#[cfg(feature = "pt")]
mod mmap;
#[cfg(feature = "store")]
pub mod native;
mod patch_set;
#[cfg(feature = "pt")]
pub mod pt;
#[cfg(feature = "pt")]
mod replace;
mod slide_name;
#[cfg(feature = "store")]
mod store;

pub use bag::Bag;
pub use error::{BoxedSource, Error, ErrorKind, FileKind, Result};
pub use features::FeatureMatrix;
#[cfg(feature = "store")]
pub use layout::Layout;
#[cfg(feature = "store")]
pub use loader::OrderedLoader;
pub use magnification::Magnification;
#[cfg(feature = "store")]
pub use native::SlideInfo;
pub use patch_set::{PatchGeometry, PatchSet, RowOrder};
#[cfg(feature = "pt")]
pub use pt::NamedTensor;
pub use slide_name::slide_stem;
#[cfg(feature = "store")]
pub use store::{BagStore, Presence};
