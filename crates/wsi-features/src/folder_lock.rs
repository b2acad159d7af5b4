//! One writer at a time in a directory of bags.

use std::fs::File;
use std::path::Path;

use crate::error::{Error, Result};

/// Its name in the directory, where it stays: who removed it could remove what another process waits for.
const NAME: &str = ".lock";

/// Held while a bag or a table that lies there is replaced by one with more in it. Other processes, on other machines, too, wait.
///
/// Where the file system has no locks there is none, and processes that write the same bags must not run at once.
#[must_use]
pub(crate) struct FolderLock {
    /// Locked until it is closed.
    _file: Option<File>,
}

impl FolderLock {
    /// Waits for its turn.
    ///
    /// # Errors
    /// [`Error::Io`] if the file cannot be made.
    pub(crate) fn of(folder: &Path) -> Result<Self> {
        let path = folder.join(NAME);
        let file = File::options().create(true).append(true).open(&path);
        let file = file.map_err(|source| Error::Io { path, action: "make the lock", source })?;
        Ok(Self { _file: file.lock().is_ok().then_some(file) })
    }
}
