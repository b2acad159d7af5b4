//! Reading features that lie in a file in pieces, or as another float type, into one block of `f32`.
//!
//! Pieces are read straight into their place, by several threads where there is much to read, into memory that is asked of
//! the system in large pages: most of the time that a plain read takes goes to small ones.

use std::num::NonZero;
use std::thread;

use half::slice::{HalfBitsSliceExt, HalfFloatSliceExt};
use half::{bf16, f16};

use crate::element_type::ElementType;
use crate::error::Result;
use crate::features::first_non_finite;
use crate::mmap::{FloatBuffer, MappedFile, bytes_of_mut};

/// Values that follow each other in a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Run {
    /// First byte in the file.
    pub(crate) offset: u64,
    /// Number of values, which follow those of the run before in the result.
    pub(crate) n_values: usize,
}

/// Values that were read, and the place of the first that is NaN or infinite: looked for while each block is in the cache.
pub(crate) struct Gathered {
    pub(crate) values: FloatBuffer,
    pub(crate) non_finite: Option<usize>,
}

/// Values that are read at once: a block stays in the cache between reading, converting and checking.
const BLOCK: usize = 1 << 16;
/// Values from which another thread pays.
const VALUES_PER_THREAD: usize = 1 << 20;
/// Reading is bound by memory, which few threads saturate.
const MAX_THREADS: usize = 4;

/// Reads `runs` one after the other.
///
/// # Errors
/// [`ErrorKind::Io`](crate::ErrorKind::Io) if a run reaches beyond the file.
pub(crate) fn gather(file: &MappedFile, element: ElementType, runs: &[Run]) -> Result<Gathered> {
    let n_values = runs.iter().map(|run| run.n_values).sum();
    let mut values = FloatBuffer::new(n_values)?;
    let available = thread::available_parallelism().map_or(1, NonZero::get);
    let n_threads = (n_values / VALUES_PER_THREAD).clamp(1, MAX_THREADS.min(available));
    let mut blocks = blocks(element, runs, values.values_mut());
    let per_thread = blocks.len().div_ceil(n_threads).max(1);
    let first_bad = thread::scope(|scope| {
        let threads: Vec<_> = blocks
            .chunks_mut(per_thread)
            .map(|blocks| scope.spawn(|| read_blocks(file, element, blocks)))
            .collect();
        let found = threads.into_iter().map(|thread| match thread.join() {
            Ok(found) => found,
            Err(panic) => std::panic::resume_unwind(panic),
        });
        // All are joined, in the order of the values.
        found.collect::<Vec<_>>().into_iter().collect::<Result<Vec<_>>>()
    })?;
    Ok(Gathered { values, non_finite: first_bad.into_iter().flatten().next() })
}

/// Fills blocks one after the other, and tells the place of the first value that is not finite.
fn read_blocks(file: &MappedFile, element: ElementType, blocks: &mut [Block<'_>]) -> Result<Option<usize>> {
    let mut first_bad = None;
    let mut bytes = Vec::new();
    for Block { offset, first, values } in blocks {
        read(file, element, *offset, values, &mut bytes)?;
        if first_bad.is_none() {
            first_bad = first_non_finite(values).map(|index| *first + index);
        }
    }
    Ok(first_bad)
}

/// Some values of a run.
struct Block<'a> {
    /// Where they start in the file.
    offset: u64,
    /// Index of the first among all values.
    first: usize,
    /// Their place in the result.
    values: &'a mut [f32],
}

fn blocks<'a>(element: ElementType, runs: &[Run], mut values: &'a mut [f32]) -> Vec<Block<'a>> {
    let mut blocks = Vec::new();
    let mut first = 0;
    for run in runs {
        let (own, rest) = values.split_at_mut(run.n_values);
        values = rest;
        for (index, values) in own.chunks_mut(BLOCK).enumerate() {
            let offset = run.offset + (index * BLOCK * element.size()) as u64;
            let len = values.len();
            blocks.push(Block { offset, first, values });
            first += len;
        }
    }
    blocks
}

