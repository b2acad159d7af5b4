// What every kernel file shares: element types, dropout masks, reductions within a warp.
#pragma once

#include "instructions.cuh"

// bf16 as its bits: the upper half of an f32.
typedef uint16_t bf16;

__device__ __forceinline__ float widened(bf16 value) { return __uint_as_float((uint32_t)value << 16); }

__device__ __forceinline__ bf16 rounded(float value) { return (bf16)packed(value, 0.0f); }

__device__ __forceinline__ float load(const float *from) { return *from; }
__device__ __forceinline__ float load(const bf16 *from) { return widened(*from); }
__device__ __forceinline__ void store(float *to, float value) { *to = value; }
__device__ __forceinline__ void store(bf16 *to, float value) { *to = rounded(value); }

// Whether four elements can be loaded or stored at once from here on: a view may begin anywhere in an array.
template <typename T>
__device__ __forceinline__ bool begins_at_four(const T *p) {
    return (uintptr_t)p % (4 * sizeof(T)) == 0;
}

// Four consecutive elements; addresses are multiples of four elements.
__device__ __forceinline__ float4 load4(const float *from) { return *(const float4 *)from; }
__device__ __forceinline__ float4 load4(const bf16 *from) {
    uint2 bits = *(const uint2 *)from;
    return make_float4(__uint_as_float(bits.x << 16), __uint_as_float(bits.x & 0xffff0000u),
                       __uint_as_float(bits.y << 16), __uint_as_float(bits.y & 0xffff0000u));
}
__device__ __forceinline__ void store4(float *to, float4 v) { *(float4 *)to = v; }
__device__ __forceinline__ void store4(bf16 *to, float4 v) {
    *(uint2 *)to = make_uint2(packed(v.x, v.y), packed(v.z, v.w));
}

// A dropout mask as `kernels/dropout.rs` defines it: an element is zeroed where the hash of (key, index) is below `limit`.
// A limit of 0 drops nothing.
struct Mask {
    uint64_t key;
    uint64_t limit;
    float kept;
};

__device__ __forceinline__ uint64_t split_mix(uint64_t value) {
    uint64_t z = value + 0x9e3779b97f4a7c15ull;
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9ull;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebull;
    return z ^ (z >> 31);
}

__device__ __forceinline__ float masked(const Mask &mask, uint64_t index, float value) {
    if (mask.limit == 0) return value;
    return split_mix(mask.key ^ index) < mask.limit ? 0.0f : value * mask.kept;
}

__device__ __forceinline__ float warp_sum(float value) {
    for (int step = 16; step > 0; step /= 2) value += __shfl_xor_sync(0xffffffffu, value, step);
    return value;
}

__device__ __forceinline__ float warp_max(float value) {
    for (int step = 16; step > 0; step /= 2) value = fmaxf(value, __shfl_xor_sync(0xffffffffu, value, step));
    return value;
}
