//! The backward pass of attention, from the queries' log-sum-exp.
//!
//! With weights `P`, dropout factors `F`, `dO` the output's gradient: `dV = (P F)^T dO`, `dP = F (dO V^T)`,
//! `dS = P (dP - rowsum(dO O))`, `dQ = dS K / sqrt(width)`, `dK = dS^T Q / sqrt(width)`. Tiles are kept transposed, keys by
//! queries: what `dV` and `dK` sum over then lies along their rows.

use super::operands::{Operands, Saved, tiles};
use super::softmax::{TileDrops, differentiate};
use super::{WeightDrops, weight_drops};
use crate::kernels::attention::{AttentionDropout, AttentionShape};
use crate::kernels::cpu::element::Element;
use crate::kernels::cpu::panels::{
    Panels, Window, n_units, pack_columns, pack_left, pack_right, pack_spaced_rows,
};
use crate::kernels::cpu::tile::{COLUMNS, Left, MatrixMut, Order, ROW_STRIDE, Right, Write, multiply};
use crate::kernels::cpu::unit::Unit;
use crate::kernels::cpu::{filled, map_indices, rows};

/// Keys of a tile of scores: whole register tiles.
const KEYS: usize = 240;
/// Queries of a tile of scores: whole panels.
const QUERIES: usize = 144;
/// Rows of gradients that are put together at once.
const ROWS: usize = 64;
/// Parts of the keys that are worked on at once. Each has its own sum for the queries' gradient, and these are added in
/// order: the number is fixed, so that rounding does not depend on the number of threads.
const KEY_PARTS: usize = 4;

/// Returns the gradients of the queries `[n, d]` and of keys beside values `[m, 2 d]`.
pub(in crate::kernels) fn backward<U: Unit>(
    shape: AttentionShape,
    saved: &Saved<'_, U::Sum>,
    grad: &[U::Sum],
    dropout: Option<AttentionDropout>,
) -> (Vec<U::Sum>, Vec<U::Sum>) {
    let parts = parts::<U>(shape, saved, grad, dropout);
    let AttentionShape { n, m, d, .. } = shape;
    let dq = filled(n * d, ROWS * d, KEY_PARTS * n * d, |index, dq| {
        write_queries(shape, &parts, index * ROWS, dq, d);
    });
    let dkv = filled(m * 2 * d, ROWS * 2 * d, 2 * m * d, |index, dkv| {
        write_keys(shape, &parts, index * ROWS, dkv, (0, 2 * d));
    });
    (dq, dkv)
}

/// Returns the gradient of queries, keys and values beside each other, `[n, 3 d]`.
pub(in crate::kernels) fn self_backward<U: Unit>(
    shape: AttentionShape,
    saved: &Saved<'_, U::Sum>,
    grad: &[U::Sum],
    dropout: Option<AttentionDropout>,
) -> Vec<U::Sum> {
    let parts = parts::<U>(shape, saved, grad, dropout);
    let AttentionShape { n, d, .. } = shape;
    filled(n * 3 * d, ROWS * 3 * d, KEY_PARTS * n * d, |index, dqkv| {
        write_queries(shape, &parts, index * ROWS, dqkv, 3 * d);
        write_keys(shape, &parts, index * ROWS, dqkv, (d, 3 * d));
    })
}

/// What one part of the keys gives one head.
struct Part<T> {
    /// Its first key among all.
    first_key: usize,
    /// `[n, width]`, to be added to that of the head's other parts.
    dq: Vec<T>,
    /// `[n_keys, width]`.
    dk: Vec<T>,
    /// `[n_keys, width]`.
    dv: Vec<T>,
}

fn keys_per_part(shape: AttentionShape) -> usize {
    shape.m.div_ceil(KEY_PARTS).next_multiple_of(KEYS)
}

/// All parts of the first head, then of the second.
fn parts<U: Unit>(
    shape: AttentionShape,
    saved: &Saved<'_, U::Sum>,
    grad: &[U::Sum],
    dropout: Option<AttentionDropout>,
) -> Vec<Part<U::Sum>> {
    let n = shape.n;
    let queries = |head| shape.head(saved.operands.q, head, n);
    let grads = |head| shape.own_head(grad, head);
    let inner = filled(shape.n_heads * n, QUERIES, n * shape.d, |index, inner: &mut [U::Sum]| {
        for (index, inner) in (index * QUERIES..).zip(inner) {
            let (head, query) = (index / n, index % n);
            *inner = rows::dot(shape.own_head(saved.output, head).row(query), grads(head).row(query));
        }
    });
    let pass = Backward::<U> {
        shape,
        operands: saved.operands,
        log_sum_exp: saved.log_sum_exp,
        inner: &inner,
        query_columns: shape.transposed(n, queries),
        query_steps: shape.steps(n, queries),
        grad_columns: shape.transposed(n, grads),
        grad_steps: shape.steps(n, grads),
        drops: weight_drops::<U>(shape, dropout),
    };
    let keys: Vec<_> = tiles(shape.m, keys_per_part(shape)).collect();
    map_indices(shape.n_heads * keys.len(), 2 * shape.work(), |index| {
        pass.part(index / keys.len(), keys[index % keys.len()])
    })
}

