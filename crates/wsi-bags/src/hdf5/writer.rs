//! Writing HDF5 files.

use std::path::Path;

use crate::error::{ErrorKind, Result};
use crate::feature_type::FeatureType;
use crate::features::FeatureMatrix;

use super::backend::{Number, SinkFile, Values};
use super::{Backend, joined};

/// How the rows of a matrix are laid out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Rows {
    /// In one piece.
    Contiguous,
    /// In chunks of so many rows; the matrix may grow.
    Chunked(usize),
}

/// A file being written. Nothing is complete before [`Writer::finish`].
pub(crate) struct Writer {
    sink: Box<dyn SinkFile>,
}

impl Writer {
    /// Makes a new file. Times are not recorded: equal content gives equal bytes.
    pub(crate) fn create(path: &Path) -> Result<Self> {
        Self::create_with(Backend::IN_USE, path)
    }

    pub(super) fn create_with(backend: Backend, path: &Path) -> Result<Self> {
        Ok(Self { sink: backend.create(path)? })
    }

    /// Opens an existing file to add to it.
    pub(crate) fn open(path: &Path) -> Result<Self> {
        Ok(Self { sink: Backend::IN_USE.open_to_add(path)? })
    }

    /// The top of the file.
    pub(crate) fn root(&self) -> GroupWriter<'_> {
        GroupWriter { sink: self.sink.as_ref(), path: String::new() }
    }

    /// Writes what is left and closes the file.
    pub(crate) fn finish(self) -> Result<()> {
        self.sink.finish()
    }
}

/// A group of a file being written.
pub(crate) struct GroupWriter<'a> {
    sink: &'a dyn SinkFile,
    path: String,
}

impl<'a> GroupWriter<'a> {
    /// Makes a group inside this one.
    pub(crate) fn create_group(&self, name: &str) -> Result<Self> {
        let group = self.group(name);
        self.sink.create_group(&group.path)?;
        Ok(group)
    }

    /// A group or dataset inside this one, which exists.
    pub(crate) fn group(&self, name: &str) -> GroupWriter<'a> {
        GroupWriter { sink: self.sink, path: joined(&self.path, name) }
    }

    /// Sets an attribute to a whole number.
    pub(crate) fn set_whole(&self, name: &str, value: u64) -> Result<()> {
        self.sink.set_number(&self.path, name, Number::Whole(value))
    }

    /// Sets an attribute to a number.
    pub(crate) fn set_float(&self, name: &str, value: f64) -> Result<()> {
        self.sink.set_number(&self.path, name, Number::Float(value))
    }

    /// Sets a text attribute.
    pub(crate) fn set_text(&self, name: &str, value: &str) -> Result<()> {
        self.sink.set_text(&self.path, name, value)
    }

    /// Writes a matrix of `shape`.
    pub(crate) fn write(&self, name: &str, shape: [usize; 2], values: Values<'_>, rows: Rows) -> Result<()> {
        let n_values = match values {
            Values::F16(values) | Values::F32(values) => values.len(),
            Values::I32(values) => values.len(),
            Values::I64(values) => values.len(),
            Values::U8(values) => values.len(),
        };
        // A library that trusted the caller would read beyond the values.
        if shape[0].checked_mul(shape[1]) != Some(n_values) {
            return Err(ErrorKind::ValueCount { n_patches: shape[0], dim: shape[1], found: n_values }.into());
        }
        let place = joined(&self.path, name);
        match rows {
            Rows::Contiguous => self.sink.write(&place, shape, values),
            Rows::Chunked(rows) => self.sink.write_chunked(&place, shape, rows, values),
        }
    }

    /// Writes features as a float type, which must hold them.
    pub(crate) fn write_features(
        &self,
        name: &str,
        features: &FeatureMatrix,
        feature_type: FeatureType,
        rows: Rows,
    ) -> Result<()> {
        feature_type.check(features)?;
        let values = match feature_type {
            FeatureType::F16 => Values::F16(features.as_slice()),
            FeatureType::F32 => Values::F32(features.as_slice()),
        };
        self.write(name, [features.n_patches(), features.dim()], values, rows)
    }

    /// Writes a list.
    pub(crate) fn write_list(&self, name: &str, values: Values<'_>) -> Result<()> {
        self.sink.write_list(&joined(&self.path, name), values)
    }
}
