//! What an earlier call drew into the same directory.

use std::ffi::OsStr;
use std::fs;
use std::io::ErrorKind;
use std::path::Path;

use serde::Deserialize;

use crate::error::{Error, Result};

/// The part of `render.json` that says what lies beside it.
#[derive(Deserialize)]
struct Earlier {
    files: Vec<String>,
    producer: String,
}

/// Removes the files of an earlier rendering, so that maps of two models do not lie side by side: those that the summary
/// lists, as far as they are files in its directory, and at last the summary itself.
///
/// # Errors
/// [`Error::Io`] if the summary can't be read, or a file not be removed.
pub(crate) fn remove(summary: &Path) -> Result<()> {
    let text = match fs::read(summary) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(()),
        text => text.map_err(|source| Error::io(summary, "read the file", source))?,
    };
    for name in files(&text) {
        let path = summary.with_file_name(&name);
        // A link is removed itself, and not what it leads to; a directory is nothing that was drawn.
        if fs::symlink_metadata(&path).is_ok_and(|found| !found.is_dir()) {
            fs::remove_file(&path).map_err(|source| Error::io(&path, "remove the file", source))?;
        }
    }
    fs::remove_file(summary).map_err(|source| Error::io(summary, "remove the file", source))
}

/// The plain file names that a summary lists; none where it is another program's, or damaged.
fn files(summary: &[u8]) -> Vec<String> {
    let Ok(earlier) = serde_json::from_slice::<Earlier>(summary) else { return Vec::new() };
    let is_ours = earlier.producer.split(' ').next() == Some(env!("CARGO_PKG_NAME"));
    // Of `..` there is no file name, and `a/b` is another name than `b`.
    let is_plain = |name: &String| Path::new(name).file_name() == Some(OsStr::new(name));
    earlier.files.into_iter().filter(|name| is_ours && is_plain(name)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_plain_names_of_our_own_summaries_are_removed() {
        let dir = tempfile::tempdir().unwrap();
        let slide = dir.path().join("slide");
        fs::create_dir_all(slide.join("sub")).unwrap();
        let absolute = dir.path().join("absolute.csv");
        for name in ["old.png", "notes.txt", "sub/kept.png", "../outside.txt"] {
            fs::write(slide.join(name), "x").unwrap();
        }
        fs::write(&absolute, "x").unwrap();
        let summary = slide.join("render.json");
        let write = |producer: &str| {
            let absolute = absolute.to_str().unwrap();
            let files =
                ["old.png", "gone.png", "sub/kept.png", "../outside.txt", "..", ".", "", "sub", absolute];
            let text = serde_json::json!({ "files": files, "producer": producer }).to_string();
            fs::write(&summary, text).unwrap();
        };
        let there = || {
            let names = ["old.png", "notes.txt", "sub/kept.png", "../outside.txt", "../absolute.csv"];
            names.map(|name| slide.join(name).exists())
        };
        for foreign in ["blender 4.0", "cf-viewer-like 1.0"] {
            write(foreign);
            remove(&summary).unwrap();
            assert_eq!((there(), summary.exists()), ([true; 5], false), "{foreign}");
        }
        write("cf-viewer 0.1.0");
        remove(&summary).unwrap();
        assert_eq!((there(), summary.exists()), ([false, true, true, true, true], false));
        fs::write(&summary, "half a summ").unwrap();
        remove(&summary).unwrap();
        assert!(!summary.exists());
        remove(&summary).unwrap();
    }
}
