//! Listing directories.

use std::collections::BTreeSet;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use crate::error::{Error, ErrorKind, Result};
use crate::scale_file::FileType;

/// Names in a directory, sorted, without hidden ones (files being written are hidden); empty if it does not exist.
pub(crate) fn file_names(directory: &Path) -> Result<Vec<String>> {
    names_where(directory, |_| true)
}

/// Names of the files of a type in a directory, as [`file_names`]: a folder is none, whatever it is called.
pub(super) fn names_of_type(directory: &Path, file_type: FileType) -> Result<Vec<String>> {
    let ending = file_type.ending();
    let is_folder = |entry: &fs::DirEntry| entry.file_type().is_ok_and(|kind| kind.is_dir());
    let mut names = names_where(directory, |entry| !is_folder(entry))?;
    names.retain(|name| name.ends_with(ending) && name.len() > ending.len());
    Ok(names)
}

fn names_where(directory: &Path, keep: impl Fn(&fs::DirEntry) -> bool) -> Result<Vec<String>> {
    let failed =
        |source| Error::from(ErrorKind::Io { action: "list the directory", source }).in_file(directory);
    let entries = match fs::read_dir(directory) {
        Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => {
            return Ok(Vec::new());
        }
        entries => entries.map_err(failed)?,
    };
    let mut names = BTreeSet::new();
    for entry in entries {
        let entry = entry.map_err(failed)?;
        let name = entry.file_name().to_string_lossy().into_owned();
        if !name.starts_with('.') && keep(&entry) {
            names.insert(name);
        }
    }
    Ok(names.into_iter().collect())
}

/// Refuses what is no directory that can be listed.
pub(crate) fn check_directory(directory: &Path) -> Result<()> {
    let kind = match fs::read_dir(directory) {
        Ok(_) => return Ok(()),
        Err(error) if error.kind() == io::ErrorKind::NotFound => ErrorKind::NoDirectory,
        Err(source) => ErrorKind::Io { action: "list the directory", source },
    };
    Err(Error::from(kind).in_file(directory))
}

/// Whether a directory has a file or a link of that name. A link that leads nowhere counts, and so does what lies in a directory that
/// may not be entered: reading it is an error that says so, where a file that is absent may be left out.
pub(crate) fn has_entry(path: &Path) -> bool {
    match fs::symlink_metadata(path) {
        Ok(entry) => !entry.is_dir(),
        Err(error) => error.kind() == io::ErrorKind::PermissionDenied,
    }
}

/// Whether a path is a folder or leads to one.
///
/// # Errors
/// [`ErrorKind::Io`] if it lies in a directory that may not be entered, so that nobody knows.
pub(crate) fn is_folder(path: &Path) -> Result<bool> {
    match fs::metadata(path) {
        Ok(entry) => Ok(entry.is_dir()),
        Err(source) if source.kind() == io::ErrorKind::PermissionDenied => {
            Err(Error::from(ErrorKind::Io { action: "look for the folder", source }).in_file(path))
        }
        Err(_) => Ok(false),
    }
}

/// The folders inside a directory that a name is right for, links to folders among them.
pub(crate) fn folders_named(directory: &Path, is_right: impl Fn(&str) -> bool) -> Result<Vec<PathBuf>> {
    let mut folders = Vec::new();
    for name in file_names(directory)?.into_iter().filter(|name| is_right(name)) {
        let path = directory.join(name);
        if is_folder(&path)? {
            folders.push(path);
        }
    }
    Ok(folders)
}

/// Whether a directory has a file of a type.
pub(super) fn has_files(directory: &Path, file_type: FileType) -> Result<bool> {
    Ok(!names_of_type(directory, file_type)?.is_empty())
}
