//! Whole slide images: pixels, physical resolution, tissue and patch lattices.
//!
//! [`open`] gives a [`SlideReader`]: SVS and other tiled TIFF files (JPEG, JPEG 2000, lossless), BigTIFF, PNG and JPEG
//! without any system library; with the feature `openslide`, whatever OpenSlide reads. [`resolve`] decides what the
//! slide's magnification is and says by which rule; nothing is assumed where the file is silent. [`tissue`] is CLAM's
//! segmentation, stage by stage; [`lattice`] says where patches are cut. [`render`] makes slides whose truth is known.
//!
//! Coordinates are level-0 pixels unless said otherwise, and corners are top left.
//!
//! ```
//! use wsi_bags::Magnification;
//! use wsi_slides::lattice::{PatchSides, nested};
//! use wsi_slides::render::{RenderOptions, render};
//! use wsi_slides::tissue::{self, Preset};
//! use wsi_slides::{Preference, ResolutionOverride, open, resolve};
//!
//! # let directory = tempfile::tempdir().unwrap();
//! let path = directory.path().join("slide-1.svs");
//! render(&path, &RenderOptions { n_cells: 4, ..RenderOptions::default() })?;
//!
//! let slide = open(&path)?;
//! let resolution = resolve(slide.stated_resolution(), ResolutionOverride::default(), Preference::Mpp)?;
//! assert_eq!(resolution.base, 20.0);
//! let tissue = tissue::find(slide.as_ref(), &Preset::BwhBiopsy.params())?;
//! let sides = PatchSides::nominal(&resolution, Magnification::X20)?;
//! let size = [slide.levels()[0].width, slide.levels()[0].height];
//! let scales = nested(&tissue.contours, size, sides, &Magnification::ALL);
//! assert!(scales[2].patches.corners.len() > scales[0].patches.corners.len());
//! # Ok::<(), wsi_slides::Error>(())
//! ```

mod error;
mod image_slide;
mod jpeg;
pub mod lattice;
mod ome;
#[cfg(feature = "openslide")]
mod openslide;
mod pyramid_writer;
mod reader;
mod region;
pub mod render;
mod resolution;
mod resolution_warning;
mod tiff_directories;
mod tiff_entries;
mod tiff_form;
mod tiff_levels;
mod tiff_lossless;
mod tiff_page;
mod tiff_samples;
mod tiff_slide;
mod tiff_tags;
mod tile;
mod tile_codec;
pub mod tissue;

pub use error::{BoxedSource, Error, ErrorKind, Result};
pub use image_slide::ImageSlide;
#[cfg(feature = "openslide")]
pub use openslide::OpenSlideReader;
pub use pyramid_writer::{LevelTags, PyramidWriter, TileCompression, TilePlace};
pub use reader::{LARGEST_REGION, Level, SlideReader, SlideWarning, open};
pub use resolution::{
    NOTEWORTHY_DIFFERENCE, PLAUSIBLE_MPP, Preference, Resolution, ResolutionOverride, Rule, StatedResolution,
    magnification_of_mpp, resolve, resolve_slide,
};
pub use resolution_warning::ResolutionWarning;
pub use tiff_slide::{TiffSlide, UNREAD_DIRECTORIES};
