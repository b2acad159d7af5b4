//! HDF5 through the C library of the machine (`hdf5-metno`).
//!
//! The library is not used by two threads at once: its Rust layer holds a lock. Texts of variable length are read by
//! `rust-hdf5`.

mod writer;

use std::path::{Path, PathBuf};

use ::hdf5::dataset::Layout;
use ::hdf5::datatype::ByteOrder;
use ::hdf5::filters::Filter;
use ::hdf5::types::{FixedAscii, FixedUnicode, FloatSize, IntSize, TypeDescriptor};
use ::hdf5::{File, H5Type, LinkType, Location, LocationType};

use crate::element_type::ElementType;
use crate::error::{ErrorKind, Result};

use super::backend::{Attribute, Dataset, Element, Members, SourceFile, Storage};
use super::{failed, lacks_chunk};

pub(super) use writer::Sink;

/// Longest text of fixed length that is read from an attribute, in bytes.
const LONGEST_TEXT: usize = 4096;

/// A file opened for reading.
pub(super) struct Source {
    file: File,
    path: PathBuf,
}

impl Source {
    /// Opens the file without locking it: some file systems of clusters have no locks, and files are replaced by
    /// renaming, never changed in place.
    pub(super) fn open(path: &Path) -> Result<Self> {
        let file = File::with_options()
            .with_fapl(|access| access.file_locking(false))
            .open(path)
            .map_err(|source| failed("open the file", source))?;
        Ok(Self { file, path: path.to_owned() })
    }

    fn group(&self, place: &str) -> Result<Option<::hdf5::Group>> {
        if place.is_empty() {
            return self.file.group("/").map(Some).map_err(|source| failed("open the root group", source));
        }
        if !self.leads_to(place, LocationType::Group) {
            return Ok(None);
        }
        self.file.group(place).map(Some).map_err(|source| failed(format!("open group `{place}`"), source))
    }

    fn find(&self, place: &str) -> Result<Option<::hdf5::Dataset>> {
        if !self.leads_to(place, LocationType::Dataset) {
            return Ok(None);
        }
        self.file.dataset(place).map(Some).map_err(|source| failed(format!("open dataset `{place}`"), source))
    }

    fn found(&self, place: &str) -> Result<::hdf5::Dataset> {
        self.find(place)?
            .ok_or_else(|| ErrorKind::MissingDataset { name: place.to_owned(), found: Vec::new() }.into())
    }

    /// Whether there is such an object, and every step towards it stays in this file.
    fn leads_to(&self, place: &str, wanted: LocationType) -> bool {
        let mut at = String::new();
        for name in place.split('/') {
            let Ok(home) = self.file.group(if at.is_empty() { "/" } else { &at }) else { return false };
            if is_external(&home, name) {
                return false;
            }
            at = super::joined(&at, name);
        }
        self.file.loc_type_by_name(place).is_ok_and(|found| found == wanted)
    }

    /// A text of variable length, which lies in a heap of the file, through `rust-hdf5`.
    ///
    /// Version 1.10 of the C library never comes back from a heap whose free space states too small a size, and cannot
    /// convert the texts that `rust-hdf5` writes (it declares them as sequences of texts, the C library as sequences of
    /// bytes).
    fn text_of_any_length(&self, place: &str, name: &str) -> Result<Option<Attribute>> {
        super::pure::Source::open(&self.path)?.attribute(place, name)
    }

    fn values<T: H5Type>(&self, place: &str) -> Result<Vec<T>> {
        let dataset = self.found(place)?;
        if let Some(filter) = dataset.filters().iter().find(|filter| !filter.is_available()) {
            let feature = match filter {
                Filter::User(id, _) => format!("filter {id}"),
                known => format!("filter {known:?}"),
            };
            return Err(ErrorKind::Hdf5Feature { feature }.into());
        }
        if let (Some(found), Some(sides)) = (dataset.num_chunks(), dataset.chunk()) {
            let counts =
                dataset.shape().into_iter().zip(sides).map(|(size, side)| size.div_ceil(side.max(1)));
            if found < counts.fold(1, usize::saturating_mul) {
                return Err(lacks_chunk());
            }
        }
        dataset.read_raw().map_err(|source| failed("read the values", source))
    }
}

fn is_external(group: &::hdf5::Group, name: &str) -> bool {
    let mut external = false;
    let visited = group.iter_visit_default(|found, link| {
        external |= found == name && link.link_type == LinkType::External;
        Ok(())
    });
    visited.is_err() || external
}

impl SourceFile for Source {
    fn members(&self, group: &str) -> Result<Option<Members>> {
        let Some(found) = self.group(group)? else { return Ok(None) };
        let mut names = Vec::new();
        found
            .iter_visit_default(|name, link| {
                if link.link_type != LinkType::External {
                    names.push(name.to_owned());
                }
                Ok(())
            })
            .map_err(|source| failed("list the members", source))?;
        names.sort();
        let mut members = Members::default();
        for name in names {
            // A dangling link leads to nothing, which is no member.
            match found.loc_type_by_name(&name) {
                Ok(LocationType::Group) => members.groups.push(name),
                Ok(LocationType::Dataset) => members.datasets.push(name),
                _ => {}
            }
        }
        Ok(Some(members))
    }

