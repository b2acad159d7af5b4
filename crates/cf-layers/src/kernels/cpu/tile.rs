//! Products of matrices that fit in the cache, in tiles that fit in registers.
//!
//! The left operand has one of two forms ([`Order`]). The right operand is packed into panels of [`COLUMNS`] columns, so that
//! each step of the inner dimension is one run of memory. Eight rows by 48 columns of sums stay in registers over all steps.

pub(super) mod avx512;

use super::unit::Unit;
use super::vectorised::vectorised;

/// Columns of a panel.
pub(super) const COLUMNS: usize = 48;
/// Rows of a register tile where vectors are widest: blocks of whole tiles leave no narrow ones over.
pub(super) const TILE_ROWS: usize = 8;

/// The left operand, in one of two forms. In both the units that a register tile reads for a step lie at distances that the
/// compiler knows, so that no arithmetic on addresses competes with multiply-adds.
#[derive(Clone, Copy)]
pub(super) struct Left<'a, U> {
    pub(super) values: &'a [U],
    pub(super) n_rows: usize,
    pub(super) order: Order,
}

/// How a left operand lies in memory.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Order {
    /// The unit of (row, step) is `values[row * ROW_STRIDE + step]`; there are at most [`ROW_STRIDE`] steps.
    Rows,
    /// The unit of (row, step) is `values[step * stride + row]`.
    Steps { stride: usize },
}

/// Units between rows of [`Order::Rows`]: not a power of two, so that rows are spread over the sets of the cache.
pub(super) const ROW_STRIDE: usize = 272;

impl Order {
    fn strides(self) -> (usize, usize) {
        match self {
            Self::Rows => (ROW_STRIDE, 1),
            Self::Steps { stride } => (1, stride),
        }
    }
}

/// The right operand: the unit of (step, column) is
/// `values[column / COLUMNS * panel_stride + step * COLUMNS + column % COLUMNS]`; the last panel is filled up with zeros.
#[derive(Clone, Copy)]
pub(super) struct Right<'a, U> {
    pub(super) values: &'a [U],
    pub(super) n_steps: usize,
    pub(super) n_columns: usize,
    pub(super) panel_stride: usize,
}

/// What a product does with the values that its destination holds.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Write {
    Overwrite,
    Accumulate,
}

/// A matrix to write to: element (i, j) is `values[i * row_stride + j]`.
pub(super) struct MatrixMut<'a, T> {
    pub(super) values: &'a mut [T],
    pub(super) rows: usize,
    pub(super) columns: usize,
    pub(super) row_stride: usize,
}

impl<'a, T> MatrixMut<'a, T> {
    /// A `rows x columns` window whose rows are `row_stride` apart in `values`.
    pub(super) fn new(values: &'a mut [T], rows: usize, columns: usize, row_stride: usize) -> Self {
        Self { values, rows, columns, row_stride }
    }

    pub(super) fn n_spanned(&self) -> usize {
        if self.rows == 0 || self.columns == 0 {
            return 0;
        }
        (self.rows - 1) * self.row_stride + self.columns
    }
}

/// A product as pointers and sizes.
///
/// Whoever runs it vouches that every element that the sizes and strides reach lies in memory it may read, those of
/// `destination` in memory that it alone may write, and that the rows of `destination` do not overlap.
#[derive(Clone, Copy)]
pub(in crate::kernels) struct Job<U: Unit> {
    destination: *mut U::Sum,
    destination_stride: usize,
    accumulate: bool,
    left: *const U,
    row_stride: usize,
    step_stride: usize,
    right: *const U,
    panel_stride: usize,
    n_rows: usize,
    n_columns: usize,
    n_steps: usize,
}

impl<U: Unit> Job<U> {
    /// The same job on units of another type.
    ///
    /// `V` must lie in memory as `U` does.
    pub(super) fn cast<V: Unit<Sum = U::Sum>>(self) -> Job<V> {
        Job {
            destination: self.destination,
            destination_stride: self.destination_stride,
            accumulate: self.accumulate,
            left: self.left.cast(),
            row_stride: self.row_stride,
            step_stride: self.step_stride,
            right: self.right.cast(),
            panel_stride: self.panel_stride,
            n_rows: self.n_rows,
            n_columns: self.n_columns,
            n_steps: self.n_steps,
        }
    }

