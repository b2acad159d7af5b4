//! Reading HDF5 files, with all that must be checked before a number is believed.
//!
//! Sizes in a file are compared with the file's length before a library is asked to set memory aside, and the
//! library's errors are kept as sources.

use std::ops::Range;
use std::path::Path;
use std::sync::Arc;

use crate::element_type::ElementType;
use crate::error::{Error, ErrorKind, Result};
use crate::features::FeatureMatrix;
use crate::file_kind::FileKind;
use crate::gather::{Run, gather};
use crate::mmap::{MappedFile, MappedFloats};

use super::backend::{Dataset, Element, SourceFile, Storage};
use super::{Backend, beyond_file, joined};

/// A file opened for reading.
pub(crate) struct Reader {
    pub(super) source: Box<dyn SourceFile>,
    map: Arc<MappedFile>,
}

/// Deflate cannot shrink data further than this, so no honest chunked dataset is larger than the file by more.
pub(super) const LARGEST_COMPRESSION: u64 = 1032;

impl Reader {
    /// Opens and maps the file, and lets the library read its table of contents.
    ///
    /// # Errors
    /// [`ErrorKind::FileKind`] if it is not HDF5, [`ErrorKind::Io`], [`ErrorKind::Hdf5`], [`ErrorKind::Hdf5Feature`].
    pub(crate) fn open(path: &Path) -> Result<Self> {
        Self::open_with(Backend::IN_USE, path)
    }

    pub(super) fn open_with(backend: Backend, path: &Path) -> Result<Self> {
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
        Ok(Self { source: backend.open(path)?, map })
    }

    /// The top of the file.
    pub(crate) fn root(&self) -> Group<'_> {
        Group { reader: self, path: String::new() }
    }

    /// The group at `path`, if there is one.
    pub(crate) fn group(&self, path: &str) -> Result<Option<Group<'_>>> {
        let found = self.source.members(path)?;
        Ok(found.map(|_| Group { reader: self, path: path.to_owned() }))
    }
}

/// A group of an opened file.
pub(crate) struct Group<'a> {
    pub(super) reader: &'a Reader,
    path: String,
}

/// A dataset of floats whose header has been checked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct FloatMatrix {
    place: String,
    pub(crate) n_patches: usize,
    pub(crate) dim: usize,
    pub(crate) element: ElementType,
    values: Values,
}

impl FloatMatrix {
    /// Where in the file the values are, if they are in one piece and in the order of their rows.
    pub(crate) fn bytes(&self) -> Option<Range<u64>> {
        match self.values {
            Values::At(start) => {
                let n_bytes = self.n_patches * self.dim * self.element.size();
                Some(start as u64..(start + n_bytes) as u64)
            }
            Values::Runs(_) | Values::Library => None,
        }
    }
}

/// How the values of a matrix are read.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Values {
    /// As they lie, from this byte on.
    At(usize),
    /// From these pieces.
    Runs(Vec<Run>),
    /// By the library.
    Library,
}

impl<'a> Group<'a> {
    /// Its place in the file, without a slash at the front.
    pub(crate) fn path(&self) -> &str {
        &self.path
    }

    /// Names of the groups directly inside, sorted.
    pub(crate) fn groups(&self) -> Result<Vec<String>> {
        Ok(self.reader.source.members(&self.path)?.unwrap_or_default().groups)
    }

    /// Names of the datasets directly inside, sorted.
    pub(crate) fn datasets(&self) -> Result<Vec<String>> {
        Ok(self.reader.source.members(&self.path)?.unwrap_or_default().datasets)
    }

