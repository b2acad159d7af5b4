//! Matrix products, by cuBLAS.

#![expect(unsafe_code, reason = "calls of cuBLAS")]

use candle_core::cuda_backend::WrapErr;
use candle_core::cuda_backend::cudarc::cublas::{result, sys as cublas};

use super::*;

/// An operand of a product: its rows are `stride` elements apart.
#[derive(Debug, Clone, Copy)]
pub(super) struct Operand<'a> {
    view: View<'a>,
    stride: usize,
    transposed: bool,
}

/// A matrix as it is stored.
pub(super) fn plain(view: View<'_>, stride: usize) -> Operand<'_> {
    Operand { view, stride, transposed: false }
}

/// The transpose of what is stored.
pub(super) fn transposed(view: View<'_>, stride: usize) -> Operand<'_> {
    Operand { view, stride, transposed: true }
}

impl Gpu {
    /// `c = a b + beta c` with `a` `[rows, inner]`, `b` `[inner, columns]` and `c` `[rows, columns]`, all row-major. Operands are of
    /// one type, sums f32.
    pub(super) fn multiply(
        &self,
        c: View<'_>,
        [rows, columns, inner]: [usize; 3],
        a: Operand<'_>,
        b: Operand<'_>,
        beta: f32,
    ) -> Result<()> {
        self.multiply_to((c, columns), [rows, columns, inner], a, b, beta)
    }

    /// [`Self::multiply`] where the rows of `c` are `stride` elements apart.
    pub(super) fn multiply_to(
        &self,
        (c, stride): (View<'_>, usize),
        [rows, columns, inner]: [usize; 3],
        a: Operand<'_>,
        b: Operand<'_>,
        beta: f32,
    ) -> Result<()> {
        let operation = |operand: Operand<'_>| match operand.transposed {
            false => cublas::cublasOperation_t::CUBLAS_OP_N,
            true => cublas::cublasOperation_t::CUBLAS_OP_T,
        };
        let numbers = |view: View<'_>| match view.dtype {
            DType::BF16 => cublas::cudaDataType_t::CUDA_R_16BF,
            _ => cublas::cudaDataType_t::CUDA_R_32F,
        };
        let reduced = candle_core::cuda::gemm_reduced_precision_f32();
        let compute = match a.view.dtype {
            DType::F32 if reduced => cublas::cublasComputeType_t::CUBLAS_COMPUTE_32F_FAST_TF32,
            _ => cublas::cublasComputeType_t::CUBLAS_COMPUTE_32F,
        };
        let (alpha, beta) = (1.0_f32, beta);
        let blas = self.device.cublas_handle();
        // cuBLAS is column-major: it makes the transpose of `c` from those of `b` and `a`, which are the same bytes.
        // SAFETY: the views hold as many elements as the sizes and strides say, which are those of the op's shapes; cuBLAS runs on
        // the stream of the device.
        unsafe {
            result::gemm_ex(
                *blas.handle(),
                operation(b),
                operation(a),
                columns as i32,
                rows as i32,
                inner as i32,
                (&raw const alpha).cast(),
                b.view.address as *const _,
                numbers(b.view),
                b.stride as i32,
                a.view.address as *const _,
                numbers(a.view),
                a.stride as i32,
                (&raw const beta).cast(),
                c.address as *mut _,
                numbers(c),
                stride as i32,
                compute,
                cublas::cublasGemmAlgo_t::CUBLAS_GEMM_DEFAULT,
            )
        }
        .w()
    }
}
