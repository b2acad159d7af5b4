// What the kernels' own instructions.cuh has, in C++: in place of that file.
#pragma once

#include "cuda_words.h"

#define DYNAMIC_SHARED(TYPE, NAME) TYPE *NAME = (TYPE *)dynamic_shared

inline uint32_t rounded_bits(float value) {
    uint32_t bits = __float_as_uint(value);
    if (value != value) return bits >> 16 | 0x40;
    return (bits + 0x7fff + (bits >> 16 & 1)) >> 16;
}
inline uint32_t packed(float low, float high) { return rounded_bits(low) | rounded_bits(high) << 16; }
inline float exp2_fast(float x) { return exp2f(x); }
inline void atomic_add2(float *to, float a, float b) {
    need_multiple((uint64_t)to, 8);
    atomicAdd(to, a);
    atomicAdd(to + 1, b);
}

// Shared memory begins at an address that is no multiple of more than 128: what needs more is to see to it.
static const uint32_t FIRST_SHARED = 128;
inline uint32_t shared_address(const void *at) { return (uint32_t)((const unsigned char *)at - dynamic_shared) + FIRST_SHARED; }
inline unsigned char *shared_at(uint32_t address) { return dynamic_shared + (address - FIRST_SHARED); }
inline void store_shared(uint32_t at, uint32_t value) {
    need_multiple(at, 4);
    memcpy(shared_at(at), &value, sizeof value);
}
// Made at once, or as late as a GPU may: where the thread waits for it. All in blocks.cc.
void copy_async(uint32_t to, const void *from, bool exists, int n_bytes = 16, bool at_once = is_reversed());
void copy_commit();
void copy_wait_for(int n_pending);
template <int PENDING>
inline void copy_wait() {
    copy_wait_for(PENDING);
}

// Lane l holds row l / 4 and columns 2 (l % 4) and the next of each matrix; rows are where lanes 8 m .. 8 m + 7 say.
inline void load_matrices(uint32_t (&r)[4], uint32_t at) {
    need_multiple(at, 16);
    for (int m = 0; m < 4; m++) {
        uint32_t row = exchanged(at, m * 8 + lane() / 4);
        memcpy(&r[m], shared_at(row) + lane() % 4 * 4, sizeof r[m]);
    }
}
inline void load_transposed(uint32_t (&r)[4], uint32_t at) {
    need_multiple(at, 16);
    for (int m = 0; m < 4; m++) {
        uint16_t pair[2];
        for (int e = 0; e < 2; e++) {
            uint32_t row = exchanged(at, m * 8 + lane() % 4 * 2 + e);
            memcpy(&pair[e], shared_at(row) + lane() / 4 * 2, sizeof pair[e]);
        }
        r[m] = pair[0] | (uint32_t)pair[1] << 16;
    }
}

// On the fragments that the lanes of a warp hold, as tensor_core.cuh says: blocks.cc.
void multiply_add(float (&c)[4], const uint32_t (&a)[4], uint32_t b0, uint32_t b1);