/// Writes the gradient of the queries from `first_row` on to the first `d` of the `stride` columns of `output`.
fn write_queries<T: Element>(
    shape: AttentionShape,
    parts: &[Part<T>],
    first_row: usize,
    output: &mut [T],
    stride: usize,
) {
    let (width, n_parts) = (shape.width(), parts.len() / shape.n_heads);
    for (query, output) in (first_row..).zip(output.chunks_mut(stride)) {
        let start = query * width;
        for (output, parts) in output.chunks_mut(width).zip(parts.chunks(n_parts)) {
            output.copy_from_slice(&parts[0].dq[start..][..width]);
            for part in &parts[1..] {
                rows::add(output, &part.dq[start..][..width]);
            }
            rows::scale(output, shape.scale());
        }
    }
}

/// Writes the gradients of the keys and values from `first_row` on to the `2 d` columns of `output`, which has `stride`, from
/// `first_column` on.
fn write_keys<T: Element>(
    shape: AttentionShape,
    parts: &[Part<T>],
    first_row: usize,
    output: &mut [T],
    (first_column, stride): (usize, usize),
) {
    let (width, d, n_parts) = (shape.width(), shape.d, parts.len() / shape.n_heads);
    let per_part = keys_per_part(shape);
    for (key, output) in (first_row..).zip(output.chunks_mut(stride)) {
        let start = key % per_part * width;
        let (dk, dv) = output[first_column..][..2 * d].split_at_mut(d);
        let heads = dk.chunks_mut(width).zip(dv.chunks_mut(width)).zip(parts.chunks(n_parts));
        for ((dk, dv), parts) in heads {
            let part = &parts[key / per_part];
            dk.copy_from_slice(&part.dk[start..][..width]);
            rows::scale(dk, shape.scale());
            dv.copy_from_slice(&part.dv[start..][..width]);
        }
    }
}

struct Backward<'a, U: Unit> {
    shape: AttentionShape,
    operands: Operands<'a, U::Sum>,
    /// `[n_heads, n]`.
    log_sum_exp: &'a [U::Sum],
    /// `[n_heads, n]`: `rowsum(dO O)`.
    inner: &'a [U::Sum],
    query_columns: Panels<U>,
    query_steps: Panels<U>,
    grad_columns: Panels<U>,
    grad_steps: Panels<U>,
    drops: Option<WeightDrops<U::Sum>>,
}

/// The keys of one tile in every form that products want them in.
struct KeyTile<'a, U: Unit> {
    /// Its first key among all.
    first: usize,
    n: usize,
    keys: Left<'a, U>,
    values: Left<'a, U>,
    key_steps: Right<'a, U>,
}

/// Tiles whose rows are keys and whose columns are queries, kept from one to the next.
struct Workspace<U: Unit> {
    /// Scores, then `P F`.
    weights: Vec<U::Sum>,
    /// The gradients of weights, then `dS`.
    grads: Vec<U::Sum>,
    /// `P F`, steps along queries; unused where numbers are units.
    packed_weights: Vec<U>,
    /// `dS`, likewise.
    packed_grads: Vec<U>,
    /// `dS`, steps along keys: a unit holds those of neighbouring keys for one query. Unused where a unit is one number.
    grad_columns: Vec<U>,
}

