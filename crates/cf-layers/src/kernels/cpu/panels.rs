//! Packing of rows of numbers into the forms that [`super::tile`] multiplies.

use super::element::Element;
use super::tile::{COLUMNS, Left, Order, ROW_STRIDE, Right};
use super::unit::Unit;
use super::vectorised::vectorised;

/// Some columns of some rows of a row-major matrix.
#[derive(Clone, Copy)]
pub(super) struct Window<'a, T> {
    values: &'a [T],
    stride: usize,
    n_rows: usize,
    width: usize,
}

impl<'a, T: Element> Window<'a, T> {
    /// `n_rows` rows of `width` columns: row `i` is `values[i * stride ..][.. width]`.
    pub(super) fn new(values: &'a [T], stride: usize, n_rows: usize, width: usize) -> Self {
        Self { values, stride, n_rows, width }
    }

    /// `n` of the rows, from row `first` on.
    pub(super) fn rows(self, first: usize, n: usize) -> Self {
        Self { values: &self.values[first * self.stride..], n_rows: n, ..self }
    }

    /// `n` of the columns, from column `first` on.
    pub(super) fn columns(self, first: usize, n: usize) -> Self {
        Self { values: &self.values[first..], width: n, ..self }
    }

    pub(super) fn n_rows(&self) -> usize {
        self.n_rows
    }

    pub(super) fn width(&self) -> usize {
        self.width
    }

    pub(super) fn row(&self, row: usize) -> &'a [T] {
        &self.values[row * self.stride..][..self.width]
    }
}

/// Units that hold `n` numbers.
pub(super) fn n_units<U: Unit>(n: usize) -> usize {
    n.div_ceil(U::NUMBERS)
}

#[inline(always)]
fn pack<U: Unit>(row: &[U::Sum], output: &mut [U]) {
    let n_whole = row.len() / U::NUMBERS;
    for (unit, numbers) in output.iter_mut().zip(row.chunks_exact(U::NUMBERS)) {
        *unit = U::pack(|at| numbers[at]);
    }
    if let rest @ [_, ..] = &row[n_whole * U::NUMBERS..] {
        output[n_whole] = U::pack(|at| rest.get(at).copied().unwrap_or_else(num_traits::Zero::zero));
    }
}

vectorised! {
    /// Units along a row of numbers, the last one filled up with zeros.
    pub(super) fn pack_row<U: Unit>(row: &[U::Sum], output: &mut [U]) -> () {
        pack::<U>(row, output);
    }

    /// Units each of which takes its numbers from the same place of `first` and, if it holds two, of `second`.
    fn interleave<U: Unit>(first: &[U::Sum], second: &[U::Sum], output: &mut [U]) -> () {
        for ((unit, &first), &second) in output.iter_mut().zip(first).zip(second) {
            *unit = U::pack(|at| if at == 0 { first } else { second });
        }
    }
}

/// Rows as a left operand in the order of rows; at most [`ROW_STRIDE`] units each.
pub(super) fn pack_rows<'a, U: Unit>(of: Window<'_, U::Sum>, output: &'a mut Vec<U>) -> Left<'a, U> {
    output.resize(of.n_rows * ROW_STRIDE, U::default());
    for (row, output) in output.chunks_mut(ROW_STRIDE).enumerate() {
        pack_row(of.row(row), output);
    }
    Left { values: output, n_rows: of.n_rows, order: Order::Rows }
}

/// Rows of `n_columns` numbers, [`ROW_STRIDE`] apart, as a left operand: as they lie where numbers are units, else packed into `output`.
pub(super) fn pack_spaced_rows<'a, U: Unit>(
    rows: &'a [U::Sum],
    n_columns: usize,
    output: &'a mut Vec<U>,
) -> Left<'a, U> {
    let n_rows = rows.len() / ROW_STRIDE;
    match U::of_numbers(rows) {
        Some(values) => Left { values, n_rows, order: Order::Rows },
        None => pack_rows(Window::new(rows, ROW_STRIDE, n_rows, n_columns), output),
    }
}

