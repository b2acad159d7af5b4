//! A first look at the directories of a TIFF file: that no value is larger than the file.
//!
//! The `tiff` crate sets memory aside by the number of values that an entry states, up to a limit of its own that the first
//! directory cannot be read without.

use std::collections::HashSet;
use std::fs::File;
use std::io::{self, BufReader, Read, Seek, SeekFrom};

use crate::error::{Error, ErrorKind, Result};

/// More directories than any slide has.
pub(crate) const MOST_PAGES: usize = 4096;

/// The numbers of a file in its byte order, with the widths of its form.
struct Entries<'a> {
    file: BufReader<&'a File>,
    little_endian: bool,
    is_big: bool,
    /// Bytes that directories may still take: together no more than the file has.
    n_left: u64,
}

/// Walks the chain of directories of a file of `length` bytes.
///
/// # Errors
/// [`ErrorKind::Structure`] for a ring of directories, for those that overlap and for a value that is larger than the file,
/// [`ErrorKind::TruncatedDirectory`] for one that ends beyond the file, [`ErrorKind::Limit`] for more directories than any slide has.
pub(crate) fn check(file: &File, length: u64) -> Result<()> {
    let fault = |place: &str, fault: String, source: Option<io::Error>| {
        let source = source.map(|source| -> crate::error::BoxedSource { Box::new(source) });
        Error::from(ErrorKind::Structure { place: place.to_owned(), fault, source })
    };
    let unreadable = |place: &str, start: u64, source: io::Error| match source.kind() {
        io::ErrorKind::UnexpectedEof => {
            Error::from(ErrorKind::TruncatedDirectory { place: place.to_owned(), start, length })
        }
        _ => fault(place, "it cannot be read".to_owned(), Some(source)),
    };
    let (mut entries, mut next) =
        Entries::open(file, length).map_err(|source| unreadable("the header", 0, source))?;
    let mut seen = HashSet::new();
    while next != 0 {
        let place = format!("directory {}", seen.len());
        if seen.len() == MOST_PAGES {
            let (found, limit) = (MOST_PAGES as u64 + 1, MOST_PAGES as u64);
            return Err(ErrorKind::Limit { what: "the number of directories", found, limit }.into());
        }
        if !seen.insert(next) {
            return Err(fault(
                &place,
                "it was read before: the chain of directories is a ring".to_owned(),
                None,
            ));
        }
        let start = next;
        let too_large;
        (too_large, next) =
            entries.directory(start, length).map_err(|source| unreadable(&place, start, source))?;
        if let Some((tag, n_bytes)) = too_large {
            let found = format!("tag {tag} states {n_bytes} bytes, the file has {length}");
            return Err(fault(&place, found, None));
        }
    }
    Ok(())
}

impl<'a> Entries<'a> {
    /// The file, and where its first directory is.
    fn open(file: &'a File, length: u64) -> io::Result<(Self, u64)> {
        let file = BufReader::new(file);
        let mut entries = Self { file, little_endian: true, is_big: false, n_left: length };
        entries.file.seek(SeekFrom::Start(0))?;
        entries.little_endian = entries.bytes::<2>()? == *b"II";
        entries.is_big = entries.number::<2>()? == 43;
        if entries.is_big {
            // The width of offsets, which is eight.
            entries.bytes::<4>()?;
        }
        let first = entries.word()?;
        Ok((entries, first))
    }

    /// The first entry of a directory that states more bytes than the file has, by tag; and where the next directory is.
    fn directory(&mut self, start: u64, length: u64) -> io::Result<(Option<(u64, u64)>, u64)> {
        self.file.seek(SeekFrom::Start(start))?;
        let n_entries = if self.is_big { self.number::<8>()? } else { self.number::<2>()? };
        let mut too_large = None;
        for _ in 0..n_entries {
            let (tag, kind) = (self.number::<2>()?, self.number::<2>()?);
            let n_bytes = self.word()?.saturating_mul(size_of_kind(kind));
            self.word()?;
            if n_bytes > length && too_large.is_none() {
                too_large = Some((tag, n_bytes));
            }
        }
        Ok((too_large, self.word()?))
    }

