//! The one place that knows the HDF5 library; another backend would replace this module.
//!
//! Sizes in a file are compared with the file's length before the library is asked to set memory aside, and the
//! library's errors are kept as sources.

mod attributes;
mod header;
mod writer;

use std::path::Path;
use std::sync::Arc;

use rust_hdf5::format::messages::datatype::IeeeFormat;
use rust_hdf5::{
    ByteOrder, DatatypeMessage, H5Dataset, H5File, H5FileOptions, H5Group, Hdf5Error, StorageLayout,
};

use crate::element_type::ElementType;
use crate::error::{Error, ErrorKind, Result};
use crate::features::FeatureMatrix;
use crate::file_kind::FileKind;
use crate::mmap::{MappedFile, MappedFloats};

use header::{Header, Storage};

pub(crate) use writer::{GroupWriter, Writer};

/// A file opened for reading.
pub(crate) struct Reader {
    file: H5File,
    map: Arc<MappedFile>,
    /// Where the superblock starts.
    base: u64,
}

/// Deflate cannot shrink data further than this, so no honest chunked dataset is larger than the file by more.
const LARGEST_COMPRESSION: u64 = 1032;

impl Reader {
    /// Opens and maps the file, and lets the library read its table of contents.
    ///
    /// # Errors
    /// [`ErrorKind::FileKind`] if it is not HDF5, [`ErrorKind::Io`], [`ErrorKind::Hdf5`].
    pub(crate) fn open(path: &Path) -> Result<Self> {
        let map = Arc::new(MappedFile::open(path)?);
        let found = match map.bytes() {
            [] => Some(FileKind::Empty),
            bytes if bytes.starts_with(b"PK\x03\x04") => Some(FileKind::Zip),
            // A user block of 512 bytes or a power of two times that may come first.
            bytes if !signature_offsets(bytes).any(|at| bytes[at..].starts_with(SIGNATURE)) => {
                Some(FileKind::Unknown)
            }
            _ => None,
        };
        if let Some(found) = found {
            return Err(ErrorKind::FileKind { found, wanted: "an HDF5 file" }.into());
        }
        // Some file systems of clusters have no locks; files are replaced by renaming, never changed in place.
        let file = H5FileOptions::new()
            .best_effort_locking()
            .open(path)
            .map_err(|source| failed("open the file", source))?;
        let base = file.userblock_size();
        Ok(Self { file, map, base })
    }

    /// Names of the groups at the top, sorted.
    pub(crate) fn groups(&self) -> Result<Vec<String>> {
        let mut names =
            self.file.root_group().group_names().map_err(|source| failed("list the groups", source))?;
        names.sort();
        Ok(names)
    }

    /// The top of the file.
    pub(crate) fn root(&self) -> Group<'_> {
        Group { reader: self, group: self.file.root_group(), path: String::new() }
    }

    /// The group at `path`, if there is one.
    pub(crate) fn group(&self, path: &str) -> Result<Option<Group<'_>>> {
        let mut group = self.file.root_group();
        for name in path.split('/') {
            group = match group.group(name) {
                Ok(group) => group,
                Err(Hdf5Error::NotFound(_)) => return Ok(None),
                Err(source) => return Err(failed(format!("open group `{path}`"), source)),
            };
        }
        Ok(Some(Group { reader: self, group, path: path.to_owned() }))
    }
}

/// A group of an opened file.
pub(crate) struct Group<'a> {
    reader: &'a Reader,
    group: H5Group,
    path: String,
}

