//! HDF5 through `rust-hdf5`, without a C library.

mod checksum;
mod chunks;
mod header;
mod writer;

use std::path::Path;
use std::sync::Arc;

use rust_hdf5::format::messages::datatype::IeeeFormat;
use rust_hdf5::{
    ByteOrder, DatatypeMessage, H5Dataset, H5File, H5FileOptions, H5Group, Hdf5Error, LinkClass, ReadNumeric,
    StorageLayout,
};

use crate::element_type::ElementType;
use crate::error::{Error, ErrorKind, Result};
use crate::mmap::MappedFile;

use super::backend::{Attribute, Dataset, Element, Members, SourceFile, Storage};
use super::reader::LARGEST_COMPRESSION;
use super::{beyond_file, failed, lacks_chunk};

use chunks::Found;
use header::{ChunkList, ChunkPlace, Header, Place};

pub(super) use writer::Sink;

/// A file opened for reading.
pub(super) struct Source {
    file: H5File,
    map: Arc<MappedFile>,
    /// Where the superblock starts.
    base: u64,
}

impl Source {
    /// Lets the library read the table of contents.
    ///
    /// # Errors
    /// [`ErrorKind::BeyondFile`] for a file that is shorter than it says, as the C library refuses it; and those of the library.
    pub(super) fn open(path: &Path) -> Result<Self> {
        let map = Arc::new(MappedFile::open(path)?);
        let file_len = map.bytes().len();
        if let Some(stated) = header::stated_length(map.bytes()).filter(|stated| *stated > file_len as u64) {
            return Err(beyond_file(0, stated, file_len));
        }
        // Some file systems of clusters have no locks; files are replaced by renaming, never changed in place.
        let file = H5FileOptions::new()
            .no_locking()
            .open(path)
            .map_err(|source| refused("open the file", source))?;
        let base = file.userblock_size();
        Ok(Self { file, map, base })
    }

    fn group(&self, place: &str) -> Result<Option<H5Group>> {
        let mut group = self.file.root_group();
        for name in place.split('/').filter(|name| !name.is_empty()) {
            group = match group.group(name) {
                Ok(group) => group,
                Err(Hdf5Error::NotFound(_) | Hdf5Error::DanglingLink { .. }) => return Ok(None),
                Err(source) => return Err(refused(format!("open group `{place}`"), source)),
            };
        }
        Ok(Some(group))
    }

    /// The dataset, if the file itself has it.
    fn find(&self, place: &str) -> Result<Option<H5Dataset>> {
        let (group, name) = place.rsplit_once('/').unwrap_or(("", place));
        let Some(group) = self.group(group)? else { return Ok(None) };
        let names = group.dataset_names().map_err(|source| refused("list the datasets", source))?;
        let soft = || matches!(group.link_class(name), Ok(LinkClass::Soft { .. }));
        if !names.iter().any(|found| found == name) && !soft() {
            return Ok(None);
        }
        match self.file.dataset(place) {
            Ok(dataset) => Ok(Some(dataset)),
            Err(Hdf5Error::NotFound(_) | Hdf5Error::DanglingLink { .. }) => Ok(None),
            Err(source) => Err(refused(format!("open dataset `{place}`"), source)),
        }
    }

    /// The dataset, about to be read.
    fn found(&self, place: &str) -> Result<Found> {
        let missing = || ErrorKind::MissingDataset { name: place.to_owned(), found: Vec::new() };
        let dataset = self.find(place)?.ok_or_else(missing)?;
        self.check_chunk(&dataset)?;
        check_filters(&dataset)?;
        let chunks = self.chunks(place, &dataset)?;
        checksum::verify(&dataset, chunks.as_deref(), self.map.bytes())?;
        Ok(Found { dataset, has_every_chunk: chunks.is_some() })
    }

    /// All chunks of a dataset, where its index can be followed here.
    fn chunks(&self, place: &str, dataset: &H5Dataset) -> Result<Option<Vec<ChunkPlace>>> {
        let (shape, size) = (dataset.shape(), dataset.element_size());
        let chunks = match self.header(place).and_then(|header| header.chunks(self.base, &shape, size)) {
            None => return Ok(None),
            Some(ChunkList::Incomplete) => return Err(lacks_chunk()),
            Some(ChunkList::Whole(chunks)) => chunks,
        };
        let file = self.map.bytes();
        match chunks.iter().find(|chunk| chunk.bytes(file).is_empty()) {
            None => Ok(Some(chunks)),
            Some(chunk) => Err(beyond_file(chunk.offset, chunk.len, file.len())),
        }
    }

