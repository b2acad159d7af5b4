//! The files of a checkout, as the rules see them.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use crate::failure::Failure;

/// Folders that hold nothing of ours, by name, as in `.gitignore`.
const SKIPPED_FOLDERS: [&str; 4] = [".git", "target", "__pycache__", ".venv"];
/// Files whose text is read; of any other file, licences of others among them, only the name is known.
const TEXT_EXTENSIONS: [&str; 12] =
    ["rs", "toml", "md", "py", "sh", "json", "yml", "cff", "html", "css", "lock", "ipynb"];
const TEXT_NAMES: [&str; 3] = ["LICENSE", "run", ".gitignore"];

/// Paths relative to the root, with `/`, and the text of those that are text.
#[derive(Debug, Default)]
pub(super) struct Tree {
    files: BTreeMap<String, Option<String>>,
}

impl Tree {
    /// Reads the checkout.
    pub(super) fn read(root: &Path) -> Result<Self, Failure> {
        let mut tree = Self::default();
        tree.read_folder(root, "")?;
        Ok(tree)
    }

    fn read_folder(&mut self, folder: &Path, prefix: &str) -> Result<(), Failure> {
        let failed = |error: std::io::Error| Failure::io("read", folder, &error);
        for entry in std::fs::read_dir(folder).map_err(failed)? {
            let entry = entry.map_err(failed)?;
            let name = entry.file_name().to_string_lossy().into_owned();
            let path = format!("{prefix}{name}");
            if entry.file_type().map_err(failed)?.is_dir() {
                if !SKIPPED_FOLDERS.contains(&name.as_str()) {
                    self.read_folder(&entry.path(), &format!("{path}/"))?;
                }
            } else if !name.ends_with(".tmp") {
                let text = is_text(&name).then(|| std::fs::read_to_string(entry.path()).ok()).flatten();
                self.files.insert(path, text);
            }
        }
        Ok(())
    }

    pub(super) fn insert(&mut self, path: &str, text: String) {
        self.files.insert(path.to_owned(), Some(text));
    }

    pub(super) fn len(&self) -> usize {
        self.files.len()
    }

    /// Every path in order.
    pub(super) fn paths(&self) -> impl Iterator<Item = &str> {
        self.files.keys().map(String::as_str)
    }

    /// Every path with its text, of text files.
    pub(super) fn texts(&self) -> impl Iterator<Item = (&str, &str)> {
        self.files.iter().filter_map(|(path, text)| Some((path.as_str(), text.as_deref()?)))
    }

    /// Text files with one extension.
    pub(super) fn with_extension<'a>(
        &'a self,
        extension: &'a str,
    ) -> impl Iterator<Item = (&'a str, &'a str)> {
        self.texts().filter(move |(path, _)| Path::new(path).extension().is_some_and(|e| e == extension))
    }

    pub(super) fn text(&self, path: &str) -> Option<&str> {
        self.files.get(path)?.as_deref()
    }

    /// Whether a file has this path, or a folder with files in it.
    pub(super) fn contains(&self, path: &str) -> bool {
        let folder = format!("{}/", path.trim_end_matches('/'));
        self.files.contains_key(path) || self.paths().any(|file| file.starts_with(&folder))
    }

    /// The folders of the workspace members: where a manifest lies under `crates/`, `bins/`, `xtask` or `examples`.
    pub(super) fn members(&self) -> BTreeSet<&str> {
        self.paths()
            .filter_map(|path| path.strip_suffix("/Cargo.toml"))
            .filter(|folder| match folder.split_once('/') {
                Some((group, name)) => matches!(group, "crates" | "bins") && !name.contains('/'),
                None => matches!(*folder, "xtask" | "examples"),
            })
            .collect()
    }

    #[cfg(test)]
    pub(super) fn of(files: &[(&str, &str)]) -> Self {
        let mut tree = Self::default();
        for (path, text) in files {
            tree.insert(path, (*text).to_owned());
        }
        tree
    }
}

fn is_text(name: &str) -> bool {
    let extension = Path::new(name).extension().and_then(|extension| extension.to_str());
    TEXT_NAMES.contains(&name) || extension.is_some_and(|extension| TEXT_EXTENSIONS.contains(&extension))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn members_are_the_folders_with_a_manifest() {
        let tree = Tree::of(&[
            ("Cargo.toml", ""),
            ("crates/a/Cargo.toml", ""),
            ("crates/a/fuzz/Cargo.toml", ""),
            ("bins/b/Cargo.toml", ""),
            ("xtask/Cargo.toml", ""),
            ("crates/c/src/lib.rs", ""),
        ]);
        assert_eq!(tree.members().into_iter().collect::<Vec<_>>(), ["bins/b", "crates/a", "xtask"]);
    }

    #[test]
    fn a_folder_exists_when_a_file_lies_in_it() {
        let tree = Tree::of(&[("docs/formats.md", "")]);
        assert!(tree.contains("docs/") && tree.contains("docs") && tree.contains("docs/formats.md"));
        assert!(!tree.contains("doc"));
    }
}
