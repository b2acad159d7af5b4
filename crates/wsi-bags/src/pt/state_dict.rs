//! State dicts: tensors by name, read one by one.

use std::collections::{HashMap, HashSet};
use std::fmt;
use std::path::{Path, PathBuf};

use crate::error::{Error, ErrorKind, Result};

use super::archive::Archive;
use super::read_pickle;
use super::tensor::Tensor;
use super::value::{Objects, Value};

/// A tensor of a state dict: its name, its shape and its values, row-major and converted to `f32`.
#[derive(Debug, Clone, PartialEq)]
pub struct NamedTensor {
    /// The key in the state dict.
    pub name: String,
    /// Sizes of the axes; empty for a scalar.
    pub shape: Vec<usize>,
    /// As many values as the product of `shape`.
    pub values: Vec<f32>,
}

/// Reads a state dict: every tensor by name, in the order of the file. [`StateDict`] says where it may lie.
///
/// # Errors
/// Those of [`StateDict::open`] and [`StateDict::values`].
pub fn read_state_dict(path: &Path) -> Result<Vec<NamedTensor>> {
    let mut dict = StateDict::open(path)?;
    let named: Vec<_> = dict.tensors().map(|(name, shape)| (name.to_owned(), shape.to_vec())).collect();
    let mut tensors = Vec::with_capacity(named.len());
    for (name, shape) in named {
        if let Some(values) = dict.values(&name)? {
            tensors.push(NamedTensor { name, shape, values });
        }
    }
    Ok(tensors)
}

/// An open state dict, of which names and shapes are known and values are read tensor by tensor.
///
/// The dict may be the whole file, or lie under the key `state_dict`, `model`, `model_state_dict` or `net`, the first of them
/// that there is.
pub struct StateDict {
    path: PathBuf,
    archive: Archive,
    tensors: Vec<(String, Tensor)>,
    /// Places in `tensors`.
    index: HashMap<String, usize>,
    /// Numbers of the records whose checksums were compared.
    verified: HashSet<usize>,
    key: Option<String>,
    rivals: Vec<String>,
}

impl StateDict {
    /// Opens a file and compares what it says of every tensor with what it holds.
    ///
    /// # Errors
    /// As [`read_features`](super::read_features), and: [`ErrorKind::Content`] if the dict holds anything but tensors or one
    /// name twice, [`ErrorKind::Limit`] if the tensors together are many times larger than the file.
    pub fn open(path: &Path) -> Result<Self> {
        Self::open_at(path).map_err(|error| error.in_file(path))
    }

    fn open_at(path: &Path) -> Result<Self> {
        const WANTED: &str = "a state dict: a dict of tensors by name";
        let mut archive = Archive::open(path)?;
        let (root, objects) = read_pickle(&mut archive, WANTED)?;
        let content = |found: String| Error::from(ErrorKind::Content { found, wanted: WANTED });
        let found = find(&objects, root).ok_or_else(|| content(objects.describe(root)))?;

        // Tensors may share a storage (tied weights), and 8-bit values grow fourfold.
        let limit = 16 * archive.file().bytes().len() as u64;
        let mut total = 0u64;
        let mut index = HashMap::new();
        let mut tensors = Vec::new();
        for (key, value) in found.items {
            let name = objects
                .text(*key)
                .ok_or_else(|| content(format!("a dict with {} as key", objects.describe(*key))))?;
            let view = objects
                .tensor(*value)
                .ok_or_else(|| content(format!("{} under `{name}`", objects.describe(*value))))?;
            if index.insert(name.to_owned(), tensors.len()).is_some() {
                return Err(content(format!("two entries `{name}`")));
            }
            let tensor = Tensor::locate(view, &objects, &mut archive).map_err(|error| at(name, error))?;
            total = total.saturating_add((tensor.len as u64).saturating_mul(size_of::<f32>() as u64));
            if total > limit {
                let what = "size of all tensors in bytes";
                return Err(ErrorKind::Limit { what, found: total, limit }.into());
            }
            tensors.push((name.to_owned(), tensor));
        }
        let (key, rivals) = (found.key.map(str::to_owned), found.rivals);
        Ok(Self { path: path.to_owned(), archive, tensors, index, verified: HashSet::new(), key, rivals })
    }

