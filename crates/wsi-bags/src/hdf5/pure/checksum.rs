//! Fletcher-32 checksums of chunks, which `rust-hdf5` strips without comparing them.

use std::borrow::Cow;

use rust_hdf5::H5Dataset;

use crate::error::{ErrorKind, Result};

use super::header::ChunkPlace;
use super::refused;

/// Identifier of the filter in the file format.
const FLETCHER32: u16 = 3;

/// Compares the checksum of every chunk of a dataset that has checksums. `chunks` are all of them, where the index lists them, in
/// `file`.
///
/// # Errors
/// [`ErrorKind::Content`] for a chunk whose checksum differs, [`ErrorKind::Hdf5Feature`] where checksums were made
/// before another filter, [`ErrorKind::Hdf5`] if a chunk cannot be read or was never written.
pub(super) fn verify(dataset: &H5Dataset, chunks: Option<&[ChunkPlace]>, file: &[u8]) -> Result<()> {
    let filters = dataset.filters().map_err(|source| refused("read the filters", source))?;
    let Some(position) = filters.iter().position(|filter| filter.id == FLETCHER32) else { return Ok(()) };
    let Some(sides) = dataset.chunk_dims() else { return Ok(()) };
    if position + 1 != filters.len() {
        let feature = "Fletcher-32 checksums that are not the last filter".to_owned();
        return Err(ErrorKind::Hdf5Feature { feature }.into());
    }
    let counts: Vec<usize> =
        dataset.shape().iter().zip(&sides).map(|(size, side)| size.div_ceil((*side).max(1))).collect();
    let n_chunks = counts.iter().try_fold(1usize, |product, count| product.checked_mul(*count));
    for index in 0..n_chunks.unwrap_or(usize::MAX) {
        let at = place(index, &counts);
        let (bytes, mask) = match chunks.and_then(|chunks| chunks.get(index)) {
            Some(chunk) => (Cow::Borrowed(chunk.bytes(file)), chunk.filter_mask),
            None => {
                let read = dataset.read_chunk_raw_at(&at);
                let (bytes, mask) = read.map_err(|source| refused("read a chunk", source))?;
                (Cow::Owned(bytes), mask)
            }
        };
        let skipped = mask >> position & 1 == 1;
        if !skipped && !matches(&bytes) {
            let found = format!("a chunk at {at:?} that does not match its checksum");
            return Err(ErrorKind::Content { found, wanted: "the bytes that were written" }.into());
        }
    }
    Ok(())
}

/// The place of a chunk in the grid of chunks, of which the last axis runs fastest.
pub(super) fn place(index: usize, counts: &[usize]) -> Vec<usize> {
    let mut rest = index;
    let mut at = vec![0; counts.len()];
    for (at, count) in at.iter_mut().zip(counts).rev() {
        *at = rest % count;
        rest /= count;
    }
    at
}

/// Whether the last four bytes are the checksum of those before, in the byte order of HDF5 or of versions before 1.6.3.
fn matches(bytes: &[u8]) -> bool {
    let Some((data, stored)) = bytes.split_last_chunk::<4>() else { return false };
    let [a, b, c, d] = fletcher32(data).to_le_bytes();
    *stored == [a, b, c, d] || *stored == [b, a, d, c]
}

/// The checksum as HDF5 computes it: over big-endian 16-bit words, folded after every 360 of them.
fn fletcher32(data: &[u8]) -> u32 {
    const WORDS_PER_FOLD: usize = 360;
    let fold = |sum: u32| (sum & 0xffff) + (sum >> 16);
    let (mut low, mut high) = (0u32, 0u32);
    for run in data.chunks(2 * WORDS_PER_FOLD) {
        let (words, odd) = run.as_chunks::<2>();
        let last = odd.first().map(|byte| [*byte, 0]);
        for word in words.iter().copied().chain(last) {
            low = low.wrapping_add(u32::from(u16::from_be_bytes(word)));
            high = high.wrapping_add(low);
        }
        (low, high) = (fold(low), fold(high));
    }
    fold(high) << 16 | fold(low)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn checksums_are_those_of_hdf5() {
        // Values of H5_checksum_fletcher32.
        assert_eq!(fletcher32(b""), 0);
        assert_eq!(fletcher32(b"hi"), 0x6869_6869);
        assert_eq!(fletcher32(b"abc"), 0x25c5_c462);
        assert_eq!(fletcher32(b"hello world"), 0xfc27_91ce);
        assert_eq!(fletcher32(&[0xff, 0xff]), 0xffff_ffff);
        assert!(matches(b"hi\x69\x68\x69\x68") && !matches(b"hj\x69\x68\x69\x68") && !matches(b"hi"));
    }
}
