//! Adding the features of another encoder to a file.

use std::path::Path;

use crate::bag::Bag;
use crate::error::{Error, ErrorKind, Result};
use crate::feature_type::FeatureType;
use crate::hdf5::{Reader, Writer};
use crate::magnification::Magnification;
use crate::patch_set::PatchSet;
use crate::replace::replace_file;
use crate::slide_name::check_name;

use super::set::{group_encoders, present_groups};
use super::{COORDS, FEATURES, write_features};

/// Adds the features of another encoder to a file, for the same patches.
///
/// The file is copied, completed beside its name and renamed. Magnifications that the file has and `bag` lacks stay
/// without features of `encoder`.
///
/// # Errors
/// [`ErrorKind::Content`] if the file has features of `encoder` already or if the coordinates of `bag` are not those
/// of the file, [`ErrorKind::MissingMagnification`] if the file lacks a magnification of `bag`, and those of
/// [`read`](super::read) and [`write()`](super::write).
pub fn add_features(path: &Path, bag: &Bag, encoder: &str) -> Result<()> {
    let coords: Vec<_> = bag.sets().map(|(magnification, set)| (magnification, set.coords())).collect();
    check_same_patches(path, &coords, encoder)?;
    add_sets(path, encoder, |file| {
        bag.sets().try_for_each(|(magnification, set)| file.add(magnification, set, FeatureType::F32))
    })
}

/// A file being completed, one magnification after the other.
pub(crate) struct SetAdder<'a> {
    writer: &'a Writer,
    encoder: &'a str,
}

impl SetAdder<'_> {
    /// Writes the features of one magnification, each of them once.
    pub(crate) fn add(
        &self,
        magnification: Magnification,
        set: &PatchSet,
        feature_type: FeatureType,
    ) -> Result<()> {
        let group = self.writer.root().group(magnification.label()).group(FEATURES);
        write_features(&group, set, self.encoder, feature_type).map_err(|error| error.at_place(magnification))
    }
}

/// Adds features that `add` hands over, so that those of no more than one magnification need be in memory, to a file whose
/// patches are known to be the same.
///
/// # Errors
/// Those of `add`, [`ErrorKind::Hdf5`] and [`ErrorKind::Io`].
pub(crate) fn add_sets(
    path: &Path,
    encoder: &str,
    add: impl FnOnce(&SetAdder<'_>) -> Result<()>,
) -> Result<()> {
    replace_file(path, |beside| {
        std::fs::copy(path, beside).map_err(|source| ErrorKind::Io { action: "copy the file", source })?;
        let writer = Writer::open(beside)?;
        add(&SetAdder { writer: &writer, encoder })?;
        writer.finish()
    })
}

/// Refuses patches that are not those of the file, and an encoder whose features it has.
///
/// # Errors
/// Those of [`add_features`] that are not of writing.
pub(crate) fn check_same_patches(
    path: &Path,
    coords: &[(Magnification, Option<&[[i64; 2]]>)],
    encoder: &str,
) -> Result<()> {
    check_name("encoder", encoder)
        .and_then(|()| compare_patches(path, coords, encoder))
        .map_err(|error| error.in_file(path))
}

fn compare_patches(
    path: &Path,
    coords: &[(Magnification, Option<&[[i64; 2]]>)],
    encoder: &str,
) -> Result<()> {
    let reader = Reader::open(path)?;
    for (magnification, coords) in coords {
        let content = |found: String, wanted| {
            Err(Error::from(ErrorKind::Content { found, wanted }).at_place(magnification))
        };
        let Some(group) = reader.group(magnification.label())? else {
            let present = present_groups(&reader)?;
            return Err(ErrorKind::MissingMagnification { wanted: *magnification, present }.into());
        };
        if group_encoders(&reader, *magnification)?.iter().any(|found| found == encoder) {
            return content(format!("features of `{encoder}`"), "an encoder that the file does not have yet");
        }
        if *coords != Some(group.integer_rows(COORDS)?.as_slice()) {
            return content("other coordinates than those of the bag".to_owned(), "the same patches");
        }
    }
    Ok(())
}