    fn bytes<const N: usize>(&mut self) -> io::Result<[u8; N]> {
        let mut bytes = [0; N];
        self.file.read_exact(&mut bytes)?;
        self.n_left =
            self.n_left.checked_sub(N as u64).ok_or_else(|| io::Error::other("directories overlap"))?;
        Ok(bytes)
    }

    fn number<const N: usize>(&mut self) -> io::Result<u64> {
        let bytes = self.bytes::<N>()?;
        let joined = |sum: u64, byte: &u8| sum << 8 | u64::from(*byte);
        Ok(if self.little_endian { bytes.iter().rev().fold(0, joined) } else { bytes.iter().fold(0, joined) })
    }

    /// A count or an offset.
    fn word(&mut self) -> io::Result<u64> {
        if self.is_big { self.number::<8>() } else { self.number::<4>() }
    }
}

/// Bytes of one value; of kinds that the format does not have, none.
fn size_of_kind(kind: u64) -> u64 {
    match kind {
        1 | 2 | 6 | 7 => 1,
        3 | 8 => 2,
        4 | 9 | 11 | 13 => 4,
        5 | 10 | 12 | 16..=18 => 8,
        _ => 0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fault(bytes: &[u8]) -> Option<String> {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("slide.tif");
        std::fs::write(&path, bytes).unwrap();
        check(&File::open(&path).unwrap(), bytes.len() as u64).err().map(|error| error.to_string())
    }

    /// A classic file of one directory: entries of (tag, kind, number of values), and the place of the next directory.
    fn file(entries: &[(u16, u16, u32)], next: u32) -> Vec<u8> {
        let mut bytes = b"II*\0\x08\0\0\0".to_vec();
        bytes.extend((entries.len() as u16).to_le_bytes());
        for (tag, kind, n_values) in entries {
            bytes.extend(tag.to_le_bytes());
            bytes.extend(kind.to_le_bytes());
            bytes.extend(n_values.to_le_bytes());
            bytes.extend([0; 4]);
        }
        bytes.extend(next.to_le_bytes());
        bytes
    }

    #[test]
    fn values_must_fit_their_file() {
        assert_eq!(fault(&file(&[(256, 4, 1), (258, 3, 3)], 0)), None);
        let text = fault(&file(&[(256, 4, 1), (324, 4, 4_259_841)], 0)).unwrap();
        assert_eq!(text, "directory 0: tag 324 states 17039364 bytes, the file has 38");
        // BigTIFF in the other byte order, with more values than any memory holds.
        let big = b"MM\0\x2b\0\x08\0\0\0\0\0\0\0\0\0\x10\0\0\0\0\0\0\0\x01\x01\x44\0\x10\xff\xff\xff\xff\xff\xff\xff\xff";
        let text = fault(&[&big[..], &[0; 16]].concat()).unwrap();
        assert!(text.starts_with("directory 0: tag 324 states 18446744073709551615 bytes"), "{text}");
    }

    #[test]
    fn directories_must_end() {
        assert!(fault(&file(&[(256, 4, 1)], 8)).unwrap().contains("directory 1: it was read before"));
        assert_eq!(
            fault(&file(&[(256, 4, 1)], 4000)).unwrap(),
            "truncated: the file ends at byte 26, before the end of directory 1, which starts at byte 4000"
        );
        let whole = file(&[(256, 4, 1), (258, 3, 3)], 0);
        assert_eq!(
            fault(&whole[..20]).unwrap(),
            "truncated: the file ends at byte 20, before the end of directory 0, which starts at byte 8"
        );
        assert_eq!(
            fault(b"II*\0").unwrap(),
            "truncated: the file ends at byte 4, before the end of the header, which starts at byte 0"
        );
    }
}