/// Fills `values`; `bytes` is room for those of the file, kept from call to call.
fn read(
    file: &MappedFile,
    element: ElementType,
    offset: u64,
    values: &mut [f32],
    bytes: &mut Vec<u16>,
) -> Result<()> {
    if element == ElementType::F32 && cfg!(target_endian = "little") {
        return file.read_at(bytes_of_mut(values), offset);
    }
    // Every float of a file but f32 is a whole number of 16-bit words.
    bytes.resize(values.len() * element.size() / size_of::<u16>(), 0);
    file.read_at(bytes_of_mut(bytes), offset)?;
    match element {
        ElementType::F16 if cfg!(target_endian = "little") => {
            bytes.reinterpret_cast::<f16>().convert_to_f32_slice(values);
        }
        ElementType::Bf16 if cfg!(target_endian = "little") => {
            bytes.reinterpret_cast::<bf16>().convert_to_f32_slice(values);
        }
        other => values.copy_from_slice(&other.decode(bytes_of_mut(bytes))?),
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file_of(bytes: &[u8]) -> (tempfile::TempDir, MappedFile) {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("values");
        std::fs::write(&path, bytes).unwrap();
        (directory, MappedFile::open(&path).unwrap())
    }

    #[test]
    fn runs_in_any_order_and_longer_than_a_block_are_joined() {
        let n = 3 * VALUES_PER_THREAD + 17;
        let bytes: Vec<u8> = (0..n).flat_map(|i| (i as f32).to_le_bytes()).collect();
        let (_directory, file) = file_of(&bytes);
        let middle = n / 2 + 5;
        let runs = [
            Run { offset: 4 * middle as u64, n_values: n - middle },
            Run { offset: 4, n_values: middle - 1 },
        ];
        let values = gather(&file, ElementType::F32, &runs).unwrap();
        let wanted = (middle..n).chain(1..middle).map(|i| i as f32);
        assert!(values.values.as_ref().iter().copied().eq(wanted));
        assert_eq!(values.non_finite, None);
    }

    #[test]
    fn the_first_value_that_is_not_finite_is_found_in_every_block() {
        let n = 3 * VALUES_PER_THREAD + 17;
        for element in [ElementType::F32, ElementType::F16] {
            for at in [0, BLOCK - 1, BLOCK, n / 2, n - 1] {
                let mut bytes = vec![0; n * element.size()];
                for index in [at, n - 1] {
                    let infinity = match element {
                        ElementType::F32 => f32::INFINITY.to_le_bytes().to_vec(),
                        _ => f16::INFINITY.to_le_bytes().to_vec(),
                    };
                    bytes[index * element.size()..][..element.size()].copy_from_slice(&infinity);
                }
                let (_directory, file) = file_of(&bytes);
                let runs = [Run { offset: 0, n_values: n }];
                assert_eq!(gather(&file, element, &runs).unwrap().non_finite, Some(at));
            }
        }
    }

    #[test]
    fn halves_become_floats() {
        let bytes: Vec<u8> =
            (0..BLOCK + 3).flat_map(|i| half::f16::from_f32((i % 1000) as f32).to_le_bytes()).collect();
        let (_directory, file) = file_of(&bytes);
        let runs = [Run { offset: 2, n_values: BLOCK + 2 }];
        let values = gather(&file, ElementType::F16, &runs).unwrap();
        assert!(values.values.as_ref().iter().copied().eq((1..BLOCK + 3).map(|i| (i % 1000) as f32)));
    }

    #[test]
    fn a_run_beyond_the_file_is_an_error() {
        let (_directory, file) = file_of(&[0; 12]);
        assert!(gather(&file, ElementType::F32, &[Run { offset: 4, n_values: 3 }]).is_err());
    }
}
