//! The native HDF5 bag format.
use std::path::Path;

use crate::bag::Bag;
use crate::error::{ErrorKind, Result};
use crate::magnification::Magnification;

/// What is known of the slide that a bag was cut from.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct SlideInfo {
    /// Width in level-0 pixels.
    pub width: Option<u64>,
    /// Height in level-0 pixels.
    pub height: Option<u64>,
    /// Micrometres per pixel at level 0.
    pub mpp: Option<f64>,
}

fn unfinished<T>(path: &Path) -> Result<T> {
    Err(crate::Error::from(ErrorKind::Archive {
        fault: "not read yet".into(),
        source: None,
    })
    .in_file(path))
}

/// Reads a bag.
///
/// # Errors
/// If it cannot.
pub fn read(path: &Path, _encoder: &str, _magnifications: &[Magnification]) -> Result<Bag> {
    unfinished(path)
}

/// Writes a bag.
///
/// # Errors
/// If it cannot.
pub fn write(path: &Path, _bag: &Bag, _encoder: &str, _info: &SlideInfo) -> Result<()> {
    unfinished(path)
}

/// Lists the encoders.
///
/// # Errors
/// If it cannot.
pub fn encoders(path: &Path) -> Result<Vec<String>> {
    unfinished(path)
}
