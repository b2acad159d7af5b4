//! Register tiles of eight rows by 48 columns in AVX-512: 24 vectors of sums, three of the right operand and one broadcast
//! number of the left. Multiply-adds are then what limits, and not loads. Twelve rows by 32 columns do as well on a core of their own; where
//! a neighbour shares the core, they are some ten percent slower, for they decode more instructions.

use super::Job;
use crate::kernels::cpu::unit::Bf16Pair;

/// Bytes that are fetched together.
#[cfg(target_arch = "x86_64")]
const CACHE_LINE: usize = 64;

#[cfg(target_arch = "x86_64")]
macro_rules! multiply_add {
    (f32, $sum:expr, $left:expr, $right:expr) => {
        _mm512_fmadd_ps($left, $right, $sum)
    };
    (bf16, $sum:expr, $left:expr, $right:expr) => {
        _mm512_dpbf16_ps($sum, $left, $right)
    };
}

/// Defines a function that runs a [`Job`] by one multiply-add instruction where the processor has it.
macro_rules! tiles {
    ($name:ident, $unit:ty, [$($feature:tt),+], $features:literal, $operand:ident, |$at:ident| $load:expr, |$number:ident| $broadcast:expr, $multiply_add:ident) => {
        /// Runs `job` if this processor has the instructions, and says so.
        ///
        /// # Safety
        /// As [`Job`] demands.
        #[expect(unsafe_code, reason = "a job holds raw pointers")]
        pub(in crate::kernels::cpu) unsafe fn $name(job: Job<$unit>) -> bool {
            #[cfg(target_arch = "x86_64")]
            {
                use std::arch::x86_64::*;

                /// # Safety
                /// As [`Job`] demands, and the processor has the features.
                #[target_feature(enable = $features)]
                unsafe fn all<const ROW_STRIDE: usize>(job: Job<$unit>) {
                    for first_column in (0..job.n_columns).step_by(super::COLUMNS) {
                        let n_columns = job.n_columns - first_column;
                        // SAFETY: a panel begins within the right operand for each column of the job.
                        let right = unsafe { job.right.add(first_column / super::COLUMNS * job.panel_stride) };
                        // The next panel is fetched while this one is in use.
                        let next = right.wrapping_add(job.panel_stride).cast::<u8>();
                        let panel_bytes = size_of::<$unit>() * super::COLUMNS * job.n_steps;
                        let fetched_bytes = (8 * panel_bytes).div_ceil(job.n_rows).next_multiple_of(CACHE_LINE);
                        let (mut first_row, mut fetched) = (0, 0);
                        while first_row < job.n_rows {
                            let at = (first_row, first_column, right);
                            for line in (fetched..panel_bytes.min(fetched + fetched_bytes)).step_by(CACHE_LINE) {
                                _mm_prefetch::<_MM_HINT_T1>(next.wrapping_add(line).cast());
                            }
                            fetched += fetched_bytes;
                            // SAFETY: rows and columns of the tile are within the job's.
                            first_row += unsafe {
                                match (job.n_rows - first_row, n_columns.div_ceil(16)) {
                                    (8.., 3..) => tile::<8, 3, ROW_STRIDE>(job, at),
                                    (4.., 3..) => tile::<4, 3, ROW_STRIDE>(job, at),
                                    (2.., 3..) => tile::<2, 3, ROW_STRIDE>(job, at),
                                    (_, 3..) => tile::<1, 3, ROW_STRIDE>(job, at),
                                    (12.., 2) => tile::<12, 2, ROW_STRIDE>(job, at),
                                    (8.., 2) => tile::<8, 2, ROW_STRIDE>(job, at),
                                    (4.., 2) => tile::<4, 2, ROW_STRIDE>(job, at),
                                    (2.., 2) => tile::<2, 2, ROW_STRIDE>(job, at),
                                    (_, 2) => tile::<1, 2, ROW_STRIDE>(job, at),
                                    (12.., _) => tile::<12, 1, ROW_STRIDE>(job, at),
                                    (8.., _) => tile::<8, 1, ROW_STRIDE>(job, at),
                                    (4.., _) => tile::<4, 1, ROW_STRIDE>(job, at),
                                    (2.., _) => tile::<2, 1, ROW_STRIDE>(job, at),
                                    (_, _) => tile::<1, 1, ROW_STRIDE>(job, at),
                                }
                            };
                        }
                    }
                }

                /// # Safety
                /// The processor has the features and 16 units can be read.
                #[target_feature(enable = $features)]
                #[inline]
                unsafe fn load($at: *const $unit) -> $operand {
                    // SAFETY: the caller vouches for it.
                    unsafe { $load }
                }

                /// # Safety
                /// The processor has the features and a unit can be read.
                #[target_feature(enable = $features)]
                #[inline]
                unsafe fn broadcast($number: *const $unit) -> $operand {
                    // SAFETY: the caller vouches for it.
                    unsafe { $broadcast }
                }

                /// Adds the products of `N` steps to the sums of a register tile.
                ///
                /// # Safety
                /// The processor has the features; `left` has `R` rows of so many steps, `right` so many rows of a panel with `V` vectors each.
                #[target_feature(enable = $features)]
                #[inline]
                unsafe fn steps<const N: usize, const R: usize, const V: usize, const ROW_STRIDE: usize>(
                    sums: &mut [[__m512; V]; R],
                    (left, step_stride): (*const $unit, usize),
                    right: *const $unit,
                ) {
                    for step in 0..N {
                        // SAFETY: the caller vouches for it.
                        unsafe {
                            let rights: [_; V] =
                                std::array::from_fn(|vector| load(right.add(super::COLUMNS * step + 16 * vector)));
                            for row in 0..R {
                                let left = broadcast(left.add(step * step_stride + row * ROW_STRIDE));
                                for vector in 0..V {
                                    sums[row][vector] =
                                        multiply_add!($multiply_add, sums[row][vector], left, rights[vector]);
                                }
                            }
                        }
                    }
                }

                /// One register tile; returns its rows.
                ///
                /// # Safety
                /// As [`Job`] demands, the processor has the features, and the job has `R` rows from the first on and a
                /// column in each of `V` vectors.
                #[target_feature(enable = $features)]
                #[inline]
                unsafe fn tile<const R: usize, const V: usize, const ROW_STRIDE: usize>(
                    job: Job<$unit>,
                    (first_row, first_column, right): (usize, usize, *const $unit),
                ) -> usize {
                    /// Steps between two looks at whether there are more.
                    const UNROLLED: usize = 4;
                    let mut sums = [[_mm512_setzero_ps(); V]; R];
                    // Known to the compiler where rows have a stride.
                    let step_stride = if ROW_STRIDE == 1 { job.step_stride } else { 1 };
                    // SAFETY: rows `first_row .. first_row + R` and all steps lie in the left operand; the right
                    // operand's panel has room for all vectors of each step; stores are masked to the job's columns.
                    unsafe {
                        let (mut left, mut right) = (job.left.add(first_row * ROW_STRIDE), right);
                        for _ in 0..job.n_steps / UNROLLED {
                            steps::<UNROLLED, R, V, ROW_STRIDE>(&mut sums, (left, step_stride), right);
                            // The last of these may lie past the operand's end, and is not read.
                            left = left.wrapping_add(UNROLLED * step_stride);
                            right = right.wrapping_add(UNROLLED * super::COLUMNS);
                        }
                        for _ in 0..job.n_steps % UNROLLED {
                            steps::<1, R, V, ROW_STRIDE>(&mut sums, (left, step_stride), right);
                            left = left.wrapping_add(step_stride);
                            right = right.wrapping_add(super::COLUMNS);
                        }
                        let n_columns = job.n_columns - first_column;
                        for vector in 0..V {
                            let n_lanes = n_columns.saturating_sub(16 * vector).min(16);
                            let mask = ((1_u32 << n_lanes) - 1) as __mmask16;
                            for row in 0..R {
                                let target = job
                                    .destination
                                    .add((first_row + row) * job.destination_stride + first_column + 16 * vector);
                                let mut sum = sums[row][vector];
                                if job.accumulate {
                                    sum = _mm512_add_ps(_mm512_maskz_loadu_ps(mask, target), sum);
                                }
                                _mm512_mask_storeu_ps(target, mask, sum);
                            }
                        }
                    }
                    R
                }

                if $(is_x86_feature_detected!($feature))&&+ {
                    // SAFETY: the processor has the features, and rows that are not `ROW_STRIDE` apart lie side by side: `Order` has no
                    // third stride. The rest is passed on.
                    unsafe {
                        match job.row_stride {
                            super::ROW_STRIDE => all::<{ super::ROW_STRIDE }>(job),
                            _ => all::<1>(job),
                        }
                    }
                    return true;
                }
            }
            #[cfg(not(target_arch = "x86_64"))]
            let _ = job;
            false
        }
    };
}

tiles!(run_f32, f32, ["avx512f"], "avx512f", __m512, |at| _mm512_loadu_ps(at), |at| _mm512_set1_ps(*at), f32);

tiles!(
    run_bf16,
    Bf16Pair,
    ["avx512f", "avx512bf16"],
    "avx512f,avx512bf16",
    __m512bh,
    |at| std::mem::transmute::<__m512i, __m512bh>(_mm512_loadu_si512(at.cast())),
    |at| std::mem::transmute::<__m512i, __m512bh>(_mm512_set1_epi32((*at).0 as i32)),
    bf16
);
