//! Scores of patches on disk: what a model, or another measure, says of each patch of a slide, as HDF5.
//!
//! ```text
//! <name>.h5                      attributes: slide_width, slide_height, mpp (where known), producer, producer_version
//!   x5  x10  x20                 attribute: patch_size_level0
//!     coords    [n, 2] i64       x, y of the top left corner in level-0 pixels, in the order of the bag
//!     scores/
//!       <module> [n] f32
//! ```
//!
//! It is the frame of the [native bag format](crate::native), scores standing where that has features.
//!
//! ```
//! use wsi_bags::scores::{ScoredPatches, write};
//! use wsi_bags::{Magnification, SlideInfo};
//!
//! # let directory = tempfile::tempdir().unwrap();
//! let path = directory.path().join("slide-1.scores.h5");
//! let patches = ScoredPatches {
//!     magnification: Magnification::X10,
//!     patch_size_level0: 1024,
//!     coords: &[[0, 0], [1024, 0]],
//!     modules: vec![("source PT", &[0.25, 0.75]), ("final PT", &[0.5, 0.5])],
//! };
//! write(&path, &SlideInfo::default(), &[patches])?;
//! assert!(std::fs::read(&path).unwrap().starts_with(b"\x89HDF"));
//! # Ok::<(), wsi_bags::Error>(())
//! ```

use std::path::Path;

use crate::error::{Error, ErrorKind, Result};
use crate::hdf5::{GroupWriter, Rows, Values, Writer};
use crate::magnification::Magnification;
use crate::native::write_slide_info;
use crate::replace::replace_file;
use crate::slide_info::SlideInfo;
use crate::slide_name::check_name;

/// The scores of the patches of one magnification.
#[derive(Debug, Clone, PartialEq)]
pub struct ScoredPatches<'a> {
    /// Which patches.
    pub magnification: Magnification,
    /// Side of a patch in level-0 pixels.
    pub patch_size_level0: u32,
    /// `[x, y]` of each top left corner in level-0 pixels.
    pub coords: &'a [[i64; 2]],
    /// The name of each module and its scores, one per patch.
    pub modules: Vec<(&'a str, &'a [f32])>,
}

/// Writes scores, replacing any file of that name. The file is written beside its name and renamed. Equal scores give
/// equal bytes.
///
/// # Errors
/// [`ErrorKind::DuplicateMagnification`], [`ErrorKind::RowCount`] unless every module has one score per patch,
/// [`ErrorKind::Name`] if a module cannot be the name of a dataset, [`ErrorKind::Geometry`] if `slide` has an
/// impossible number, [`ErrorKind::Hdf5`] or [`ErrorKind::Io`] if the file cannot be written.
pub fn write(path: &Path, slide: &SlideInfo, sets: &[ScoredPatches<'_>]) -> Result<()> {
    check(slide, sets).map_err(|error| error.in_file(path))?;
    replace_file(path, |beside| {
        let writer = Writer::create(beside)?;
        let root = writer.root();
        write_slide_info(&root, slide)?;
        for set in sets {
            let group = root.create_group(set.magnification.label())?;
            write_set(&group, set).map_err(|error| error.at_place(set.magnification))?;
        }
        writer.finish()
    })
}

fn check(slide: &SlideInfo, sets: &[ScoredPatches<'_>]) -> Result<()> {
    slide.check()?;
    for (idx, set) in sets.iter().enumerate() {
        let magnification = set.magnification;
        if sets.iter().take(idx).any(|other| other.magnification == magnification) {
            return Err(ErrorKind::DuplicateMagnification { magnification }.into());
        }
        for (module, scores) in &set.modules {
            check_name("module", module).map_err(|error| error.at_place(magnification))?;
            let (expected, found) = (set.coords.len(), scores.len());
            if expected != found {
                return Err(Error::from(ErrorKind::RowCount { what: "scores", expected, found })
                    .at_place(magnification));
            }
        }
    }
    Ok(())
}

fn write_set(group: &GroupWriter<'_>, set: &ScoredPatches<'_>) -> Result<()> {
    group.set_whole("patch_size_level0", u64::from(set.patch_size_level0))?;
    let coords = Values::I64(set.coords.as_flattened());
    group.write("coords", [set.coords.len(), 2], coords, Rows::Contiguous)?;
    let scores = group.create_group("scores")?;
    set.modules.iter().try_for_each(|(module, values)| scores.write_list(module, Values::F32(values)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::hdf5::Reader;

    const SCORES: [f32; 2] = [0.25, -1.5e-7];

    fn patches(magnification: Magnification, scores: &[f32]) -> ScoredPatches<'_> {
        ScoredPatches {
            magnification,
            patch_size_level0: 512,
            coords: &[[0, 0], [512, 0]],
            modules: vec![("fine CAB", scores)],
        }
    }

    #[test]
    fn what_was_written_is_in_the_file() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("slide.h5");
        let slide = SlideInfo { width: Some(4000), height: Some(3000), mpp: Some(0.25) };
        write(&path, &slide, &[patches(Magnification::X20, &SCORES)]).unwrap();
        let reader = Reader::open(&path).unwrap();
        let group = reader.group("x20").unwrap().unwrap();
        assert_eq!(group.integer_rows::<2>("coords").unwrap(), [[0, 0], [512, 0]]);
        let scores = group.group("scores").unwrap().unwrap();
        assert_eq!(scores.datasets().unwrap(), ["fine CAB"]);
        let stored: Vec<u8> = SCORES.iter().flat_map(|score| score.to_le_bytes()).collect();
        let bytes = std::fs::read(&path).unwrap();
        assert!(bytes.windows(stored.len()).any(|window| window == stored), "contiguous, in order");
        assert_eq!(crate::native::slide_info(&path).unwrap(), slide);
    }

    #[test]
    fn scores_that_do_not_fit_are_refused_and_leave_nothing() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("slide.h5");
        let refused = |sets: &[ScoredPatches<'_>]| write(&path, &SlideInfo::default(), sets).unwrap_err();
        let error = refused(&[patches(Magnification::X20, &SCORES[..1])]);
        assert!(matches!(error.kind(), ErrorKind::RowCount { expected: 2, found: 1, .. }), "{error}");
        let twice = patches(Magnification::X20, &SCORES);
        let error = refused(&[twice.clone(), twice.clone()]);
        assert!(matches!(error.kind(), ErrorKind::DuplicateMagnification { .. }), "{error}");
        let named = ScoredPatches { modules: vec![("a/b", &SCORES)], ..twice };
        assert!(matches!(refused(&[named]).kind(), ErrorKind::Name { .. }));
        assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 0);
    }
}
