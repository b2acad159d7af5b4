//! What a file says of where its patches come from.

use std::path::Path;

use crate::error::{Error, Result};
use crate::hdf5::{GroupWriter, Reader};

const LATTICE: &str = "lattice";
const TISSUE: &str = "tissue";
const SLIDE_FILE: &str = "slide_file";
const SLIDE_BYTES: &str = "slide_bytes";

/// Where the patches of a file come from, as far as the tool that laid them said.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Origin {
    /// How they were laid, such as `nested`.
    pub lattice: Option<String>,
    /// What counted as tissue, in words.
    pub tissue: Option<String>,
    /// Name of the slide's file, without its folder.
    pub slide_file: Option<String>,
    /// Its size in bytes.
    pub slide_bytes: Option<u64>,
}

impl Origin {
    pub(super) fn write(&self, root: &GroupWriter<'_>) -> Result<()> {
        let texts = [(LATTICE, &self.lattice), (TISSUE, &self.tissue), (SLIDE_FILE, &self.slide_file)];
        for (name, value) in texts {
            if let Some(value) = value {
                root.set_text(name, value)?;
            }
        }
        self.slide_bytes.map_or(Ok(()), |bytes| root.set_whole(SLIDE_BYTES, bytes))
    }
}

/// What a file says of where its patches come from; nothing in those of other tools.
///
/// # Errors
/// [`ErrorKind::Attribute`](crate::ErrorKind::Attribute) if a statement has another type; [`ErrorKind::FileKind`](crate::ErrorKind::FileKind),
/// [`ErrorKind::Io`](crate::ErrorKind::Io) or [`ErrorKind::Hdf5`](crate::ErrorKind::Hdf5) if the file cannot be read.
pub fn origin(path: &Path) -> Result<Origin> {
    let read = || {
        let reader = Reader::open(path)?;
        let root = reader.root();
        Ok(Origin {
            lattice: root.text(LATTICE)?,
            tissue: root.text(TISSUE)?,
            slide_file: root.text(SLIDE_FILE)?,
            slide_bytes: root.whole_number_of("", SLIDE_BYTES)?,
        })
    };
    read().map_err(|error: Error| error.in_file(path))
}
