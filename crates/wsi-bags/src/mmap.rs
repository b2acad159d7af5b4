//! Memory maps, and floats as bytes: the only `unsafe` code of this crate.
#![expect(unsafe_code, reason = "mapping a file, and viewing bytes as floats, cannot be done without")]

use std::fs::File;
use std::path::Path;
use std::sync::Arc;

use memmap2::{Mmap, MmapMut};

use crate::error::{Error, ErrorKind, Result};

/// A whole file, mapped for reading. The pages are read from disk when first touched.
#[derive(Debug)]
pub(crate) struct MappedFile {
    map: Mmap,
    file: File,
}

impl MappedFile {
    /// Maps the file; an empty one maps to no bytes.
    pub(crate) fn open(path: &Path) -> Result<Self> {
        let failed = |action| move |source| Error::from(ErrorKind::Io { action, source }).in_file(path);
        let file = File::open(path).map_err(failed("open the file"))?;
        // SAFETY: the map is read-only and private to this process. A file changed in place by another process would
        // change under the slices, and one truncated would raise a signal on access; both are stated in the docs of
        // `FeatureMatrix::is_mapped`, and no writer of this workspace does either (files are replaced by renaming).
        // Every bit pattern is a valid `u8`, and values read through the map are checked after they are read, never
        // trusted to stay in bounds.
        let map = unsafe { Mmap::map(&file) }.map_err(failed("map the file"))?;
        Ok(Self { map, file })
    }

    /// Fills `bytes` from byte `offset` on, past the map: its pages are then not held beside the copy.
    pub(crate) fn read_at(&self, bytes: &mut [u8], offset: u64) -> Result<()> {
        let done = {
            #[cfg(unix)]
            {
                std::os::unix::fs::FileExt::read_exact_at(&self.file, bytes, offset)
            }
            #[cfg(not(unix))]
            {
                let start = usize::try_from(offset).unwrap_or(usize::MAX);
                let found = self.map.get(start..start.saturating_add(bytes.len()));
                found
                    .map(|found| bytes.copy_from_slice(found))
                    .ok_or_else(|| std::io::ErrorKind::UnexpectedEof.into())
            }
        };
        done.map_err(|source| ErrorKind::Io { action: "read the values", source }.into())
    }

    /// All bytes of the file.
    pub(crate) fn bytes(&self) -> &[u8] {
        &self.map
    }
}

/// Little-endian `f32` values that lie in a mapped file.
#[derive(Debug)]
pub(crate) struct MappedFloats {
    file: Arc<MappedFile>,
    offset: usize,
    len: usize,
}

impl MappedFloats {
    /// Views `len` values from byte `offset` on; `None` if they reach beyond the file, are not aligned for `f32`, or
    /// if this machine is big-endian. The caller then decodes the bytes instead.
    pub(crate) fn new(file: &Arc<MappedFile>, offset: usize, len: usize) -> Option<Self> {
        if cfg!(target_endian = "big") {
            return None;
        }
        let end = len.checked_mul(size_of::<f32>())?.checked_add(offset)?;
        let aligned = file.bytes().get(offset..end)?.as_ptr().cast::<f32>().is_aligned();
        aligned.then(|| Self { file: Arc::clone(file), offset, len })
    }
}

impl AsRef<[f32]> for MappedFloats {
    fn as_ref(&self) -> &[f32] {
        let start = self.file.bytes()[self.offset..].as_ptr().cast::<f32>();
        // SAFETY: bounds: `new` checked that `offset + 4 * len` lies within the map, whose length and address never
        // change while it lives, and `self.file` keeps it alive for as long as the returned borrow of `self`.
        // Alignment: `new` checked this very pointer. Validity: every bit pattern is an `f32`. Aliasing: the map is
        // read-only and no mutable reference to it exists in this process.
        unsafe { std::slice::from_raw_parts(start, self.len) }
    }
}

