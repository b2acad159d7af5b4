//! Adding the features of another encoder to a file.

use std::path::Path;

use crate::bag::Bag;
use crate::error::{Error, ErrorKind, Result};
use crate::feature_type::FeatureType;
use crate::hdf5::{Group, Reader, Writer};
use crate::magnification::Magnification;
use crate::patch_set::{PatchGeometry, PatchSet};
use crate::shared_file::complete_file;
use crate::slide_info::SlideInfo;
use crate::slide_name::check_name;

use super::set::{geometry, group_encoders, present_groups, slide_info};
use super::{COORDS, FEATURES, Origin, magnifications, write_features, write_sets};

/// What became of the features of a bag.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Placed {
    /// There was no file, and now there is.
    Written,
    /// They were added to the file.
    Added,
    /// The file had them.
    Present,
}

/// Adds the features of another encoder to a file, for the same patches.
///
/// The file is copied, completed beside its name and renamed. Processes with other encoders may do so at the same time: what one of
/// them put there meanwhile is kept, as [`FolderLock`](crate::FolderLock) tells. Magnifications that the file has and `bag` lacks
/// stay without features of `encoder`.
///
/// # Errors
/// [`ErrorKind::Content`] if the file has features of `encoder` already, or if coordinates, or patch sizes and micrometres per pixel
/// that both state, are not those of the file,
/// [`ErrorKind::MissingMagnification`] if the file lacks a magnification of `bag`, and those of
/// [`read`](super::read) and [`write()`](super::write).
pub fn add_features(path: &Path, bag: &Bag, encoder: &str) -> Result<()> {
    complete_file(path, |beside| add(path, beside, &bag.sets().collect::<Vec<_>>(), encoder, UNKNOWN))
        .map(drop)
}

/// [`add_features`] at the magnifications at which the file has none of `encoder`.
///
/// # Errors
/// As [`add_features`].
pub fn add_lacking_features(path: &Path, bag: &Bag, encoder: &str) -> Result<Placed> {
    let placed = complete_file(path, |beside| add_lacking(path, beside, bag, encoder, UNKNOWN))?;
    Ok(placed.unwrap_or(Placed::Present))
}

/// [`write()`](super::write), or [`add_lacking_features`] where there is a file: for processes that may make it at the same time.
/// A new file states the `origin` of its patches.
///
/// # Errors
/// Those of both; [`ErrorKind::Content`] also if the file states another size or resolution of the slide, or another origin of its patches.
pub fn write_or_add(
    path: &Path,
    bag: &Bag,
    encoder: &str,
    slide: &SlideInfo,
    origin: &Origin,
) -> Result<Placed> {
    let placed = complete_file(path, |beside| {
        if path.exists() {
            if let Some(of) = super::origin(path)?.difference(origin) {
                let found = format!("patches with the {} {}, and these have {}", of.what, of.here, of.there);
                let wanted = "patches of one slide file, laid one way";
                return Err(Error::from(ErrorKind::Content { found, wanted }).in_file(path));
            }
            return add_lacking(path, beside, bag, encoder, *slide);
        }
        write_sets(beside, encoder, slide, |file| {
            file.state_origin(origin)?;
            file.write_all(bag)
        })?;
        Ok(Some(Placed::Written))
    })?;
    Ok(placed.unwrap_or(Placed::Present))
}

/// Nothing is stated of the slide.
const UNKNOWN: SlideInfo = SlideInfo { width: None, height: None, mpp: None };

fn add_lacking(
    path: &Path,
    beside: &Path,
    bag: &Bag,
    encoder: &str,
    slide: SlideInfo,
) -> Result<Option<Placed>> {
    let there = magnifications(path, encoder)?;
    let lacking: Vec<_> = bag.sets().filter(|(magnification, _)| !there.contains(magnification)).collect();
    if lacking.is_empty() {
        return Ok(None);
    }
    add(path, beside, &lacking, encoder, slide)
}

fn add(
    path: &Path,
    beside: &Path,
    sets: &[(Magnification, &PatchSet)],
    encoder: &str,
    slide: SlideInfo,
) -> Result<Option<Placed>> {
    let given: Vec<GivenPatches<'_>> = sets
        .iter()
        .map(|(magnification, set)| GivenPatches {
            magnification: *magnification,
            coords: set.coords(),
            geometry: set.geometry(),
        })
        .collect();
    check_same_patches(path, &given, &slide, encoder)?;
    add_sets(path, beside, encoder, |file| {
        sets.iter().try_for_each(|(magnification, set)| file.add(*magnification, set, FeatureType::F32))
    })?;
    Ok(Some(Placed::Added))
}

