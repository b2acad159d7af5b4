//! Tables in archives: a zip, a gzipped table, a gzipped tar as GDC's portal hands out.

use std::io::{Cursor, Read};

use flate2::bufread::GzDecoder;
use zip::ZipArchive;

/// More than any clinical table holds, gene columns included; an archive that unpacks to more is not one.
const MAX_TABLE_BYTES: u64 = 1 << 30;
/// A small archive may always unpack to this much.
const MIN_LIMIT: u64 = 2 << 20;
/// Text shrinks to a tenth; what shrinks to less than a 64th was made to fill memory.
const MAX_COMPRESSION: u64 = 64;
const GZIP: &[u8] = &[0x1f, 0x8b];
const TABLE_EXTENSIONS: [&str; 3] = [".csv", ".tsv", ".txt"];
/// GDC packs exposures, family history and follow-ups beside it.
const GDC_TABLE: &str = "clinical.tsv";

/// The table in an archive; `None` for bytes that are no archive.
///
/// # Errors
/// In words: if the archive is damaged, is an Excel workbook, or holds other than one table, or one `clinical.tsv`.
pub(crate) fn unpack(bytes: &[u8]) -> Result<Option<Vec<u8>>, String> {
    if bytes.starts_with(b"PK\x03\x04") || bytes.starts_with(b"PK\x05\x06") {
        return unzip(bytes).map(Some);
    }
    if bytes.starts_with(GZIP) {
        return gunzip(bytes).map(Some);
    }
    Ok(None)
}

fn unzip(bytes: &[u8]) -> Result<Vec<u8>, String> {
    let unreadable = |error: zip::result::ZipError| format!("can't be unzipped: {error}");
    let mut archive = ZipArchive::new(Cursor::new(bytes)).map_err(unreadable)?;
    let mut names = Vec::new();
    for index in 0..archive.len() {
        let member = archive.by_index(index).map_err(unreadable)?;
        // A folder is no table, whatever its name ends with.
        let name = member.name().map_err(unreadable)?;
        names.push(if member.is_dir() {
            format!("{}/", name.trim_end_matches('/'))
        } else {
            name.into_owned()
        });
    }
    if names.iter().any(|name| name == "[Content_Types].xml") {
        return Err("is an Excel workbook, expected a text table; save it as CSV (UTF-8)".to_owned());
    }
    let index = the_table("a zip", &names)?;
    let member = archive.by_index(index).map_err(unreadable)?;
    let mut table = Vec::new();
    within_limit(member, bytes.len(), names.get(index).map_or("the table", String::as_str), &mut table)?;
    Ok(table)
}

fn gunzip(bytes: &[u8]) -> Result<Vec<u8>, String> {
    let whole = gzip_members(bytes)?;
    let unreadable = |error: std::io::Error| format!("can't be unpacked: {error}");
    // Where the mark of a tar archive is.
    if whole.get(257..262) != Some(b"ustar") {
        return Ok(whole);
    }
    let mut archive = tar::Archive::new(whole.as_slice());
    let (mut names, mut places) = (Vec::new(), Vec::new());
    for member in archive.entries().map_err(unreadable)? {
        let member = member.map_err(unreadable)?;
        if !member.header().entry_type().is_file() {
            continue;
        }
        names.push(String::from_utf8_lossy(&member.path_bytes()).into_owned());
        places.push((member.raw_file_position(), member.size()));
    }
    let (start, len) = places.get(the_table("a tar archive", &names)?).copied().unwrap_or_default();
    let range = usize::try_from(start).ok().zip(usize::try_from(start.saturating_add(len)).ok());
    let table = range.and_then(|(start, end)| whole.get(start..end));
    table.map(<[u8]>::to_vec).ok_or_else(|| "can't be unpacked: it ends early".to_owned())
}

/// What the members of a gzip file hold, one after the other: `cat` joins files so, and `bgzip` writes one for every 64 KiB. Zeros
/// between and behind them are padding.
fn gzip_members(bytes: &[u8]) -> Result<Vec<u8>, String> {
    let mut whole = Vec::new();
    let mut rest = bytes;
    while let Some(padding) = rest.iter().position(|&byte| byte != 0) {
        rest = rest.get(padding..).unwrap_or_default();
        if !rest.starts_with(GZIP) {
            return Err(format!(
                "can't be unpacked: {} bytes after byte {} are no gzip; download or pack the file again",
                rest.len(),
                bytes.len() - rest.len()
            ));
        }
        let mut member = GzDecoder::new(rest);
        within_limit(&mut member, bytes.len(), "the file", &mut whole)?;
        rest = member.into_inner();
    }
    Ok(whole)
}

/// The place of the one table among the members of an archive.
fn the_table(archive: &str, names: &[String]) -> Result<usize, String> {
    let file_name = |name: &str| name.rsplit('/').next().unwrap_or_default().to_ascii_lowercase();
    // macOS adds a shadow of every file.
    let own = |name: &str| !name.starts_with("__MACOSX/") && !file_name(name).starts_with('.');
    let is_table = |name: &str| {
        TABLE_EXTENSIONS.iter().any(|extension| file_name(name).ends_with(extension)) && own(name)
    };
    let tables: Vec<(usize, &String)> = names.iter().enumerate().filter(|(_, name)| is_table(name)).collect();
    let of_gdc: Vec<_> = tables.iter().filter(|(_, name)| file_name(name) == GDC_TABLE).collect();
    match (tables.as_slice(), of_gdc.as_slice()) {
        ([(index, _)], _) | (_, [(index, _)]) => Ok(*index),
        _ => {
            let found = if names.is_empty() { "nothing".to_owned() } else { names.join(", ") };
            Err(format!(
                "is {archive} of {found}, expected exactly one .csv, .tsv or .txt in it, or one {GDC_TABLE}; unpack \
                 it and name the table"
            ))
        }
    }
}

/// Unpacks what came in an archive of `archive_len` bytes, and adds it to `bytes`.
fn within_limit(
    packed: impl Read,
    archive_len: usize,
    name: &str,
    bytes: &mut Vec<u8>,
) -> Result<(), String> {
    let limit = (archive_len as u64).saturating_mul(MAX_COMPRESSION).clamp(MIN_LIMIT, MAX_TABLE_BYTES);
    packed
        .take((limit + 1).saturating_sub(bytes.len() as u64))
        .read_to_end(bytes)
        .map_err(|error| format!("{name} can't be unzipped: {error}"))?;
    if bytes.len() as u64 > limit {
        return Err(format!(
            "{name} unpacks from {archive_len} to more than {limit} bytes, expected a clinical table"
        ));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    #[test]
    fn an_archive_that_unpacks_without_end_is_refused() {
        let mut packer = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::best());
        let rows = b"a\n".repeat(1 << 19);
        (0..4).for_each(|_| packer.write_all(&rows).unwrap());
        let packed = packer.finish().unwrap();
        assert!(packed.len() < 32 << 10);
        let error = unpack(&packed).unwrap_err();
        let wanted = format!("unpacks from {} to more than {MIN_LIMIT} bytes", packed.len());
        assert!(error.contains(&wanted), "{error}");
    }
}