    /// The group inside this one, if there is one.
    pub(crate) fn group(&self, name: &str) -> Result<Option<Group<'a>>> {
        self.reader.group(&joined(&self.path, name))
    }

    /// What the header of a matrix of floats says. No value is read.
    pub(crate) fn float_matrix(&self, name: &str) -> Result<FloatMatrix> {
        let place = joined(&self.path, name);
        self.check_floats(name, &place).map_err(|error| error.at_place(place))
    }

    fn check_floats(&self, name: &str, place: &str) -> Result<FloatMatrix> {
        let dataset = self.dataset(name, place)?;
        let [n_patches, dim] = dataset.shape[..] else {
            return Err(wrong_shape(&dataset, "[n_patches, dim]".to_owned()));
        };
        let Element::Float { element, little_endian } = dataset.element else {
            let found = in_words(&dataset);
            return Err(ErrorKind::ElementType { found, wanted: "float16, float32 or float64" }.into());
        };
        let values = match dataset.storage {
            Storage::Contiguous { offset } => {
                let len = n_patches * dim * dataset.element_size;
                self.offset_of(offset, len)?.filter(|_| little_endian).map_or(Values::Library, Values::At)
            }
            Storage::RowChunks { rows, ref offsets } if little_endian => {
                self.runs(n_patches, dim * dataset.element_size, dim, rows, offsets)?
            }
            _ => Values::Library,
        };
        // `dataset` compared their product with the length of the file.
        let (n_patches, dim) = (n_patches as usize, dim as usize);
        Ok(FloatMatrix { place: place.to_owned(), n_patches, dim, element, values })
    }

    /// The rows of chunks, the last of which holds what is left; all must be within the file.
    fn runs(&self, n_rows: u64, row_bytes: u64, dim: u64, rows: u64, offsets: &[u64]) -> Result<Values> {
        let run = |(index, offset): (usize, &u64)| {
            let n_rows = rows.min(n_rows - index as u64 * rows);
            self.offset_of(Some(*offset), n_rows * row_bytes)?;
            Ok(Run { offset: *offset, n_values: (n_rows * dim) as usize })
        };
        offsets.iter().enumerate().map(run).collect::<Result<_>>().map(Values::Runs)
    }

    /// Where a contiguous dataset of `len` bytes starts, which must be within the file.
    fn offset_of(&self, offset: Option<u64>, len: u64) -> Result<Option<usize>> {
        let Some(offset) = offset else { return Ok(None) };
        let file_len = self.reader.map.bytes().len();
        let end = offset.checked_add(len).filter(|end| *end <= file_len as u64);
        match (end, usize::try_from(offset)) {
            (Some(_), Ok(offset)) => Ok(Some(offset)),
            _ => Err(beyond_file(offset, len, file_len)),
        }
    }

    /// The values of a matrix of floats: mapped where they lie in the file as `f32`, converted otherwise.
    pub(crate) fn features(&self, matrix: &FloatMatrix) -> Result<FeatureMatrix> {
        self.read_features(matrix).map_err(|error| error.at_place(&matrix.place))
    }

    fn read_features(&self, matrix: &FloatMatrix) -> Result<FeatureMatrix> {
        let FloatMatrix { ref place, n_patches, dim, element, ref values } = *matrix;
        match *values {
            Values::At(start) => {
                let in_place = || MappedFloats::new(&self.reader.map, start, n_patches * dim);
                if let Some(floats) = (element == ElementType::F32).then(in_place).flatten() {
                    return FeatureMatrix::mapped(Arc::new(floats), n_patches, dim);
                }
                let run = Run { offset: start as u64, n_values: n_patches * dim };
                FeatureMatrix::gathered(gather(&self.reader.map, element, &[run])?, n_patches, dim)
            }
            Values::Runs(ref runs) => {
                FeatureMatrix::gathered(gather(&self.reader.map, element, runs)?, n_patches, dim)
            }
            // Chunked, compressed, big-endian, or where the library does not tell its place.
            Values::Library if n_patches == 0 || dim == 0 => FeatureMatrix::new(Vec::new(), n_patches, dim),
            Values::Library => FeatureMatrix::new(self.reader.source.floats(place)?, n_patches, dim),
        }
    }

    /// A matrix of `N` integer columns, converted to `i64`.
    pub(crate) fn integer_rows<const N: usize>(&self, name: &str) -> Result<Vec<[i64; N]>> {
        self.rows_of(name, |source, place| source.integers(place), |element| *element == Element::Integer)
    }

    /// A matrix of `N` columns of floats or integers.
    pub(crate) fn number_rows<const N: usize>(&self, name: &str) -> Result<Vec<[f64; N]>> {
        if self.columns_of(name)?.0 {
            let rows = self.integer_rows::<N>(name)?;
            return Ok(rows.into_iter().map(|row| row.map(|value| value as f64)).collect());
        }
        let float = |element: &Element| matches!(element, Element::Float { .. });
        self.rows_of(name, |source, place| source.doubles(place), float)
    }

    fn rows_of<T: Copy, const N: usize>(
        &self,
        name: &str,
        read: impl Fn(&dyn SourceFile, &str) -> Result<Vec<T>>,
        accepts: impl Fn(&Element) -> bool,
    ) -> Result<Vec<[T; N]>> {
        let place = joined(&self.path, name);
        let rows = || {
            let dataset = self.dataset(name, &place)?;
            match dataset.shape[..] {
                [0, columns] if columns == N as u64 => return Ok(Vec::new()),
                [_, columns] if columns == N as u64 => {}
                _ => return Err(wrong_shape(&dataset, format!("[n_patches, {N}]"))),
            }
            if !accepts(&dataset.element) {
                return Err(ErrorKind::ElementType { found: in_words(&dataset), wanted: "integers" }.into());
            }
            Ok(read(self.reader.source.as_ref(), &place)?.as_chunks().0.to_vec())
        };
        rows().map_err(|error: Error| error.at_place(&place))
    }

    /// A list of integers, converted to `i64`.
    pub(crate) fn integer_list(&self, name: &str) -> Result<Vec<i64>> {
        let place = joined(&self.path, name);
        let list = || {
            let dataset = self.dataset(name, &place)?;
            match dataset.shape[..] {
                [0] => Ok(Vec::new()),
                [_] if dataset.element == Element::Integer => self.reader.source.integers(&place),
                [_] => Err(ErrorKind::ElementType { found: in_words(&dataset), wanted: "integers" }.into()),
                _ => Err(wrong_shape(&dataset, "[n_patches]".to_owned())),
            }
        };
        list().map_err(|error: Error| error.at_place(&place))
    }

    /// Whether a dataset has integers, and how many columns, if it has two axes.
    pub(crate) fn columns_of(&self, name: &str) -> Result<(bool, Option<u64>)> {
        let place = joined(&self.path, name);
        let dataset = self.dataset(name, &place).map_err(|error| error.at_place(&place))?;
        let columns = if let [_, columns] = dataset.shape[..] { Some(columns) } else { None };
        Ok((dataset.element == Element::Integer, columns))
    }

    /// The header of a dataset whose values are in this very file and not more than the file can hold. Libraries read what was
    /// never written as zeros.
    fn dataset(&self, name: &str, place: &str) -> Result<Dataset> {
        let Some(dataset) = self.reader.source.dataset(place)? else {
            return Err(ErrorKind::MissingDataset { name: name.to_owned(), found: self.datasets()? }.into());
        };
        if dataset.storage == Storage::OtherFile {
            let found = "values that lie in another file".to_owned();
            return Err(ErrorKind::Content { found, wanted: "values stored in this file" }.into());
        }
        let n_bytes = dataset
            .shape
            .iter()
            .chain([&dataset.element_size])
            .try_fold(1u64, |product, size| product.checked_mul(*size))
            .unwrap_or(u64::MAX);
        let stored = self.reader.map.bytes().len() as u64;
        let limit = match dataset.storage {
            Storage::Chunked | Storage::RowChunks { .. } | Storage::Unwritten => {
                stored.saturating_mul(LARGEST_COMPRESSION)
            }
            _ => stored,
        };
        if n_bytes > limit {
            let what = "size of the dataset in bytes";
            return Err(ErrorKind::Limit { what, found: n_bytes, limit }.into());
        }
        if dataset.storage == Storage::Unwritten && n_bytes > 0 {
            let found = "a dataset to which nothing was written".to_owned();
            return Err(ErrorKind::Content { found, wanted: "values stored in this file" }.into());
        }
        Ok(dataset)
    }
}

const SIGNATURE: &[u8] = b"\x89HDF\r\n\x1a\n";

fn signature_offsets(bytes: &[u8]) -> impl Iterator<Item = usize> {
    let doubled = std::iter::successors(Some(512usize), |offset| offset.checked_mul(2));
    std::iter::once(0).chain(doubled).take_while(|offset| *offset < bytes.len())
}

fn wrong_shape(dataset: &Dataset, wanted: String) -> Error {
    ErrorKind::Shape { found: dataset.shape.clone(), wanted }.into()
}

fn in_words(dataset: &Dataset) -> String {
    match &dataset.element {
        Element::Float { element, .. } => element.name().to_owned(),
        Element::Integer => format!("an integer of {} bytes", dataset.element_size),
        Element::Other(words) => words.clone(),
    }
}
