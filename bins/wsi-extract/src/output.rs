//! Results on stdout, remarks on stderr, files written beside their name and renamed.

use std::fs;
use std::io::Write;
use std::path::Path;

use serde::Serialize;

use crate::error::CliError;

/// Prints a text.
pub(crate) fn print(text: &str) -> Result<(), CliError> {
    match std::io::stdout().lock().write_all(text.as_bytes()) {
        // The reader has seen enough, as in `wsi-extract lattice ... | head`.
        Err(error) if error.kind() == std::io::ErrorKind::BrokenPipe => Ok(()),
        other => other.map_err(CliError::Write),
    }
}

/// Prints one line of JSON.
pub(crate) fn print_json<T: Serialize>(value: &T) -> Result<(), CliError> {
    print(&(serde_json::to_string(value).map_err(CliError::Encode)? + "\n"))
}

/// Says something that is no result.
pub(crate) fn remark(quiet: bool, text: &str) {
    if !quiet {
        // Nothing is lost where stderr is closed.
        let _ = writeln!(std::io::stderr(), "{text}");
    }
}

/// Columns as wide as their widest cell.
pub(crate) fn aligned(rows: &[Vec<String>]) -> String {
    let n_columns = rows.iter().map(Vec::len).max().unwrap_or(0);
    let width = |at: usize| {
        rows.iter().filter_map(|row: &Vec<String>| row.get(at)).map(|cell| cell.chars().count()).max()
    };
    let widths: Vec<usize> = (0..n_columns).map(|at| width(at).unwrap_or(0)).collect();
    let mut text = String::new();
    for row in rows {
        let cells = row.iter().zip(&widths).map(|(cell, &width)| format!("{cell:<width$}"));
        text.push_str(cells.collect::<Vec<_>>().join("  ").trim_end());
        text.push('\n');
    }
    text
}

/// Makes a file beside its name and renames it.
pub(crate) fn replace(
    path: &Path,
    write: impl FnOnce(&Path) -> Result<(), CliError>,
) -> Result<(), CliError> {
    let failed = |source| CliError::Output(path.to_owned(), source);
    if let Some(directory) = path.parent() {
        fs::create_dir_all(directory).map_err(failed)?;
    }
    // The extension stays the last one: it tells an encoder of pictures the format.
    let mut name = std::ffi::OsString::from(format!(".{}.", std::process::id()));
    name.push(path.file_name().unwrap_or_default());
    let beside = path.with_file_name(name);
    let written = write(&beside).and_then(|()| fs::rename(&beside, path).map_err(failed));
    if written.is_err() {
        let _ = fs::remove_file(&beside);
    }
    written
}