    /// Names and shapes, in the order of the file.
    pub fn tensors(&self) -> impl Iterator<Item = (&str, &[usize])> {
        self.tensors.iter().map(|(name, tensor)| (name.as_str(), tensor.shape.as_slice()))
    }

    /// Whether a tensor is of floats; `None` if there is none of the name.
    #[must_use]
    pub fn is_float(&self, name: &str) -> Option<bool> {
        let (_, tensor) = self.tensors.get(*self.index.get(name)?)?;
        Some(tensor.storage.element_type.is_float())
    }

    /// The values of a tensor, row-major: 16-bit and 64-bit floats become `f32`, and so do integers where that is exact. They
    /// are not checked for NaN. `None` if there is none of the name.
    ///
    /// # Errors
    /// With path and name: [`ErrorKind::Archive`] if they do not match their checksum, [`ErrorKind::Inexact`] for an integer
    /// that `f32` cannot hold.
    pub fn values(&mut self, name: &str) -> Result<Option<Vec<f32>>> {
        let place = self.index.get(name).copied();
        let Some((_, tensor)) = place.and_then(|place| self.tensors.get(place)) else { return Ok(None) };
        let record = tensor.record();
        let verified =
            if self.verified.contains(&record.index) { Ok(()) } else { self.archive.verify(record) };
        let values = verified
            .and_then(|()| tensor.values(&self.archive))
            .map_err(|error| at(name, error).in_file(&self.path))?;
        self.verified.insert(record.index);
        Ok(Some(values))
    }

    /// The key under which the dict lies, unless it is the whole file.
    #[must_use]
    pub fn key(&self) -> Option<&str> {
        self.key.as_deref()
    }

    /// Keys beside [`key`](Self::key) of dicts that may be weights, too: of tensors, at least half as many. Training scripts keep
    /// running means of weights so.
    #[must_use]
    pub fn rivals(&self) -> &[String] {
        &self.rivals
    }
}

impl fmt::Debug for StateDict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("StateDict").field("path", &self.path).finish_non_exhaustive()
    }
}

fn at(name: &str, error: Error) -> Error {
    error.at_place(format_args!("`{name}`"))
}

/// The dict whose values are tensors, and how it was found.
struct Found<'a> {
    items: &'a [(Value, Value)],
    key: Option<&'static str>,
    rivals: Vec<String>,
}

/// The root itself, or what lies under one of the usual keys of a training checkpoint.
fn find(objects: &Objects, root: Value) -> Option<Found<'_>> {
    const KEYS: [&str; 4] = ["state_dict", "model", "model_state_dict", "net"];
    let items = objects.dict(root)?;
    let nested = KEYS.into_iter().find_map(|wanted| {
        let (_, value) = items.iter().find(|(key, _)| objects.text(*key) == Some(wanted))?;
        Some((wanted, objects.dict(*value)?))
    });
    let n_tensors = |items: &[(Value, Value)]| {
        items.iter().filter(|(_, value)| matches!(value, Value::Tensor(_))).count()
    };
    let Some((taken, nested)) = nested else {
        let is_dict = items.is_empty() || n_tensors(items) > 0;
        return is_dict.then_some(Found { items, key: None, rivals: Vec::new() });
    };
    let is_rival = |value: Value| {
        objects.dict(value).is_some_and(|other| 2 * n_tensors(other) >= n_tensors(nested).max(1))
    };
    let others = items.iter().filter(|(_, value)| is_rival(*value)).filter_map(|(key, _)| objects.text(*key));
    let rivals = others.filter(|key| *key != taken).map(str::to_owned).collect();
    Some(Found { items: nested, key: Some(taken), rivals })
}
