//! Attention in tiles of queries and keys with a running softmax (Dao et al., 2022): no tile outgrows the cache, and
//! nothing of the size queries x keys is ever stored.

mod operands;

use num_traits::Float;

use super::element::Element;
use super::matmul::{Matrix, MatrixMut, Write, multiply};
use super::{for_each_chunk, map_chunks, rows};
use crate::kernels::attention::{AttentionDropout, AttentionShape};
use crate::kernels::dropout::Drops;

pub(in crate::kernels) use operands::{Operands, Saved};
use operands::{tiles, transposed_heads};

/// Rows of a tile of scores. With 128 channels per head the tile and each of its operands take at most 0.25 MB.
const QUERIES: usize = 256;
/// Columns of a tile of scores.
const KEYS: usize = 256;
/// Parts of the keys that the backward pass works on at once. Each has its own sum for the queries' gradient, and these are
/// added in order: the number is fixed, so that rounding does not depend on the number of threads.
const KEY_PARTS: usize = 8;

/// Where a tile of scores lies.
#[derive(Clone, Copy)]
struct Tile {
    head: usize,
    first_query: usize,
    n_queries: usize,
    first_key: usize,
    n_keys: usize,
}

/// Dropout with the sizes that its indices count.
#[derive(Clone, Copy)]
struct WeightDrops<T> {
    drops: Drops<T>,
    n_queries: usize,
    n_keys: usize,
}

impl<T: Element> WeightDrops<T> {
    fn new(shape: AttentionShape, dropout: AttentionDropout) -> Self {
        Self { drops: dropout.mask.drops(), n_queries: dropout.n_queries, n_keys: shape.m }
    }

    fn apply(&self, tile: &mut [T], at: Tile) {
        for (row, weights) in tile.chunks_mut(at.n_keys).enumerate() {
            let query = at.head * self.n_queries + at.first_query + row;
            rows::apply_drops(weights, self.drops, (query * self.n_keys + at.first_key) as u64);
        }
    }
}

/// Returns the output `[n, d]` and the log-sum-exp of each query `[n, n_heads]`.
pub(in crate::kernels) fn forward<T: Element>(
    shape: AttentionShape,
    operands: Operands<'_, T>,
    dropout: Option<AttentionDropout>,
) -> (Vec<T>, Vec<T>) {
    let drops = dropout.map(|dropout| WeightDrops::new(shape, dropout));
    let keys = transposed_heads(shape, operands.k);
    let mut output = vec![T::zero(); shape.n * shape.d];
    let log_sum_exp = map_chunks(&mut output, QUERIES * shape.d, shape.work(), |index, output| {
        forward_queries(shape, index * QUERIES, operands, &keys, drops, output)
    });
    (output, log_sum_exp.concat())
}

/// All heads of the queries from `first_query` on, whose rows `output` holds; `keys` are [`transposed_heads`]. Returns their
/// log-sum-exp.
fn forward_queries<T: Element>(
    shape: AttentionShape,
    first_query: usize,
    operands: Operands<'_, T>,
    keys: &[T],
    drops: Option<WeightDrops<T>>,
    output: &mut [T],
) -> Vec<T> {
    let (width, n_queries) = (shape.width(), output.len() / shape.d);
    let mut log_sum_exp = vec![T::zero(); n_queries * shape.n_heads];
    let mut scores = vec![T::zero(); n_queries * KEYS.min(shape.m)];
    for head in 0..shape.n_heads {
        let mut largest = vec![T::neg_infinity(); n_queries];
        let mut total = vec![T::zero(); n_queries];
        for (first_key, n_keys) in tiles(shape.m, KEYS) {
            let tile = &mut scores[..n_queries * n_keys];
            multiply(
                MatrixMut::new(tile, n_queries, n_keys, n_keys),
                Write::Overwrite,
                shape.scale(),
                shape.rows(operands.q, head, first_query, n_queries),
                shape.key_columns(keys, head, first_key, n_keys),
            );
            for (row, scores) in tile.chunks_mut(n_keys).enumerate() {
                let larger = Float::max(largest[row], rows::largest(scores));
                let shrink = (largest[row] - larger).exp();
                total[row] = total[row] * shrink + rows::exp_and_sum(scores, larger);
                largest[row] = larger;
                if first_key > 0 && shrink != T::one() {
                    rows::scale(&mut output[row * shape.d + head * width..][..width], shrink);
                }
            }
            if let Some(drops) = drops {
                drops.apply(tile, Tile { head, first_query, n_queries, first_key, n_keys });
            }
            multiply(
                MatrixMut::new(&mut output[head * width..], n_queries, width, shape.d),
                if first_key == 0 { Write::Overwrite } else { Write::Accumulate },
                T::one(),
                Matrix::new(tile, n_queries, n_keys, n_keys),
                shape.rows(operands.v, head, first_key, n_keys),
            );
        }
        for row in 0..n_queries {
            rows::scale(&mut output[row * shape.d + head * width..][..width], T::one() / total[row]);
            log_sum_exp[row * shape.n_heads + head] = largest[row] + total[row].ln();
        }
    }
    log_sum_exp
}

