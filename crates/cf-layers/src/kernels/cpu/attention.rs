//! Attention in blocks of queries: each block sees all keys at once, so its softmax is exact and simple.

use candle_core::WithDType;
use num_traits::Float;

use super::map_indices;
use super::matmul::{Matrix, Write, multiply};
use crate::kernels::attention::AttentionShape;
use crate::kernels::dropout::DropoutMask;

/// Queries per block. At 13,496 keys a block of weights is 3.5 MB: it stays in the cache between its passes.
const QUERIES_PER_BLOCK: usize = 64;

pub(in crate::kernels) struct Gradients<T> {
    pub(in crate::kernels) q: Vec<T>,
    pub(in crate::kernels) k: Vec<T>,
    pub(in crate::kernels) v: Vec<T>,
}

/// What the forward pass leaves for the backward pass.
pub(in crate::kernels) struct Saved<'a, T> {
    pub(in crate::kernels) q: &'a [T],
    pub(in crate::kernels) k: &'a [T],
    pub(in crate::kernels) v: &'a [T],
    pub(in crate::kernels) output: &'a [T],
    /// `[n_heads, n]`.
    pub(in crate::kernels) log_sum_exp: &'a [f64],
}

impl AttentionShape {
    /// Multiply-adds of a forward pass, an exponential counted as sixteen.
    fn work(&self) -> usize {
        self.n * self.m * (2 * self.d + 16 * self.n_heads)
    }
}

/// One head of one block of queries.
#[derive(Clone, Copy)]
struct Tile {
    shape: AttentionShape,
    head: usize,
    first_query: usize,
    n_queries: usize,
}

impl Tile {
    fn width(&self) -> usize {
        self.shape.d / self.shape.n_heads
    }

    fn scale<T: WithDType>(&self) -> T {
        T::from_f64(1.0 / (self.width() as f64).sqrt())
    }

    /// This block's rows of a `[n, d]` tensor, in this head's columns.
    fn queries<'a, T>(&self, values: &'a [T]) -> Matrix<'a, T> {
        let start = self.first_query * self.shape.d + self.head * self.width();
        Matrix::new(&values[start..], self.n_queries, self.width(), self.shape.d)
    }

    /// All rows of a `[m, d]` tensor, in this head's columns.
    fn keys<'a, T>(&self, values: &'a [T]) -> Matrix<'a, T> {
        Matrix::new(&values[self.head * self.width()..], self.shape.m, self.width(), self.shape.d)
    }

    /// The dropout index of the weight on key 0 of query `row` of this block.
    fn first_weight(&self, row: usize) -> u64 {
        ((self.head * self.shape.n + self.first_query + row) * self.shape.m) as u64
    }

    fn drop_weights<T: WithDType>(&self, weights: &mut [T], mask: DropoutMask) {
        for (row, weights) in weights.chunks_mut(self.shape.m).enumerate() {
            let first = self.first_weight(row);
            for (key, weight) in weights.iter_mut().enumerate() {
                *weight *= T::from_f64(mask.factor(first + key as u64));
            }
        }
    }
}

fn tiles(shape: AttentionShape, head: usize) -> impl Iterator<Item = Tile> {
    (0..shape.n).step_by(QUERIES_PER_BLOCK).map(move |first_query| Tile {
        shape,
        head,
        first_query,
        n_queries: QUERIES_PER_BLOCK.min(shape.n - first_query),
    })
}

/// Returns the output `[n, d]` and the log-sum-exp of each query `[n_heads, n]`.
pub(in crate::kernels) fn forward<T: WithDType + Float>(
    shape: AttentionShape,
    q: &[T],
    k: &[T],
    v: &[T],
    dropout: Option<DropoutMask>,
) -> (Vec<T>, Vec<f64>) {
    let all: Vec<Tile> = (0..shape.n_heads).flat_map(|head| tiles(shape, head)).collect();
    let blocks = map_indices(all.len(), shape.work(), |index| tile_forward(all[index], q, k, v, dropout));
    let mut output = vec![T::zero(); shape.n * shape.d];
    let mut log_sum_exp = Vec::with_capacity(shape.n_heads * shape.n);
    for (tile, (block, block_lse)) in all.iter().zip(blocks) {
        place_queries(*tile, &block, &mut output);
        log_sum_exp.extend(block_lse);
    }
    (output, log_sum_exp)
}

fn tile_forward<T: WithDType + Float>(
    tile: Tile,
    q: &[T],
    k: &[T],
    v: &[T],
    dropout: Option<DropoutMask>,
) -> (Vec<T>, Vec<f64>) {
    let m = tile.shape.m;
    let mut weights = vec![T::zero(); tile.n_queries * m];
    multiply(&mut weights, Write::Overwrite, tile.scale(), tile.queries(q), tile.keys(k).transposed());
    let log_sum_exp = weights.chunks_mut(m).map(softmax_in_place).collect();
    if let Some(mask) = dropout {
        tile.drop_weights(&mut weights, mask);
    }
    let mut output = vec![T::zero(); tile.n_queries * tile.width()];
    multiply(
        &mut output,
        Write::Overwrite,
        T::one(),
        Matrix::new(&weights, tile.n_queries, m, m),
        tile.keys(v),
    );
    (output, log_sum_exp)
}