impl Group<'_> {
    /// Its place in the file, without a slash at the front.
    pub(crate) fn path(&self) -> &str {
        &self.path
    }

    /// Names of the datasets directly inside, sorted.
    pub(crate) fn datasets(&self) -> Result<Vec<String>> {
        let mut names = self.group.dataset_names().map_err(|source| failed("list the datasets", source))?;
        names.sort();
        Ok(names)
    }

    /// A matrix of floats as features: mapped where it lies in the file as `f32`, converted otherwise.
    pub(crate) fn features(&self, name: &str) -> Result<FeatureMatrix> {
        self.read_features(name).map_err(|error| error.at_place(self.place(name)))
    }

    fn read_features(&self, name: &str) -> Result<FeatureMatrix> {
        let dataset = self.dataset(name)?;
        let shape = dataset.shape();
        let [n_patches, dim] = shape[..] else {
            return Err(wrong_shape(&dataset, "[n_patches, dim]".to_owned()));
        };
        let datatype = dataset.datatype().map_err(|source| failed("read the element type", source))?;
        let (element, little) = float_type(&datatype).ok_or_else(|| ErrorKind::ElementType {
            found: datatype.to_string(),
            wanted: "float16, float32 or float64",
        })?;
        let storage = Header::find(self.reader.map.bytes(), self.reader.base, &self.place(name))
            .and_then(|header| header.contiguous(self.reader.base));
        let bytes = match storage {
            Some(Storage::Unallocated) => {
                let found = "a dataset to which nothing was written".to_owned();
                return Err(ErrorKind::Content { found, wanted: "features" }.into());
            }
            Some(Storage::At { offset, len }) if little => self.contiguous_bytes(&dataset, offset, len)?,
            _ => None,
        };
        match bytes {
            Some((start, len)) => {
                let in_place = || MappedFloats::new(&self.reader.map, start, len / element.size());
                if let Some(floats) = (element == ElementType::F32).then(in_place).flatten() {
                    return FeatureMatrix::mapped(Arc::new(floats), n_patches, dim);
                }
                let bytes = self.reader.map.bytes().get(start..start + len).unwrap_or_default();
                FeatureMatrix::new(element.decode(bytes)?, n_patches, dim)
            }
            // Chunked, compressed, big-endian, or beyond the reach of the header walk.
            None => FeatureMatrix::new(converted(&dataset, element)?, n_patches, dim),
        }
    }

    /// Start and length of a contiguous dataset, which must be within the file.
    fn contiguous_bytes(
        &self,
        dataset: &H5Dataset,
        offset: u64,
        stored: u64,
    ) -> Result<Option<(usize, usize)>> {
        // `dataset` compared this product with the length of the file.
        let len = dataset.total_elements() * dataset.element_size();
        let end = offset.checked_add(len as u64).filter(|end| *end <= self.reader.map.bytes().len() as u64);
        match (end, usize::try_from(offset)) {
            (Some(_), Ok(start)) if stored >= len as u64 => Ok(Some((start, len))),
            _ => Err(Error::from(ErrorKind::Content {
                found: format!("{stored} bytes at {offset} of a file of {}", self.reader.map.bytes().len()),
                wanted: "the values of the dataset",
            })),
        }
    }

    /// A matrix of `N` integer columns, converted to `i64`.
    pub(crate) fn integer_rows<const N: usize>(&self, name: &str) -> Result<Vec<[i64; N]>> {
        let read = || {
            let dataset = self.dataset(name)?;
            if !matches!(dataset.shape()[..], [_, columns] if columns == N) {
                return Err(wrong_shape(&dataset, format!("[n_patches, {N}]")));
            }
            Ok(integers(&dataset)?.as_chunks().0.to_vec())
        };
        read().map_err(|error: Error| error.at_place(self.place(name)))
    }

    /// A list of integers, converted to `i64`.
    pub(crate) fn integer_list(&self, name: &str) -> Result<Vec<i64>> {
        let read = || {
            let dataset = self.dataset(name)?;
            if dataset.shape().len() != 1 {
                return Err(wrong_shape(&dataset, "[n_patches]".to_owned()));
            }
            integers(&dataset)
        };
        read().map_err(|error: Error| error.at_place(self.place(name)))
    }

    fn place(&self, name: &str) -> String {
        if self.path.is_empty() { name.to_owned() } else { format!("{}/{name}", self.path) }
    }

    /// Opens a dataset whose values are in this very file and not more than the file can hold.
    fn dataset(&self, name: &str) -> Result<H5Dataset> {
        let place = self.place(name);
        let elsewhere = || {
            let found = "values that lie in another file".to_owned();
            Err(ErrorKind::Content { found, wanted: "values stored in this file" }.into())
        };
        // The listing leaves out what links name in other files.
        let found = self.datasets()?;
        if !found.iter().any(|dataset| dataset == name) {
            return Err(ErrorKind::MissingDataset { name: name.to_owned(), found }.into());
        }
        let dataset = self
            .reader
            .file
            .dataset(&place)
            .map_err(|source| failed(format!("open dataset `{place}`"), source))?;
        let layout = dataset.storage_layout().map_err(|source| failed("read the storage layout", source))?;
        let external =
            dataset.external_files().map_err(|source| failed("read the storage layout", source))?;
        if layout == StorageLayout::Virtual || !external.is_empty() {
            return elsewhere();
        }
        let n_bytes = dataset
            .shape()
            .iter()
            .chain([&dataset.element_size()])
            .try_fold(1u64, |product, size| product.checked_mul(*size as u64))
            .unwrap_or(u64::MAX);
        let stored = self.reader.map.bytes().len() as u64;
        let limit = if layout == StorageLayout::Chunked {
            stored.saturating_mul(LARGEST_COMPRESSION)
        } else {
            stored
        };
        if n_bytes > limit {
            return Err(
                ErrorKind::Limit { what: "size of the dataset in bytes", found: n_bytes, limit }.into()
            );
        }
        Ok(dataset)
    }
}

const SIGNATURE: &[u8] = b"\x89HDF\r\n\x1a\n";

fn signature_offsets(bytes: &[u8]) -> impl Iterator<Item = usize> {
    let doubled = std::iter::successors(Some(512usize), |offset| offset.checked_mul(2));
    std::iter::once(0).chain(doubled).take_while(|offset| *offset < bytes.len())
}

fn failed(action: impl Into<String>, source: Hdf5Error) -> Error {
    ErrorKind::Hdf5 { action: action.into(), source: source.into() }.into()
}

fn wrong_shape(dataset: &H5Dataset, wanted: String) -> Error {
    let found = dataset.shape().iter().map(|size| *size as u64).collect();
    ErrorKind::Shape { found, wanted }.into()
}

/// The float type and whether it is little-endian.
fn float_type(datatype: &DatatypeMessage) -> Option<(ElementType, bool)> {
    let DatatypeMessage::FloatingPoint { byte_order, .. } = datatype else {
        return None;
    };
    let element = match datatype.ieee_format()? {
        IeeeFormat::Binary16 => ElementType::F16,
        IeeeFormat::Binary32 => ElementType::F32,
        IeeeFormat::Binary64 => ElementType::F64,
    };
    Some((element, *byte_order == ByteOrder::LittleEndian))
}

/// Reads through the library, which undoes chunks, filters and byte order.
fn converted(dataset: &H5Dataset, element: ElementType) -> Result<Vec<f32>> {
    let read = |source| failed("read the values", source);
    if element == ElementType::F64 {
        let values = dataset.read_numeric_as::<f64>().map_err(read)?;
        return Ok(values.into_iter().map(|value| value as f32).collect());
    }
    dataset.read_numeric_as().map_err(read)
}

fn integers(dataset: &H5Dataset) -> Result<Vec<i64>> {
    dataset.read_numeric_as().map_err(|source| failed("read the values as integers", source))
}
