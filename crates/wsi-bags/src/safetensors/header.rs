//! The header of a safetensors file: which tensors it has and where they lie.

use std::collections::HashMap;
use std::str::FromStr;
use std::sync::Arc;

use ::safetensors::tensor::{Dtype, SafeTensors, TensorInfo};

use crate::element_type::ElementType;
use crate::error::{Error, ErrorKind, Result};
use crate::file_kind::FileKind;
use crate::gather::{Gathered, Run, gather};
use crate::mmap::{MappedFile, MappedFloats};

/// Tensors and metadata of a file. Offsets have been compared with its length.
pub(super) struct Header {
    pub(super) tensors: HashMap<String, TensorInfo>,
    metadata: HashMap<String, String>,
    /// First byte after the header.
    start: usize,
}

/// Which numbers a tensor may hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Numbers {
    /// Features.
    Floats,
    /// Positions, indices and classes.
    Integers,
}

impl Numbers {
    fn accept(self, element: ElementType) -> bool {
        match self {
            Self::Floats => element.is_float(),
            Self::Integers => matches!(element, ElementType::I32 | ElementType::I64 | ElementType::U8),
        }
    }

    fn in_words(self) -> &'static str {
        match self {
            Self::Floats => "float16, bfloat16, float32 or float64",
            Self::Integers => "int32, int64 or uint8",
        }
    }
}

/// A tensor that lies within its file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct TensorPlace {
    pub(crate) n_rows: usize,
    pub(crate) n_columns: usize,
    pub(crate) element: ElementType,
    start: usize,
}

impl Header {
    /// # Errors
    /// [`ErrorKind::FileKind`] if the file is of another kind, [`ErrorKind::Safetensors`] if it is damaged.
    pub(super) fn read(file: &MappedFile) -> Result<Self> {
        let bytes = file.bytes();
        let found = match bytes {
            [] => Some(FileKind::Empty),
            _ if bytes.starts_with(b"\x89HDF\r\n\x1a\n") => Some(FileKind::Hdf5),
            _ if bytes.starts_with(b"PK\x03\x04") => Some(FileKind::Zip),
            _ => None,
        };
        if let Some(found) = found {
            return Err(ErrorKind::FileKind { found, wanted: "a safetensors file" }.into());
        }
        let (len, metadata) = SafeTensors::read_metadata(bytes)
            .map_err(|source| ErrorKind::Safetensors { source: source.into() })?;
        Ok(Self {
            tensors: metadata.tensors().into_iter().map(|(name, info)| (name, info.clone())).collect(),
            metadata: metadata.metadata().clone().unwrap_or_default(),
            // The header follows its length, which is a number of eight bytes.
            start: size_of::<u64>() + len,
        })
    }

    /// A tensor of two axes.
    pub(super) fn matrix(&self, name: &str, numbers: Numbers) -> Result<TensorPlace> {
        self.place(name, numbers, "[n_patches, dim]", |shape| match shape {
            [n_rows, n_columns] => Some((*n_rows, *n_columns)),
            _ => None,
        })
    }

    /// A tensor of one axis, of integers.
    pub(super) fn list(&self, name: &str) -> Result<TensorPlace> {
        let axes = |shape: &[usize]| if let [n_rows] = shape { Some((*n_rows, 1)) } else { None };
        self.place(name, Numbers::Integers, "[n_patches]", axes)
    }

    fn place(
        &self,
        name: &str,
        numbers: Numbers,
        wanted: &str,
        axes: impl Fn(&[usize]) -> Option<(usize, usize)>,
    ) -> Result<TensorPlace> {
        let Some(info) = self.tensors.get(name) else {
            let mut found: Vec<_> = self.tensors.keys().cloned().collect();
            found.sort();
            return Err(ErrorKind::MissingDataset { name: name.to_owned(), found }.into());
        };
        let Some((n_rows, n_columns)) = axes(&info.shape) else {
            let found = info.shape.iter().map(|size| *size as u64).collect();
            return Err(Error::from(ErrorKind::Shape { found, wanted: wanted.to_owned() }).at_place(name));
        };
        let known = element(info.dtype);
        let Some(element) = known.filter(|element| numbers.accept(*element)) else {
            let unknown = || format!("{:?}", info.dtype).to_lowercase();
            let (found, wanted) =
                (known.map_or_else(unknown, |known| known.name().to_owned()), numbers.in_words());
            return Err(Error::from(ErrorKind::ElementType { found, wanted }).at_place(name));
        };
        Ok(TensorPlace { n_rows, n_columns, element, start: self.start + info.data_offsets.0 })
    }

    /// An entry of the metadata, unless it is empty or the text `None`.
    pub(super) fn text(&self, key: &str) -> Option<String> {
        self.metadata.get(key).filter(|text| !text.is_empty() && *text != "None").cloned()
    }

    /// An entry of the metadata as a number.
    pub(super) fn number<T: FromStr>(&self, key: &str, name: &'static str) -> Result<Option<T>> {
        let parse = |text: String| {
            text.parse().map_err(|_| ErrorKind::Attribute {
                name,
                found: format!("{text:?}"),
                wanted: "a number",
            })
        };
        Ok(self.text(key).map(parse).transpose()?)
    }
}

impl TensorPlace {
    /// The bytes of the values.
    fn bytes<'a>(&self, file: &'a MappedFile) -> &'a [u8] {
        let end = self.start + self.n_rows * self.n_columns * self.element.size();
        file.bytes().get(self.start..end).unwrap_or_default()
    }

    /// The values where they lie, if they can be used there.
    pub(crate) fn mapped(&self, file: &Arc<MappedFile>) -> Option<MappedFloats> {
        let in_place = || MappedFloats::new(file, self.start, self.n_rows * self.n_columns);
        (self.element == ElementType::F32).then(in_place).flatten()
    }

    /// The values, read as floats.
    pub(crate) fn gather(&self, file: &MappedFile) -> Result<Gathered> {
        let run = Run { offset: self.start as u64, n_values: self.n_rows * self.n_columns };
        gather(file, self.element, &[run])
    }

    /// The values of a tensor of integers.
    pub(super) fn integers(&self, file: &MappedFile) -> Vec<i64> {
        let bytes = self.bytes(file);
        match self.element {
            ElementType::I64 => bytes.as_chunks().0.iter().map(|value| i64::from_le_bytes(*value)).collect(),
            ElementType::I32 => {
                bytes.as_chunks().0.iter().map(|value| i64::from(i32::from_le_bytes(*value))).collect()
            }
            // The third of the types that `Numbers::Integers` accepts.
            _ => bytes.iter().map(|value| i64::from(*value)).collect(),
        }
    }
}

fn element(dtype: Dtype) -> Option<ElementType> {
    Some(match dtype {
        Dtype::F16 => ElementType::F16,
        Dtype::BF16 => ElementType::Bf16,
        Dtype::F32 => ElementType::F32,
        Dtype::F64 => ElementType::F64,
        Dtype::I32 => ElementType::I32,
        Dtype::I64 => ElementType::I64,
        Dtype::U8 => ElementType::U8,
        _ => return None,
    })
}
