//! Writing HDF5 files.

use std::path::Path;

use rust_hdf5::{H5File, H5FileOptions, H5Group, H5Type};

use crate::error::Result;

use super::failed;

/// A file being written. Nothing is complete before [`Writer::finish`].
pub(crate) struct Writer {
    file: H5File,
}

impl Writer {
    /// Makes a new file. Times are not recorded: equal content gives equal bytes.
    pub(crate) fn create(path: &Path) -> Result<Self> {
        let file = H5FileOptions::new()
            .best_effort_locking()
            .track_times(false)
            .create(path)
            .map_err(|source| failed("create the file", source))?;
        Ok(Self { file })
    }

    /// Opens an existing file to add to it.
    pub(crate) fn open(path: &Path) -> Result<Self> {
        let file = H5FileOptions::new()
            .best_effort_locking()
            .track_times(false)
            .open_rw(path)
            .map_err(|source| failed("open the file for writing", source))?;
        Ok(Self { file })
    }

    /// The top of the file.
    pub(crate) fn root(&self) -> GroupWriter {
        GroupWriter { group: self.file.root_group() }
    }

    /// Writes what is left and closes the file.
    pub(crate) fn finish(self) -> Result<()> {
        // The caller flushes to disk, once, before it renames.
        self.file.close_no_sync().map_err(|source| failed("finish the file", source))
    }
}

/// A group of a file being written.
pub(crate) struct GroupWriter {
    group: H5Group,
}

impl GroupWriter {
    /// Makes a group inside this one.
    pub(crate) fn create_group(&self, name: &str) -> Result<Self> {
        let group = self
            .group
            .create_group(name)
            .map_err(|source| failed(format!("create group `{name}`"), source))?;
        Ok(Self { group })
    }

    /// An existing group inside this one.
    pub(crate) fn group(&self, name: &str) -> Result<Self> {
        let group =
            self.group.group(name).map_err(|source| failed(format!("open group `{name}`"), source))?;
        Ok(Self { group })
    }

    /// Sets a numeric attribute.
    pub(crate) fn set_number<T: H5Type>(&self, name: &str, value: T) -> Result<()> {
        self.group
            .set_attr_numeric(name, &value)
            .map_err(|source| failed(format!("write attribute `{name}`"), source))
    }

    /// Sets a text attribute.
    pub(crate) fn set_text(&self, name: &str, value: &str) -> Result<()> {
        self.group
            .set_attr_string(name, value)
            .map_err(|source| failed(format!("write attribute `{name}`"), source))
    }

    /// Writes a contiguous dataset.
    pub(crate) fn write<T: H5Type>(&self, name: &str, shape: &[usize], values: &[T]) -> Result<()> {
        self.group
            .new_dataset::<T>()
            .shape(shape)
            .create(name)
            .and_then(|dataset| dataset.write_raw(values))
            .map_err(|source| failed(format!("write dataset `{name}`"), source))
    }
}
