//! One file with the patches of one slide at one magnification, whichever tool wrote it.

mod encoder_name;
mod hdf5_table;
mod stamp;

use std::path::Path;

use crate::error::{Error, ErrorKind, Result};
use crate::magnification::Magnification;
use crate::patch_source::PatchSource;
use crate::safetensors::{self, ToldBy};

pub(crate) use encoder_name::is_name_of;

/// The kinds of files that hold features.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum FileType {
    Hdf5,
    Pt,
    Safetensors,
}

impl FileType {
    /// Those in which features are looked for, the first found being read.
    pub(crate) const ALL: [Self; 3] = [Self::Hdf5, Self::Pt, Self::Safetensors];

    /// The ending of the file name, with its dot.
    pub(crate) fn ending(self) -> &'static str {
        match self {
            Self::Hdf5 => ".h5",
            Self::Pt => ".pt",
            Self::Safetensors => ".safetensors",
        }
    }
}

/// What the caller knows of a file.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Expected<'a> {
    /// The encoder whose features are wanted.
    pub(crate) encoder: &'a str,
    /// The magnification that the file is said to be of.
    pub(crate) magnification: Magnification,
    /// What tells that magnification.
    pub(crate) told_by: ToldBy,
    /// Micrometres per pixel of the slide at level 0, where files do not say.
    pub(crate) slide_mpp: Option<f64>,
    /// Whether coordinates are STAMP's whatever the file looks like.
    pub(crate) by_stamp: bool,
}

/// What a file says of its patches. Features are not read.
///
/// # Errors
/// With the path, and the place in the file where there is one: if it is damaged or of another kind, holds features of
/// another encoder, arrays of different lengths, or coordinates that are not level-0 pixels.
pub(crate) fn open(path: &Path, file_type: FileType, expected: Expected<'_>) -> Result<PatchSource> {
    let open = || {
        let source = match file_type {
            FileType::Hdf5 => hdf5_table::open(path, expected)?,
            FileType::Pt => {
                let source = PatchSource::pt(path)?;
                source.check(None)?;
                source
            }
            FileType::Safetensors => safetensors::open(path, expected.magnification, expected.told_by)?,
        };
        match &source.provenance.encoder {
            Some(stated) if !is_name_of(expected.encoder, stated) => {
                let found = vec![stated.clone()];
                Err(ErrorKind::MissingEncoder { encoder: expected.encoder.to_owned(), found }.into())
            }
            _ => Ok(source),
        }
    };
    open().map_err(|error: Error| error.in_file(path))
}
