//! Opening files that are nothing but files.

use std::fs::{self, File};
use std::io;
use std::path::Path;

/// Opens a file for reading; `wanted` is what the caller expects there, such as `a slide file`.
///
/// # Errors
/// Those of the system, and [`io::ErrorKind::InvalidInput`] for what is no file. That is refused before it is opened: opening a pipe waits,
/// perhaps for ever, for somebody to write into it.
pub fn open(path: &Path, wanted: &str) -> io::Result<File> {
    let kind = fs::metadata(path)?.file_type();
    if kind.is_file() {
        return File::open(path);
    }
    let found = if kind.is_dir() { "a folder" } else { "a pipe, socket or device" };
    Err(io::Error::new(io::ErrorKind::InvalidInput, format!("found {found}, expected {wanted}")))
}
