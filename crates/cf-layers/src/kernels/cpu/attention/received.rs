//! What each key receives of attention: the columns' means of weights that are never all there at once.

use candle_core::WithDType;

use super::operands::{Columns, tiles};
use super::softmax::RunningSoftmax;
use super::{KEYS, QUERIES};
use crate::kernels::attention::AttentionShape;
use crate::kernels::cpu::panels::{Panels, n_units, pack_left};
use crate::kernels::cpu::tile::{COLUMNS, MatrixMut, ROW_STRIDE, Write, multiply};
use crate::kernels::cpu::unit::Unit;
use crate::kernels::cpu::{for_each_chunk, map_indices, rows};

/// Of queries `[n, d]` and keys `[m, d]`, the mean over heads and queries of the weight of each key, `[m]`.
///
/// Scores are made twice: by query for the log-sum-exp, then by key, so that each sum has one owner and a fixed order.
pub(in crate::kernels) fn received<U: Unit>(
    shape: AttentionShape,
    q: &[U::Sum],
    k: &[U::Sum],
) -> Vec<U::Sum> {
    let columns = |values| Columns::own(shape, values);
    let pass = Received::<U> {
        shape,
        queries: columns(q),
        keys: shape.transposed(shape.m, |head| shape.head(columns(k), head, shape.m)),
    };
    let log_sum_exp = pass.log_sum_exp();
    let mut output = vec![num_traits::Zero::zero(); shape.m];
    for_each_chunk(&mut output, KEYS, shape.work(), |index, output| {
        pass.of_keys(index * KEYS, &log_sum_exp, output);
    });
    output
}

struct Received<'a, U: Unit> {
    shape: AttentionShape,
    queries: Columns<'a, U::Sum>,
    /// Of each head, keys as columns.
    keys: Panels<U>,
}

impl<U: Unit> Received<'_, U> {
    /// `[query tiles][n_heads, queries of the tile]`.
    fn log_sum_exp(&self) -> Vec<Vec<U::Sum>> {
        let shape = self.shape;
        // Tiles of a fixed size: sums over queries are split there.
        map_indices(shape.n.div_ceil(QUERIES), shape.work(), |index| {
            let first_query = index * QUERIES;
            let n_queries = QUERIES.min(shape.n - first_query);
            let mut scores = vec![num_traits::Zero::zero(); n_queries * ROW_STRIDE];
            let mut packed = Vec::new();
            let mut all = Vec::with_capacity(shape.n_heads * n_queries);
            for head in 0..shape.n_heads {
                let mut softmax = RunningSoftmax::new(n_queries);
                for keys in tiles(shape.m, KEYS) {
                    self.scores(head, (first_query, n_queries), keys, &mut scores, &mut packed);
                    softmax.soften(&mut scores, keys.1, shape.scale());
                }
                all.extend(softmax.log_sum_exp());
            }
            all
        })
    }

    /// The means of the keys from `first_key` on.
    fn of_keys(&self, first_key: usize, log_sum_exp: &[Vec<U::Sum>], output: &mut [U::Sum]) {
        let (shape, n_keys) = (self.shape, output.len());
        let mut scores = vec![num_traits::Zero::zero(); QUERIES.min(shape.n) * ROW_STRIDE];
        let mut packed = Vec::new();
        let mut total = vec![0.0_f64; n_keys];
        for (head, index) in
            (0..shape.n_heads).flat_map(|head| (0..log_sum_exp.len()).map(move |at| (head, at)))
        {
            let n_queries = log_sum_exp[index].len() / shape.n_heads;
            let tile = &mut scores[..n_queries * ROW_STRIDE];
            self.scores(head, (index * QUERIES, n_queries), (first_key, n_keys), tile, &mut packed);
            output.fill(num_traits::Zero::zero());
            let of_head = &log_sum_exp[index][head * n_queries..][..n_queries];
            for (scores, &log_sum_exp) in tile.chunks_mut(ROW_STRIDE).zip(of_head) {
                let scores = &mut scores[..n_keys];
                rows::exp_of_scores(scores, shape.scale(), log_sum_exp);
                rows::add(output, scores);
            }
            // Thousands of queries are more than single precision adds up.
            total.iter_mut().zip(&*output).for_each(|(total, &x)| *total += x.to_f64());
        }
        let share = 1.0 / (shape.n * shape.n_heads) as f64;
        output.iter_mut().zip(total).for_each(|(output, total)| *output = U::Sum::from_f64(total * share));
    }

    /// The products of a tile of queries with a tile of keys, in rows [`ROW_STRIDE`] apart.
    fn scores(
        &self,
        head: usize,
        (first_query, n_queries): (usize, usize),
        (first_key, n_keys): (usize, usize),
        tile: &mut [U::Sum],
        packed: &mut Vec<U>,
    ) {
        let shape = self.shape;
        let queries = shape.head(self.queries, head, shape.n).rows(first_query, n_queries);
        let panel = head * shape.m.div_ceil(COLUMNS) + first_key / COLUMNS;
        multiply(
            MatrixMut::new(tile, n_queries, n_keys, ROW_STRIDE),
            Write::Overwrite,
            pack_left(queries, packed),
            self.keys.right(panel, n_keys, (0, n_units::<U>(shape.width()))),
        );
    }
}