/// A file being completed, one magnification after the other.
pub(crate) struct SetAdder<'a> {
    writer: &'a Writer,
    encoder: &'a str,
    /// Where no encoder has features yet.
    bare: Vec<Magnification>,
}

impl SetAdder<'_> {
    /// Writes the features of one magnification, each of them once.
    pub(crate) fn add(
        &self,
        magnification: Magnification,
        set: &PatchSet,
        feature_type: FeatureType,
    ) -> Result<()> {
        let patches = self.writer.root().group(magnification.label());
        let features = match self.bare.contains(&magnification) {
            true => patches.create_group(FEATURES)?,
            false => patches.group(FEATURES),
        };
        write_features(&features, set, self.encoder, feature_type)
            .map_err(|error| error.at_place(magnification))
    }
}

/// Makes the file `beside` of that at `path` and of the features that `add` hands over, so that those of no more than one
/// magnification need be in memory. The patches are known to be the same.
///
/// # Errors
/// Those of `add`, [`ErrorKind::Hdf5`] and [`ErrorKind::Io`].
pub(crate) fn add_sets(
    path: &Path,
    beside: &Path,
    encoder: &str,
    add: impl FnOnce(&SetAdder<'_>) -> Result<()>,
) -> Result<()> {
    std::fs::copy(path, beside).map_err(|source| ErrorKind::Io { action: "copy the file", source })?;
    let mut bare = Vec::new();
    let there = Reader::open(beside)?;
    for magnification in present_groups(&there)? {
        if there.group(&format!("{magnification}/{FEATURES}"))?.is_none() {
            bare.push(magnification);
        }
    }
    drop(there);
    let writer = Writer::open(beside)?;
    add(&SetAdder { writer: &writer, encoder, bare })?;
    writer.finish()
}

/// What is known of the patches whose features are to be added.
pub(crate) struct GivenPatches<'a> {
    pub(crate) magnification: Magnification,
    pub(crate) coords: Option<&'a [[i64; 2]]>,
    pub(crate) geometry: PatchGeometry,
}

/// Refuses patches that are not those of the file, and an encoder whose features it has.
///
/// # Errors
/// Those of [`add_features`] that are not of writing.
pub(crate) fn check_same_patches(
    path: &Path,
    given: &[GivenPatches<'_>],
    slide: &SlideInfo,
    encoder: &str,
) -> Result<()> {
    let check = || {
        check_name("encoder", encoder)?;
        let reader = Reader::open(path)?;
        compare_slides(slide, &slide_info(&reader.root())?)?;
        given.iter().try_for_each(|patches| compare_patches(&reader, patches, encoder))
    };
    check().map_err(|error: Error| error.in_file(path))
}

fn compare_patches(reader: &Reader, given: &GivenPatches<'_>, encoder: &str) -> Result<()> {
    let magnification = given.magnification;
    let Some(group) = reader.group(magnification.label())? else {
        let present = present_groups(reader)?;
        return Err(ErrorKind::MissingMagnification { wanted: magnification, present }.into());
    };
    let compare = |group: &Group<'_>| {
        let content = |found: String, wanted| Err(Error::from(ErrorKind::Content { found, wanted }));
        if group_encoders(reader, magnification)?.iter().any(|found| found == encoder) {
            return content(format!("features of `{encoder}`"), "an encoder that the file does not have yet");
        }
        if given.coords != Some(group.integer_rows(COORDS)?.as_slice()) {
            return content("other coordinates than those of the bag".to_owned(), "the same patches");
        }
        let there = geometry(group)?;
        let sides = [given.geometry, there].map(|geometry| geometry.patch_size_level0.map(f64::from));
        same("patch_size_level0", sides, 0.0)?;
        same("mpp", [given.geometry.mpp, there.mpp], SlideInfo::MPP_TOLERANCE)
    };
    compare(&group).map_err(|error| error.at_place(magnification))
}

fn compare_slides(given: &SlideInfo, there: &SlideInfo) -> Result<()> {
    let size =
        |of: fn(&SlideInfo) -> Option<u64>| [given, there].map(|slide| of(slide).map(|size| size as f64));
    same("slide_width", size(|slide| slide.width), 0.0)?;
    same("slide_height", size(|slide| slide.height), 0.0)?;
    same("mpp", [given.mpp, there.mpp], SlideInfo::MPP_TOLERANCE)
}

/// Refuses a number that is stated twice and differs by more than a share of it.
fn same(name: &'static str, [given, there]: [Option<f64>; 2], tolerance: f64) -> Result<()> {
    match (given, there) {
        (Some(given), Some(there)) if (given - there).abs() > tolerance * there.abs() => {
            let found = format!("patches with {name} = {given}, of a file with {name} = {there}");
            Err(ErrorKind::Content { found, wanted: "the same patches" }.into())
        }
        _ => Ok(()),
    }
}
