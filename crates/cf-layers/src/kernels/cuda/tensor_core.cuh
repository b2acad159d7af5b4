// Matrix products of bf16 tiles in shared memory on the tensor cores of compute capability 8.0 and up.
//
// A tile is rows of D elements, each row cut into chunks of 8 (16 bytes) that are stored in another order row by row, so that
// the eight rows which one `ldmatrix` reads lie in different banks. Addresses are byte offsets in shared memory.
//
// Fragments of m16n8k16, for lane l with g = l / 4 and t = l % 4:
//   A [16 x 16]: a0 (g, 2t), a1 (g + 8, 2t), a2 (g, 2t + 8), a3 (g + 8, 2t + 8), each with the column after it
//   B [16 x 8]:  b0 (2t, g), b1 (2t + 8, g), each with the row after it
//   C [16 x 8]:  c0, c1 (g, 2t), c2, c3 (g + 8, 2t), each pair with the column after it
#pragma once
#include "common.cuh"

// The byte offset of a chunk in a tile whose rows hold `CHUNKS` of them.
template <int CHUNKS>
__device__ __forceinline__ uint32_t chunk_offset(int row, int chunk) {
    int turn = CHUNKS >= 8 ? row & 7 : (row >> 1) & 3;
    return (uint32_t)(row * CHUNKS + (chunk ^ turn)) * 16;
}

// Starts to copy rows `first ..` of a matrix of `n` rows into a tile of ROWS x D; rows past the end become zeros.
template <int ROWS, int D, int THREADS>
__device__ __forceinline__ void copy_tile(uint32_t tile, const bf16 *from, uint64_t stride, int first, int n) {
    constexpr int CHUNKS = D / 8;
#pragma unroll
    for (int i = 0; i < ROWS * CHUNKS / THREADS; i++) {
        int at = threadIdx.x + i * THREADS, row = at / CHUNKS, chunk = at % CHUNKS;
        bool exists = first + row < n;
        copy_async(tile + chunk_offset<CHUNKS>(row, chunk), from + (uint64_t)(exists ? first + row : 0) * stride + chunk * 8,
                   exists);
    }
}

// A [16 x 16] at (row, 16 k) of a tile.
template <int D>
__device__ __forceinline__ void load_a(uint32_t (&a)[4], uint32_t tile, int row, int k) {
    int lane = threadIdx.x % 32;
    load_matrices(a, tile + chunk_offset<D / 8>(row + lane % 16, k * 2 + lane / 16));
}
// Two B [16 x 8] at columns (n, n + 8) of the *transposed* tile: the tile's rows are the columns of B.
template <int D>
__device__ __forceinline__ void load_b_rows(uint32_t (&b)[4], uint32_t tile, int n, int k) {
    int lane = threadIdx.x % 32;
    load_matrices(b, tile + chunk_offset<D / 8>(n + lane % 8 + lane / 16 * 8, k * 2 + lane / 8 % 2));
}
// Two B [16 x 8] at row `k` and columns (16 n, 16 n + 8) of a tile.
template <int D>
__device__ __forceinline__ void load_b_columns(uint32_t (&b)[4], uint32_t tile, int k, int n) {
    int lane = threadIdx.x % 32;
    load_transposed(b, tile + chunk_offset<D / 8>(k + lane % 16, n * 2 + lane / 16));
}
// A [16 x 16] of the transposed tile: rows are the tile's columns `16 m ..`, columns its rows `k ..`.
template <int D>
__device__ __forceinline__ void load_a_transposed(uint32_t (&a)[4], uint32_t tile, int m, int k) {
    int lane = threadIdx.x % 32;
    load_transposed(a, tile + chunk_offset<D / 8>(k + lane % 8 + lane / 16 * 8, m * 2 + lane / 8 % 2));
}