/// Rows as a left operand in the order of steps, which run along their columns.
fn pack_steps<'a, U: Unit>(of: Window<'_, U::Sum>, output: &'a mut Vec<U>) -> Left<'a, U> {
    output.resize(of.n_rows * n_units::<U>(of.width), U::default());
    transpose(of, output, of.n_rows);
    Left { values: output, n_rows: of.n_rows, order: Order::Steps { stride: of.n_rows } }
}

/// Rows as a left operand in whichever order takes so many units.
pub(super) fn pack_left<'a, U: Unit>(of: Window<'_, U::Sum>, output: &'a mut Vec<U>) -> Left<'a, U> {
    if n_units::<U>(of.width) <= ROW_STRIDE { pack_rows(of, output) } else { pack_steps(of, output) }
}

/// Columns as a left operand in the order of steps, which run along their rows: those as they lie, [`columns_stride`] apart.
pub(super) fn pack_columns<'a, U: Unit>(of: Window<'_, U::Sum>, output: &'a mut Vec<U>) -> Left<'a, U> {
    let stride = columns_stride(of.width);
    output.resize(n_units::<U>(of.n_rows) * stride, U::default());
    pack_columns_into(of, output);
    Left { values: output, n_rows: of.width, order: Order::Steps { stride } }
}

/// Units between the steps of `width` columns: not a power of two, for they would then share a few sets of the cache.
pub(super) fn columns_stride(width: usize) -> usize {
    width + 16
}

/// [`pack_columns`] into as many units as it takes.
pub(super) fn pack_columns_into<U: Unit>(of: Window<'_, U::Sum>, output: &mut [U]) {
    let zero = vec![num_traits::Zero::zero(); of.width];
    for (step, output) in output.chunks_mut(columns_stride(of.width)).enumerate() {
        let row = |at: usize| {
            let row = step * U::NUMBERS + at;
            if row < of.n_rows { of.row(row) } else { &zero }
        };
        interleave(row(0), row(U::NUMBERS - 1), &mut output[..of.width]);
    }
}

/// Rows and steps of a block of a transposition: it is turned in registers.
const SIDE: usize = 16;

vectorised! {
    /// Writes [`SIDE`] units along each of as many rows to a column of `output`, whose rows are `stride` long.
    fn transpose_block<U: Unit>(rows: [&[U::Sum]; SIDE], output: &mut [U], stride: usize) -> () {
        let mut units = [[U::default(); SIDE]; SIDE];
        for (units, row) in units.iter_mut().zip(rows) {
            let row = &row[..SIDE * U::NUMBERS];
            for (step, unit) in units.iter_mut().enumerate() {
                *unit = U::pack(|at| row[step * U::NUMBERS + at]);
            }
        }
        for (step, output) in output.chunks_mut(stride).take(SIDE).enumerate() {
            let output = &mut output[..SIDE];
            for (output, row) in output.iter_mut().zip(&units) {
                *output = row[step];
            }
        }
    }
}

/// Writes the units along each row to a column of `output`, whose rows are `stride` long.
fn transpose<U: Unit>(of: Window<'_, U::Sum>, output: &mut [U], stride: usize) {
    for first in (0..n_units::<U>(of.width)).step_by(SIDE) {
        let numbers = first * U::NUMBERS..of.width.min((first + SIDE) * U::NUMBERS);
        let n_in_blocks = if numbers.len() == SIDE * U::NUMBERS { of.n_rows - of.n_rows % SIDE } else { 0 };
        let output = &mut output[first * stride..];
        for column in (0..n_in_blocks).step_by(SIDE) {
            let rows = std::array::from_fn(|row| &of.row(column + row)[numbers.clone()]);
            transpose_block(rows, &mut output[column..], stride);
        }
        for column in n_in_blocks..of.n_rows {
            let output = output.iter_mut().skip(column).step_by(stride);
            for (output, numbers) in output.zip(of.row(column)[numbers.clone()].chunks(U::NUMBERS)) {
                *output = U::pack(|at| numbers.get(at).copied().unwrap_or_else(num_traits::Zero::zero));
            }
        }
    }
}

