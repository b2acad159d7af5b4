//! The bytes of a table file; what is no UTF-8 text is refused by name, with the way to make it one.

use std::fs::File;
use std::io::Read;
use std::path::Path;

use crate::error::CliError;

/// How other files begin, what they are, and the way out.
const OTHER_FORMS: [(&[u8], &str, &str); 5] = [
    (&[0xff, 0xfe], "is UTF-16", "convert it with `iconv -f utf-16 -t utf-8`, or save it as CSV (UTF-8)"),
    (&[0xfe, 0xff], "is UTF-16", "convert it with `iconv -f utf-16 -t utf-8`, or save it as CSV (UTF-8)"),
    (&[0x1f, 0x8b], "is compressed by gzip", "unpack it with `gunzip --keep`"),
    (b"PK\x03\x04", "is a zip archive or an Excel workbook", "unpack it, or save the sheet as CSV (UTF-8)"),
    (&[0xd0, 0xcf, 0x11, 0xe0], "is an Excel workbook", "save the sheet as CSV (UTF-8)"),
];

/// Reads a file that may be a table.
///
/// - `option`: the option that names it.
pub(crate) fn read(path: &Path, option: &'static str) -> Result<Vec<u8>, CliError> {
    let read_error = |source| CliError::Read { option, path: path.to_owned(), source };
    let mut file = File::open(path).map_err(read_error)?;
    if file.metadata().map_err(read_error)?.is_dir() {
        return Err(read_error(std::io::Error::from(std::io::ErrorKind::IsADirectory)));
    }
    let mut bytes = Vec::new();
    file.read_to_end(&mut bytes).map_err(read_error)?;
    match OTHER_FORMS.iter().find(|(start, ..)| bytes.starts_with(start)) {
        None => Ok(bytes),
        Some((_, is, way_out)) => {
            Err(CliError::in_file(path, format!("the file {is}, expected UTF-8 text"), *way_out))
        }
    }
}
