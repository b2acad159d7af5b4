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

impl Operand<'_> {
    fn operation(&self) -> cublas::cublasOperation_t {
        match self.transposed {
            false => cublas::cublasOperation_t::CUBLAS_OP_N,
            true => cublas::cublasOperation_t::CUBLAS_OP_T,
        }
    }

    /// The type that sums of products of this operand are in.
    fn compute(&self) -> cublas::cublasComputeType_t {
        match self.view.dtype {
            DType::F32 if candle_core::cuda::gemm_reduced_precision_f32() => {
                cublas::cublasComputeType_t::CUBLAS_COMPUTE_32F_FAST_TF32
            }
            _ => cublas::cublasComputeType_t::CUBLAS_COMPUTE_32F,
        }
    }
}

fn numbers(view: View<'_>) -> cublas::cudaDataType_t {
    match view.dtype {
        DType::BF16 => cublas::cudaDataType_t::CUDA_R_16BF,
        _ => cublas::cudaDataType_t::CUDA_R_32F,
    }
}

const ALGORITHM: cublas::cublasGemmAlgo_t = cublas::cublasGemmAlgo_t::CUBLAS_GEMM_DEFAULT;

/// Products of one left operand that are made together: how many, and how many elements lie between the first ones of two right
/// operands and of two results.
#[derive(Debug, Clone, Copy)]
pub(super) struct Parts {
    pub(super) n: usize,
    pub(super) of_b: usize,
    pub(super) of_c: usize,
}

// cuBLAS is column-major: it makes the transpose of `c` from those of `b` and `a`, which are the same bytes.
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
        let (alpha, blas) = (1.0_f32, self.device.cublas_handle());
        // SAFETY: the views hold as many elements as the sizes and strides say, which are those of the op's shapes; cuBLAS runs on
        // the stream of the device.
        unsafe {
            result::gemm_ex(
                *blas.handle(),
                b.operation(),
                a.operation(),
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
                columns as i32,
                a.compute(),
                ALGORITHM,
            )
        }
        .w()
    }

    /// `c = a b` of several `b` and `c`, the rows of a `c` being `stride` elements apart.
    pub(super) fn multiply_parts(
        &self,
        (c, stride): (View<'_>, usize),
        [rows, columns, inner]: [usize; 3],
        a: Operand<'_>,
        b: Operand<'_>,
        parts: Parts,
    ) -> Result<()> {
        let (alpha, beta, blas) = (1.0_f32, 0.0_f32, self.device.cublas_handle());
        // SAFETY: as in `multiply`, for every part; no two parts of `c` share an element.
        unsafe {
            result::gemm_strided_batched_ex(
                *blas.handle(),
                b.operation(),
                a.operation(),
                columns as i32,
                rows as i32,
                inner as i32,
                (&raw const alpha).cast(),
                b.view.address as *const _,
                numbers(b.view),
                b.stride as i32,
                parts.of_b as i64,
                a.view.address as *const _,
                numbers(a.view),
                a.stride as i32,
                0,
                (&raw const beta).cast(),
                c.address as *mut _,
                numbers(c),
                stride as i32,
                parts.of_c as i64,
                parts.n as i32,
                a.compute(),
                ALGORITHM,
            )
        }
        .w()
    }
}
