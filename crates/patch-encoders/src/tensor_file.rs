//! Files of named tensors: safetensors, and PyTorch's `.bin`, `.pt` and `.pth`, told apart by their first bytes.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};

use half::{bf16, f16};
use safetensors::Dtype;
use safetensors::tensor::{Metadata, TensorInfo};
use wsi_bags::NamedTensor;

use crate::error::{Error, Result};

/// Longest accepted header of a safetensors file; that of the largest encoder is 0.1 MB.
const MAX_HEADER_BYTES: u64 = 100 << 20;

/// An open file of tensors. Names and shapes are known; values are read, or handed over, tensor by tensor.
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
    /// Unpickled; a tensor that was taken is gone.
    Loaded(BTreeMap<String, Vec<f32>>),
}

impl TensorFile {
    /// Opens a file and reads what it says of its tensors; of a PyTorch file, the values too.
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
            Ok(Self::of_state_dict(path, wsi_bags::pt::read_state_dict(path)?))
        }
    }

    fn of_state_dict(path: &Path, tensors: Vec<NamedTensor>) -> Self {
        let (mut shapes, mut values) = (BTreeMap::new(), BTreeMap::new());
        for tensor in tensors {
            shapes.insert(tensor.name.clone(), tensor.shape);
            values.insert(tensor.name, tensor.values);
        }
        Self { path: path.to_owned(), shapes, values: Values::Loaded(values) }
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

    /// The values of a tensor, row by row, which leave the file object: 16-bit and 64-bit floats become f32. `None` if there is
    /// no such tensor, or it was taken before from a PyTorch file.
    ///
    /// # Errors
    /// If it cannot be read or holds anything but floats.
    pub(crate) fn take(&mut self, name: &str) -> Result<Option<Vec<f32>>> {
        match &mut self.values {
            Values::Loaded(values) => Ok(values.remove(name)),
            Values::Stored { file, header, data_start } => header
                .info(name)
                .map(|info| read_tensor(&self.path, file, *data_start, name, info))
                .transpose(),
        }
    }
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
