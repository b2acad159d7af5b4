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

__device__ __forceinline__ uint32_t shared_address(const void *at) { return (uint32_t)__cvta_generic_to_shared(at); }

__device__ __forceinline__ void copy_async(uint32_t to, const void *from, bool exists) {
    // What does not exist is filled with zeros.
    int bytes = exists ? 16 : 0;
    asm volatile("cp.async.cg.shared.global [%0], [%1], 16, %2;" ::"r"(to), "l"(from), "r"(bytes));
}
__device__ __forceinline__ void copy_commit() { asm volatile("cp.async.commit_group;"); }
template <int PENDING>
__device__ __forceinline__ void copy_wait() {
    asm volatile("cp.async.wait_group %0;" ::"n"(PENDING) : "memory");
}

__device__ __forceinline__ void load_matrices(uint32_t (&r)[4], uint32_t at) {
    asm volatile("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0, %1, %2, %3}, [%4];"
                 : "=r"(r[0]), "=r"(r[1]), "=r"(r[2]), "=r"(r[3])
                 : "r"(at)
                 : "memory");
}
__device__ __forceinline__ void load_transposed(uint32_t (&r)[4], uint32_t at) {
    asm volatile("ldmatrix.sync.aligned.m8n8.x4.trans.shared.b16 {%0, %1, %2, %3}, [%4];"
                 : "=r"(r[0]), "=r"(r[1]), "=r"(r[2]), "=r"(r[3])
                 : "r"(at)
                 : "memory");
}
__device__ __forceinline__ void multiply_add(float (&c)[4], const uint32_t (&a)[4], uint32_t b0, uint32_t b1) {
    asm volatile("mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 {%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, "
                 "{%0, %1, %2, %3};"
                 : "+f"(c[0]), "+f"(c[1]), "+f"(c[2]), "+f"(c[3])
                 : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b0), "r"(b1));
}
__device__ __forceinline__ void store_shared(uint32_t at, uint32_t value) {
    asm volatile("st.shared.b32 [%0], %1;" ::"r"(at), "r"(value) : "memory");
}
__device__ __forceinline__ float exp2_fast(float x) {
    float y;
    asm("ex2.approx.ftz.f32 %0, %1;" : "=f"(y) : "f"(x));
    return y;
}
// Two neighbouring floats; the address is a multiple of 8.
__device__ __forceinline__ void atomic_add2(float *to, float a, float b) {
#if __CUDA_ARCH__ >= 900
    asm volatile("red.global.add.v2.f32 [%0], {%1, %2};" ::"l"(to), "f"(a), "f"(b) : "memory");
#else
    atomicAdd(to, a);
    atomicAdd(to + 1, b);
#endif
}
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
