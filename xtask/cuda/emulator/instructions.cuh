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
    to[0] += a;
    to[1] += b;
}

inline uint32_t shared_address(const void *at) { return (uint32_t)((const unsigned char *)at - dynamic_shared); }
inline void store_shared(uint32_t at, uint32_t value) { memcpy(dynamic_shared + at, &value, sizeof value); }
inline void copy_async(uint32_t to, const void *from, bool exists) {
    if (exists) {
        memcpy(dynamic_shared + to, from, 16);
    } else {
        memset(dynamic_shared + to, 0, 16);
    }
}
inline void copy_commit() {}
template <int PENDING>
inline void copy_wait() {}

// Lane l holds row l / 4 and columns 2 (l % 4) and the next of each matrix; rows are where lanes 8 m .. 8 m + 7 say.
inline void load_matrices(uint32_t (&r)[4], uint32_t at) {
    for (int m = 0; m < 4; m++) {
        uint32_t row = exchanged(at, m * 8 + lane() / 4);
        memcpy(&r[m], dynamic_shared + row + lane() % 4 * 4, sizeof r[m]);
    }
    wait_for_warp();
}
inline void load_transposed(uint32_t (&r)[4], uint32_t at) {
    for (int m = 0; m < 4; m++) {
        uint16_t pair[2];
        for (int e = 0; e < 2; e++) {
            uint32_t row = exchanged(at, m * 8 + lane() % 4 * 2 + e);
            memcpy(&pair[e], dynamic_shared + row + lane() / 4 * 2, sizeof pair[e]);
        }
        r[m] = pair[0] | (uint32_t)pair[1] << 16;
    }
    wait_for_warp();
}

// The fragments that the lanes of a warp hold; see tensor_core.cuh.
struct Fragments {
    uint32_t a[4], b[2];
};
extern Fragments fragments[32][32];

inline void multiply_add(float (&c)[4], const uint32_t (&a)[4], uint32_t b0, uint32_t b1) {
    const int g = lane() / 4, t = lane() % 4;
    fragments[warp()][lane()] = {{a[0], a[1], a[2], a[3]}, {b0, b1}};
    wait_for_warp();
    // Rows g and g + 8 of A, columns 2t and 2t + 1 of B.
    float rows[2][16], columns[2][16];
    auto spread = [](float *to, uint32_t pair) {
        to[0] = __uint_as_float(pair << 16);
        to[1] = __uint_as_float(pair & 0xffff0000u);
    };
    for (int q = 0; q < 4; q++) {
        const Fragments &of_row = fragments[warp()][g * 4 + q];
        for (int i = 0; i < 4; i++) spread(&rows[i % 2][2 * q + i / 2 * 8], of_row.a[i]);
        for (int e = 0; e < 2; e++) {
            const Fragments &of_column = fragments[warp()][(2 * t + e) * 4 + q];
            for (int i = 0; i < 2; i++) spread(&columns[e][2 * q + i * 8], of_column.b[i]);
        }
    }
    for (int i = 0; i < 4; i++) {
        float sum = 0.0f;
        for (int k = 0; k < 16; k++) sum += rows[i / 2][k] * columns[i % 2][k];
        c[i] += sum;
    }
    wait_for_warp();
}
