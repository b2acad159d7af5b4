//! PyTorch `.pt` files.
use std::path::Path;

use crate::error::{ErrorKind, Result};
use crate::features::FeatureMatrix;

/// A tensor of a state dict: its name, shape and values.
#[derive(Debug, Clone, PartialEq)]
pub struct NamedTensor {
    /// The name.
    pub name: String,
    /// The shape.
    pub shape: Vec<usize>,
    /// The values, row-major.
    pub values: Vec<f32>,
}

fn unfinished<T>(path: &Path) -> Result<T> {
    Err(crate::Error::from(ErrorKind::Archive {
        fault: "not read yet".into(),
        source: None,
    })
    .in_file(path))
}

/// Reads a bare 2-D float tensor.
///
/// # Errors
/// If the file is not one.
pub fn read_features(path: &Path) -> Result<FeatureMatrix> {
    unfinished(path)
}

/// Writes a bare 2-D float tensor.
///
/// # Errors
/// If the file cannot be written.
pub fn write_features(path: &Path, _features: &FeatureMatrix) -> Result<()> {
    unfinished(path)
}

/// Reads a state dict.
///
/// # Errors
/// If the file is not one.
pub fn read_state_dict(path: &Path) -> Result<Vec<NamedTensor>> {
    unfinished(path)
}
