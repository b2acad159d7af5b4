//! The patches of a file, whichever encoder saw them.

use std::path::Path;

use crate::coords::{Frame, check_frame};
use crate::error::{Error, ErrorKind, Result};
use crate::hdf5::Reader;
use crate::magnification::Magnification;
use crate::patch_set::PatchGeometry;

use super::COORDS;
use super::set::{geometry, present_groups, slide_info};

/// The patches of one magnification.
#[derive(Debug, Clone, PartialEq)]
pub struct Lattice {
    /// The magnification.
    pub magnification: Magnification,
    /// `[x, y]` of each top left corner in level-0 pixels, in the order of the rows of features.
    pub coords: Vec<[i64; 2]>,
    /// How large they are, where it is known.
    pub geometry: PatchGeometry,
}

/// The patches of each magnification of a file, coarse to fine, also where no encoder has seen them yet.
///
/// # Errors
/// With the path and the place in the file: [`ErrorKind::MissingDataset`] without coordinates, [`ErrorKind::EmptyBag`] if there are
/// none, those of reading them and [`ErrorKind::Coords`]; [`ErrorKind::FileKind`], [`ErrorKind::Io`] or [`ErrorKind::Hdf5`] if the
/// file cannot be read.
pub fn lattices(path: &Path) -> Result<Vec<Lattice>> {
    let read = || {
        let reader = Reader::open(path)?;
        let slide = slide_info(&reader.root())?;
        let frame = Frame { slide_size: [slide.width, slide.height], step: None };
        let mut lattices = Vec::new();
        for magnification in present_groups(&reader)? {
            let Some(group) = reader.group(magnification.label())? else { continue };
            let coords = group.integer_rows(COORDS)?;
            let fault = |error: Error| error.at_place(magnification);
            if coords.is_empty() {
                return Err(fault(ErrorKind::EmptyBag.into()));
            }
            check_frame(&coords, frame).map_err(fault)?;
            lattices.push(Lattice { magnification, coords, geometry: geometry(&group)? });
        }
        Ok(lattices)
    };
    read().map_err(|error: Error| error.in_file(path))
}
