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

use std::path::Path;

use crate::error::{Error, ErrorKind, Result};

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

fn failed<E: Into<crate::error::BoxedSource>>(action: impl Into<String>, source: E) -> Error {
    ErrorKind::Hdf5 { action: action.into(), source: source.into() }.into()
}

/// `group/name`, or the name alone at the top.
fn joined(group: &str, name: &str) -> String {
    if group.is_empty() { name.to_owned() } else { format!("{group}/{name}") }
}