/// One panel of a right operand whose columns are the rows of `of` (at most [`COLUMNS`]) and whose steps run along its
/// columns: `[n_units(width), COLUMNS]`.
pub(super) fn pack_transposed<U: Unit>(of: Window<'_, U::Sum>, output: &mut [U]) {
    if of.n_rows < COLUMNS {
        output.fill(U::default());
    }
    transpose(of, output, COLUMNS);
}

/// A right operand whose columns are those of `of` and whose steps run along its rows:
/// `[ceil(width / COLUMNS), n_units(n_rows), COLUMNS]`.
pub(super) fn pack_panels<U: Unit>(of: Window<'_, U::Sum>, output: &mut [U]) {
    let n_steps = n_units::<U>(of.n_rows);
    for (panel, output) in output.chunks_mut(n_steps * COLUMNS).enumerate() {
        pack_panel(of, panel, output);
    }
}

/// [`pack_panels`] as an operand.
pub(super) fn pack_right<'a, U: Unit>(of: Window<'_, U::Sum>, output: &'a mut Vec<U>) -> Right<'a, U> {
    let (n_steps, n_columns) = (n_units::<U>(of.n_rows), of.width);
    let panel_stride = n_steps * COLUMNS;
    output.resize(n_columns.div_ceil(COLUMNS) * panel_stride, U::default());
    pack_panels(of, output);
    Right { values: output, n_steps, n_columns, panel_stride }
}

/// One panel of [`pack_panels`], `[n_units(n_rows), COLUMNS]`.
pub(super) fn pack_panel<U: Unit>(of: Window<'_, U::Sum>, panel: usize, output: &mut [U]) {
    let first = panel * COLUMNS;
    let n_columns = COLUMNS.min(of.width - first);
    let zero = [<U::Sum as num_traits::Zero>::zero(); COLUMNS];
    for (step, output) in output.chunks_mut(COLUMNS).enumerate() {
        let row = |at: usize| {
            let row = step * U::NUMBERS + at;
            if row < of.n_rows { &of.row(row)[first..first + n_columns] } else { &zero[..n_columns] }
        };
        interleave(row(0), row(U::NUMBERS - 1), &mut output[..n_columns]);
        output[n_columns..].fill(U::default());
    }
}

/// Several panels beside each other, all of `n_steps` steps.
#[derive(Debug)]
pub(super) struct Panels<U> {
    values: Vec<U>,
    n_steps: usize,
}

impl<U: Unit> Panels<U> {
    /// Room for `n` panels of `n_steps` steps, and a function that fills one.
    pub(super) fn pack(n: usize, n_steps: usize, fill: impl Fn(usize, &mut [U]) + Send + Sync) -> Self {
        let n_units = n * n_steps * COLUMNS;
        Self { values: super::filled(n_units, n_steps * COLUMNS, 4 * n_units, fill), n_steps }
    }

    /// Panels whose columns are the rows of `of`, such as those of a weight `[d_out, d_in]`.
    pub(super) fn of_rows(of: Window<'_, U::Sum>) -> Self {
        Self::pack(of.n_rows.div_ceil(COLUMNS), n_units::<U>(of.width), |panel, output| {
            let first = panel * COLUMNS;
            pack_transposed(of.rows(first, COLUMNS.min(of.n_rows - first)), output);
        })
    }

    /// `n_columns` columns from the first of `panel` on, and of their steps `n_steps` from `first_step` on.
    pub(super) fn right(
        &self,
        panel: usize,
        n_columns: usize,
        (first_step, n_steps): (usize, usize),
    ) -> Right<'_, U> {
        let panel_stride = self.n_steps * COLUMNS;
        let values = &self.values[panel * panel_stride + first_step * COLUMNS..];
        Right { values, n_steps, n_columns, panel_stride }
    }
}
