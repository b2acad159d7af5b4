//! Memory maps, and floats as bytes: the only `unsafe` code of this crate.
#![expect(unsafe_code, reason = "mapping a file, and viewing bytes as floats, cannot be done without")]

use std::fs::File;
use std::path::Path;
use std::sync::{Arc, Mutex};

use memmap2::{Mmap, MmapMut};

use crate::error::{Error, ErrorKind, Result};
use crate::features::Floats;
use crate::regular_file;

/// A whole file, mapped for reading. The pages are read from disk when first touched.
#[derive(Debug)]
pub(crate) struct MappedFile {
    map: Mmap,
    file: File,
}

impl MappedFile {
    /// Maps the file; an empty one maps to no bytes.
    pub(crate) fn open(path: &Path) -> Result<Self> {
        let failed = |source| ErrorKind::Io { action: "open the file", source };
        let open = || Self::of(regular_file::open(path, "a file").map_err(failed)?);
        open().map_err(|error: Error| error.in_file(path))
    }

    /// Maps a file that is open.
    pub(crate) fn of(file: File) -> Result<Self> {
        // SAFETY: the map is read-only and private to this process. A file changed in place by another process would
        // change under the slices, and one truncated would raise a signal on access; both are stated in the docs of
        // `FeatureMatrix::is_mapped`, and no writer of this workspace does either (files are replaced by renaming).
        // Every bit pattern is a valid `u8`, and values read through the map are checked after they are read, never
        // trusted to stay in bounds.
        let map =
            unsafe { Mmap::map(&file) }.map_err(|source| ErrorKind::Io { action: "map the file", source })?;
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

    /// Gives back the memory of pages that were read; they are read again when they are next touched.
    fn release(&self) {
        // SAFETY: the map is of a file and never written to through it, so that its pages hold what the file holds, and come
        // back with the same bytes. A system that refuses keeps them.
        #[cfg(unix)]
        let _ = unsafe { self.map.unchecked_advise(memmap2::UncheckedAdvice::DontNeed) };
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

impl Floats for MappedFloats {
    fn release(&self) {
        self.file.release();
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
///
/// Memory that is asked of the system is first filled with zeros, which takes as long as reading a bag into it. So what a
/// dropped buffer had is kept for the next: see [`SpareMaps`].
#[derive(Debug)]
pub(crate) struct FloatBuffer {
    /// At least `len` floats and one byte: an empty map is refused. Taken when dropped.
    map: Option<MmapMut>,
    len: usize,
}

impl FloatBuffer {
    /// `len` values of no meaning, to be filled.
    pub(crate) fn new(len: usize) -> Result<Self> {
        let failed = |source| Error::from(ErrorKind::Io { action: "set memory aside", source });
        let n_bytes = len
            .checked_mul(size_of::<f32>())
            .ok_or_else(|| failed(std::io::ErrorKind::OutOfMemory.into()))?;
        let map = match SPARE.lock().ok().and_then(|mut spare| spare.take(n_bytes)) {
            Some(map) => map,
            None => {
                let map = MmapMut::map_anon(n_bytes.max(1)).map_err(failed)?;
                // Refused by kernels without such pages, which then give small ones.
                #[cfg(target_os = "linux")]
                let _ = map.advise(memmap2::Advice::HugePage);
                map
            }
        };
        Ok(Self { map: Some(map), len })
    }

    /// The values, to be filled.
    pub(crate) fn values_mut(&mut self) -> &mut [f32] {
        let Some(map) = &mut self.map else { return &mut [] };
        let start = map.as_mut_ptr().cast::<f32>();
        // SAFETY: bounds: the map has at least `4 * len` bytes, by `new`. Alignment: maps start at a page. Validity: every
        // bit pattern is an `f32`. Aliasing: the map is this buffer's own, and borrowed mutably with `self`.
        unsafe { std::slice::from_raw_parts_mut(start, self.len) }
    }
}

impl Drop for FloatBuffer {
    fn drop(&mut self) {
        if let (Some(map), Ok(mut spare)) = (self.map.take(), SPARE.lock()) {
            spare.keep(map);
        }
    }
}

/// Maps of dropped buffers.
static SPARE: Mutex<SpareMaps> = Mutex::new(SpareMaps(Vec::new()));

/// Maps that wait for another use: at most as many as a bag has magnifications, the largest of those that there were.
#[derive(Debug)]
struct SpareMaps(Vec<MmapMut>);

impl SpareMaps {
    const MOST: usize = 3;
    /// A map is not given for less than this share of it.
    const LEAST_USE: usize = 4;

    /// The smallest that has `n_bytes`, of which no more than those stay in memory.
    fn take(&mut self, n_bytes: usize) -> Option<MmapMut> {
        let fits = |map: &MmapMut| (n_bytes..=n_bytes.saturating_mul(Self::LEAST_USE)).contains(&map.len());
        let fitting = self.0.iter().enumerate().filter(|(_, map)| fits(map));
        let (index, _) = fitting.min_by_key(|(_, map)| map.len())?;
        let map = self.0.swap_remove(index);
        give_back_after(&map, n_bytes);
        Some(map)
    }

    fn keep(&mut self, map: MmapMut) {
        self.0.push(map);
        if self.0.len() > Self::MOST {
            let smallest = self.0.iter().enumerate().min_by_key(|(_, map)| map.len());
            if let Some((index, _)) = smallest {
                self.0.swap_remove(index);
            }
        }
    }
}

/// Gives the memory behind the first `n_bytes` back to the system, which reads as zeros from then on.
fn give_back_after(map: &MmapMut, n_bytes: usize) {
    #[cfg(target_os = "linux")]
    {
        /// Large pages are given back whole.
        const LARGE_PAGE: usize = 2 << 20;
        let start = n_bytes.next_multiple_of(LARGE_PAGE).min(map.len());
        if start < map.len() {
            // SAFETY: the map is private to this process and belongs to nobody while it is spare, so that no value that
            // anyone may look at changes.
            let _ = unsafe {
                map.unchecked_advise_range(memmap2::UncheckedAdvice::DontNeed, start, map.len() - start)
            };
        }
    }
    #[cfg(not(target_os = "linux"))]
    let _ = (map, n_bytes);
}

impl Floats for FloatBuffer {}

impl AsRef<[f32]> for FloatBuffer {
    fn as_ref(&self) -> &[f32] {
        let Some(map) = &self.map else { return &[] };
        let start = map.as_ptr().cast::<f32>();
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
    fn released_floats_come_back_from_the_file() {
        let values: Vec<f32> = (0..4096).map(|i| i as f32).collect();
        let bytes: Vec<u8> = values.iter().flat_map(|value| value.to_le_bytes()).collect();
        let (_directory, file) = mapped(&bytes);
        let floats = MappedFloats::new(&file, 0, 4096).unwrap();
        assert_eq!(floats.as_ref(), values);
        floats.release();
        assert_eq!(floats.as_ref(), values);
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
    fn the_largest_maps_are_kept_and_the_smallest_that_fits_is_used() {
        const MIB: usize = 1 << 20;
        let mut spare = SpareMaps(Vec::new());
        for size in [5 * MIB, MIB, 20 * MIB, 40 * MIB] {
            let mut map = MmapMut::map_anon(size).unwrap();
            map.fill(7);
            spare.keep(map);
        }
        assert!(spare.take(MIB).is_none(), "of four the smallest went, and 5 MiB are too many for 1");
        let map = spare.take(6 * MIB + 1).unwrap();
        assert_eq!(map.len(), 20 * MIB);
        assert!(map[..6 * MIB + 1].iter().all(|byte| *byte == 7));
        if cfg!(target_os = "linux") {
            assert!(map[8 * MIB..].iter().all(|byte| *byte == 0), "what is not used is given back");
        }
        assert!(spare.take(41 * MIB).is_none());
        assert_eq!(spare.take(4 * MIB).unwrap().len(), 5 * MIB);
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