    /// The job of [`multiply`], or `None` if there is nothing to do. Every element that its strides reach lies within its slice,
    /// and the rows of its destination do not overlap.
    fn checked(
        destination: MatrixMut<'_, U::Sum>,
        write: Write,
        left: Left<'_, U>,
        right: Right<'_, U>,
    ) -> Option<Self> {
        let (n_rows, n_columns, n_steps) = (left.n_rows, right.n_columns, right.n_steps);
        assert_eq!((destination.rows, destination.columns), (n_rows, n_columns), "size of a product");
        if n_rows == 0 || n_columns == 0 || n_steps == 0 {
            return None;
        }
        let (row_stride, step_stride) = left.order.strides();
        let left_end = (n_rows - 1) * row_stride + (n_steps - 1) * step_stride;
        let right_end = (n_columns - 1) / COLUMNS * right.panel_stride + n_steps * COLUMNS;
        assert!(
            destination.n_spanned() <= destination.values.len()
                && destination.row_stride >= n_columns
                && left_end < left.values.len()
                && (left.order != Order::Rows || n_steps <= ROW_STRIDE)
                && right_end <= right.values.len(),
            "window of a product"
        );
        Some(Self {
            destination: destination.values.as_mut_ptr(),
            destination_stride: destination.row_stride,
            accumulate: write == Write::Accumulate,
            left: left.values.as_ptr(),
            row_stride,
            step_stride,
            right: right.values.as_ptr(),
            panel_stride: right.panel_stride,
            n_rows,
            n_columns,
            n_steps,
        })
    }
}

/// `destination (+)= left * right`, on the calling thread. Each sum adds its products in order, whatever the sizes.
///
/// # Panics
/// If a window ends outside its slice: the callers in this folder derive all of them from the same few numbers.
#[expect(unsafe_code, reason = "register tiles are read and written through pointers")]
pub(super) fn multiply<U: Unit>(
    destination: MatrixMut<'_, U::Sum>,
    write: Write,
    left: Left<'_, U>,
    right: Right<'_, U>,
) {
    let Some(job) = Job::checked(destination, write, left, right) else { return };
    // SAFETY: the job was checked just now, and its destination is borrowed until this function returns.
    if !unsafe { U::run_wide(job) } {
        // SAFETY: the same.
        unsafe { portable(job) };
    }
}

/// Rows of a portable register tile.
const ROWS: usize = 4;
/// Columns of a portable register tile.
const LANES: usize = 16;

/// # Safety
/// As [`Job`] demands.
#[expect(unsafe_code, reason = "a job holds raw pointers")]
unsafe fn portable<U: Unit>(job: Job<U>) {
    for first_column in (0..job.n_columns).step_by(LANES) {
        let n_columns = LANES.min(job.n_columns - first_column);
        let panel = first_column / COLUMNS * job.panel_stride + first_column % COLUMNS;
        for first_row in (0..job.n_rows).step_by(ROWS) {
            let n_rows = ROWS.min(job.n_rows - first_row);
            let mut sums = [[<U::Sum as num_traits::Zero>::zero(); LANES]; ROWS];
            // SAFETY: rows, columns and steps are within the sizes of the job; a panel has room for all its columns.
            unsafe {
                let left = job.left.add(first_row * job.row_stride);
                let right = job.right.add(panel);
                accumulate(&mut sums, Strided { left, right, n_rows, job: &job });
                for (row, sums) in sums.iter().enumerate().take(n_rows) {
                    let start = (first_row + row) * job.destination_stride + first_column;
                    let target = std::slice::from_raw_parts_mut(job.destination.add(start), n_columns);
                    for (target, &sum) in target.iter_mut().zip(sums) {
                        *target = if job.accumulate { *target + sum } else { sum };
                    }
                }
            }
        }
    }
}

/// Where the operands of one portable register tile begin.
#[derive(Clone, Copy)]
struct Strided<'a, U: Unit> {
    left: *const U,
    right: *const U,
    n_rows: usize,
    job: &'a Job<U>,
}

type Sums<U> = [[<U as Unit>::Sum; LANES]; ROWS];