impl<U: Unit> Backward<'_, U> {
    /// The gradients that `n_keys` keys and values from `first_key` on get and give in one head.
    fn part(&self, head: usize, (first_key, n_keys): (usize, usize)) -> Part<U::Sum> {
        let (shape, zero) = (self.shape, num_traits::Zero::zero());
        let width = shape.width();
        let mut part = Part {
            first_key,
            dq: vec![zero; shape.n * width],
            dk: vec![zero; n_keys * width],
            dv: vec![zero; n_keys * width],
        };
        let [mut packed_keys, mut packed_values, mut packed_steps] = [const { Vec::new() }; 3];
        let mut workspace = Workspace {
            weights: vec![zero; KEYS * ROW_STRIDE],
            grads: vec![zero; KEYS * ROW_STRIDE],
            packed_weights: Vec::new(),
            packed_grads: Vec::new(),
            grad_columns: Vec::new(),
        };
        for (first, n) in tiles(n_keys, KEYS) {
            let keys = shape.head(self.operands.k, head, shape.m).rows(first_key + first, n);
            let values = shape.head(self.operands.v, head, shape.m).rows(first_key + first, n);
            let tile = KeyTile {
                first: first_key + first,
                n,
                keys: pack_left(keys, &mut packed_keys),
                values: pack_left(values, &mut packed_values),
                key_steps: pack_right(keys, &mut packed_steps),
            };
            for (first_query, n_queries) in tiles(shape.n, QUERIES) {
                let queries = (first_query, n_queries);
                self.tile(head, &tile, queries, &mut workspace);
                self.add_tile(head, &tile, queries, &mut workspace, &mut part);
            }
        }
        part
    }

    /// Fills the workspace for a tile of keys by queries.
    fn tile(
        &self,
        head: usize,
        tile: &KeyTile<'_, U>,
        (first_query, n_queries): (usize, usize),
        workspace: &mut Workspace<U>,
    ) {
        let shape = self.shape;
        let (width, n_keys) = (shape.width(), tile.n);
        let panel = head * shape.n.div_ceil(COLUMNS) + first_query / COLUMNS;
        let steps = (0, n_units::<U>(width));
        multiply(
            MatrixMut::new(&mut workspace.weights, n_keys, n_queries, ROW_STRIDE),
            Write::Overwrite,
            tile.keys,
            self.query_columns.right(panel, n_queries, steps),
        );
        multiply(
            MatrixMut::new(&mut workspace.grads, n_keys, n_queries, ROW_STRIDE),
            Write::Overwrite,
            tile.values,
            self.grad_columns.right(panel, n_queries, steps),
        );
        let of_queries = head * shape.n + first_query..head * shape.n + first_query + n_queries;
        let (log_sum_exp, inner) = (&self.log_sum_exp[of_queries.clone()], &self.inner[of_queries]);
        let n = n_keys * ROW_STRIDE;
        let (weights, grads) = (&mut workspace.weights[..n], &mut workspace.grads[..n]);
        let drops = self.drops.map(|drops| TileDrops {
            drops: drops.drops,
            first: drops.index(head, first_query, tile.first),
            step: drops.n_keys as u64,
        });
        differentiate(weights, grads, shape.scale(), log_sum_exp, inner, drops);
    }

    /// Adds what a tile gives to the gradients of its keys, values and queries.
    fn add_tile(
        &self,
        head: usize,
        tile: &KeyTile<'_, U>,
        (first_query, n_queries): (usize, usize),
        workspace: &mut Workspace<U>,
        part: &mut Part<U::Sum>,
    ) {
        let (shape, n) = (self.shape, tile.n);
        let width = shape.width();
        let Workspace { weights, grads, packed_weights, packed_grads, grad_columns } = workspace;
        let (weights, grads) = (&weights[..n * ROW_STRIDE], &grads[..n * ROW_STRIDE]);
        let weight_rows = pack_spaced_rows(weights, n_queries, packed_weights);
        let grad_rows = pack_spaced_rows(grads, n_queries, packed_grads);
        let steps = (first_query / U::NUMBERS, n_units::<U>(n_queries));
        let panel = head * shape.channel_panels();
        let window = (tile.first - part.first_key) * width..(tile.first - part.first_key + n) * width;
        for (gradient, left, right) in
            [(&mut part.dv, weight_rows, &self.grad_steps), (&mut part.dk, grad_rows, &self.query_steps)]
        {
            multiply(
                MatrixMut::new(&mut gradient[window.clone()], n, width, width),
                Write::Accumulate,
                left,
                right.right(panel, width, steps),
            );
        }
        // What lies along keys in single numbers is what lies along queries.
        let by_query = if U::NUMBERS == 1 {
            let order = Order::Steps { stride: ROW_STRIDE };
            Left { values: grad_rows.values, n_rows: n_queries, order }
        } else {
            pack_columns(Window::new(grads, ROW_STRIDE, n, n_queries), grad_columns)
        };
        multiply(
            MatrixMut::new(&mut part.dq[first_query * width..], n_queries, width, width),
            Write::Accumulate,
            by_query,
            tile.key_steps,
        );
    }
}