/// Returns the gradients of the queries `[n, d]` and of keys beside values `[m, 2 d]`.
pub(in crate::kernels) fn backward<T: Element>(
    shape: AttentionShape,
    saved: &Saved<'_, T>,
    grad: &[T],
    dropout: Option<AttentionDropout>,
) -> (Vec<T>, Vec<T>) {
    let mut dkv = vec![T::zero(); shape.m * 2 * shape.d];
    let mut dq = vec![T::zero(); shape.n * shape.d];
    let partials = backward_keys(shape, saved, grad, dropout, &mut dkv, 0);
    add_partials(shape, &partials, &mut dq, shape.d);
    (dq, dkv)
}

/// Returns the gradient of queries, keys and values beside each other, `[n, 3 d]`.
pub(in crate::kernels) fn self_backward<T: Element>(
    shape: AttentionShape,
    saved: &Saved<'_, T>,
    grad: &[T],
    dropout: Option<AttentionDropout>,
) -> Vec<T> {
    let mut dqkv = vec![T::zero(); shape.n * 3 * shape.d];
    let partials = backward_keys(shape, saved, grad, dropout, &mut dqkv, shape.d);
    add_partials(shape, &partials, &mut dqkv, 3 * shape.d);
    dqkv
}

/// Adds the parts of the queries' gradient, in order, to the first `d` of the `stride` columns of `output`.
fn add_partials<T: Element>(shape: AttentionShape, partials: &[Vec<T>], output: &mut [T], stride: usize) {
    let work = partials.len() * shape.n * shape.d;
    for_each_chunk(output, QUERIES * stride, work, |index, output| {
        for (row, output) in output.chunks_mut(stride).enumerate() {
            let start = (index * QUERIES + row) * shape.d;
            for partial in partials {
                rows::add(&mut output[..shape.d], &partial[start..start + shape.d]);
            }
        }
    });
}

/// Fills the gradients of keys and values, which begin at column `first_column` of each row of `output`, and returns the
/// parts of the queries' gradient `[n, d]`.
fn backward_keys<T: Element>(
    shape: AttentionShape,
    saved: &Saved<'_, T>,
    grad: &[T],
    dropout: Option<AttentionDropout>,
    output: &mut [T],
    first_column: usize,
) -> Vec<Vec<T>> {
    let stride = output.len() / shape.m;
    let inner: Vec<T> = saved
        .output
        .chunks(shape.width())
        .zip(grad.chunks(shape.width()))
        .map(|(output, grad)| rows::dot(output, grad))
        .collect();
    let keys_per_part = shape.m.div_ceil(KEY_PARTS).next_multiple_of(KEYS);
    let drops = dropout.map(|dropout| WeightDrops::new(shape, dropout));
    let [keys, values] = [saved.operands.k, saved.operands.v].map(|of| transposed_heads(shape, of));
    map_chunks(output, keys_per_part * stride, 2 * shape.work(), |index, output| {
        let first_key = index * keys_per_part;
        let part = KeyPart {
            shape,
            saved,
            keys: &keys,
            values: &values,
            grad,
            inner: &inner,
            drops,
            first_key,
            stride,
            first_column,
        };
        part.backward(output)
    })
}

/// The backward pass of all queries on a part of the keys.
///
/// With weights `P`, dropout factors `F`, `dO` the output's gradient: `dV = (P F)^T dO`, `dP = F (dO V^T)`,
/// `dS = P (dP - rowsum(dO O))`, `dQ = dS K / sqrt(width)`, `dK = dS^T Q / sqrt(width)`.
struct KeyPart<'a, T> {
    shape: AttentionShape,
    saved: &'a Saved<'a, T>,
    /// [`transposed_heads`] of the keys.
    keys: &'a [T],
    /// [`transposed_heads`] of the values.
    values: &'a [T],
    grad: &'a [T],
    /// `[n, n_heads]`: `rowsum(dO O)`.
    inner: &'a [T],
    drops: Option<WeightDrops<T>>,
    first_key: usize,
    /// Columns of the matrix that the gradients are written to.
    stride: usize,
    /// Where in its rows the keys' gradient begins; the values' follows.
    first_column: usize,
}

