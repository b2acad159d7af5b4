//! Bags of patch features from whole slide images: what they are in memory and on disk.
//!
//! A whole slide is cut into patches at one or more of three magnifications, an encoder turns each patch into a
//! feature vector, and the unordered collection is what survival models see: a [`Bag`]. It has a [`PatchSet`] for each
//! [`Magnification`], and a patch set has a [`FeatureMatrix`] and, where known, coordinates, parents and tissue
//! classes. All of these are checked when they are made, so code that holds one need not check it again: row counts
//! agree, widths agree, every feature is finite.
//!
//! On disk there are the layouts of several tools and this crate's own, read through [`BagStore`] and, ahead of use,
//! through [`OrderedLoader`]; [`Converter`] turns one into another. Slides are paired across magnifications by name.
//!
//! | [`Layout`] | files | written by |
//! |---|---|---|
//! | `crossfusion` | `<root>/<backbone>/x5\|x10\|x20/pt_files/<slide>.pt` | [`pt::write_features`], CLAM |
//! | `native` | `<root>/<slide>.h5` | [`native::write`] |
//! | `safetensors` | `<root>/<backbone>/x5\|x10\|x20/<slide>.safetensors` | [`safetensors::write`] |
//! | `clam`, `trident`, `stamp`, `atlaspatch`, `mmp` | as these tools leave them | them; `clam` also [`Converter`] |
//!
//! Features that lie in a file as 32-bit floats are not copied but memory-mapped, so a bag costs little until it is
//! used. Files are not trusted: sizes are compared with what is there before memory is set aside, pickles are read by
//! an interpreter that cannot call anything, and every [`Error`] names the file, what was found and what was wanted.
//!
#![cfg_attr(feature = "store", doc = "```")]
#![cfg_attr(not(feature = "store"), doc = "```text")]
//! use wsi_bags::{Bag, BagStore, FeatureMatrix, Magnification, PatchSet, SlideInfo, native};
//!
//! # let directory = tempfile::tempdir().unwrap();
//! # let root = directory.path();
//! let coarse = PatchSet::new(FeatureMatrix::new(vec![0.5; 4], 1, 4)?).with_coords(vec![[0, 0]])?;
//! let fine = PatchSet::new(FeatureMatrix::new(vec![0.25; 8], 2, 4)?).with_coords(vec![[0, 0], [512, 0]])?;
//! let bag = Bag::new("slide-1", [(Magnification::X5, coarse), (Magnification::X20, fine)])?;
//! native::write(&root.join("slide-1.h5"), &bag, "uni", &SlideInfo::default())?;
//!
//! let store = BagStore::open(root, None, "uni")?;
//! let read = store.read("slide-1.svs", &[Magnification::X5, Magnification::X20])?;
//! assert_eq!(read, bag);
//! assert_eq!(read.at(Magnification::X20)?.features().row(1), Some(&[0.25; 4][..]));
//! # Ok::<(), wsi_bags::Error>(())
//! ```
//!
//! Cargo features: `store` (default) for everything above; `hdf5` for HDF5 through the C library; `pt` for `.pt` files
//! alone; without any, only the types in memory, which depend on nothing.
#![cfg_attr(
    not(feature = "store"),
    allow(rustdoc::broken_intra_doc_links, reason = "items of a feature that is off")
)]

mod bag;
#[cfg(feature = "store")]
mod clam;
#[cfg(feature = "store")]
mod convert;
#[cfg(feature = "store")]
mod coords;
#[cfg(feature = "store")]
mod description;
#[cfg(feature = "pt")]
mod element_type;
mod error;
#[cfg(feature = "pt")]
mod feature_type;
mod features;
mod file_kind;
#[cfg(feature = "store")]
mod folder_lock;
#[cfg(feature = "store")]
mod folders;
#[cfg(feature = "pt")]
mod gather;
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
mod named_root;
#[cfg(feature = "store")]
pub mod native;
#[cfg(feature = "store")]
mod one_slide;
mod parents;
mod patch_set;
#[cfg(feature = "store")]
mod patch_source;
#[cfg(feature = "store")]
mod presence;
mod provenance;
#[cfg(feature = "pt")]
pub mod pt;
#[cfg(feature = "store")]
mod read_ahead;
pub mod regular_file;
#[cfg(feature = "pt")]
mod replace;
#[cfg(feature = "store")]
pub mod safetensors;
#[cfg(feature = "store")]
mod sample;
#[cfg(feature = "store")]
mod scale_file;
#[cfg(feature = "store")]
mod scale_parents;
#[cfg(feature = "store")]
pub mod scores;
#[cfg(feature = "store")]
mod shared_file;
#[cfg(feature = "store")]
mod slide_info;
mod slide_name;
#[cfg(feature = "store")]
mod slide_names;
#[cfg(feature = "store")]
mod store;

pub use bag::Bag;
#[cfg(feature = "store")]
pub use convert::{Converted, ConvertedSet, Converter};
#[cfg(feature = "store")]
pub use coords::lattice_step;
#[cfg(feature = "store")]
pub use description::PatchDescription;
pub use error::{BoxedSource, Error, ErrorKind, Result};
#[cfg(feature = "pt")]
pub use feature_type::FeatureType;
pub use features::FeatureMatrix;
pub use file_kind::FileKind;
#[cfg(feature = "store")]
pub use folder_lock::FolderLock;
#[cfg(feature = "store")]
pub use layout::Layout;
#[cfg(feature = "store")]
pub use loader::OrderedLoader;
pub use magnification::Magnification;
#[cfg(feature = "store")]
pub use named_root::named_root;
pub use parents::{Parents, Squares, parents};
pub use patch_set::{PatchGeometry, PatchSet, RowOrder};
#[cfg(feature = "store")]
pub use presence::Presence;
pub use provenance::Provenance;
#[cfg(feature = "pt")]
pub use pt::NamedTensor;
#[cfg(feature = "store")]
pub use read_ahead::ReadAhead;
#[cfg(feature = "pt")]
pub use replace::name_beside;
#[cfg(feature = "store")]
pub use slide_info::SlideInfo;
pub use slide_name::slide_stem;
#[cfg(feature = "store")]
pub use slide_names::SlideNames;
#[cfg(feature = "store")]
pub use store::BagStore;
