//! Files of named tensors: safetensors, and PyTorch's `.bin`, `.pt` and `.pth`, told apart by their first bytes.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};

use half::{bf16, f16};
use safetensors::Dtype;
use safetensors::tensor::{Metadata, TensorInfo};
use wsi_bags::pt::StateDict;

use crate::error::{Error, Result};
use crate::hidden_act::HIDDEN_ACT;

/// Longest accepted header of a safetensors file; that of the largest encoder is 0.1 MB.
const MAX_HEADER_BYTES: u64 = 100 << 20;

/// An open file of tensors. Names and shapes are known; values are read tensor by tensor.
#[derive(Debug)]
pub(crate) struct TensorFile {
    path: PathBuf,
    shapes: BTreeMap<String, Vec<usize>>,
    values: Values,
}

#[derive(Debug)]
enum Values {
    /// In the file, from `data_start` on.
    Stored { file: File, header: Metadata, data_start: u64 },
    /// In a PyTorch file.
    Pickled(StateDict),
}

impl TensorFile {
    /// Opens a file and reads what it says of its tensors.
    ///
    /// # Errors
    /// If it cannot be read, is damaged, or is neither kind.
    pub(crate) fn open(path: &Path) -> Result<Self> {
        let mut file = File::open(path).map_err(|source| failed(path, "open", source))?;
        let mut start = Vec::new();
        file.by_ref().take(9).read_to_end(&mut start).map_err(|source| failed(path, "read", source))?;
        // A safetensors file opens with the length of its header, which is JSON.
        if start.get(8) == Some(&b'{') {
            Self::open_safetensors(path, file)
        } else {
            let dict = StateDict::open(path)?;
            let shapes = dict.tensors().map(|(name, shape)| (name.to_owned(), shape.to_vec())).collect();
            Ok(Self { path: path.to_owned(), shapes, values: Values::Pickled(dict) })
        }
    }

    fn open_safetensors(path: &Path, mut file: File) -> Result<Self> {
        let damaged = |reason: String| Error::Safetensors { path: path.to_owned(), reason };
        let cannot_read = |source| failed(path, "read", source);
        let file_len = file.metadata().map_err(cannot_read)?.len();
        file.seek(SeekFrom::Start(0)).map_err(cannot_read)?;
        let mut len = [0; 8];
        file.read_exact(&mut len).map_err(cannot_read)?;
        let header_len = u64::from_le_bytes(len);
        let data_start = header_len.saturating_add(len.len() as u64);
        if header_len > MAX_HEADER_BYTES || data_start > file_len {
            return Err(damaged(format!(
                "the header claims {header_len} bytes, the file has {file_len}, expected a safetensors or a PyTorch file"
            )));
        }
        let mut header = Vec::new();
        file.by_ref().take(header_len).read_to_end(&mut header).map_err(cannot_read)?;
        let header: Metadata = serde_json::from_slice(&header)
            .map_err(|error| damaged(format!("the safetensors header is damaged: {error}")))?;
        let (found, wanted) = (file_len - data_start, header.data_len() as u64);
        if found != wanted {
            return Err(damaged(format!("found {found} bytes of tensors, expected {wanted}")));
        }
        let shapes = header.tensors().into_iter().map(|(name, info)| (name, info.shape.clone())).collect();
        Ok(Self { path: path.to_owned(), shapes, values: Values::Stored { file, header, data_start } })
    }

    /// The file.
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// Shapes by name.
    pub(crate) fn shapes(&self) -> &BTreeMap<String, Vec<usize>> {
        &self.shapes
    }

    /// Whether a tensor is of whole numbers or truth values, as counters of training and numbers of positions are.
    pub(crate) fn is_of_integers(&self, name: &str) -> bool {
        match &self.values {
            Values::Pickled(dict) => dict.is_float(name) == Some(false),
            Values::Stored { header, .. } => header.info(name).is_some_and(|info| is_integer(info.dtype)),
        }
    }

    /// The setting `hidden_act` that the file states, as converted files do.
    pub(crate) fn hidden_act(&self) -> Option<&str> {
        match &self.values {
            Values::Stored { header, .. } => header.metadata().as_ref()?.get(HIDDEN_ACT).map(String::as_str),
            Values::Pickled(_) => None,
        }
    }

    /// Which of several dicts that may be the weights was taken, in words.
    pub(crate) fn rivals(&self) -> Option<String> {
        let Values::Pickled(dict) = &self.values else { return None };
        let rivals: Vec<String> = dict.rivals().iter().map(|key| format!("`{key}`")).collect();
        let key = dict.key().filter(|_| !rivals.is_empty())?;
        let path = self.path.display();
        Some(format!(
            "{path}: the weights under `{key}` are taken, not those under {}, which are to be saved alone to be taken",
            rivals.join(" and ")
        ))
    }

    /// The values of a tensor, row by row: 16-bit and 64-bit floats become f32. `None` if there is no such tensor.
    ///
    /// # Errors
    /// If it cannot be read or holds what does not become f32.
    pub(crate) fn values(&mut self, name: &str) -> Result<Option<Vec<f32>>> {
        match &mut self.values {
            Values::Pickled(dict) => Ok(dict.values(name)?),
            Values::Stored { file, header, data_start } => header
                .info(name)
                .map(|info| read_tensor(&self.path, file, *data_start, name, info))
                .transpose(),
        }
    }
}

fn is_integer(dtype: Dtype) -> bool {
    use Dtype::{BOOL, I8, I16, I32, I64, U8, U16, U32, U64};
    matches!(dtype, BOOL | I8 | I16 | I32 | I64 | U8 | U16 | U32 | U64)
}

fn read_tensor(
    path: &Path,
    file: &mut File,
    data_start: u64,
    name: &str,
    info: &TensorInfo,
) -> Result<Vec<f32>> {
    let (start, end) = info.data_offsets;
    let mut bytes = vec![0; end - start];
    file.seek(SeekFrom::Start(data_start + start as u64))
        .and_then(|_| file.read_exact(&mut bytes))
        .map_err(|source| failed(path, "read", source))?;
    let values = match info.dtype {
        Dtype::F32 => widened(&bytes, f32::from_le_bytes),
        Dtype::F16 => widened(&bytes, |bytes| f16::from_le_bytes(bytes).to_f32()),
        Dtype::BF16 => widened(&bytes, |bytes| bf16::from_le_bytes(bytes).to_f32()),
        Dtype::F64 => widened(&bytes, |bytes| f64::from_le_bytes(bytes) as f32),
        found => {
            return Err(Error::Safetensors {
                path: path.to_owned(),
                reason: format!("`{name}` is of type {found:?}, expected F32, F16, BF16 or F64"),
            });
        }
    };
    Ok(values)
}

fn widened<const N: usize>(bytes: &[u8], value: impl Fn([u8; N]) -> f32) -> Vec<f32> {
    bytes.as_chunks::<N>().0.iter().map(|bytes| value(*bytes)).collect()
}

pub(crate) fn failed(path: &Path, action: &'static str, source: std::io::Error) -> Error {
    Error::File { path: path.to_owned(), action, source }
}
