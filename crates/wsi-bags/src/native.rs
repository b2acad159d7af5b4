//! The native bag format: one HDF5 file per slide.
//!
//! ```text
//! <slide>.h5                     attributes: slide_width, slide_height, mpp (where known), producer, producer_version,
//!                                lattice (how patches were laid, as in `nested`), tissue (what counted as such), slide_file and
//!                                slide_bytes (name and size of the slide's file); where known
//!   x5  x10  x20                 attributes: patch_size_level0, mpp (where known), row_order ("row-major" or "file"),
//!                                parent_fallbacks (where counted)
//!     coords    [n, 2] i64       x, y of the top left corner in level-0 pixels
//!     features/
//!       <encoder> [n, d] f32     or f16; contiguous; f64, chunked and compressed datasets are read as well;
//!                                attributes: tool, tool_version, encoder (what made the features), weights_sha256 (of the
//!                                encoder's weights), pixels (which level patches were read from); where known
//!     parent    [n] i64          optional: index into the next coarser magnification (of x20: x10), -1 for none
//!     tissue    [n] u8           optional: tissue class, by convention under x20
//! ```
//!
//! Contiguous 32-bit features are not copied when read but stay in the memory-mapped file.
//!
//! ```
//! use wsi_bags::{Bag, FeatureMatrix, Magnification, PatchSet, SlideInfo, native};
//!
//! # let directory = tempfile::tempdir().unwrap();
//! let path = directory.path().join("slide-1.h5");
//! let features = FeatureMatrix::new(vec![0.5; 2 * 8], 2, 8)?;
//! let patches = PatchSet::new(features).with_coords(vec![[0, 0], [512, 0]])?;
//! let bag = Bag::new("slide-1", [(Magnification::X20, patches)])?;
//! let slide = SlideInfo { width: Some(20_000), height: Some(10_000), mpp: Some(0.25) };
//!
//! native::write(&path, &bag, "stain-texture", &slide)?;
//! assert_eq!(native::encoders(&path)?, ["stain-texture"]);
//! assert_eq!(native::read(&path, "stain-texture", &[Magnification::X20])?, bag);
//! # Ok::<(), wsi_bags::Error>(())
//! ```

mod add;
mod lattice;
mod origin;
mod set;

use std::collections::BTreeSet;
use std::path::Path;
use std::rc::Rc;

use crate::bag::Bag;
use crate::coords::{Frame, check_frame};
use crate::error::{Error, ErrorKind, Result};
use crate::feature_type::FeatureType;
use crate::hdf5::{GroupWriter, Reader, Rows, Values, Writer};
use crate::magnification::Magnification;
use crate::patch_set::PatchSet;
use crate::patch_source::PatchSource;
use crate::provenance::Provenance;
use crate::replace::replace_file;
use crate::slide_info::SlideInfo;
use crate::slide_name::check_name;

pub(crate) use add::{GivenPatches, add_sets, check_same_patches};
pub use add::{Placed, add_features, add_lacking_features, write_or_add};
pub use lattice::{Lattice, lattices};
pub use origin::{Origin, OriginDifference, origin};

use set::{group_encoders, open_set, present_groups};

const COORDS: &str = "coords";
const FEATURES: &str = "features";
const PARENT: &str = "parent";
const PARENT_FALLBACKS: &str = "parent_fallbacks";
const TISSUE: &str = "tissue";
const TOOL: &str = "tool";
const TOOL_VERSION: &str = "tool_version";
const ENCODER: &str = "encoder";
const WEIGHTS_SHA256: &str = "weights_sha256";
const PIXELS: &str = "pixels";

/// Reads the features of `encoder` at each of `magnifications`, with coordinates and what else is known.
///
/// The slide id is the file's name without `.h5`.
///
/// # Errors
/// With the path and the place in the file: [`ErrorKind::MissingMagnification`], [`ErrorKind::MissingEncoder`],
/// [`ErrorKind::MissingDataset`] without coordinates, [`ErrorKind::Shape`], [`ErrorKind::ElementType`],
/// [`ErrorKind::RowCount`], [`ErrorKind::NonFinite`], [`ErrorKind::Attribute`], [`ErrorKind::Parent`],
/// [`ErrorKind::RowOrder`], those of [`Bag::new`], and [`ErrorKind::FileKind`], [`ErrorKind::Limit`],
/// [`ErrorKind::Io`] or [`ErrorKind::Hdf5`] if the file cannot be read.
pub fn read(path: &Path, encoder: &str, magnifications: &[Magnification]) -> Result<Bag> {
    let slide_id = path.file_stem().map(|stem| stem.to_string_lossy().into_owned()).unwrap_or_default();
    let read = || {
        let reader = Rc::new(Reader::open(path)?);
        let sets = magnifications
            .iter()
            .map(|magnification| {
                let source = open_set(path, &reader, encoder, *magnification)?;
                let patches = source.into_patches().map_err(|error| error.at_place(magnification))?;
                Ok((*magnification, patches))
            })
            .collect::<Result<Vec<_>>>()?;
        Bag::new(slide_id, sets)
    };
    read().map_err(|error: Error| error.in_file(path))
}

