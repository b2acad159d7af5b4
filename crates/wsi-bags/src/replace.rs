//! Files that appear whole or not at all.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

use crate::error::{Error, ErrorKind, Result};

/// Lets `write` make a file beside `path`, flushes it to disk and renames it to `path`, replacing what was there.
///
/// If anything fails, the file beside is removed and `path` stays as it was.
///
/// # Errors
/// Those of `write`, and [`ErrorKind::Io`] if the file cannot be flushed or renamed.
pub(crate) fn replace_file(path: &Path, write: impl FnOnce(&Path) -> Result<()>) -> Result<()> {
    let beside = name_beside(path)?;
    let failed = |action| move |source| Error::from(ErrorKind::Io { action, source });
    let written = write(&beside)
        .and_then(|()| {
            File::open(&beside).and_then(|file| file.sync_all()).map_err(failed("flush the file to disk"))
        })
        .and_then(|()| fs::rename(&beside, path).map_err(failed("rename the finished file")));
    if written.is_err() {
        // It may not exist yet; the first error is the one worth telling.
        let _ = fs::remove_file(&beside);
    }
    written.map_err(|error| error.in_file(path))
}

/// A hidden name in the same directory, unique in this process and among processes of this machine.
fn name_beside(path: &Path) -> Result<PathBuf> {
    static COUNTER: AtomicU64 = AtomicU64::new(0);
    let Some(name) = path.file_name() else {
        return Err(Error::from(ErrorKind::Name { what: "file name", found: path.display().to_string() }));
    };
    let mut hidden = std::ffi::OsString::from(".");
    hidden.push(name);
    hidden.push(format!(".{}-{}.tmp", std::process::id(), COUNTER.fetch_add(1, Ordering::Relaxed)));
    Ok(path.with_file_name(hidden))
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
}
