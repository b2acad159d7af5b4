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
use crate::mmap::{FloatBuffer, MappedFile, bytes_of_mut};

/// Values that follow each other in a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Run {
    /// First byte in the file.
    pub(crate) offset: u64,
    /// Number of values, which follow those of the run before in the result.
    pub(crate) n_values: usize,
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
pub(crate) fn gather(file: &MappedFile, element: ElementType, runs: &[Run]) -> Result<FloatBuffer> {
    let n_values = runs.iter().map(|run| run.n_values).sum();
    let mut output = FloatBuffer::new(n_values)?;
    let available = thread::available_parallelism().map_or(1, NonZero::get);
    let n_threads = (n_values / VALUES_PER_THREAD).clamp(1, MAX_THREADS.min(available));
    let mut pieces = blocks(element, runs, output.values_mut());
    let per_thread = pieces.len().div_ceil(n_threads).max(1);
    thread::scope(|scope| {
        let threads: Vec<_> = pieces
            .chunks_mut(per_thread)
            .map(|pieces| {
                scope.spawn(move || {
                    pieces.iter_mut().try_for_each(|(at, values)| read(file, element, *at, values))
                })
            })
            .collect();
        threads.into_iter().try_for_each(|thread| match thread.join() {
            Ok(done) => done,
            Err(panic) => std::panic::resume_unwind(panic),
        })
    })?;
    Ok(output)
}

/// The blocks of all runs: where each starts in the file, and its place in the result.
fn blocks<'a>(element: ElementType, runs: &[Run], mut values: &'a mut [f32]) -> Vec<(u64, &'a mut [f32])> {
    let mut pieces = Vec::new();
    for run in runs {
        let (own, rest) = values.split_at_mut(run.n_values);
        values = rest;
        pieces.extend(
            own.chunks_mut(BLOCK)
                .enumerate()
                .map(|(index, block)| (run.offset + (index * BLOCK * element.size()) as u64, block)),
        );
    }
    pieces
}

fn read(file: &MappedFile, element: ElementType, offset: u64, values: &mut [f32]) -> Result<()> {
    if cfg!(target_endian = "little") {
        if element == ElementType::F32 {
            return file.read_at(bytes_of_mut(values), offset);
        }
        if matches!(element, ElementType::F16 | ElementType::Bf16) {
            let mut halves = vec![0_u16; values.len()];
            file.read_at(bytes_of_mut(&mut halves), offset)?;
            if element == ElementType::F16 {
                halves.reinterpret_cast::<f16>().convert_to_f32_slice(values);
            } else {
                halves.reinterpret_cast::<bf16>().convert_to_f32_slice(values);
            }
            return Ok(());
        }
    }
    let mut bytes = vec![0; values.len() * element.size()];
    file.read_at(&mut bytes, offset)?;
    values.copy_from_slice(&element.decode(&bytes)?);
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
        assert!(values.as_ref().iter().copied().eq(wanted));
    }

    #[test]
    fn halves_become_floats() {
        let bytes: Vec<u8> =
            (0..BLOCK + 3).flat_map(|i| half::f16::from_f32((i % 1000) as f32).to_le_bytes()).collect();
        let (_directory, file) = file_of(&bytes);
        let runs = [Run { offset: 2, n_values: BLOCK + 2 }];
        let values = gather(&file, ElementType::F16, &runs).unwrap();
        assert!(values.as_ref().iter().copied().eq((1..BLOCK + 3).map(|i| (i % 1000) as f32)));
    }

    #[test]
    fn a_run_beyond_the_file_is_an_error() {
        let (_directory, file) = file_of(&[0; 12]);
        assert!(gather(&file, ElementType::F32, &[Run { offset: 4, n_values: 3 }]).is_err());
    }
}
