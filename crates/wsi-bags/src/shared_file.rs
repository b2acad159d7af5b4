//! A file that several processes complete, on several machines, too, each by a version made of the one that is there.

use std::fs::{File, Metadata};
use std::io;
use std::path::Path;

use crate::error::{Error, ErrorKind, Result};
use crate::folder_lock::FolderLock;
use crate::replace::Beside;

/// Lets `write` make a new version of the file `path` beside it, of what lies there, and puts it in its place if nobody has put
/// another there meanwhile; else `write` begins again, of what is there now.
///
/// Only the last step is made in this process's turn ([`FolderLock`]), so that others write their versions, and wait for the
/// disk, at the same time. `write` returns `None` where nothing is to be changed; whatever it wrote is then removed.
///
/// # Errors
/// Those of `write`, and [`ErrorKind::Io`] if the file cannot be looked at, flushed or renamed. What was at `path` is as it was.
pub(crate) fn complete_file<T>(
    path: &Path,
    mut write: impl FnMut(&Path) -> Result<Option<T>>,
) -> Result<Option<T>> {
    let mut complete = || {
        loop {
            let before = Version::of(path)?;
            let beside = Beside::of(path)?;
            let Some(written) = write(beside.path())? else { return Ok(None) };
            beside.flush()?;
            let _alone = FolderLock::of(path.parent().unwrap_or(Path::new(".")))?;
            if before.is(&Version::of(path)?) {
                beside.take_place()?;
                return Ok(Some(written));
            }
        }
    };
    complete().map_err(|error: Error| error.in_file(path))
}

/// Which file lies at a path, if any. It stays open, so that no file made later has its number.
struct Version(Option<(File, Metadata)>);

impl Version {
    fn of(path: &Path) -> Result<Self> {
        let look = || -> io::Result<(File, Metadata)> {
            // Opened, a file of the network is looked for anew.
            let file = File::open(path)?;
            let found = file.metadata()?;
            Ok((file, found))
        };
        match look() {
            Ok(found) => Ok(Self(Some(found))),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Self(None)),
            Err(source) => Err(ErrorKind::Io { action: "look for the file", source }.into()),
        }
    }

    fn is(&self, other: &Self) -> bool {
        match (&self.0, &other.0) {
            (None, None) => true,
            (Some((_, a)), Some((_, b))) => {
                is_same_file(a, b) && a.len() == b.len() && a.modified().ok() == b.modified().ok()
            }
            _ => false,
        }
    }
}

#[cfg(unix)]
fn is_same_file(a: &Metadata, b: &Metadata) -> bool {
    use std::os::unix::fs::MetadataExt;
    (a.dev(), a.ino()) == (b.dev(), b.ino())
}

/// Size and time of change must do.
#[cfg(not(unix))]
fn is_same_file(_: &Metadata, _: &Metadata) -> bool {
    true
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    /// What another process does: puts a version of its own there.
    fn put(path: &Path, text: &str) {
        let other = path.with_extension("other");
        fs::write(&other, text).unwrap();
        fs::rename(other, path).unwrap();
    }

    #[test]
    fn what_another_process_put_there_meanwhile_is_completed_in_its_turn() {
        for before in [None, Some("a")] {
            let folder = tempfile::tempdir().unwrap();
            let path = folder.path().join("bag.h5");
            if let Some(before) = before {
                fs::write(&path, before).unwrap();
            }
            let mut n_calls = 0;
            let there = complete_file(&path, |beside| {
                n_calls += 1;
                let there = fs::read_to_string(&path).unwrap_or_default();
                fs::write(beside, format!("{there}c")).unwrap();
                if n_calls == 1 {
                    // Of the same length, so that the number of the file tells them apart.
                    put(&path, "b");
                }
                Ok(Some(there))
            });
            assert_eq!((there.unwrap().as_deref(), n_calls), (Some("b"), 2));
            assert_eq!(fs::read_to_string(&path).unwrap(), "bc");
            assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 2, "the file and the lock");
        }
    }

    #[test]
    fn nobody_waits_while_a_version_is_written() {
        let folder = tempfile::tempdir().unwrap();
        drop(FolderLock::of(folder.path()).unwrap());
        let written = complete_file(&folder.path().join("bag.h5"), |beside| {
            File::open(folder.path().join(".lock")).unwrap().try_lock().unwrap();
            fs::write(beside, "a").unwrap();
            Ok(Some(()))
        });
        assert_eq!(written.unwrap(), Some(()));
    }

    #[test]
    fn where_nothing_is_to_be_changed_nothing_is() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("bag.h5");
        fs::write(&path, "a").unwrap();
        let nothing = complete_file(&path, |beside| {
            fs::write(beside, "b").unwrap();
            Ok(None::<()>)
        });
        assert_eq!(nothing.unwrap(), None);
        assert_eq!(fs::read_to_string(&path).unwrap(), "a");
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
    }
}
