//! Queries, keys and values wherever they lie, and windows of one head of them.

use crate::kernels::attention::AttentionShape;
use crate::kernels::cpu::element::Element;
use crate::kernels::cpu::panels::{Panels, Window, n_units, pack_panel, pack_transposed};
use crate::kernels::cpu::tile::COLUMNS;
use crate::kernels::cpu::unit::Unit;

/// Rows of channels, some of the columns of a wider matrix.
#[derive(Clone, Copy)]
pub(super) struct Columns<'a, T> {
    values: &'a [T],
    first: usize,
    stride: usize,
}

impl<'a, T> Columns<'a, T> {
    /// All of a matrix `[.., d]`.
    pub(super) fn own(AttentionShape { d, .. }: AttentionShape, values: &'a [T]) -> Self {
        Self { values, first: 0, stride: d }
    }
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
    pub(in crate::kernels) fn of(shape: AttentionShape, q: &'a [T], kv: &'a [T]) -> Self {
        let d = shape.d;
        Self {
            q: Columns::own(shape, q),
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
    /// `[n_heads, n]`.
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

    /// `n_rows` rows of one head.
    pub(super) fn head<'a, T: Element>(
        &self,
        of: Columns<'a, T>,
        head: usize,
        n_rows: usize,
    ) -> Window<'a, T> {
        Window::new(&of.values[of.first + head * self.width()..], of.stride, n_rows, self.width())
    }

    /// One head of an `[n, d]` matrix of its own.
    pub(super) fn own_head<'a, T: Element>(&self, values: &'a [T], head: usize) -> Window<'a, T> {
        self.head(Columns::own(*self, values), head, self.n)
    }

    /// Panels of the channels of each head.
    pub(super) fn channel_panels(&self) -> usize {
        self.width().div_ceil(COLUMNS)
    }

    /// Of each head, `rows(head)` as the columns of a right operand.
    pub(super) fn transposed<'a, U: Unit>(
        &self,
        n_rows: usize,
        rows: impl Fn(usize) -> Window<'a, U::Sum> + Sync,
    ) -> Panels<U> {
        let n_panels = n_rows.div_ceil(COLUMNS);
        Panels::pack(self.n_heads * n_panels, n_units::<U>(self.width()), |index, panel| {
            let first = index % n_panels * COLUMNS;
            let n = COLUMNS.min(n_rows - first);
            pack_transposed(rows(index / n_panels).rows(first, n), panel);
        })
    }

    /// Of each head, `rows(head)` as the steps of a right operand.
    pub(super) fn steps<'a, U: Unit>(
        &self,
        n_rows: usize,
        rows: impl Fn(usize) -> Window<'a, U::Sum> + Sync,
    ) -> Panels<U> {
        let n_panels = self.channel_panels();
        Panels::pack(self.n_heads * n_panels, n_units::<U>(n_rows), |index, panel| {
            pack_panel(rows(index / n_panels), index % n_panels, panel);
        })
    }
}

/// Starts and lengths of the tiles of `size` that cover `0..end`.
pub(super) fn tiles(end: usize, size: usize) -> impl Iterator<Item = (usize, usize)> {
    (0..end).step_by(size).map(move |first| (first, size.min(end - first)))
}
