//! Attention in tiles of queries and keys with a running softmax (Dao et al., 2022): no tile outgrows the cache, and
//! nothing of the size queries x keys is ever stored.

mod backward;
mod operands;
mod received;
mod softmax;

use super::panels::{n_units, pack_left, pack_spaced_rows};
use super::tile::{COLUMNS, MatrixMut, ROW_STRIDE, Write, multiply};
use super::unit::Unit;
use super::{map_filled, rows, rows_per_chunk};
use crate::kernels::attention::{AttentionDropout, AttentionShape};
use crate::kernels::dropout::Drops;

pub(in crate::kernels) use backward::{backward, self_backward};
use operands::tiles;
pub(in crate::kernels) use operands::{Operands, Saved};
pub(in crate::kernels) use received::received;
use softmax::RunningSoftmax;

/// Most queries of a tile of scores.
const QUERIES: usize = 120;
/// Keys of a tile of scores: whole panels. With 128 channels per head the tile and each of its operands take at most 0.13 MB.
const KEYS: usize = 240;

/// Dropout with the sizes that its indices count.
#[derive(Clone, Copy)]
struct WeightDrops<T> {
    drops: Drops<T>,
    n_queries: usize,
    n_keys: usize,
}

impl<T> WeightDrops<T> {
    /// The index of a weight. Those of neighbouring keys are 1 apart, those of neighbouring queries `n_keys`.
    fn index(&self, head: usize, query: usize, key: usize) -> u64 {
        ((head * self.n_queries + query) * self.n_keys + key) as u64
    }
}

fn weight_drops<U: Unit>(
    shape: AttentionShape,
    dropout: Option<AttentionDropout>,
) -> Option<WeightDrops<U::Sum>> {
    dropout.map(|AttentionDropout { mask, n_queries }| WeightDrops {
        drops: mask.drops(),
        n_queries,
        n_keys: shape.m,
    })
}

/// Returns the output `[n, d]` and the log-sum-exp of each query `[n_heads, n]`.
pub(in crate::kernels) fn forward<U: Unit>(
    shape: AttentionShape,
    operands: Operands<'_, U::Sum>,
    dropout: Option<AttentionDropout>,
) -> (Vec<U::Sum>, Vec<U::Sum>) {
    let AttentionShape { n, m, d, n_heads } = shape;
    let pass = Forward::<U> {
        shape,
        operands,
        keys: shape.transposed(m, |head| shape.head(operands.k, head, m)),
        values: shape.steps(m, |head| shape.head(operands.v, head, m)),
        drops: weight_drops::<U>(shape, dropout),
    };
    let zero = num_traits::Zero::zero();
    let n_rows = rows_per_chunk(n, QUERIES, shape.work());
    let (output, blocks) =
        map_filled(n * d, n_rows * d, shape.work(), |index, output| pass.queries(index * n_rows, output));
    let mut log_sum_exp = vec![zero; n_heads * n];
    for ((first, n_queries), block) in tiles(n, n_rows).zip(&blocks) {
        for (head, block) in block.chunks(n_queries).enumerate() {
            log_sum_exp[head * n + first..][..n_queries].copy_from_slice(block);
        }
    }
    (output, log_sum_exp)
}

struct Forward<'a, U: Unit> {
    shape: AttentionShape,
    operands: Operands<'a, U::Sum>,
    /// Of each head, keys as columns.
    keys: super::panels::Panels<U>,
    /// Of each head, values as steps.
    values: super::panels::Panels<U>,
    drops: Option<WeightDrops<U::Sum>>,
}