    fn dataset(&self, place: &str) -> Result<Option<Dataset>> {
        let Some(dataset) = self.find(place)? else { return Ok(None) };
        let unreadable = |source| failed("read the header of the dataset", source);
        let created = dataset.dcpl().map_err(unreadable)?;
        let datatype = dataset.dtype().map_err(unreadable)?;
        let storage = match created.layout() {
            _ if !created.external().is_empty() => Storage::OtherFile,
            Layout::Virtual => Storage::OtherFile,
            Layout::Chunked | Layout::Contiguous if dataset.storage_size() == 0 => Storage::Unwritten,
            Layout::Chunked => Storage::Chunked,
            Layout::Contiguous => Storage::Contiguous { offset: dataset.offset() },
            Layout::Compact => Storage::Elsewhere,
        };
        Ok(Some(Dataset {
            shape: dataset.get_shape().map_err(unreadable)?.into_iter().map(|size| size as u64).collect(),
            element: element(&datatype),
            element_size: datatype.size() as u64,
            storage,
        }))
    }

    fn floats(&self, place: &str) -> Result<Vec<f32>> {
        self.values(place)
    }

    fn integers(&self, place: &str) -> Result<Vec<i64>> {
        let datatype = self.found(place)?.dtype().and_then(|datatype| datatype.to_descriptor());
        if !matches!(datatype, Ok(TypeDescriptor::Unsigned(IntSize::U8))) {
            return self.values(place);
        }
        // The library would clamp what i64 cannot hold.
        let values: Vec<u64> = self.values(place)?;
        let limit = i64::MAX as u64;
        let exact = |value: u64| {
            let beyond = ErrorKind::Limit { what: "an integer", found: value, limit };
            i64::try_from(value).map_err(|_| beyond.into())
        };
        values.into_iter().map(exact).collect()
    }

    fn doubles(&self, place: &str) -> Result<Vec<f64>> {
        self.values(place)
    }

    fn attribute(&self, place: &str, name: &str) -> Result<Option<Attribute>> {
        let unreadable = |source| failed(format!("read attribute `{name}`"), source);
        let object: Location = if let Some(group) = self.group(place)? {
            Location::clone(&group)
        } else if let Some(dataset) = self.find(place)? {
            Location::clone(&dataset)
        } else {
            return Ok(None);
        };
        if !object.attr_names().map_err(unreadable)?.iter().any(|found| found == name) {
            return Ok(None);
        }
        let attribute = object.attr(name).map_err(unreadable)?;
        let datatype = attribute.dtype().and_then(|datatype| datatype.to_descriptor()).map_err(unreadable)?;
        let n_values = attribute.size();
        // The types of `hdf5-metno` promise UTF-8 without looking.
        let first = |bytes: Option<Vec<u8>>| match bytes.map(String::from_utf8) {
            Some(Ok(text)) => Attribute::Text(text),
            Some(Err(_)) => Attribute::Other("a text that is not UTF-8".to_owned()),
            None => Attribute::Other("without a value".to_owned()),
        };
        // Set to nothing, as by `h5py.Empty`.
        if attribute.space().is_ok_and(|space| space.is_null()) {
            return Ok(None);
        }
        Ok(Some(match datatype {
            _ if n_values != 1 => Attribute::Other(format!("{n_values} values of type {datatype}")),
            TypeDescriptor::Integer(_) | TypeDescriptor::Unsigned(_) | TypeDescriptor::Float(_) => {
                let values: Vec<f64> = attribute.read_raw().map_err(unreadable)?;
                values
                    .first()
                    .map_or(Attribute::Other("without a value".to_owned()), |n| Attribute::Number(*n))
            }
            TypeDescriptor::VarLenUnicode | TypeDescriptor::VarLenAscii => {
                return self.text_of_any_length(place, name);
            }
            TypeDescriptor::FixedUnicode(len) if len <= LONGEST_TEXT => {
                let values: Vec<FixedUnicode<LONGEST_TEXT>> = attribute.read_raw().map_err(unreadable)?;
                first(values.first().map(|text| text.as_bytes().to_vec()))
            }
            TypeDescriptor::FixedAscii(len) if len <= LONGEST_TEXT => {
                let values: Vec<FixedAscii<LONGEST_TEXT>> = attribute.read_raw().map_err(unreadable)?;
                first(values.first().map(|text| text.as_bytes().to_vec()))
            }
            other => Attribute::Other(format!("of type {other}")),
        }))
    }
}

fn element(datatype: &::hdf5::Datatype) -> Element {
    match datatype.to_descriptor() {
        Ok(TypeDescriptor::Float(size)) => Element::Float {
            element: match size {
                FloatSize::U2 => ElementType::F16,
                FloatSize::U4 => ElementType::F32,
                FloatSize::U8 => ElementType::F64,
            },
            little_endian: datatype.byte_order() == ByteOrder::LittleEndian,
        },
        Ok(TypeDescriptor::Integer(_) | TypeDescriptor::Unsigned(_)) => Element::Integer,
        Ok(other) => Element::Other(other.to_string()),
        Err(_) => Element::Other("a type without a name".to_owned()),
    }
}
