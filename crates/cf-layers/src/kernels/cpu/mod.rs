//! The CPU loops behind the kernels: plain slices in, plain vectors out, rayon across outputs.

pub(super) mod attention;
pub(super) mod grouped_conv2d;
pub(super) mod layer_norm;
mod matmul;

use rayon::prelude::*;

/// Multiply-adds (or as costly operations) from which waking another thread pays. Small models on small bags make thousands
/// of calls a second that are far below it.
const PARALLEL_FROM: usize = 1 << 20;

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

/// The results of `f` for `0..n`, in order, across threads where `work` is worth it.
pub(super) fn map_indices<R: Send>(n: usize, work: usize, f: impl Fn(usize) -> R + Send + Sync) -> Vec<R> {
    if work < PARALLEL_FROM { (0..n).map(f).collect() } else { (0..n).into_par_iter().map(f).collect() }
}
