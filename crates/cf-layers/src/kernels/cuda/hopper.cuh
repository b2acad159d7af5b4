// Tiles of matrices in shared memory as Hopper's products take them, and threads that copy them there.
//
// A tile is rows of 128 bf16 values, kept as two halves of 64 columns; a half is rows of 128 bytes, the eight chunks of 16 bytes of
// row r in the order chunk ^ (r % 8). Tiles begin at multiples of 1024 bytes. A half is an operand both ways: with its columns as the
// dimension that is summed over, or with its rows.
#pragma once
#include "hopper_instructions.cuh"

#ifdef HOPPER

// How products find an operand. Where its columns are summed over, `halves` is of no account; where its rows are, it is the
// distance between halves of 64 columns. Columns advance by 32 bytes per 16, rows by 2048.
__device__ __forceinline__ uint64_t operand(uint32_t at, uint32_t halves) {
    return (uint64_t)((at & 0x3ffff) >> 4) | (uint64_t)(halves >> 4) << 16 | (uint64_t)(1024 >> 4) << 32 | (uint64_t)1 << 62;
}
__device__ __forceinline__ constexpr uint64_t further(uint32_t bytes) { return bytes >> 4; }

// ---- copies -------------------------------------------------------------------------------------------------------

// The copies of a copying thread: each waits for a barrier that says that its target is free, and another is told when it is done and
// shown to products.
struct Copies {
    // The barrier to tell of the last copy, if it is not told yet.
    uint32_t untold = 0;

    __device__ __forceinline__ void tell() {
        show_to_products();
        barrier_arrive(untold);
        untold = 0;
    }
    __device__ __forceinline__ void begin(uint32_t free, uint32_t parity) {
        // What waits here must not wait for the next copy to be told of the last.
        if (untold && !barrier_passed(free, parity)) {
            copies_wait<0>();
            tell();
        }
        barrier_wait(free, parity);
    }
    __device__ __forceinline__ void end(uint32_t there) {
        copies_commit();
        if (untold) {
            copies_wait<1>();
            tell();
        }
        untold = there;
    }
    __device__ __forceinline__ void end_all() {
        copies_commit();
        copies_wait<0>();
        if (untold) tell();
    }
};
// Starts to copy rows `first ..` of a matrix of `n` rows of 128 columns into a tile, by 128 threads of which this is `thread`.
// Rows past the end become zeros.
template <int ROWS>
__device__ __forceinline__ void copy_rows(uint32_t tile, const bf16 *from, uint64_t stride, int first, int n, int thread) {
    const int chunk = thread % 16, row = thread / 16;
    const bf16 *at = from + (uint64_t)(first + row) * stride + chunk * 8;
    const uint32_t to = tile + chunk / 8 * (ROWS * 128) + row * 128 + ((chunk % 8) ^ row) * 16;
    const int left = n - first - row;
#pragma unroll 4
    for (int i = 0; i < ROWS / 8; i++) {
        const bool exists = i * 8 < left;
        copy_16(to + i * 1024, exists ? at : from, exists);
        at += 8 * stride;
    }
}

#endif
