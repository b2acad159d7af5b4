// What the kernels' own hopper_instructions.cuh has, in C++: in place of that file. All but what is inline is in hopper.cc.
#pragma once
#include "common.cuh"

#define HOPPER 1

// ---- barriers --------------------------------------------------------------------------------------------------------

void barrier_init(uint32_t barrier, int arrivals);
void barrier_arrive(uint32_t barrier);
void barrier_arrive_copied(uint32_t barrier);
bool barrier_passed(uint32_t barrier, uint32_t parity);
void barrier_wait(uint32_t barrier, uint32_t parity);
void part_wait(int number, int threads);
inline void show_to_products() {}
template <int COUNT>
inline void registers_up() {}
template <int COUNT>
inline void registers_down() {}

// ---- stores and sums -------------------------------------------------------------------------------------------------

// Lane l holds row l / 4 and columns 2 (l % 4) and the next of each matrix; rows of the transposed ones are where lanes 8 m .. 8 m + 7
// say.
inline void store_transposed(uint32_t at, const uint32_t (&r)[4]) {
    need_multiple(at, 16);
    for (int m = 0; m < 4; m++) {
        for (int e = 0; e < 2; e++) {
            const uint16_t value = (uint16_t)(r[m] >> 16 * e);
            const uint32_t row = exchanged(at, m * 8 + lane() % 4 * 2 + e);
            memcpy(shared_at(row) + lane() / 4 * 2, &value, sizeof value);
        }
    }
}
inline float2 load_2(uint32_t at) {
    need_multiple(at, 8);
    float2 v;
    memcpy(&v, shared_at(at), sizeof v);
    return v;
}
inline void store_4(uint32_t at, float x, float y, float z, float w) {
    need_multiple(at, 16);
    const float4 v = {x, y, z, w};
    memcpy(shared_at(at), &v, sizeof v);
}
void add_bulk(float *to, uint32_t from, int bytes);
inline void bulk_commit() {}
void bulk_wait_read();
inline void bulk_wait() { bulk_wait_read(); }

// ---- copies ----------------------------------------------------------------------------------------------------------

inline void copy_16(uint32_t to, const void *from, bool exists) { copy_async(to, from, exists, 16, !is_reversed()); }
inline void copy_4(uint32_t to, const void *from, bool exists) { copy_async(to, from, exists, 4, !is_reversed()); }
inline void copies_commit() { copy_commit(); }
template <int PENDING>
inline void copies_wait() {
    copy_wait_for(PENDING);
}

// ---- products --------------------------------------------------------------------------------------------------------

inline void products_begin() {}
void products_commit();
void products_wait_for(int n_pending);
template <int PENDING>
inline void products_wait() {
    products_wait_for(PENDING);
}
template <int N>
inline void settle(float (&)[N]) {}
template <int N>
inline void retain(uint32_t (&)[N][4]) {}
inline void hold(float, uint32_t) {}
inline void hold(uint32_t, uint32_t) {}

// An operand in shared memory, as a product is told of it.
struct Operand {
    uint64_t descriptor;
    bool columns;
};
// `a` is `a_in_registers` if that is not null.
void start_product(float *d, int width, Operand a, const uint32_t *a_in_registers, Operand b, bool accumulate);

template <int N, int COLUMN_A>
inline void product(float (&d)[N / 2], uint64_t a, uint64_t b, int accumulate) {
    start_product(d, N, {a, COLUMN_A == 1}, nullptr, {b, false}, accumulate);
}
inline void product(float (&d)[64], const uint32_t (&a)[4], uint64_t b, int accumulate) {
    start_product(d, 128, {}, a, {b, true}, accumulate);
}