/// Tiles of a [`KeyPart`], kept from one to the next.
struct Workspace<T> {
    weights: Vec<T>,
    score_grads: Vec<T>,
    /// Empty without dropout.
    dropped: Vec<T>,
}

impl<T: Element> KeyPart<'_, T> {
    /// Fills the gradients of this part's keys and values, and returns what it adds to the queries' gradient `[n, d]`.
    fn backward(&self, output: &mut [T]) -> Vec<T> {
        let shape = self.shape;
        let mut dq = vec![T::zero(); shape.n * shape.d];
        let tile = QUERIES.min(shape.n) * KEYS.min(shape.m);
        let mut workspace = Workspace {
            weights: vec![T::zero(); tile],
            score_grads: vec![T::zero(); tile],
            dropped: vec![T::zero(); if self.drops.is_some() { tile } else { 0 }],
        };
        let n_keys = output.len() / self.stride;
        for head in 0..shape.n_heads {
            for (first, n_keys) in tiles(n_keys, KEYS) {
                for (first_query, n_queries) in tiles(shape.n, QUERIES) {
                    let at = Tile { head, first_query, n_queries, first_key: self.first_key + first, n_keys };
                    self.tile(at, &mut workspace, &mut dq, output);
                }
            }
        }
        dq
    }

    /// The gradient of this tile's keys, or with `offset` d of its values.
    fn key_gradient<'a>(&self, output: &'a mut [T], at: Tile, offset: usize) -> MatrixMut<'a, T> {
        let width = self.shape.width();
        let start =
            (at.first_key - self.first_key) * self.stride + self.first_column + offset + at.head * width;
        MatrixMut::new(&mut output[start..], at.n_keys, width, self.stride)
    }

    fn tile(&self, at: Tile, workspace: &mut Workspace<T>, dq: &mut [T], output: &mut [T]) {
        let (shape, operands) = (self.shape, self.saved.operands);
        let Tile { head, first_query, n_queries, first_key, n_keys } = at;
        let area = n_queries * n_keys;
        let q = shape.rows(operands.q, head, first_query, n_queries);
        let k = shape.rows(operands.k, head, first_key, n_keys);
        let transposed_k = shape.key_columns(self.keys, head, first_key, n_keys);
        let transposed_v = shape.key_columns(self.values, head, first_key, n_keys);
        let grad = shape.own_rows(self.grad, head, first_query, n_queries);
        let of_query = |row: usize| (first_query + row) * shape.n_heads + head;

        let weights = &mut workspace.weights[..area];
        let scores = MatrixMut::new(weights, n_queries, n_keys, n_keys);
        multiply(scores, Write::Overwrite, shape.scale(), q, transposed_k);
        for (row, weights) in weights.chunks_mut(n_keys).enumerate() {
            rows::exp_in_place(weights, self.saved.log_sum_exp[of_query(row)]);
        }
        let score_grads = &mut workspace.score_grads[..area];
        let weight_grads = MatrixMut::new(score_grads, n_queries, n_keys, n_keys);
        multiply(weight_grads, Write::Overwrite, T::one(), grad, transposed_v);
        let dropped: &[T] = match self.drops {
            None => weights,
            Some(drops) => {
                let dropped = &mut workspace.dropped[..area];
                dropped.copy_from_slice(weights);
                drops.apply(dropped, at);
                drops.apply(score_grads, at);
                dropped
            }
        };
        let dropped = Matrix::new(dropped, n_queries, n_keys, n_keys);
        multiply(
            self.key_gradient(output, at, shape.d),
            Write::Accumulate,
            T::one(),
            dropped.transposed(),
            grad,
        );
        for (row, (grads, weights)) in score_grads.chunks_mut(n_keys).zip(weights.chunks(n_keys)).enumerate()
        {
            rows::score_gradient(grads, weights, self.inner[of_query(row)]);
        }
        let score_grads = Matrix::new(score_grads, n_queries, n_keys, n_keys);
        multiply(
            self.key_gradient(output, at, 0),
            Write::Accumulate,
            shape.scale(),
            score_grads.transposed(),
            q,
        );
        let start = first_query * shape.d + head * shape.width();
        let dq = MatrixMut::new(&mut dq[start..], n_queries, shape.width(), shape.d);
        multiply(dq, Write::Accumulate, shape.scale(), score_grads, k);
    }
}