    /// Refuses chunks larger than the file can hold: the library sets memory aside for a whole one, however few rows there are.
    fn check_chunk(&self, dataset: &H5Dataset) -> Result<()> {
        let sizes = dataset.chunk_dims().unwrap_or_default().into_iter().chain([dataset.element_size()]);
        let found = sizes.fold(1u64, |product, size| product.saturating_mul(size as u64));
        let limit = (self.map.bytes().len() as u64).saturating_mul(LARGEST_COMPRESSION);
        if found > limit {
            return Err(ErrorKind::Limit { what: "size of a chunk in bytes", found, limit }.into());
        }
        Ok(())
    }

    fn header(&self, place: &str) -> Option<Header<'_>> {
        Header::find(self.map.bytes(), self.base, place)
    }

    fn storage(&self, place: &str, dataset: &H5Dataset) -> Result<Storage> {
        let unreadable = |source| refused("read the storage layout", source);
        if !dataset.external_files().map_err(unreadable)?.is_empty() {
            return Ok(Storage::OtherFile);
        }
        let header = self.header(place);
        let found = header.as_ref().and_then(|header| header.place(self.base));
        Ok(match dataset.storage_layout().map_err(unreadable)? {
            StorageLayout::Virtual => Storage::OtherFile,
            _ if found == Some(Place::Unallocated) => Storage::Unwritten,
            StorageLayout::Chunked => {
                let (shape, size) = (dataset.shape(), dataset.element_size());
                match header.and_then(|header| header.row_chunks(self.base, &shape, size)) {
                    Some((rows, offsets)) => Storage::RowChunks { rows, offsets },
                    None => Storage::Chunked,
                }
            }
            StorageLayout::Contiguous => {
                let sizes = dataset.shape().into_iter().chain([dataset.element_size()]);
                let wanted = sizes.fold(1u64, |product, size| product.saturating_mul(size as u64));
                match found {
                    Some(Place::At { offset, len }) if len >= wanted => {
                        Storage::Contiguous { offset: Some(offset) }
                    }
                    _ => Storage::Contiguous { offset: None },
                }
            }
            _ => Storage::Elsewhere,
        })
    }
}

impl SourceFile for Source {
    fn members(&self, group: &str) -> Result<Option<Members>> {
        let Some(found) = self.group(group)? else { return Ok(None) };
        let mut groups = found.group_names().map_err(|source| refused("list the groups", source))?;
        let mut datasets = found.dataset_names().map_err(|source| refused("list the datasets", source))?;
        for name in found.link_names().map_err(|source| refused("list the links", source))? {
            if groups.contains(&name) || datasets.contains(&name) {
                continue;
            }
            let place = super::joined(group, &name);
            if matches!(found.link_class(&name), Ok(LinkClass::Soft { .. })) {
                if self.find(&place)?.is_some() {
                    datasets.push(name);
                } else if self.group(&place)?.is_some() {
                    groups.push(name);
                }
            }
        }
        groups.sort();
        datasets.sort();
        Ok(Some(Members { groups, datasets }))
    }

    fn dataset(&self, place: &str) -> Result<Option<Dataset>> {
        let Some(dataset) = self.find(place)? else { return Ok(None) };
        let datatype = dataset.datatype().map_err(|source| refused("read the element type", source))?;
        Ok(Some(Dataset {
            shape: dataset.shape().into_iter().map(|size| size as u64).collect(),
            element: element(&datatype),
            element_size: dataset.element_size() as u64,
            storage: self.storage(place, &dataset)?,
        }))
    }

    fn floats(&self, place: &str) -> Result<Vec<f32>> {
        let found = self.found(place)?;
        let datatype = found.dataset.datatype().map_err(|source| refused("read the element type", source))?;
        if matches!(element(&datatype), Element::Float { element: ElementType::F64, .. }) {
            return in_blocks(&found, |value: f64| value as f32);
        }
        in_blocks(&found, |value: f32| value)
    }

    fn integers(&self, place: &str) -> Result<Vec<i64>> {
        let found = self.found(place)?;
        let read = |source| refused("read the values as integers", source);
        let values: Vec<i64> = found.dataset.read_numeric_as().map_err(read)?;
        found.check_written(0, &values, i64::cast_unsigned)?;
        Ok(values)
    }

    fn doubles(&self, place: &str) -> Result<Vec<f64>> {
        let found = self.found(place)?;
        let read = |source| refused("read the values", source);
        let values: Vec<f64> = found.dataset.read_numeric_as().map_err(read)?;
        found.check_written(0, &values, f64::to_bits)?;
        Ok(values)
    }