/// What the file says of the patches of one magnification. Features are not read.
pub(crate) fn open(path: &Path, encoder: &str, magnification: Magnification) -> Result<PatchSource> {
    let open = || open_set(path, &Rc::new(Reader::open(path)?), encoder, magnification);
    open().map_err(|error: Error| error.in_file(path))
}

/// Whether the file has a group of any magnification.
pub(crate) fn has_groups(path: &Path) -> Result<bool> {
    let has = || Ok(!present_groups(&Reader::open(path)?)?.is_empty());
    has().map_err(|error: Error| error.in_file(path))
}

/// What the file states about its slide.
///
/// # Errors
/// [`ErrorKind::Attribute`] if a number is not positive and finite; [`ErrorKind::FileKind`], [`ErrorKind::Io`] or
/// [`ErrorKind::Hdf5`] if the file cannot be read.
pub fn slide_info(path: &Path) -> Result<SlideInfo> {
    let read = || {
        let reader = Reader::open(path)?;
        set::slide_info(&reader.root())
    };
    read().map_err(|error: Error| error.in_file(path))
}

/// The encoders whose features are in the file, at any magnification, sorted.
///
/// # Errors
/// [`ErrorKind::FileKind`], [`ErrorKind::Io`] or [`ErrorKind::Hdf5`] if the file cannot be read.
pub fn encoders(path: &Path) -> Result<Vec<String>> {
    let read = || {
        let reader = Reader::open(path)?;
        let mut names = BTreeSet::new();
        for magnification in Magnification::ALL {
            names.extend(group_encoders(&reader, magnification)?);
        }
        Ok(names.into_iter().collect())
    };
    read().map_err(|error: Error| error.in_file(path))
}

/// The magnifications at which the file has features of `encoder`, coarse to fine. No features are read.
///
/// # Errors
/// [`ErrorKind::FileKind`], [`ErrorKind::Io`] or [`ErrorKind::Hdf5`] if the file cannot be read.
pub fn magnifications(path: &Path, encoder: &str) -> Result<Vec<Magnification>> {
    let read = || {
        let reader = Reader::open(path)?;
        let mut present = Vec::new();
        for magnification in Magnification::ALL {
            if group_encoders(&reader, magnification)?.iter().any(|found| found == encoder) {
                present.push(magnification);
            }
        }
        Ok(present)
    };
    read().map_err(|error: Error| error.in_file(path))
}

/// What the file states of the making of the features of `encoder`, at each magnification that has them, coarse to fine. No
/// features are read.
///
/// # Errors
/// [`ErrorKind::Attribute`] if something is stated that is no text; [`ErrorKind::FileKind`], [`ErrorKind::Io`] or
/// [`ErrorKind::Hdf5`] if the file cannot be read.
pub fn provenances(path: &Path, encoder: &str) -> Result<Vec<(Magnification, Provenance)>> {
    let read = || {
        let reader = Reader::open(path)?;
        let mut stated = Vec::new();
        for magnification in Magnification::ALL {
            if !group_encoders(&reader, magnification)?.iter().any(|found| found == encoder) {
                continue;
            }
            if let Some(features) = reader.group(&format!("{magnification}/{FEATURES}"))? {
                stated.push((magnification, set::provenance(&features, encoder)?));
            }
        }
        Ok(stated)
    };
    read().map_err(|error: Error| error.in_file(path))
}

/// Writes a bag whose features come from `encoder`, replacing any file of that name.
///
/// The file is written beside its name and renamed, so it is never seen half done. Equal bags give equal bytes. To
/// keep the features of another encoder that are there already, use [`add_features`] or [`write_or_add`].
///
/// # Errors
/// [`ErrorKind::MissingDataset`] if a set has no coordinates, [`ErrorKind::Coords`] if they cannot be level-0 pixels of
/// `slide`, [`ErrorKind::Geometry`] if `slide` has an impossible
/// number, [`ErrorKind::Name`] if `encoder` cannot be a name, [`ErrorKind::Hdf5`] or [`ErrorKind::Io`] if the file
/// cannot be written.
pub fn write(path: &Path, bag: &Bag, encoder: &str, slide: &SlideInfo) -> Result<()> {
    replace_file(path, |beside| write_bag(beside, bag, encoder, slide))
}

