//! Files of the bytes under trial, in memory where the machine has a file system there.

use std::cell::RefCell;
use std::fs;
use std::path::{Path, PathBuf};

use tempfile::TempDir;

/// A private folder that lives as long as the process.
pub struct Scratch(TempDir);

impl Scratch {
    fn new() -> Self {
        let memory = Path::new("/dev/shm");
        let folder = if memory.is_dir() { TempDir::new_in(memory) } else { TempDir::new() };
        Self(folder.expect("a folder for the input"))
    }

    /// The folder itself.
    pub fn path(&self) -> &Path {
        self.0.path()
    }

    /// Writes `bytes` under a name, below folders that are made.
    pub fn write(&self, name: &str, bytes: &[u8]) -> PathBuf {
        let path = self.0.path().join(name);
        if fs::write(&path, bytes).is_err() {
            fs::create_dir_all(path.parent().expect("a folder above")).expect("folders can be made");
            fs::write(&path, bytes).expect("the input can be written");
        }
        path
    }
}

/// Runs `work` with the folder of this process.
pub fn scratch<T>(work: impl FnOnce(&Scratch) -> T) -> T {
    thread_local!(static FOLDER: RefCell<Option<Scratch>> = const { RefCell::new(None) });
    FOLDER.with_borrow_mut(|folder| work(folder.get_or_insert_with(Scratch::new)))
}
