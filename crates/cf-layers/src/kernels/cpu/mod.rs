//! The CPU loops behind the kernels: plain slices in, plain vectors out, rayon across outputs.

pub(super) mod activation;
pub(super) mod adam;
pub(super) mod attention;
pub(super) mod conv2d;
pub(super) mod element;
pub(super) mod grouped_conv2d;
pub(super) mod layer_norm;
pub(super) mod linear;
pub(super) mod messages;
mod panels;
pub(super) mod pseudo_inverse;
pub(super) mod rows;
mod tile;
pub(super) mod unit;
mod vector_math;
mod vectorised;
pub(super) mod weighted_sums;

use std::mem::MaybeUninit;

use candle_core::{Layout, Result, Storage, StorageRef, Tensor, WithDType};
use rayon::prelude::*;

use super::contiguous_slice;
use tile::TILE_ROWS;

/// A CPU tensor's values, locked for reading.
pub(super) struct Values<'a> {
    storage: StorageRef<'a>,
    layout: &'a Layout,
}

impl<'a> Values<'a> {
    pub(super) fn of(tensor: &'a Tensor) -> Self {
        let (storage, layout) = tensor.storage_and_layout();
        Self { storage, layout }
    }

    /// The values; an error if they are of another type, not contiguous, or on another device.
    pub(super) fn as_slice<T: WithDType>(&self) -> Result<&[T]> {
        match &*self.storage {
            Storage::Cpu(storage) => contiguous_slice(storage, self.layout),
            Storage::Cuda(_) | Storage::Metal(_) => {
                Err(candle_core::Error::Msg("this kernel's backward runs on the CPU only".to_owned()))
            }
        }
    }
}

/// Multiply-adds (or as costly operations) from which waking another thread pays. Small models on small bags make thousands
/// of calls a second that are far below it.
const PARALLEL_FROM: usize = 1 << 20;

/// How many of `n` units of `weight` rows each a block has: blocks of at most about `rows` rows, as many for each worker.
fn units_per_block((n, weight): (usize, usize), rows: usize, n_workers: usize) -> usize {
    let n_blocks = (n * weight).div_ceil(rows).next_multiple_of(n_workers);
    n.div_ceil(n_blocks.max(1)).max(1)
}

/// Rows of a chunk of `n`: at most `most`, in whole register tiles, and as many chunks for each thread where `work` is worth threads. For
/// loops whose results do not depend on it.
fn rows_per_chunk(n: usize, most: usize, work: usize) -> usize {
    let n_threads = if work < PARALLEL_FROM { 1 } else { rayon::current_num_threads() };
    units_per_block((n, 1), most, n_threads).next_multiple_of(TILE_ROWS)
}

/// Applies `f` to each chunk of `output` with its index, across threads where `work` (in multiply-adds, all chunks together) is
/// worth it. The result does not depend on that.
pub(super) fn for_each_chunk<T: Send>(
    output: &mut [T],
    chunk: usize,
    work: usize,
    f: impl Fn(usize, &mut [T]) + Sync,
) {
    // Nothing is in chunks of nothing.
    let chunk = chunk.max(1);
    if work < PARALLEL_FROM {
        output.chunks_mut(chunk).enumerate().for_each(|(index, chunk)| f(index, chunk));
    } else {
        output.par_chunks_mut(chunk).enumerate().for_each(|(index, chunk)| f(index, chunk));
    }
}

/// [`for_each_chunk`] of several outputs of one length, the chunks of one place together.
pub(super) fn for_each_chunks<T: Send, const N: usize>(
    outputs: [&mut [T]; N],
    chunk: usize,
    work: usize,
    f: impl Fn(usize, [&mut [T]; N]) + Sync,
) {
    let n_chunks = outputs.first().map_or(0, |output| output.len().div_ceil(chunk));
    let mut rest = outputs.map(|output| output.chunks_mut(chunk));
    let together = (0..n_chunks).map(|_| rest.each_mut().map(|chunks| chunks.next().unwrap_or_default()));
    if work < PARALLEL_FROM {
        together.enumerate().for_each(|(index, chunks)| f(index, chunks));
    } else {
        let together: Vec<_> = together.collect();
        together.into_par_iter().enumerate().for_each(|(index, chunks)| f(index, chunks));
    }
}

/// Like [`for_each_chunk`], with a result per chunk, in order.
pub(super) fn map_chunks<T: Send, R: Send>(
    output: &mut [T],
    chunk: usize,
    work: usize,
    f: impl Fn(usize, &mut [T]) -> R + Send + Sync,
) -> Vec<R> {
    let chunk = chunk.max(1);
    if work < PARALLEL_FROM {
        output.chunks_mut(chunk).enumerate().map(|(index, chunk)| f(index, chunk)).collect()
    } else {
        output.par_chunks_mut(chunk).enumerate().map(|(index, chunk)| f(index, chunk)).collect()
    }
}

/// `n` values that `f` writes, chunk by chunk, over its default, zero. The thread that fills a chunk clears it, so that it is in the cache then.
pub(super) fn filled<T: Default + Copy + Send>(
    n: usize,
    chunk: usize,
    work: usize,
    f: impl Fn(usize, &mut [T]) + Send + Sync,
) -> Vec<T> {
    map_filled(n, chunk, work, f).0
}

/// Like [`filled`], with a result per chunk, in order.
#[expect(unsafe_code, reason = "memory is handed out before it is cleared")]
pub(super) fn map_filled<T: Default + Copy + Send, R: Send>(
    n: usize,
    chunk: usize,
    work: usize,
    f: impl Fn(usize, &mut [T]) -> R + Send + Sync,
) -> (Vec<T>, Vec<R>) {
    let mut values = Vec::with_capacity(n);
    let results = map_chunks(&mut values.spare_capacity_mut()[..n], chunk, work, |index, chunk| {
        chunk.fill(MaybeUninit::new(T::default()));
        // SAFETY: every value of the chunk was written just now.
        f(index, unsafe { chunk.assume_init_mut() })
    });
    // SAFETY: the chunks cover the first `n` values, and every value of a chunk was written.
    unsafe { values.set_len(n) };
    (values, results)
}

/// The results of `f` for `0..n`, in order, across threads where `work` is worth it.
pub(super) fn map_indices<R: Send>(n: usize, work: usize, f: impl Fn(usize) -> R + Send + Sync) -> Vec<R> {
    if work < PARALLEL_FROM { (0..n).map(f).collect() } else { (0..n).into_par_iter().map(f).collect() }
}
