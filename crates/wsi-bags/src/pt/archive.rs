//! The zip container that `torch.save` writes: records, each stored uncompressed.

use std::io::{self, Cursor};
use std::path::Path;
use std::sync::Arc;

use zip::{CompressionMethod, ZipArchive};

use crate::error::{Error, ErrorKind, Result};
use crate::file_kind::FileKind;
use crate::mmap::MappedFile;

/// An opened `.pt` file.
pub(super) struct Archive {
    file: Arc<MappedFile>,
    zip: ZipArchive<Cursor<FileBytes>>,
    /// Directory inside the archive that holds all records, with its slash.
    prefix: String,
}

/// Where a record lies in the file.
#[derive(Debug, Clone, Copy)]
pub(super) struct Record {
    /// Its number in the archive.
    pub(super) index: usize,
    /// Offset of the first byte.
    pub(super) start: usize,
    /// Number of bytes; `start + len` is within the file.
    pub(super) len: usize,
}

struct FileBytes(Arc<MappedFile>);

impl AsRef<[u8]> for FileBytes {
    fn as_ref(&self) -> &[u8] {
        self.0.bytes()
    }
}

impl Archive {
    /// Maps the file and reads the directory of the archive.
    ///
    /// # Errors
    /// [`ErrorKind::FileKind`] if it is not a zip archive by `torch.save`, [`ErrorKind::Archive`] if it is damaged,
    /// [`ErrorKind::ElementType`] if its numbers are big-endian.
    pub(super) fn open(path: &Path) -> Result<Self> {
        const WANTED: &str = "a zip archive as written by torch.save since PyTorch 1.6";
        const WANTED_ANEW: &str =
            "a zip archive as written by torch.save since PyTorch 1.6; load and save it again there";
        let file = Arc::new(MappedFile::open(path)?);
        let wrong_kind = |found| {
            let legacy = matches!(found, FileKind::BarePickle | FileKind::Tar);
            Err(ErrorKind::FileKind { found, wanted: if legacy { WANTED_ANEW } else { WANTED } }.into())
        };
        match sniff(file.bytes()) {
            None => {}
            Some(found) => return wrong_kind(found),
        }
        let zip = ZipArchive::new(Cursor::new(FileBytes(Arc::clone(&file))))
            .map_err(|source| damaged("its directory cannot be read, as when a file is cut short", source))?;
        let mut archive = Self { file, zip, prefix: String::new() };

        let names: Vec<_> = archive.zip.file_names_raw().map(String::from_utf8_lossy).collect();
        let pickle = names.iter().find_map(|name| {
            name.strip_suffix("data.pkl")
                .filter(|prefix| prefix.ends_with('/') && prefix.matches('/').count() == 1)
        });
        match pickle {
            None => return wrong_kind(FileKind::OtherZip),
            Some(prefix) if names.contains(&format!("{prefix}constants.pkl").into()) => {
                return wrong_kind(FileKind::TorchScript);
            }
            Some(prefix) => archive.prefix = prefix.to_owned(),
        }
        archive.check_byte_order()?;
        Ok(archive)
    }

    /// The record of this name, such as `data/0`.
    ///
    /// # Errors
    /// [`ErrorKind::Archive`] if it is absent, compressed, encrypted or reaches beyond the file.
    pub(super) fn record(&mut self, name: &str) -> Result<Record> {
        self.find(name)?.ok_or_else(|| {
            Error::from(ErrorKind::Archive { fault: format!("record `{name}` is absent"), source: None })
        })
    }

    fn find(&mut self, name: &str) -> Result<Option<Record>> {
        let Some(index) = self.zip.index_for_name(&format!("{}{name}", self.prefix)) else {
            return Ok(None);
        };
        let fault = |fault: String| Error::from(ErrorKind::Archive { fault, source: None });
        let entry = self
            .zip
            .by_index_raw(index)
            .map_err(|source| damaged(&format!("record `{name}` cannot be found"), source))?;
        if entry.encrypted() || entry.compression() != CompressionMethod::Stored {
            return Err(fault(format!(
                "record `{name}` is compressed or encrypted, which torch.save never does; save the tensor again in PyTorch"
            )));
        }
        let extent = entry
            .data_start()
            .and_then(|start| Some((usize::try_from(start).ok()?, usize::try_from(entry.size()).ok()?)))
            .filter(|(start, len)| {
                entry.size() == entry.compressed_size()
                    && start.checked_add(*len).is_some_and(|end| end <= self.file.bytes().len())
            });
        let Some((start, len)) = extent else {
            return Err(fault(format!("record `{name}` reaches beyond the end of the file")));
        };
        Ok(Some(Record { index, start, len }))
    }

    /// The bytes of a record, as they are.
    pub(super) fn bytes(&self, record: Record) -> &[u8] {
        // `find` made sure that this is within the file.
        self.file.bytes().get(record.start..record.start + record.len).unwrap_or_default()
    }

    /// Reads a record through and compares its checksum.
    ///
    /// # Errors
    /// [`ErrorKind::Archive`] if it differs.
    pub(super) fn verify(&mut self, record: Record) -> Result<()> {
        let failed = |source: io::Error| {
            Error::from(ErrorKind::Archive {
                fault: "a record does not match its checksum".to_owned(),
                source: Some(source.into()),
            })
        };
        let mut entry =
            self.zip.by_index(record.index).map_err(|source| damaged("a record cannot be read", source))?;
        io::copy(&mut entry, &mut io::sink()).map(drop).map_err(failed)
    }

    /// The mapped file.
    pub(super) fn file(&self) -> &Arc<MappedFile> {
        &self.file
    }

    fn check_byte_order(&mut self) -> Result<()> {
        // Written since PyTorch 2.1; before that, files were in the order of the machine, in practice little-endian.
        let Some(record) = self.find("byteorder")? else {
            return Ok(());
        };
        match self.bytes(record) {
            b"little" => Ok(()),
            other => Err(Error::from(ErrorKind::ElementType {
                found: format!("{}-endian", String::from_utf8_lossy(other.get(..16).unwrap_or(other))),
                wanted: "little-endian",
            })),
        }
    }
}

fn damaged(fault: &str, source: zip::result::ZipError) -> Error {
    ErrorKind::Archive { fault: fault.to_owned(), source: Some(source.into()) }.into()
}

/// What the file is, if it is not a zip archive.
fn sniff(bytes: &[u8]) -> Option<FileKind> {
    if bytes.starts_with(b"PK\x03\x04") {
        None
    } else if bytes.is_empty() {
        Some(FileKind::Empty)
    } else if matches!(bytes, [0x80, 0..=5, ..]) {
        Some(FileKind::BarePickle)
    } else if bytes.get(257..262) == Some(b"ustar") {
        Some(FileKind::Tar)
    } else if bytes.starts_with(b"\x89HDF\r\n\x1a\n") {
        Some(FileKind::Hdf5)
    } else if bytes.starts_with(b"\x93NUMPY") {
        Some(FileKind::Npy)
    } else if bytes.starts_with(b"PK\x05\x06") {
        Some(FileKind::OtherZip)
    } else if bytes.starts_with(b"version https://git-lfs.github.com/") {
        Some(FileKind::LfsPointer)
    } else if is_html(bytes) {
        Some(FileKind::Html)
    } else {
        Some(FileKind::Unknown)
    }
}

fn is_html(bytes: &[u8]) -> bool {
    let text = bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(bytes).trim_ascii_start();
    let opens_with = |tag: &[u8]| text.get(..tag.len()).is_some_and(|start| start.eq_ignore_ascii_case(tag));
    opens_with(b"<!doctype html") || opens_with(b"<html")
}
