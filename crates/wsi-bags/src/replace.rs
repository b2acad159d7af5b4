//! Files that appear whole or not at all.

use std::fs::{self, File};
use std::hash::{BuildHasher, RandomState};
use std::path::{Path, PathBuf};

use crate::error::{Error, ErrorKind, Result};

/// Lets `write` make a file beside `path`, flushes it to disk and renames it to `path`, replacing what was there.
///
/// If anything fails, the file beside is removed and `path` stays as it was.
///
/// # Errors
/// Those of `write`, and [`ErrorKind::Io`] if the file cannot be flushed or renamed.
pub(crate) fn replace_file(path: &Path, write: impl FnOnce(&Path) -> Result<()>) -> Result<()> {
    let replace = || {
        let beside = Beside::of(path)?;
        write(beside.path())?;
        beside.flush()?;
        beside.take_place()
    };
    replace().map_err(|error: Error| error.in_file(path))
}

/// A name for a file that is to take the place of `path`: hidden, in the same directory, and of no other process, on whichever
/// machine or in whichever container. It ends in `.tmp`.
///
/// ```
/// use std::path::Path;
///
/// let path = Path::new("bags/slide-1.h5");
/// let beside = wsi_bags::name_beside(path)?;
/// assert_eq!(beside.parent(), path.parent());
/// assert_ne!(beside, wsi_bags::name_beside(path)?);
/// # Ok::<(), wsi_bags::Error>(())
/// ```
///
/// # Errors
/// [`ErrorKind::Name`] if `path` does not end in a name.
pub fn name_beside(path: &Path) -> Result<PathBuf> {
    let Some(name) = path.file_name() else {
        return Err(Error::from(ErrorKind::Name { what: "file name", found: path.display().to_string() }));
    };
    let mut hidden = std::ffi::OsString::from(".");
    hidden.push(name);
    // Every state has keys of its own, drawn by the system. Numbers of processes repeat between machines.
    let drawn = RandomState::new().hash_one(0);
    hidden.push(format!(".{}-{drawn:016x}.tmp", std::process::id()));
    Ok(path.with_file_name(hidden))
}

/// A file beside another, which is removed unless it takes that one's place.
pub(crate) struct Beside<'a> {
    path: PathBuf,
    place: &'a Path,
}

impl<'a> Beside<'a> {
    pub(crate) fn of(place: &'a Path) -> Result<Self> {
        Ok(Self { path: name_beside(place)?, place })
    }

    /// Where to write.
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// Waits until what was written is on the disk.
    pub(crate) fn flush(&self) -> Result<()> {
        let flushed = File::open(&self.path).and_then(|file| file.sync_all());
        flushed.map_err(|source| ErrorKind::Io { action: "flush the file to disk", source }.into())
    }

    pub(crate) fn take_place(self) -> Result<()> {
        fs::rename(&self.path, self.place)
            .map_err(|source| ErrorKind::Io { action: "rename the finished file", source }.into())
    }
}

impl Drop for Beside<'_> {
    fn drop(&mut self) {
        // It is gone once it was renamed, and may never have been made.
        let _ = fs::remove_file(&self.path);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failed_write_leaves_the_old_file_and_nothing_else() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("bag.h5");
        fs::write(&path, "old").unwrap();
        let error = replace_file(&path, |beside| {
            fs::write(beside, "half").unwrap();
            Err(ErrorKind::EmptyBag.into())
        })
        .unwrap_err();
        assert_eq!(error.path(), Some(path.as_path()));
        assert_eq!(fs::read_to_string(&path).unwrap(), "old");
        assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 1);
    }

    #[test]
    fn a_finished_write_replaces_the_old_file() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("bag.h5");
        fs::write(&path, "old").unwrap();
        replace_file(&path, |beside| {
            fs::write(beside, "new").unwrap();
            assert_eq!(fs::read_to_string(&path).unwrap(), "old");
            Ok(())
        })
        .unwrap();
        assert_eq!(fs::read_to_string(&path).unwrap(), "new");
        assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 1);
    }

    #[test]
    fn a_directory_without_name_is_refused() {
        let error = replace_file(Path::new(".."), |_| Ok(())).unwrap_err();
        assert!(matches!(error.kind(), ErrorKind::Name { .. }));
    }

    #[test]
    fn names_of_processes_of_one_number_differ() {
        let names: std::collections::BTreeSet<PathBuf> = (0..100)
            .map(|_| std::thread::spawn(|| name_beside(Path::new("bags/slide.h5")).unwrap()).join().unwrap())
            .collect();
        // The number of the process is the same in all of them, as in two containers.
        assert_eq!(names.len(), 100);
        let text = names.first().unwrap().to_str().unwrap();
        assert!(text.starts_with("bags/.slide.h5.") && text.ends_with(".tmp"), "{text}");
        let drawn = text.trim_end_matches(".tmp").rsplit_once('-').unwrap().1;
        assert_eq!(drawn.len(), 16, "64 drawn bits: {text}");
    }
}
