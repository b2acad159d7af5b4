//! Weights of PyTorch as safetensors, which load faster and hold nothing but tensors.

use std::collections::HashMap;
use std::fs::File;
use std::io::{self, BufWriter, Write};
use std::path::Path;

use safetensors::Dtype;
use safetensors::tensor::{Metadata, TensorInfo};
use wsi_bags::name_beside;

use crate::clip;
use crate::error::{Error, Result};
use crate::hidden_act::{HIDDEN_ACT, HiddenAct};
use crate::tensor_file::{TensorFile, failed};

/// What [`convert_weights`] wrote.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Converted {
    /// Tensors in the file.
    pub n_tensors: usize,
    /// Scalars in all of them.
    pub n_scalars: usize,
    /// Tensors of integers that were left out: counters of training and numbers of positions, which no encoder uses.
    pub left_out: Vec<String>,
    /// The activation that the file states from now on, of a CLIP tower such as QuiltNet's.
    pub hidden_act: Option<String>,
    /// What a person should know of the input.
    pub warnings: Vec<String>,
}

/// Writes the tensors of a PyTorch file (`.bin`, `.pt`, `.pth`) or a safetensors file as safetensors in f32, names unchanged.
///
/// Tensors of integers are left out. Of a CLIP tower, whose activation weights do not show, the metadata states it as
/// `hidden_act`, if the input or a `config.json` beside it does; [`Encoder::open`](crate::Encoder::open) reads it there.
///
/// The file is written beside `output` and renamed, so `output` is never seen half done. Memory: one tensor at a time.
///
/// # Errors
/// If `input` cannot be read or is no file of weights, is `output` by another name or link, or `output` cannot be written.
pub fn convert_weights(input: &Path, output: &Path) -> Result<Converted> {
    let mut file = TensorFile::open(input)?;
    if is_same_file(input, output) {
        return Err(Error::SameFile { path: output.to_owned() });
    }
    let (left_out, kept): (Vec<_>, Vec<_>) =
        file.shapes().clone().into_iter().partition(|(name, _)| file.is_of_integers(name));
    if kept.is_empty() {
        return Err(Error::NoTensors { path: input.to_owned() });
    }
    let mut warnings: Vec<String> = file.rivals().into_iter().collect();
    let mut hidden_act = None;
    if kept.iter().any(|(name, _)| name.ends_with(clip::PATCH_EMBEDDING)) {
        let HiddenAct { name, warning, .. } = HiddenAct::of(&file)?;
        // A guess is not written.
        hidden_act = warning.is_none().then(|| name.to_owned());
        warnings.extend(warning);
    }
    let beside = name_beside(output)
        .map_err(|error| failed(output, "write", io::Error::new(io::ErrorKind::InvalidInput, error)))?;
    let written = write(&mut file, &kept, hidden_act.as_deref(), &beside, output).and_then(|n_scalars| {
        std::fs::rename(&beside, output).map_err(|source| failed(output, "write", source))?;
        Ok(n_scalars)
    });
    if written.is_err() {
        // It may not exist; the first error is the one worth telling.
        let _ = std::fs::remove_file(&beside);
    }
    let left_out = left_out.into_iter().map(|(name, _)| name).collect();
    Ok(Converted { n_tensors: kept.len(), n_scalars: written?, left_out, hidden_act, warnings })
}

/// Writes the named tensors of `file` to a new file, which is to become `output`. Returns how many scalars they have.
fn write(
    file: &mut TensorFile,
    tensors: &[(String, Vec<usize>)],
    hidden_act: Option<&str>,
    beside: &Path,
    output: &Path,
) -> Result<usize> {
    let cannot_write = |source| failed(output, "write", source);
    let invalid = |reason: String| Error::Safetensors { path: output.to_owned(), reason };
    let (mut n_scalars, mut start, mut infos) = (0, 0, Vec::with_capacity(tensors.len()));
    for (name, shape) in tensors {
        let n = shape.iter().product::<usize>();
        let end = start + n * size_of::<f32>();
        let info = TensorInfo { dtype: Dtype::F32, shape: shape.clone(), data_offsets: (start, end) };
        infos.push((name.clone(), info));
        (n_scalars, start) = (n_scalars + n, end);
    }
    let stated = hidden_act.map(|name| HashMap::from([(HIDDEN_ACT.to_owned(), name.to_owned())]));
    let header = Metadata::new(stated, infos).map_err(|error| invalid(error.to_string()))?;
    let mut header = serde_json::to_vec(&header).map_err(|error| invalid(error.to_string()))?;
    // Tensors begin where their numbers are aligned.
    header.resize(header.len().next_multiple_of(size_of::<u64>()), b' ');

    let target = File::create(beside).map_err(cannot_write)?;
    let mut out = BufWriter::with_capacity(1 << 20, target);
    out.write_all(&(header.len() as u64).to_le_bytes()).map_err(cannot_write)?;
    out.write_all(&header).map_err(cannot_write)?;
    for (name, _) in tensors {
        for value in file.values(name)?.unwrap_or_default() {
            out.write_all(&value.to_le_bytes()).map_err(cannot_write)?;
        }
    }
    let target = out.into_inner().map_err(|error| cannot_write(error.into_error()))?;
    target.sync_all().map_err(cannot_write)?;
    Ok(n_scalars)
}

/// Whether both names lead to one file, also through links.
#[cfg(unix)]
fn is_same_file(a: &Path, b: &Path) -> bool {
    use std::os::unix::fs::MetadataExt;
    let (Ok(a), Ok(b)) = (std::fs::metadata(a), std::fs::metadata(b)) else { return false };
    (a.dev(), a.ino()) == (b.dev(), b.ino())
}

/// Whether both names lead to one file, but for hard links.
#[cfg(not(unix))]
fn is_same_file(a: &Path, b: &Path) -> bool {
    matches!((a.canonicalize(), b.canonicalize()), (Ok(a), Ok(b)) if a == b)
}