/// Floats of this process, in large pages where the system has them.
#[derive(Debug)]
pub(crate) struct FloatBuffer {
    /// At least one byte: an empty map is refused.
    map: MmapMut,
    len: usize,
}

impl FloatBuffer {
    /// `len` zeros.
    pub(crate) fn new(len: usize) -> Result<Self> {
        let failed = |source| Error::from(ErrorKind::Io { action: "set memory aside", source });
        let n_bytes = len
            .checked_mul(size_of::<f32>())
            .ok_or_else(|| failed(std::io::ErrorKind::OutOfMemory.into()))?;
        let map = MmapMut::map_anon(n_bytes.max(1)).map_err(failed)?;
        // Refused by kernels without such pages, which then give small ones.
        #[cfg(target_os = "linux")]
        let _ = map.advise(memmap2::Advice::HugePage);
        Ok(Self { map, len })
    }

    /// The values, to be filled.
    pub(crate) fn values_mut(&mut self) -> &mut [f32] {
        let start = self.map.as_mut_ptr().cast::<f32>();
        // SAFETY: bounds: `new` mapped `4 * len` bytes. Alignment: maps start at a page. Validity: every bit pattern is
        // an `f32`. Aliasing: the map is this process's own, and borrowed mutably with `self`.
        unsafe { std::slice::from_raw_parts_mut(start, self.len) }
    }
}

impl AsRef<[f32]> for FloatBuffer {
    fn as_ref(&self) -> &[f32] {
        let start = self.map.as_ptr().cast::<f32>();
        // SAFETY: as in `values_mut`, and nobody writes while `self` is borrowed.
        unsafe { std::slice::from_raw_parts(start, self.len) }
    }
}

/// Numbers without gaps between their bytes, of which every pattern of bits is one.
pub(crate) trait Plain: sealed::Sealed {}
impl Plain for f32 {}
impl Plain for u16 {}

mod sealed {
    pub(crate) trait Sealed {}
    impl Sealed for f32 {}
    impl Sealed for u16 {}
}

/// Numbers as the bytes they are made of.
pub(crate) fn bytes_of_mut<T: Plain>(values: &mut [T]) -> &mut [u8] {
    let len = size_of_val(values);
    // SAFETY: `Plain` says that the bytes have no gaps and that any of them are a value; the borrow is passed on.
    unsafe { std::slice::from_raw_parts_mut(values.as_mut_ptr().cast::<u8>(), len) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mapped(bytes: &[u8]) -> (tempfile::TempDir, Arc<MappedFile>) {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("values");
        std::fs::write(&path, bytes).unwrap();
        let file = Arc::new(MappedFile::open(&path).unwrap());
        (directory, file)
    }

    #[test]
    fn floats_are_viewed_in_place() {
        let (_directory, file) = mapped(&[[0; 4], 1.5f32.to_le_bytes(), (-2.0f32).to_le_bytes()].concat());
        let floats = MappedFloats::new(&file, 4, 2).unwrap();
        assert_eq!(floats.as_ref(), [1.5, -2.0]);
        assert_eq!(MappedFloats::new(&file, 12, 0).unwrap().as_ref(), [0.0; 0]);
    }

    #[test]
    fn views_beyond_the_file_or_off_alignment_are_refused() {
        let (_directory, file) = mapped(&[0; 12]);
        for (offset, len) in [(4, 3), (1, 2), (13, 0), (usize::MAX, 1), (0, usize::MAX), (0, usize::MAX / 4)]
        {
            assert!(MappedFloats::new(&file, offset, len).is_none(), "{offset} {len}");
        }
    }

    #[test]
    fn an_empty_file_maps_to_no_bytes() {
        assert_eq!(mapped(&[]).1.bytes(), [0; 0]);
    }

    #[test]
    fn a_missing_file_is_named() {
        let error = MappedFile::open(Path::new("no/such/file")).unwrap_err();
        assert_eq!(error.to_string(), "no/such/file: cannot open the file");
        assert!(std::error::Error::source(&error).is_some());
    }
}