    fn attribute(&self, place: &str, name: &str) -> Result<Option<Attribute>> {
        let unreadable = |source| refused(format!("read attribute `{name}`"), source);
        let listed = |names: rust_hdf5::Result<Vec<String>>| {
            names.map(|names| names.iter().any(|found| found == name)).map_err(unreadable)
        };
        // What the library keeps to itself about groups is read from the header.
        let in_header = self.header(place).and_then(|header| header.attribute(name));
        if in_header.as_ref().is_some_and(header::Stored::is_empty) {
            return Ok(None);
        }
        let text = if let Some(dataset) = self.find(place).ok().flatten() {
            if !listed(dataset.attr_names())? {
                return Ok(None);
            }
            dataset.attr(name).and_then(|attribute| attribute.read_string())
        } else {
            match self.group(place)? {
                Some(group) if listed(group.attr_names())? => group.attr_string(name),
                _ => return Ok(None),
            }
        };
        Ok(Some(match in_header {
            Some(attribute) => match (attribute.number(), attribute.n_values()) {
                (Some(number), _) => Attribute::Number(number),
                (None, Some(1)) if attribute.is_text() => Attribute::Text(text.map_err(unreadable)?),
                _ => Attribute::Other(attribute.in_words()),
            },
            None => Attribute::Text(text.map_err(unreadable)?),
        }))
    }
}

/// Reads a matrix some rows at a time, since the library holds what it decodes beside what it converts.
fn in_blocks<T: ReadNumeric>(found: &Found, convert: impl Fn(T) -> f32) -> Result<Vec<f32>> {
    const VALUES_AT_ONCE: usize = 1 << 20;
    let dataset = &found.dataset;
    let failed = |source| refused("read the values", source);
    let shape = dataset.shape();
    let [n_rows, n_columns] = shape[..] else {
        let values = dataset.read_numeric_as::<T>().map_err(failed)?;
        return Ok(values.into_iter().map(convert).collect());
    };
    // Whole chunks, so that none is decoded twice.
    let chunk_rows = dataset.chunk_dims().and_then(|chunk| chunk.first().copied()).unwrap_or(1);
    let chunk_rows = chunk_rows.clamp(1, n_rows.max(1));
    let rows_at_once = (VALUES_AT_ONCE / n_columns.max(1)).max(1).next_multiple_of(chunk_rows);
    let mut values = Vec::with_capacity(n_rows * n_columns);
    for start in (0..n_rows).step_by(rows_at_once) {
        let rows = rows_at_once.min(n_rows - start);
        let block = dataset.read_numeric_slice_as::<T>(&[start, 0], &[rows, n_columns]).map_err(failed)?;
        let n_before = values.len();
        values.extend(block.into_iter().map(&convert));
        let block = values.get(n_before..).unwrap_or_default();
        found.check_written(start, block, |value| value.to_bits().into())?;
    }
    Ok(values)
}

/// Refuses what the library decodes without noticing damage that the C library notices.
fn check_filters(dataset: &H5Dataset) -> Result<()> {
    /// Identifier in the file format.
    const SZIP: u16 = 4;
    let filters = dataset.filters().map_err(|source| refused("read the filters", source))?;
    if filters.iter().any(|filter| filter.id == SZIP) {
        return Err(ErrorKind::Hdf5Feature { feature: "SZIP compression".to_owned() }.into());
    }
    Ok(())
}

/// The error of the library, with the feature named where it lacks one.
fn refused(action: impl Into<String>, source: Hdf5Error) -> Error {
    if let Hdf5Error::Unsupported(feature) = &source {
        return ErrorKind::Hdf5Feature { feature: feature.clone() }.into();
    }
    failed(action, source)
}

fn element(datatype: &DatatypeMessage) -> Element {
    match datatype {
        DatatypeMessage::FloatingPoint { byte_order, .. } => match datatype.ieee_format() {
            Some(format) => Element::Float {
                element: match format {
                    IeeeFormat::Binary16 => ElementType::F16,
                    IeeeFormat::Binary32 => ElementType::F32,
                    IeeeFormat::Binary64 => ElementType::F64,
                },
                little_endian: *byte_order == ByteOrder::LittleEndian,
            },
            None => Element::Other(datatype.to_string()),
        },
        DatatypeMessage::FixedPoint { .. } => Element::Integer,
        other => Element::Other(other.to_string()),
    }
}
