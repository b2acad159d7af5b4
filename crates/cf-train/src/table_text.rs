//! The text of a table file: out of its archive where it is in one, without a byte order mark; what is no text is refused by
//! name.

use std::path::Path;

use crate::error::{Error, Result};
use crate::table_archive;

/// Old Excel workbooks, Word documents and other compound files.
const COMPOUND_FILE: &[u8] = &[0xd0, 0xcf, 0x11, 0xe0];

/// Reads a text table, or the one that a zip or gzip holds.
///
/// # Errors
/// If the file can't be read, is empty, is a workbook, a web page or UTF-16, is an archive without the one table, begins with
/// Excel's `sep=`, or is not UTF-8 (the error names line and byte).
pub(crate) fn read_table_text(path: &Path) -> Result<String> {
    let fault = |reason: String| Error::data(path, reason);
    let mut bytes = std::fs::read(path).map_err(Error::io("read", path))?;
    if let Some(table) = table_archive::unpack(&bytes).map_err(fault)? {
        bytes = table;
    }
    if bytes.starts_with(COMPOUND_FILE) {
        return Err(fault("is an Excel workbook, expected a text table; save it as CSV (UTF-8)".to_owned()));
    }
    if is_utf16(&bytes) {
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
    if let Some(line) = separator_line(&bytes) {
        return Err(fault(format!(
            "line 1: `{line}` is for Excel alone, expected the names of the columns; delete the line"
        )));
    }
    String::from_utf8(bytes).map_err(|error| fault(not_utf8(&error)))
}

/// Whether a text is UTF-16 by its byte order mark, or by the zeros that make up half of its first line.
pub(crate) fn is_utf16(bytes: &[u8]) -> bool {
    let first_line = bytes.split(|&byte| byte == b'\n').next().unwrap_or_default();
    let n_zeros = first_line.iter().filter(|&&byte| byte == 0).count();
    let has_mark = bytes.starts_with(&[0xff, 0xfe]) || bytes.starts_with(&[0xfe, 0xff]);
    has_mark || (n_zeros > 0 && n_zeros * 4 >= first_line.len())
}

/// The first line where it is the one by which Excel is told the delimiter: `sep=;`.
fn separator_line(bytes: &[u8]) -> Option<&str> {
    let first_line = std::str::from_utf8(bytes.split(|&byte| byte == b'\n').next()?).ok()?.trim_end();
    let text = first_line.trim_matches('"');
    let is_one = text.get(..4).is_some_and(|start| start.eq_ignore_ascii_case("sep=")) && text.len() <= 5;
    is_one.then_some(first_line)
}

fn not_utf8(error: &std::string::FromUtf8Error) -> String {
    let at = error.utf8_error().valid_up_to();
    let before = error.as_bytes().get(..at).unwrap_or_default();
    let line = 1 + before.iter().filter(|&&byte| byte == b'\n').count();
    let column = 1 + before.iter().rev().take_while(|&&byte| byte != b'\n').count();
    format!("line {line}, byte {column}: not UTF-8; save it as CSV (UTF-8)")
}
