//! The softmax of attention over tiles of scores that are in the cache, in place.
//!
//! Rows of a tile are [`ROW_STRIDE`] numbers apart, as a product wants its left operand.

use crate::kernels::cpu::element::Element;
use crate::kernels::cpu::rows::sum_lanes;
use crate::kernels::cpu::tile::ROW_STRIDE;
use crate::kernels::cpu::vectorised::vectorised;
use crate::kernels::dropout::Drops;

/// The softmax of some queries over keys that come tile by tile: of each query, the largest score so far, times the scale, and the
/// sum of `exp(score - largest)`.
pub(super) struct RunningSoftmax<T> {
    largest: Vec<T>,
    total: Vec<T>,
    /// What the last tile multiplied the earlier ones' weights by.
    shrink: Vec<T>,
}

impl<T: Element> RunningSoftmax<T> {
    pub(super) fn new(n_queries: usize) -> Self {
        let zero = vec![T::zero(); n_queries];
        Self { largest: vec![T::neg_infinity(); n_queries], total: zero.clone(), shrink: zero }
    }

    /// Replaces the scores of `n_keys` more keys by `exp(score * scale - largest)`.
    pub(super) fn soften(&mut self, tile: &mut [T], n_keys: usize, scale: T) {
        soften(tile, n_keys, scale, self);
    }

    /// What the last tile multiplied each query's earlier weights by.
    pub(super) fn shrink(&self) -> &[T] {
        &self.shrink
    }

    /// What each query's weights are to be divided by.
    pub(super) fn total(&self) -> &[T] {
        &self.total
    }

    pub(super) fn log_sum_exp(&self) -> impl Iterator<Item = T> {
        self.largest.iter().zip(&self.total).map(|(&largest, total)| largest + total.ln())
    }
}

/// The factors of dropout on a tile whose rows are keys.
#[derive(Clone, Copy)]
pub(super) struct TileDrops<T> {
    pub(super) drops: Drops<T>,
    /// The index of the weight of the tile's first key and first query.
    pub(super) first: u64,
    /// How far the indices of neighbouring queries are apart; those of neighbouring keys are 1.
    pub(super) step: u64,
}

/// Partial sums and largest values of a row.
const LANES: usize = 16;

/// The largest value; NaN may be passed over.
#[inline(always)]
fn largest<T: Element>(row: &[T]) -> T {
    let (blocks, rest) = row.as_chunks::<LANES>();
    let mut lanes = [T::neg_infinity(); LANES];
    for block in blocks {
        for (lane, &x) in lanes.iter_mut().zip(block) {
            *lane = if x > *lane { x } else { *lane };
        }
    }
    lanes.iter().chain(rest).fold(T::neg_infinity(), |a, &b| if b > a { b } else { a })
}

/// Replaces each score `x` by `exp(x * scale - shift)` and returns their sum.
#[inline(always)]
fn weigh<T: Element>(scores: &mut [T], scale: T, shift: T) -> T {
    let (blocks, rest) = scores.as_chunks_mut::<LANES>();
    let mut sums = [T::zero(); LANES];
    for block in blocks {
        for (sum, x) in sums.iter_mut().zip(block) {
            *x = x.fused(scale, -shift).fast_exp();
            *sum += *x;
        }
    }
    let mut total = T::zero();
    for x in rest {
        *x = x.fused(scale, -shift).fast_exp();
        total += *x;
    }
    sum_lanes(sums, total)
}

vectorised! {
    fn soften<T: Element>(tile: &mut [T], n_keys: usize, scale: T, running: &mut RunningSoftmax<T>) -> () {
        let state = running.largest.iter_mut().zip(&mut running.total).zip(&mut running.shrink);
        for (scores, ((so_far, total), shrink)) in tile.chunks_mut(ROW_STRIDE).zip(state) {
            let scores = &mut scores[..n_keys];
            let score = largest(scores) * scale;
            let larger = if score > *so_far { score } else { *so_far };
            *shrink = (*so_far - larger).fast_exp();
            *total = *total * *shrink + weigh(scores, scale, larger);
            *so_far = larger;
        }
    }

    /// Of a tile whose rows are keys, replaces the score of each query by `weight * factor`, where the weight is `exp(score * scale -
    /// log_sum_exp)` and the factor dropout's, and the gradient `g` of that product by the score's, `weight * (g * factor - inner)`.
    pub(super) fn differentiate<T: Element>(
        scores: &mut [T],
        grads: &mut [T],
        scale: T,
        log_sum_exp: &[T],
        inner: &[T],
        drops: Option<TileDrops<T>>,
    ) -> () {
        let n_queries = log_sum_exp.len();
        let inner = &inner[..n_queries];
        for (key, (scores, grads)) in scores.chunks_mut(ROW_STRIDE).zip(grads.chunks_mut(ROW_STRIDE)).enumerate() {
            let (scores, grads) = (&mut scores[..n_queries], &mut grads[..n_queries]);
            match drops {
                None => {
                    for query in 0..n_queries {
                        let weight = scores[query].fused(scale, -log_sum_exp[query]).fast_exp();
                        grads[query] = weight * (grads[query] - inner[query]);
                        scores[query] = weight;
                    }
                }
                Some(TileDrops { drops, first, step }) => {
                    let mut index = first + key as u64;
                    for query in 0..n_queries {
                        let weight = scores[query].fused(scale, -log_sum_exp[query]).fast_exp();
                        let factor = if drops.drops(index) { T::zero() } else { drops.kept };
                        grads[query] = weight * (grads[query] * factor - inner[query]);
                        scores[query] = weight * factor;
                        index += step;
                    }
                }
            }
        }
    }
}