impl<U: Unit> Forward<'_, U> {
    /// All heads of the queries from `first_query` on, whose rows `output` holds. Returns their log-sum-exp,
    /// `[n_heads, n_queries]`.
    fn queries(&self, first_query: usize, output: &mut [U::Sum]) -> Vec<U::Sum> {
        let shape = self.shape;
        let zero: U::Sum = num_traits::Zero::zero();
        let (width, n_queries) = (shape.width(), output.len() / shape.d);
        let n_steps = n_units::<U>(width);
        let mut log_sum_exp = vec![zero; n_queries * shape.n_heads];
        let mut tile = vec![zero; n_queries * ROW_STRIDE];
        let (mut packed, mut packed_weights) = (Vec::new(), Vec::new());
        for head in 0..shape.n_heads {
            let queries = shape.head(self.operands.q, head, shape.n).rows(first_query, n_queries);
            let queries = pack_left(queries, &mut packed);
            let of_head = |row: usize| row * shape.d + head * width..row * shape.d + (head + 1) * width;
            let mut softmax = RunningSoftmax::new(n_queries);
            for (first_key, n_keys) in tiles(shape.m, KEYS) {
                let panel = head * shape.m.div_ceil(COLUMNS) + first_key / COLUMNS;
                multiply(
                    MatrixMut::new(&mut tile, n_queries, n_keys, ROW_STRIDE),
                    Write::Overwrite,
                    queries,
                    self.keys.right(panel, n_keys, (0, n_steps)),
                );
                softmax.soften(&mut tile, n_keys, shape.scale());
                if first_key > 0 {
                    for (row, &shrink) in softmax.shrink().iter().enumerate() {
                        if shrink != num_traits::One::one() {
                            rows::scale(&mut output[of_head(row)], shrink);
                        }
                    }
                }
                if let Some(drops) = self.drops {
                    for (row, weights) in tile.chunks_mut(ROW_STRIDE).enumerate() {
                        let first = drops.index(head, first_query + row, first_key);
                        rows::apply_drops(&mut weights[..n_keys], drops.drops, first);
                    }
                }
                multiply(
                    MatrixMut::new(&mut output[head * width..], n_queries, width, shape.d),
                    if first_key == 0 { Write::Overwrite } else { Write::Accumulate },
                    pack_spaced_rows(&tile, n_keys, &mut packed_weights),
                    self.values.right(
                        head * shape.channel_panels(),
                        width,
                        (first_key / U::NUMBERS, n_units::<U>(n_keys)),
                    ),
                );
            }
            for (row, (&total, sum)) in softmax.total().iter().zip(softmax.log_sum_exp()).enumerate() {
                let one: U::Sum = num_traits::One::one();
                rows::scale(&mut output[of_head(row)], one / total);
                log_sum_exp[head * n_queries + row] = sum;
            }
        }
        log_sum_exp
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kernels::cpu::unit::{Bf16Pair, Rounded};
    use crate::kernels::dropout::DropoutMask;

    /// Output and both gradients in one form of units.
    fn pass<U: Unit<Sum = f32>>(shape: AttentionShape, dropout: Option<AttentionDropout>) -> Vec<f32> {
        let AttentionShape { n, m, d, .. } = shape;
        let numbers = |count: usize, salt: usize| -> Vec<f32> {
            (0..count).map(|at| ((at * 7919 + salt) % 1021) as f32 / 300.0 - 1.7).collect()
        };
        let (q, kv, grad) = (numbers(n * d, 1), numbers(m * 2 * d, 2), numbers(n * d, 3));
        let operands = Operands::of(shape, &q, &kv);
        let (output, log_sum_exp) = forward::<U>(shape, operands, dropout);
        let saved = Saved { operands, output: &output, log_sum_exp: &log_sum_exp };
        let (dq, dkv) = backward::<U>(shape, &saved, &grad, dropout);
        [output, dq, dkv].concat()
    }

    /// Whichever of the two forms of bf16 a processor takes, the other runs here, too.
    #[test]
    fn pairs_and_rounded_numbers_give_what_numbers_give_to_two_digits() {
        for (n, m) in [(1, 1), (127, 257), (145, 241)] {
            for p in [0.0, 0.3] {
                let shape = AttentionShape { n, m, d: 36, n_heads: 4 };
                let mask = DropoutMask { p, key: 5 };
                let dropout = Some(AttentionDropout { mask, n_queries: n });
                let wanted = pass::<f32>(shape, dropout);
                for found in [pass::<Rounded>(shape, dropout), pass::<Bf16Pair>(shape, dropout)] {
                    let norm =
                        |values: &mut dyn Iterator<Item = f32>| values.map(|x| x * x).sum::<f32>().sqrt();
                    let apart = norm(&mut found.iter().zip(&wanted).map(|(a, b)| a - b));
                    let error = apart / norm(&mut wanted.iter().copied());
                    assert!(error < 1e-2, "{n} x {m}, dropout {p}: {error} of the norm apart");
                }
            }
        }
    }
}