/// Heads run in parallel; within a head the blocks follow each other, since all of them add to its keys' gradients.
pub(in crate::kernels) fn backward<T: WithDType + Float>(
    shape: AttentionShape,
    saved: Saved<'_, T>,
    grad: &[T],
    dropout: Option<DropoutMask>,
) -> Gradients<T> {
    let heads = map_indices(shape.n_heads, shape.work(), |head| {
        let width = shape.d / shape.n_heads;
        let mut grads = Gradients {
            q: Vec::with_capacity(shape.n * width),
            k: vec![T::zero(); shape.m * width],
            v: vec![T::zero(); shape.m * width],
        };
        for tile in tiles(shape, head) {
            tile_backward(tile, &saved, grad, dropout, &mut grads);
        }
        grads
    });
    let mut grads = Gradients {
        q: vec![T::zero(); shape.n * shape.d],
        k: vec![T::zero(); shape.m * shape.d],
        v: vec![T::zero(); shape.m * shape.d],
    };
    for (head, part) in heads.iter().enumerate() {
        place_head(shape, head, &part.q, &mut grads.q);
        place_head(shape, head, &part.k, &mut grads.k);
        place_head(shape, head, &part.v, &mut grads.v);
    }
    grads
}

/// With weights `P`, dropout factors `F`, `dO` the output's gradient: `dV += (P F)^T dO`, `dP = F (dO V^T)`,
/// `dS = P (dP - rowsum(dO O))`, `dQ = dS K / sqrt(width)`, `dK += dS^T Q / sqrt(width)`.
fn tile_backward<T: WithDType + Float>(
    tile: Tile,
    saved: &Saved<'_, T>,
    grad: &[T],
    dropout: Option<DropoutMask>,
    grads: &mut Gradients<T>,
) {
    let (m, width, rows) = (tile.shape.m, tile.width(), tile.n_queries);
    let mut weights = vec![T::zero(); rows * m];
    multiply(
        &mut weights,
        Write::Overwrite,
        tile.scale(),
        tile.queries(saved.q),
        tile.keys(saved.k).transposed(),
    );
    for (row, weights) in weights.chunks_mut(m).enumerate() {
        let log_sum_exp = T::from_f64(saved.log_sum_exp[tile.head * tile.shape.n + tile.first_query + row]);
        for weight in weights {
            *weight = (*weight - log_sum_exp).exp();
        }
    }

    let mut score_grad = vec![T::zero(); rows * m];
    let output_grad = tile.queries(grad);
    multiply(&mut score_grad, Write::Overwrite, T::one(), output_grad, tile.keys(saved.v).transposed());
    let dropped = dropout.map(|mask| {
        tile.drop_weights(&mut score_grad, mask);
        let mut dropped = weights.clone();
        tile.drop_weights(&mut dropped, mask);
        dropped
    });
    let dropped = Matrix::new(dropped.as_ref().unwrap_or(&weights), rows, m, m);
    multiply(&mut grads.v, Write::Accumulate, T::one(), dropped.transposed(), output_grad);

    for row in 0..rows {
        let start = (tile.first_query + row) * tile.shape.d + tile.head * width;
        let mut inner = T::zero();
        for (&grad, &output) in grad[start..start + width].iter().zip(&saved.output[start..start + width]) {
            inner += grad * output;
        }
        let range = row * m..(row + 1) * m;
        for (score_grad, &weight) in score_grad[range.clone()].iter_mut().zip(&weights[range]) {
            *score_grad = weight * (*score_grad - inner);
        }
    }
    let score_grad = Matrix::new(&score_grad, rows, m, m);
    let first = grads.q.len();
    grads.q.resize(first + rows * width, T::zero());
    multiply(&mut grads.q[first..], Write::Overwrite, tile.scale(), score_grad, tile.keys(saved.k));
    multiply(&mut grads.k, Write::Accumulate, tile.scale(), score_grad.transposed(), tile.queries(saved.q));
}

/// Turns scores into weights and returns their log-sum-exp.
fn softmax_in_place<T: WithDType + Float>(scores: &mut [T]) -> f64 {
    let largest = scores.iter().fold(T::neg_infinity(), |a, &b| if b > a { b } else { a });
    let mut total = T::zero();
    for score in scores.iter_mut() {
        *score = (*score - largest).exp();
        total += *score;
    }
    for score in scores.iter_mut() {
        *score /= total;
    }
    largest.to_f64() + total.to_f64().ln()
}

fn place_queries<T: Copy>(tile: Tile, block: &[T], output: &mut [T]) {
    let width = tile.width();
    for (row, values) in block.chunks(width).enumerate() {
        let start = (tile.first_query + row) * tile.shape.d + tile.head * width;
        output[start..start + width].copy_from_slice(values);
    }
}

fn place_head<T: Copy>(shape: AttentionShape, head: usize, part: &[T], whole: &mut [T]) {
    let width = shape.d / shape.n_heads;
    for (row, values) in part.chunks(width).enumerate() {
        let start = row * shape.d + head * width;
        whole[start..start + width].copy_from_slice(values);
    }
}
