//! Queries, keys and values wherever they lie, and windows of one head of them.

use crate::kernels::attention::AttentionShape;
use crate::kernels::cpu::element::Element;
use crate::kernels::cpu::for_each_chunk;
use crate::kernels::cpu::matmul::Matrix;

/// Rows of channels, some of the columns of a wider matrix.
#[derive(Clone, Copy)]
pub(super) struct Columns<'a, T> {
    values: &'a [T],
    first: usize,
    stride: usize,
}

/// Queries, keys and values, wherever they lie.
#[derive(Clone, Copy)]
pub(in crate::kernels) struct Operands<'a, T> {
    pub(super) q: Columns<'a, T>,
    pub(super) k: Columns<'a, T>,
    pub(super) v: Columns<'a, T>,
}

impl<'a, T> Operands<'a, T> {
    /// Queries `[n, d]`, and keys beside values `[m, 2 d]`.
    pub(in crate::kernels) fn of(AttentionShape { d, .. }: AttentionShape, q: &'a [T], kv: &'a [T]) -> Self {
        Self {
            q: Columns { values: q, first: 0, stride: d },
            k: Columns { values: kv, first: 0, stride: 2 * d },
            v: Columns { values: kv, first: d, stride: 2 * d },
        }
    }

    /// All three beside each other, `[n, 3 d]`.
    pub(in crate::kernels) fn packed(AttentionShape { d, .. }: AttentionShape, qkv: &'a [T]) -> Self {
        let columns = |first| Columns { values: qkv, first, stride: 3 * d };
        Self { q: columns(0), k: columns(d), v: columns(2 * d) }
    }
}

/// What the forward pass leaves for the backward pass.
pub(in crate::kernels) struct Saved<'a, T> {
    pub(in crate::kernels) operands: Operands<'a, T>,
    /// `[n, d]`.
    pub(in crate::kernels) output: &'a [T],
    /// `[n, n_heads]`.
    pub(in crate::kernels) log_sum_exp: &'a [T],
}

impl AttentionShape {
    /// Channels of a head.
    pub(super) fn width(&self) -> usize {
        self.d / self.n_heads
    }

    pub(super) fn scale<T: Element>(&self) -> T {
        T::from_f64(1.0 / (self.width() as f64).sqrt())
    }

    /// Multiply-adds of a forward pass, an exponential counted as sixteen.
    pub(super) fn work(&self) -> usize {
        self.n * self.m * (2 * self.d + 16 * self.n_heads)
    }

    /// `n_rows` rows of one head, from row `first` on.
    pub(super) fn rows<'a, T>(
        &self,
        of: Columns<'a, T>,
        head: usize,
        first: usize,
        n_rows: usize,
    ) -> Matrix<'a, T> {
        let start = first * of.stride + of.first + head * self.width();
        Matrix::new(&of.values[start..], n_rows, self.width(), of.stride)
    }

    /// One head of [`transposed_heads`], `[width, m]`, in the columns of some keys.
    pub(super) fn key_columns<'a, T>(
        &self,
        of: &'a [T],
        head: usize,
        first: usize,
        n_keys: usize,
    ) -> Matrix<'a, T> {
        Matrix::new(&of[head * self.width() * self.m + first..], self.width(), n_keys, self.m)
    }

    pub(super) fn own_rows<'a, T>(
        &self,
        values: &'a [T],
        head: usize,
        first: usize,
        n_rows: usize,
    ) -> Matrix<'a, T> {
        self.rows(Columns { values, first: 0, stride: self.d }, head, first, n_rows)
    }
}

/// Keys or values as `[n_heads, width, m]`. A product with rows that are far apart in memory spends as long on gathering its
/// right side as on arithmetic, tile after tile; here that is done once.
pub(super) fn transposed_heads<T: Element>(shape: AttentionShape, of: Columns<'_, T>) -> Vec<T> {
    /// Keys per pass: their rows stay in the cache while channel after channel is picked from them.
    const KEYS_PER_PASS: usize = 16;
    let m = shape.m;
    let mut output = vec![T::zero(); shape.d * m];
    for_each_chunk(&mut output, shape.width() * m, shape.d * m, |head, output| {
        for (first_key, n_keys) in tiles(m, KEYS_PER_PASS) {
            for channel in 0..shape.width() {
                let column = of.first + head * shape.width() + channel;
                let row = &mut output[channel * m + first_key..][..n_keys];
                for (key, value) in row.iter_mut().enumerate() {
                    *value = of.values[(first_key + key) * of.stride + column];
                }
            }
        }
    });
    output
}

/// Starts and lengths of the tiles of `size` that cover `0..end`.
pub(super) fn tiles(end: usize, size: usize) -> impl Iterator<Item = (usize, usize)> {
    (0..end).step_by(size).map(move |first| (first, size.min(end - first)))
}
