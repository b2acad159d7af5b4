//! Writing through `rust-hdf5`.

use std::path::Path;

use rust_hdf5::{DatatypeMessage, H5Dataset, H5File, H5FileOptions, H5Group, H5Type};

use crate::error::Result;

use super::super::backend::{Number, SinkFile, Values};
use super::super::failed;

/// Rows handed to the library at once, so that its buffer stays small beside the matrix.
const ROWS_AT_ONCE: usize = 4096;

/// A 16-bit float, of which the library has the type and not the number.
#[derive(Clone, Copy)]
#[repr(transparent)]
struct Half(half::f16);

impl H5Type for Half {
    fn hdf5_type() -> DatatypeMessage {
        DatatypeMessage::f16_type()
    }

    fn element_size() -> usize {
        size_of::<Self>()
    }
}

fn halves(values: &[f32]) -> Vec<Half> {
    values.iter().map(|value| Half(half::f16::from_f32(*value))).collect()
}

/// Whole chunks, some rows at a time.
fn parts<T>(values: &[T], [_, columns]: [usize; 2], rows_per_chunk: usize) -> std::slice::Chunks<'_, T> {
    values.chunks((ROWS_AT_ONCE.next_multiple_of(rows_per_chunk) * columns).max(1))
}

/// A file being written.
pub(in crate::hdf5) struct Sink {
    file: H5File,
}

impl Sink {
    /// Makes a new file.
    pub(in crate::hdf5) fn create(path: &Path) -> Result<Self> {
        let file = H5FileOptions::new()
            .best_effort_locking()
            .track_times(false)
            .create(path)
            .map_err(|source| failed("create the file", source))?;
        Ok(Self { file })
    }

    /// Opens an existing file to add to it.
    pub(in crate::hdf5) fn open(path: &Path) -> Result<Self> {
        let file = H5FileOptions::new()
            .best_effort_locking()
            .track_times(false)
            .open_rw(path)
            .map_err(|source| failed("open the file for writing", source))?;
        Ok(Self { file })
    }

    /// The group at a place, and the name of what is in it.
    fn home<'p>(&self, place: &'p str) -> Result<(H5Group, &'p str)> {
        let (groups, name) = place.rsplit_once('/').unwrap_or(("", place));
        let mut group = self.file.root_group();
        for step in groups.split('/').filter(|step| !step.is_empty()) {
            group = group.group(step).map_err(|source| failed(format!("open group `{groups}`"), source))?;
        }
        Ok((group, name))
    }

    fn create_dataset<T: H5Type>(&self, place: &str, shape: &[usize], values: &[T]) -> Result<()> {
        let (group, name) = self.home(place)?;
        group
            .new_dataset::<T>()
            .shape(shape)
            .create(name)
            .and_then(|dataset| dataset.write_raw(values))
            .map_err(|source| failed(format!("write dataset `{place}`"), source))
    }

    fn append<T: H5Type, P: AsRef<[T]>>(
        &self,
        place: &str,
        [_, columns]: [usize; 2],
        rows: usize,
        mut parts: impl Iterator<Item = P>,
    ) -> Result<()> {
        let (group, name) = self.home(place)?;
        let write = |dataset: H5Dataset| parts.try_for_each(|part| dataset.append(part.as_ref()));
        group
            .new_dataset::<T>()
            .shape([0, columns])
            .chunk(&[rows, columns])
            .max_shape(&[None, Some(columns)])
            .create(name)
            .and_then(write)
            .map_err(|source| failed(format!("write dataset `{place}`"), source))
    }
}

impl SinkFile for Sink {
    fn create_group(&self, place: &str) -> Result<()> {
        let (group, name) = self.home(place)?;
        group.create_group(name).map(drop).map_err(|source| failed(format!("create group `{place}`"), source))
    }

    fn set_text(&self, place: &str, name: &str, value: &str) -> Result<()> {
        let (group, last) = self.home(place)?;
        let set = || match group.dataset_writer(last) {
            Ok(dataset) => {
                dataset.new_attr::<rust_hdf5::VarLenUnicode>().shape(()).create(name)?.write_string(value)
            }
            Err(_) if place.is_empty() => self.file.root_group().set_attr_string(name, value),
            Err(_) => group.group(last)?.set_attr_string(name, value),
        };
        set().map_err(|source| failed(format!("write attribute `{name}`"), source))
    }

    fn set_number(&self, place: &str, name: &str, value: Number) -> Result<()> {
        let (group, last) = self.home(place)?;
        let set = || match (group.dataset_writer(last), value) {
            (Ok(dataset), Number::Whole(value)) => {
                dataset.new_attr::<u64>().shape(()).create(name)?.write_numeric(&value)
            }
            (Ok(dataset), Number::Float(value)) => {
                dataset.new_attr::<f64>().shape(()).create(name)?.write_numeric(&value)
            }
            (Err(_), value) => {
                let group = if place.is_empty() { self.file.root_group() } else { group.group(last)? };
                match value {
                    Number::Whole(value) => group.set_attr_numeric(name, &value),
                    Number::Float(value) => group.set_attr_numeric(name, &value),
                }
            }
        };
        set().map_err(|source| failed(format!("write attribute `{name}`"), source))
    }

    fn write(&self, place: &str, shape: [usize; 2], values: Values<'_>) -> Result<()> {
        match values {
            Values::F16(values) => self.create_dataset(place, &shape, &halves(values)),
            Values::F32(values) => self.create_dataset(place, &shape, values),
            Values::I32(values) => self.create_dataset(place, &shape, values),
            Values::I64(values) => self.create_dataset(place, &shape, values),
            Values::U8(values) => self.create_dataset(place, &shape, values),
        }
    }

    fn write_list(&self, place: &str, values: Values<'_>) -> Result<()> {
        match values {
            Values::F16(values) => self.create_dataset(place, &[values.len()], &halves(values)),
            Values::F32(values) => self.create_dataset(place, &[values.len()], values),
            Values::I32(values) => self.create_dataset(place, &[values.len()], values),
            Values::I64(values) => self.create_dataset(place, &[values.len()], values),
            Values::U8(values) => self.create_dataset(place, &[values.len()], values),
        }
    }

    fn write_chunked(
        &self,
        place: &str,
        shape: [usize; 2],
        rows_per_chunk: usize,
        values: Values<'_>,
    ) -> Result<()> {
        let rows = rows_per_chunk;
        match values {
            Values::F16(values) => self.append(place, shape, rows, parts(values, shape, rows).map(halves)),
            Values::F32(values) => self.append(place, shape, rows, parts(values, shape, rows)),
            Values::I32(values) => self.append(place, shape, rows, parts(values, shape, rows)),
            Values::I64(values) => self.append(place, shape, rows, parts(values, shape, rows)),
            Values::U8(values) => self.append(place, shape, rows, parts(values, shape, rows)),
        }
    }

    fn finish(self: Box<Self>) -> Result<()> {
        // The caller flushes to disk, once, before it renames.
        self.file.close_no_sync().map_err(|source| failed("finish the file", source))
    }
}