/// Writes a bag into a new file.
fn write_bag(file: &Path, bag: &Bag, encoder: &str, slide: &SlideInfo) -> Result<()> {
    write_sets(file, encoder, slide, |file| file.write_all(bag))
}

/// A file being written, one magnification after the other.
pub(crate) struct SetWriter<'a> {
    root: GroupWriter<'a>,
    encoder: &'a str,
    frame: Frame,
}

impl SetWriter<'_> {
    /// States where the patches come from.
    fn state_origin(&self, origin: &Origin) -> Result<()> {
        origin.write(&self.root)
    }

    fn write_all(&self, bag: &Bag) -> Result<()> {
        bag.sets().try_for_each(|(magnification, set)| self.write(magnification, set, FeatureType::F32))
    }

    /// Writes the patches of one magnification, each of them once.
    pub(crate) fn write(
        &self,
        magnification: Magnification,
        set: &PatchSet,
        feature_type: FeatureType,
    ) -> Result<()> {
        let group = || self.root.create_group(magnification.label());
        check_frame(set.coords().unwrap_or_default(), self.frame)
            .and_then(|()| write_set(&group()?, set, self.encoder, feature_type))
            .map_err(|error| error.at_place(magnification))
    }
}

/// Writes a new file whose sets `write` hands over, so that no more than one need be in memory.
pub(crate) fn write_sets(
    file: &Path,
    encoder: &str,
    slide: &SlideInfo,
    write: impl FnOnce(&SetWriter<'_>) -> Result<()>,
) -> Result<()> {
    check_name("encoder", encoder)?;
    slide.check()?;
    let writer = Writer::create(file)?;
    let root = writer.root();
    write_slide_info(&root, slide)?;
    let frame = Frame { slide_size: [slide.width, slide.height], step: None };
    write(&SetWriter { root, encoder, frame })?;
    writer.finish()
}

/// What files of this crate say at their top: who wrote them, and what is known of the slide.
pub(crate) fn write_slide_info(root: &GroupWriter<'_>, slide: &SlideInfo) -> Result<()> {
    root.set_text("producer", env!("CARGO_PKG_NAME"))?;
    root.set_text("producer_version", env!("CARGO_PKG_VERSION"))?;
    for (name, value) in [("slide_width", slide.width), ("slide_height", slide.height)] {
        if let Some(value) = value {
            root.set_whole(name, value)?;
        }
    }
    slide.mpp.map_or(Ok(()), |mpp| root.set_float("mpp", mpp))
}

fn write_set(
    group: &GroupWriter<'_>,
    set: &PatchSet,
    encoder: &str,
    feature_type: FeatureType,
) -> Result<()> {
    let Some(coords) = set.coords() else {
        return Err(
            ErrorKind::MissingDataset { name: COORDS.to_owned(), found: vec![FEATURES.to_owned()] }.into()
        );
    };
    group.set_text("row_order", set.row_order().label())?;
    if let Some(side) = set.geometry().patch_size_level0 {
        group.set_whole("patch_size_level0", u64::from(side))?;
    }
    if let Some(mpp) = set.geometry().mpp {
        group.set_float("mpp", mpp)?;
    }
    let n = set.n_patches();
    group.write(COORDS, [n, 2], Values::I64(coords.as_flattened()), Rows::Contiguous)?;
    if let Some(parents) = set.parents() {
        let stored: Vec<i64> = parents.iter().map(|parent| parent.map_or(-1, i64::from)).collect();
        group.write_list(PARENT, Values::I64(&stored))?;
    }
    if let Some(n_fallbacks) = set.parent_fallbacks() {
        group.set_whole(PARENT_FALLBACKS, n_fallbacks as u64)?;
    }
    if let Some(tissue) = set.tissue() {
        group.write_list(TISSUE, Values::U8(tissue))?;
    }
    write_features(&group.create_group(FEATURES)?, set, encoder, feature_type)
}

fn write_features(
    group: &GroupWriter<'_>,
    set: &PatchSet,
    encoder: &str,
    feature_type: FeatureType,
) -> Result<()> {
    group.write_features(encoder, set.features(), feature_type, Rows::Contiguous)?;
    let provenance = set.provenance();
    let dataset = group.group(encoder);
    let attributes = [
        (TOOL, &provenance.tool),
        (TOOL_VERSION, &provenance.tool_version),
        (ENCODER, &provenance.encoder),
        (WEIGHTS_SHA256, &provenance.weights_sha256),
        (PIXELS, &provenance.pixels),
    ];
    for (name, value) in attributes {
        if let Some(value) = value {
            dataset.set_text(name, value)?;
        }
    }
    Ok(())
}
