//! One writer at a time in a directory of bags.

use std::fs::File;
use std::io;
use std::path::Path;

use crate::error::{Error, ErrorKind, Result};

/// Its name in the directory, where it stays: who removed it could remove what another process waits for.
const NAME: &str = ".lock";

/// Held while a bag or a table that lies in a directory takes the place of an older one. Other processes, on other machines,
/// too, wait.
///
/// Where the directory cannot be locked, for want of rights or of locks, nobody waits: [`FolderLock::warning`] says so, and
/// processes that write the same files must not run at once.
///
/// ```
/// # let directory = tempfile::tempdir().unwrap();
/// # let folder = directory.path();
/// let alone = wsi_bags::FolderLock::of(folder)?;
/// assert_eq!(alone.warning(), None);
/// // Whatever waits for its turn goes on from here.
/// drop(alone);
/// # Ok::<(), wsi_bags::Error>(())
/// ```
#[must_use]
#[derive(Debug)]
pub struct FolderLock {
    /// Locked until it is closed; else what a person should know.
    held: std::result::Result<File, String>,
}

impl FolderLock {
    /// Waits for its turn in a directory that is there.
    ///
    /// # Errors
    /// [`ErrorKind::Io`] if the file `.lock` cannot be made for another reason than missing rights, such as a full disk.
    pub fn of(folder: &Path) -> Result<Self> {
        let path = folder.join(NAME);
        let unlocked = |error: io::Error| {
            let fault = format!(
                "{}: cannot be locked ({error}): processes must not write to this folder at the same time",
                folder.display()
            );
            Self { held: Err(fault) }
        };
        match open(&path) {
            Ok(file) => Ok(match lock(&file) {
                Ok(()) => Self { held: Ok(file) },
                Err(error) => unlocked(error),
            }),
            Err(error) if error.kind() == io::ErrorKind::PermissionDenied => Ok(unlocked(error)),
            Err(source) => Err(Error::from(ErrorKind::Io { action: "make the lock", source }).in_file(&path)),
        }
    }

    /// What to tell where other processes do not wait.
    #[must_use]
    pub fn warning(&self) -> Option<&str> {
        self.held.as_ref().err().map(String::as_str)
    }
}

/// Makes the file, for all users, or opens it with what rights there are: those to read are enough on the disks of one machine.
fn open(path: &Path) -> io::Result<File> {
    let refused = match File::options().create_new(true).append(true).open(path) {
        Ok(file) => {
            open_to_all(&file);
            return Ok(file);
        }
        Err(error) => error,
    };
    if !matches!(refused.kind(), io::ErrorKind::AlreadyExists | io::ErrorKind::PermissionDenied) {
        return Err(refused);
    }
    match File::options().append(true).open(path) {
        Err(error) if error.kind() == io::ErrorKind::PermissionDenied => File::open(path),
        // It is not there and cannot be made.
        Err(error) if error.kind() == io::ErrorKind::NotFound => Err(refused),
        other => other,
    }
}

/// Lets every user write, whatever the process masks: who may write to the directory is its own matter.
fn open_to_all(file: &File) {
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt;
        // Without it, other users have the rights to read.
        let _ = file.set_permissions(std::fs::Permissions::from_mode(0o666));
    }
    #[cfg(not(unix))]
    let _ = file;
}

fn lock(file: &File) -> io::Result<()> {
    loop {
        match file.lock() {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            other => return other,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_process_holds_it_at_a_time() {
        let folder = tempfile::tempdir().unwrap();
        let alone = FolderLock::of(folder.path()).unwrap();
        assert_eq!(alone.warning(), None);
        let other = File::open(folder.path().join(NAME)).unwrap();
        assert!(other.try_lock().is_err());
        drop(alone);
        other.try_lock().unwrap();
    }

    #[cfg(unix)]
    #[test]
    fn every_user_may_take_it() {
        use std::os::unix::fs::PermissionsExt;
        let folder = tempfile::tempdir().unwrap();
        drop(FolderLock::of(folder.path()).unwrap());
        let mode = std::fs::metadata(folder.path().join(NAME)).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o666);
    }

    #[test]
    fn a_missing_directory_is_an_error() {
        let folder = tempfile::tempdir().unwrap();
        let error = FolderLock::of(&folder.path().join("nowhere")).unwrap_err();
        assert!(matches!(error.kind(), ErrorKind::Io { action: "make the lock", .. }), "{error}");
    }
}
