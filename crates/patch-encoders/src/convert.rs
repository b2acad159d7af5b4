//! Weights of PyTorch as safetensors, which load faster and hold nothing but tensors.

use std::borrow::Cow;
use std::io;
use std::path::Path;

use safetensors::{Dtype, SafeTensorError, View};
use wsi_bags::name_beside;

use crate::error::{Error, Result};
use crate::tensor_file::{TensorFile, failed};

/// What [`convert_weights`] wrote.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Converted {
    /// Tensors in the file.
    pub n_tensors: usize,
    /// Scalars in all of them.
    pub n_scalars: usize,
}

/// Writes the tensors of a PyTorch file (`.bin`, `.pt`, `.pth`) or a safetensors file as safetensors in f32, names unchanged.
///
/// The file is written beside `output` and renamed, so `output` is never seen half done. Memory: all tensors once.
///
/// # Errors
/// If `input` cannot be read or is no file of weights, or `output` cannot be written.
pub fn convert_weights(input: &Path, output: &Path) -> Result<Converted> {
    let mut file = TensorFile::open(input)?;
    let shapes = file.shapes().clone();
    let mut converted = Converted { n_tensors: shapes.len(), n_scalars: 0 };
    let mut tensors = Vec::with_capacity(shapes.len());
    for (name, shape) in shapes {
        if let Some(values) = file.take(&name)? {
            converted.n_scalars += values.len();
            tensors.push((name, Stored { shape, values }));
        }
    }
    let beside = name_beside(output)
        .map_err(|error| failed(output, "write", io::Error::new(io::ErrorKind::InvalidInput, error)))?;
    let written = safetensors::serialize_to_file(tensors, None, &beside).map_err(|error| match error {
        SafeTensorError::IoError(source) => failed(output, "write", source),
        other => Error::Safetensors { path: output.to_owned(), reason: other.to_string() },
    });
    let written = written.and_then(|()| {
        let flushed = std::fs::File::open(&beside).and_then(|file| file.sync_all());
        flushed
            .and_then(|()| std::fs::rename(&beside, output))
            .map_err(|source| failed(output, "write", source))
    });
    if written.is_err() {
        // It may not exist; the first error is the one worth telling.
        let _ = std::fs::remove_file(&beside);
    }
    written.map(|()| converted)
}

struct Stored {
    shape: Vec<usize>,
    values: Vec<f32>,
}

impl View for Stored {
    fn dtype(&self) -> Dtype {
        Dtype::F32
    }

    fn shape(&self) -> &[usize] {
        &self.shape
    }

    fn data(&self) -> Cow<'_, [u8]> {
        self.values.iter().flat_map(|value| value.to_le_bytes()).collect()
    }

    fn data_len(&self) -> usize {
        self.values.len() * size_of::<f32>()
    }
}
