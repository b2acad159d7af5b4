//! The one module that knows HDF5 libraries.
//!
//! Two of them can read and write: [`pure`], in Rust alone, and with cargo feature `hdf5` also `system`, the C library
//! of the machine, which then is the one in use. Both fill the same two traits of [`backend`]; what is asked of a file
//! (that sizes fit it, that values are in it, that numbers are of a wanted type) is checked above them, in [`reader`].

mod attributes;
mod backend;
#[cfg(test)]
mod exchange;
mod guarded;
#[cfg(test)]
mod matrix;
mod pure;
mod reader;
#[cfg(feature = "hdf5")]
mod system;
mod writer;

use std::io;
use std::path::Path;

use crate::error::{BoxedSource, Error, ErrorKind, Result};

use backend::{SinkFile, SourceFile};

pub(crate) use backend::Values;
pub(crate) use reader::{FloatMatrix, Group, Reader};
pub(crate) use writer::{GroupWriter, Rows, Writer};

/// The HDF5 libraries that this build has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Backend {
    /// `rust-hdf5`.
    #[cfg_attr(all(feature = "hdf5", not(test)), expect(dead_code, reason = "the C library is preferred"))]
    Pure,
    /// `hdf5-metno`, over the C library.
    #[cfg(feature = "hdf5")]
    System,
}

/// All of them.
#[cfg(all(test, not(feature = "hdf5")))]
const BACKENDS: [Backend; 1] = [Backend::Pure];
/// All of them.
#[cfg(all(test, feature = "hdf5"))]
const BACKENDS: [Backend; 2] = [Backend::Pure, Backend::System];

impl Backend {
    /// The one in use.
    #[cfg(not(feature = "hdf5"))]
    const IN_USE: Self = Self::Pure;
    /// The one in use.
    #[cfg(feature = "hdf5")]
    const IN_USE: Self = Self::System;

    fn open(self, path: &Path) -> Result<Box<dyn SourceFile>> {
        match self {
            Self::Pure => Ok(Box::new(guarded::Guarded::open(path)?)),
            #[cfg(feature = "hdf5")]
            Self::System => Ok(Box::new(system::Source::open(path)?)),
        }
    }

    fn create(self, path: &Path) -> Result<Box<dyn SinkFile>> {
        match self {
            Self::Pure => Ok(Box::new(pure::Sink::create(path)?)),
            #[cfg(feature = "hdf5")]
            Self::System => Ok(Box::new(system::Sink::create(path)?)),
        }
    }

    fn open_to_add(self, path: &Path) -> Result<Box<dyn SinkFile>> {
        match self {
            Self::Pure => Ok(Box::new(pure::Sink::open(path)?)),
            #[cfg(feature = "hdf5")]
            Self::System => Ok(Box::new(system::Sink::open(path)?)),
        }
    }
}

/// The error of a library. Where it stands for one of the system's, that is the source: callers look for it to tell a full
/// disk from bad data.
fn failed<E: Into<BoxedSource>>(action: impl Into<String>, source: E) -> Error {
    let source = source.into();
    let source = match system_code(&source.to_string()) {
        Some(code) => io::Error::from_raw_os_error(code).into(),
        None => source,
    };
    ErrorKind::Hdf5 { action: action.into(), source }.into()
}

/// The system's error number in the text of a library's error: both keep the error itself to themselves. `rust-hdf5` ends with
/// the words of [`io::Error`], the C library states `errno = 28, error message = ...`.
fn system_code(text: &str) -> Option<i32> {
    let in_rust = || text.strip_suffix(')')?.rsplit_once("(os error ")?.1.parse().ok();
    let in_c = || text.split_once("errno = ")?.1.split_once(", error message = ")?.0.parse().ok();
    in_rust().or_else(in_c)
}

/// The error for a dataset of which a chunk was never written.
fn lacks_chunk() -> Error {
    let found = "a dataset with a chunk to which nothing was written".to_owned();
    ErrorKind::Content { found, wanted: "values stored in this file" }.into()
}

/// The error for values that the file is too short to hold.
fn beyond_file(offset: u64, len: u64, file_len: usize) -> Error {
    ErrorKind::BeyondFile { end: offset.saturating_add(len), file_len: file_len as u64 }.into()
}

/// `group/name`, or the name alone at the top.
fn joined(group: &str, name: &str) -> String {
    if group.is_empty() { name.to_owned() } else { format!("{group}/{name}") }
}
