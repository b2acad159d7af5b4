//! A checked door to the `gemm` crate for matrices that are windows of larger slices.

use candle_core::WithDType;
use gemm::Parallelism;

use super::PARALLEL_FROM;

/// A read-only matrix: element (i, j) is `values[i * row_stride + j * column_stride]`.
#[derive(Clone, Copy)]
pub(super) struct Matrix<'a, T> {
    values: &'a [T],
    rows: usize,
    columns: usize,
    row_stride: usize,
    column_stride: usize,
}

impl<'a, T> Matrix<'a, T> {
    /// A `rows x columns` window whose rows are `row_stride` apart in `values`.
    pub(super) fn new(values: &'a [T], rows: usize, columns: usize, row_stride: usize) -> Self {
        Self { values, rows, columns, row_stride, column_stride: 1 }
    }

    /// The same memory with rows and columns exchanged.
    pub(super) fn transposed(self) -> Self {
        Self {
            rows: self.columns,
            columns: self.rows,
            row_stride: self.column_stride,
            column_stride: self.row_stride,
            ..self
        }
    }

    fn n_spanned(&self) -> usize {
        if self.rows == 0 || self.columns == 0 {
            return 0;
        }
        (self.rows - 1) * self.row_stride + (self.columns - 1) * self.column_stride + 1
    }
}

/// What a product does with the values that its destination holds.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Write {
    Overwrite,
    Accumulate,
}

/// A matrix to write to: element (i, j) is `values[i * row_stride + j]`.
pub(super) struct MatrixMut<'a, T> {
    values: &'a mut [T],
    rows: usize,
    columns: usize,
    row_stride: usize,
}

impl<'a, T> MatrixMut<'a, T> {
    /// A `rows x columns` window whose rows are `row_stride` apart in `values`.
    pub(super) fn new(values: &'a mut [T], rows: usize, columns: usize, row_stride: usize) -> Self {
        Self { values, rows, columns, row_stride }
    }

    fn n_spanned(&self) -> usize {
        if self.rows == 0 || self.columns == 0 {
            return 0;
        }
        (self.rows - 1) * self.row_stride + self.columns
    }
}

/// `destination (+)= lhs * rhs`, across threads where it is worth it. How the product is cut never changes a sum: only rows and
/// columns of the destination are divided, not the inner dimension.
pub(super) fn multiply_in_parallel<T: WithDType>(
    destination: MatrixMut<'_, T>,
    write: Write,
    lhs: Matrix<'_, T>,
    rhs: Matrix<'_, T>,
) {
    let work = lhs.rows * lhs.columns * rhs.columns;
    let parallelism = if work < PARALLEL_FROM {
        Parallelism::None
    } else {
        Parallelism::Rayon(rayon::current_num_threads())
    };
    product(destination, write, T::one(), lhs, rhs, parallelism);
}

/// `destination (+)= factor * lhs * rhs`, on the calling thread.
pub(super) fn multiply<T: WithDType>(
    destination: MatrixMut<'_, T>,
    write: Write,
    factor: T,
    lhs: Matrix<'_, T>,
    rhs: Matrix<'_, T>,
) {
    product(destination, write, factor, lhs, rhs, Parallelism::None);
}

/// # Panics
/// If the shapes disagree or a window ends outside its slice: the callers in this folder derive all of them from
/// the same few numbers.
#[expect(unsafe_code, reason = "gemm takes raw pointers")]
fn product<T: WithDType>(
    destination: MatrixMut<'_, T>,
    write: Write,
    factor: T,
    lhs: Matrix<'_, T>,
    rhs: Matrix<'_, T>,
    parallelism: Parallelism,
) {
    let (m, n, k) = (lhs.rows, rhs.columns, lhs.columns);
    assert_eq!(k, rhs.rows, "inner dimensions of a product");
    assert_eq!((destination.rows, destination.columns), (m, n), "size of a product");
    assert!(
        destination.n_spanned() <= destination.values.len()
            && destination.row_stride >= n
            && lhs.n_spanned() <= lhs.values.len()
            && rhs.n_spanned() <= rhs.values.len(),
        "window of a product"
    );
    // SAFETY: the assertions above bound every element that the strides reach within its slice; `destination` is
    // borrowed mutably, so it aliases neither operand, and its rows do not overlap.
    unsafe {
        gemm::gemm(
            m,
            n,
            k,
            destination.values.as_mut_ptr(),
            1,
            destination.row_stride as isize,
            write == Write::Accumulate,
            lhs.values.as_ptr(),
            lhs.column_stride as isize,
            lhs.row_stride as isize,
            rhs.values.as_ptr(),
            rhs.column_stride as isize,
            rhs.row_stride as isize,
            T::one(),
            factor,
            false,
            false,
            false,
            parallelism,
        );
    }
}
