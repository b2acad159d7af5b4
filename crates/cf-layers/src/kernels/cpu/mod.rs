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

/// Rows of a chunk of `n`: `most`, or fewer so that each thread has two chunks, in multiples of `step`. For loops whose results do not
/// depend on it.
pub(super) fn rows_per_chunk(n: usize, most: usize, step: usize) -> usize {
    n.div_ceil(2 * rayon::current_num_threads()).next_multiple_of(step).clamp(step, most)
}

/// Applies `f` to each chunk of `output` with its index, across threads where `work` (in multiply-adds, all chunks together) is
/// worth it. The result does not depend on that.
pub(super) fn for_each_chunk<T: Send>(
    output: &mut [T],
    chunk: usize,
    work: usize,
    f: impl Fn(usize, &mut [T]) + Sync,
) {
    if work < PARALLEL_FROM {
        output.chunks_mut(chunk).enumerate().for_each(|(index, chunk)| f(index, chunk));
    } else {
        output.par_chunks_mut(chunk).enumerate().for_each(|(index, chunk)| f(index, chunk));
    }
}

/// Like [`for_each_chunk`], with a result per chunk, in order.
pub(super) fn map_chunks<T: Send, R: Send>(
    output: &mut [T],
    chunk: usize,
    work: usize,
    f: impl Fn(usize, &mut [T]) -> R + Send + Sync,
) -> Vec<R> {
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