vectorised! {
    fn accumulate<U: Unit>(sums: &mut Sums<U>, at: Strided<'_, U>) -> () {
        for step in 0..at.job.n_steps {
            #[expect(unsafe_code, reason = "a job holds raw pointers")]
            // SAFETY: the caller's tile lies within the job; rows past its end read the last row again.
            unsafe {
                let right = &*at.right.add(step * COLUMNS).cast::<[U; LANES]>();
                for (row, sums) in sums.iter_mut().enumerate() {
                    let row = if row < at.n_rows { row } else { at.n_rows - 1 };
                    let left = *at.left.add(row * at.job.row_stride + step * at.job.step_stride);
                    for (sum, &right) in sums.iter_mut().zip(right) {
                        *sum = left.multiply_add(right, *sum);
                    }
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kernels::cpu::unit::{Bf16Pair, Rounded};

    /// A product at odd sizes by `run`, in both orders of the left operand, on outputs poisoned by NaN.
    fn products<U: Unit>(
        run: impl Fn(MatrixMut<'_, U::Sum>, Write, Left<'_, U>, Right<'_, U>),
    ) -> Vec<U::Sum> {
        let number =
            |at: usize| <U::Sum as candle_core::WithDType>::from_f64((at * 7919 % 257) as f64 / 64.0 - 2.0);
        let unit = |at: usize| U::pack(|part| number(2 * at + part));
        let mut all = Vec::new();
        for (n_rows, n_columns, n_steps) in [
            (1, 1_usize, 1),
            (2, 31, 3),
            (5, 32, 64),
            (11, 33, 65),
            (12, 16, 2),
            (13, 17, 127),
            (64, 63, 129),
            (65, 128, 144),
        ] {
            let panel_stride = (n_steps + 3) * COLUMNS;
            let values: Vec<U> = (0..n_columns.div_ceil(COLUMNS) * panel_stride).map(unit).collect();
            for order in [Order::Rows, Order::Steps { stride: n_rows + 5 }] {
                let (row_stride, step_stride) = order.strides();
                let left: Vec<U> =
                    (0..n_rows * row_stride + n_steps * step_stride).map(|at| unit(3 * at)).collect();
                let left = Left { values: &left, n_rows, order };
                let right = Right { values: &values, n_steps, n_columns, panel_stride };
                let stride = n_columns + 7;
                let mut output = vec![<U::Sum as num_traits::Float>::nan(); n_rows * stride];
                run(MatrixMut::new(&mut output, n_rows, n_columns, stride), Write::Overwrite, left, right);
                run(MatrixMut::new(&mut output, n_rows, n_columns, stride), Write::Accumulate, left, right);
                for row in output.chunks(stride) {
                    assert!(
                        row[n_columns..].iter().all(|x| num_traits::Float::is_nan(*x)),
                        "written past its columns"
                    );
                    all.extend_from_slice(&row[..n_columns]);
                }
            }
        }
        all
    }

    #[expect(unsafe_code, reason = "jobs are run by hand")]
    fn by_plain_loops<U: Unit>(
        destination: MatrixMut<'_, U::Sum>,
        write: Write,
        left: Left<'_, U>,
        right: Right<'_, U>,
    ) {
        // SAFETY: the job is checked as `multiply` checks it.
        unsafe { portable(Job::checked(destination, write, left, right).unwrap()) };
    }

    #[test]
    fn wide_and_portable_tiles_agree() {
        assert_eq!(products::<f32>(multiply), products::<f32>(by_plain_loops));
        assert_eq!(products::<Rounded>(multiply), products::<Rounded>(by_plain_loops));
        assert_eq!(products::<f64>(multiply), products::<f64>(by_plain_loops));
        // Instructions on pairs may round between the two products of a pair.
        for (a, b) in products::<Bf16Pair>(multiply).iter().zip(products::<Bf16Pair>(by_plain_loops)) {
            assert!((a - b).abs() <= 1e-5 * b.abs().max(100.0), "{a} and {b}");
        }
    }

    #[test]
    fn a_product_is_the_sum_of_its_products() {
        let (left, right): (Vec<f64>, Vec<f64>) =
            ((0..6).map(f64::from).collect(), (0..2 * COLUMNS).map(|at| at as f64).collect());
        let mut output = vec![1.0; 6];
        multiply(
            MatrixMut::new(&mut output, 3, 2, 2),
            Write::Accumulate,
            Left { values: &left, n_rows: 3, order: Order::Steps { stride: 3 } },
            Right { values: &right, n_steps: 2, n_columns: 2, panel_stride: 2 * COLUMNS },
        );
        // Rows (0, 3), (1, 4), (2, 5) by columns (0, 48), (1, 49).
        assert_eq!(output, [145.0, 148.0, 193.0, 198.0, 241.0, 248.0]);
    }

    #[test]
    #[should_panic(expected = "window of a product")]
    fn a_window_past_its_slice_is_refused() {
        let (left, right) = ([0.0_f32; 5], [0.0_f32; COLUMNS]);
        let left = Left { values: &left, n_rows: 6, order: Order::Steps { stride: 6 } };
        let right = Right { values: &right, n_steps: 1, n_columns: 1, panel_stride: COLUMNS };
        multiply(MatrixMut::new(&mut [0.0; 6], 6, 1, 1), Write::Overwrite, left, right);
    }
}
