// CUDA's words for a C++ compiler: enough for the kernels of cf-layers, whose threads `blocks.cc` runs.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstring>

#define __device__
#define __global__
#define __forceinline__ inline
#define __launch_bounds__(...)
#define __align__(N) __attribute__((aligned(N)))
#define __shared__ static // the blocks of a launch run one after the other

using std::max;
using std::min;
inline uint32_t min(uint32_t a, int b) { return std::min(a, (uint32_t)b); }

struct Indices {
    unsigned x, y, z;
};
extern Indices threadIdx, blockIdx, blockDim, gridDim;

struct alignas(8) float2 {
    float x, y;
};
struct alignas(16) float4 {
    float x, y, z, w;
};
struct alignas(8) uint2 {
    uint32_t x, y;
};
struct alignas(16) uint4 {
    uint32_t x, y, z, w;
};
inline float2 make_float2(float x, float y) { return {x, y}; }
inline float4 make_float4(float x, float y, float z, float w) { return {x, y, z, w}; }
inline uint2 make_uint2(uint32_t x, uint32_t y) { return {x, y}; }
inline uint4 make_uint4(uint32_t x, uint32_t y, uint32_t z, uint32_t w) { return {x, y, z, w}; }

inline float __uint_as_float(uint32_t bits) {
    float value;
    memcpy(&value, &bits, sizeof value);
    return value;
}
inline uint32_t __float_as_uint(float value) {
    uint32_t bits;
    memcpy(&bits, &value, sizeof bits);
    return bits;
}

// ---- threads that wait for each other: blocks.cc ---------------------------------------------------------------------

// This thread within its warp, and its warp within its block.
extern int current;
inline int lane() { return current % 32; }
inline int warp() { return current / 32; }
// Whether threads take turns from the last to the first.
bool is_reversed();
void wait_for_block();
void wait_for_warp();
// What the thread `from` of this warp gives for `value`.
uint32_t exchanged(uint32_t value, int from);
// The dynamic shared memory of the block, and its bytes.
extern unsigned char *dynamic_shared;
extern size_t n_dynamic_shared;

inline void __syncthreads() { wait_for_block(); }
inline void __syncwarp() { wait_for_warp(); }
inline float __shfl_sync(unsigned, float value, int from) {
    return __uint_as_float(exchanged(__float_as_uint(value), from));
}
inline float __shfl_xor_sync(unsigned, float value, int step) {
    return __uint_as_float(exchanged(__float_as_uint(value), lane() ^ step));
}

// A GPU reads and writes so many bytes at multiples of them alone. What the kernels read by a pointer the compiler checks likewise
// (xtask/src/cuda_emulator.rs); driver.cc says which kernel it was.
inline void need_multiple(uint64_t address, int n_bytes) {
    if (address % n_bytes != 0) __builtin_trap();
}

// ---- arithmetic ------------------------------------------------------------------------------------------------------

#define __expf expf
inline float __fdividef(float a, float b) { return a / b; }
inline float rsqrtf(float value) { return 1.0f / sqrtf(value); }
float atomicAdd(float *to, float value); // blocks.cc
