//! What a file says of where its patches come from.

use std::path::Path;

use crate::error::{Error, ErrorKind, Result};
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

/// What two files of patches state differently.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OriginDifference {
    /// `slide_file`, `lattice` or `tissue`.
    pub what: &'static str,
    /// What the first states.
    pub here: String,
    /// What the other does.
    pub there: String,
}

impl Origin {
    /// The first thing that both state differently: what it is, and how each states it. Names of files may differ in their case.
    #[must_use]
    pub fn difference(&self, other: &Self) -> Option<OriginDifference> {
        let differ = |what: &'static str, here: Option<String>, there: Option<String>| match (here, there) {
            (Some(here), Some(there)) if !here.eq_ignore_ascii_case(&there) => {
                Some(OriginDifference { what, here, there })
            }
            _ => None,
        };
        let bytes = |origin: &Self| origin.slide_bytes.map(|bytes| format!("{bytes} bytes"));
        let file = |origin: &Self| {
            let known = origin.slide_file.iter().cloned().chain(bytes(origin)).collect::<Vec<_>>();
            (!known.is_empty()).then(|| known.join(", "))
        };
        let same_parts = differ(SLIDE_FILE, self.slide_file.clone(), other.slide_file.clone())
            .or_else(|| differ(SLIDE_FILE, bytes(self), bytes(other)));
        same_parts
            .and_then(|_| differ(SLIDE_FILE, file(self), file(other)))
            .or_else(|| differ(LATTICE, self.lattice.clone(), other.lattice.clone()))
            .or_else(|| differ(TISSUE, self.tissue.clone(), other.tissue.clone()))
    }

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

/// What a file says of where its patches come from; nothing in those of other tools, nor where it says it as another type.
///
/// # Errors
/// [`ErrorKind::FileKind`], [`ErrorKind::Io`] or [`ErrorKind::Hdf5`] if the file cannot be read.
pub fn origin(path: &Path) -> Result<Origin> {
    let read = || {
        let reader = Reader::open(path)?;
        let root = reader.root();
        Ok(Origin {
            lattice: stated(root.text(LATTICE))?,
            tissue: stated(root.text(TISSUE))?,
            slide_file: stated(root.text(SLIDE_FILE))?,
            slide_bytes: stated(root.whole_number_of("", SLIDE_BYTES))?,
        })
    };
    read().map_err(|error: Error| error.in_file(path))
}

/// Attributes of other tools may have these names and another meaning.
fn stated<T>(read: Result<Option<T>>) -> Result<Option<T>> {
    match read {
        Err(error) if matches!(error.kind(), ErrorKind::Attribute { .. }) => Ok(None),
        read => read,
    }
}
