//! The text of a table file: out of its zip where it is zipped, without a byte order mark; what is no text is refused by
//! name.

use std::io::{Cursor, Read};
use std::path::Path;

use zip::ZipArchive;

use crate::error::{Error, Result};

/// More than any clinical table holds, gene columns included; a zip that unpacks to more is not one.
const MAX_TABLE_BYTES: u64 = 1 << 30;
const TABLE_EXTENSIONS: [&str; 3] = [".csv", ".tsv", ".txt"];
/// Old Excel workbooks, Word documents and other compound files.
const COMPOUND_FILE: &[u8] = &[0xd0, 0xcf, 0x11, 0xe0];

/// Reads a text table, or the one that a zip holds.
///
/// # Errors
/// If the file can't be read, is empty, is a workbook, a web page or UTF-16, is a zip without exactly one table, or is
/// not UTF-8 (the error names line and byte).
pub(crate) fn read_table_text(path: &Path) -> Result<String> {
    let fault = |reason: String| Error::data(path, reason);
    let mut bytes = std::fs::read(path).map_err(Error::io("read", path))?;
    if bytes.starts_with(b"PK\x03\x04") || bytes.starts_with(b"PK\x05\x06") {
        bytes = unzip(bytes).map_err(fault)?;
    }
    if bytes.starts_with(COMPOUND_FILE) {
        return Err(fault("is an Excel workbook, expected a text table; save it as CSV (UTF-8)".to_owned()));
    }
    if bytes.starts_with(&[0xff, 0xfe]) || bytes.starts_with(&[0xfe, 0xff]) {
        return Err(fault("is UTF-16, expected UTF-8; save it as CSV (UTF-8)".to_owned()));
    }
    if bytes.starts_with(&[0xef, 0xbb, 0xbf]) {
        bytes.drain(..3);
    }
    if bytes.iter().all(u8::is_ascii_whitespace) {
        return Err(fault("is empty, expected a header and rows".to_owned()));
    }
    if bytes.trim_ascii_start().starts_with(b"<") {
        return Err(fault(
            "is a web page or XML, expected a text table; download the file itself".to_owned(),
        ));
    }
    String::from_utf8(bytes).map_err(|error| fault(not_utf8(&error)))
}

fn not_utf8(error: &std::string::FromUtf8Error) -> String {
    let at = error.utf8_error().valid_up_to();
    let before = error.as_bytes().get(..at).unwrap_or_default();
    let line = 1 + before.iter().filter(|&&byte| byte == b'\n').count();
    let column = 1 + before.iter().rev().take_while(|&&byte| byte != b'\n').count();
    format!("line {line}, byte {column}: not UTF-8; save it as CSV (UTF-8)")
}

/// The one table of an archive.
fn unzip(bytes: Vec<u8>) -> std::result::Result<Vec<u8>, String> {
    let unreadable = |error: zip::result::ZipError| format!("can't be unzipped: {error}");
    let mut archive = ZipArchive::new(Cursor::new(bytes)).map_err(unreadable)?;
    let mut names = Vec::new();
    for index in 0..archive.len() {
        let member = archive.by_index(index).map_err(unreadable)?;
        names.push((index, member.name().map_err(unreadable)?.into_owned(), member.is_dir()));
    }
    if names.iter().any(|(_, name, _)| name == "[Content_Types].xml") {
        return Err("is an Excel workbook, expected a text table; save it as CSV (UTF-8)".to_owned());
    }
    // macOS adds a shadow of every file.
    let own = |name: &str| {
        !name.starts_with("__MACOSX/") && !name.rsplit('/').next().unwrap_or("").starts_with('.')
    };
    let is_table = |name: &str| {
        let name = name.to_ascii_lowercase();
        TABLE_EXTENSIONS.iter().any(|extension| name.ends_with(extension))
    };
    let tables: Vec<&(usize, String, bool)> =
        names.iter().filter(|(_, name, is_dir)| !is_dir && own(name) && is_table(name)).collect();
    let [(index, name, _)] = tables.as_slice() else {
        let found: Vec<&str> = names.iter().map(|(_, name, _)| name.as_str()).collect();
        let found = if found.is_empty() { "nothing".to_owned() } else { found.join(", ") };
        return Err(format!(
            "is a zip of {found}, expected exactly one .csv, .tsv or .txt in it; unpack it and name the table"
        ));
    };
    let mut text = Vec::new();
    let member = archive.by_index(*index).map_err(unreadable)?;
    member
        .take(MAX_TABLE_BYTES + 1)
        .read_to_end(&mut text)
        .map_err(|error| format!("{name} can't be unzipped: {error}"))?;
    if text.len() as u64 > MAX_TABLE_BYTES {
        return Err(format!(
            "{name} unpacks to more than {MAX_TABLE_BYTES} bytes, expected a clinical table"
        ));
    }
    Ok(text)
}
