//! Writing through the C library.

use std::path::Path;

use ::hdf5::types::VarLenUnicode;
use ::hdf5::{File, H5Type, Location};

use crate::error::{ErrorKind, Result};

use super::super::backend::{Number, SinkFile, Values};
use super::super::failed;

fn halves(values: &[f32]) -> Vec<half::f16> {
    values.iter().map(|value| half::f16::from_f32(*value)).collect()
}

/// A file being written.
pub(in crate::hdf5) struct Sink {
    file: File,
}

impl Sink {
    /// Makes a new file.
    pub(in crate::hdf5) fn create(path: &Path) -> Result<Self> {
        let file = File::with_options()
            // Aligned, features can be used where they lie.
            .with_fapl(|access| access.file_locking(false).alignment(1, 8))
            .with_fcpl(|create| create.obj_track_times(false))
            .create(path)
            .map_err(|source| failed("create the file", source))?;
        Ok(Self { file })
    }

    /// Opens an existing file to add to it.
    pub(in crate::hdf5) fn open(path: &Path) -> Result<Self> {
        let file = File::with_options()
            .with_fapl(|access| access.file_locking(false).alignment(1, 8))
            .open_rw(path)
            .map_err(|source| failed("open the file for writing", source))?;
        Ok(Self { file })
    }

    fn create_dataset<T: H5Type>(&self, place: &str, shape: &[usize], values: &[T]) -> Result<()> {
        self.file
            .new_dataset_builder()
            .empty::<T>()
            .shape(shape)
            .with_dcpl(|create| create.no_chunk().obj_track_times(false))
            .create(place)
            .and_then(|dataset| dataset.write_raw(values))
            .map_err(|source| failed(format!("write dataset `{place}`"), source))
    }

    fn create_chunked<T: H5Type>(
        &self,
        place: &str,
        shape: [usize; 2],
        rows: usize,
        values: &[T],
    ) -> Result<()> {
        let [n_rows, columns] = shape;
        self.file
            .new_dataset_builder()
            .empty::<T>()
            .shape((n_rows.., columns))
            .chunk((rows, columns))
            .obj_track_times(false)
            .create(place)
            .and_then(|dataset| dataset.write_raw(values))
            .map_err(|source| failed(format!("write dataset `{place}`"), source))
    }

    fn object(&self, place: &str) -> ::hdf5::Result<Location> {
        let name = if place.is_empty() { "/" } else { place };
        match self.file.group(name) {
            Ok(group) => Ok(Location::clone(&group)),
            Err(_) => self.file.dataset(name).map(|dataset| Location::clone(&dataset)),
        }
    }
}

impl SinkFile for Sink {
    fn create_group(&self, place: &str) -> Result<()> {
        let create = || self.file.create_group_builder().obj_track_times(false).create(place);
        create().map(drop).map_err(|source| failed(format!("create group `{place}`"), source))
    }

    fn set_text(&self, place: &str, name: &str, value: &str) -> Result<()> {
        let text: VarLenUnicode = value
            .parse()
            .map_err(|_| ErrorKind::Name { what: "attribute value", found: value.to_owned() })?;
        self.object(place)
            .and_then(|object| object.new_attr::<VarLenUnicode>().create(name)?.write_scalar(&text))
            .map_err(|source| failed(format!("write attribute `{name}`"), source))
    }

    fn set_number(&self, place: &str, name: &str, value: Number) -> Result<()> {
        self.object(place)
            .and_then(|object| match value {
                Number::Whole(value) => object.new_attr::<u64>().create(name)?.write_scalar(&value),
                Number::Float(value) => object.new_attr::<f64>().create(name)?.write_scalar(&value),
            })
            .map_err(|source| failed(format!("write attribute `{name}`"), source))
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
        match values {
            Values::F16(values) => self.create_chunked(place, shape, rows_per_chunk, &halves(values)),
            Values::F32(values) => self.create_chunked(place, shape, rows_per_chunk, values),
            Values::I32(values) => self.create_chunked(place, shape, rows_per_chunk, values),
            Values::I64(values) => self.create_chunked(place, shape, rows_per_chunk, values),
            Values::U8(values) => self.create_chunked(place, shape, rows_per_chunk, values),
        }
    }

    fn finish(self: Box<Self>) -> Result<()> {
        self.file.flush().and_then(|()| self.file.close()).map_err(|source| failed("finish the file", source))
    }
}
