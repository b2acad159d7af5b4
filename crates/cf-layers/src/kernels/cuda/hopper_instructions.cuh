// Hopper's own instructions (compute capability 9.0a). `cargo xtask cuda-emulate` runs the kernels with another file in this one's place.
//
// Fragments for a warpgroup of 128 threads, warp w, lane l, g = l / 4, t = l % 4:
//   sums [64 x N]: d[4 c], d[4 c + 1] at (16 w + g, 8 c + 2 t) and the column after, d[4 c + 2], d[4 c + 3] 8 rows below
//   A [64 x 16]:   a0 (16 w + g, 2 t), a1 (+ 8, 2 t), a2 (g, 2 t + 8), a3 (+ 8, 2 t + 8), each with the column after it
#pragma once
#include "common.cuh"

// Code below exists for sm_90a only; for other targets kernels are empty.
#ifdef __CUDA_ARCH_FEAT_SM90_ALL
#define HOPPER 1

// ---- barriers ------------------------------------------------------------------------------------------------------

__device__ __forceinline__ void barrier_init(uint32_t barrier, int arrivals) {
    asm volatile("mbarrier.init.shared::cta.b64 [%0], %1;" ::"r"(barrier), "r"(arrivals) : "memory");
}
__device__ __forceinline__ void barrier_arrive(uint32_t barrier) {
    asm volatile("mbarrier.arrive.shared::cta.b64 _, [%0];" ::"r"(barrier) : "memory");
}
// An arrival of this thread once all its copies so far are done.
__device__ __forceinline__ void barrier_arrive_copied(uint32_t barrier) {
    asm volatile("cp.async.mbarrier.arrive.noinc.shared::cta.b64 [%0];" ::"r"(barrier) : "memory");
}
__device__ __forceinline__ bool barrier_passed(uint32_t barrier, uint32_t parity) {
    uint32_t passed;
    asm volatile("{\n.reg .pred p;\n"
                 "mbarrier.try_wait.parity.shared::cta.b64 p, [%1], %2;\n"
                 "selp.u32 %0, 1, 0, p;\n}\n"
                 : "=r"(passed)
                 : "r"(barrier), "r"(parity)
                 : "memory");
    return passed;
}
// Until the phase of this parity is over. A new barrier counts as past a phase of parity 1.
__device__ __forceinline__ void barrier_wait(uint32_t barrier, uint32_t parity) {
    while (!barrier_passed(barrier, parity)) {
    }
}
// Barriers of part of a block by number: `threads` arrive, some of them without waiting.
__device__ __forceinline__ void part_wait(int number, int threads) {
    asm volatile("bar.sync %0, %1;" ::"r"(number), "r"(threads) : "memory");
}

// What ordinary instructions wrote to shared memory becomes visible to products and bulk copies.
__device__ __forceinline__ void show_to_products() { asm volatile("fence.proxy.async.shared::cta;" ::: "memory"); }

template <int COUNT>
__device__ __forceinline__ void registers_up() {
    asm volatile("setmaxnreg.inc.sync.aligned.u32 %0;" ::"n"(COUNT));
}
template <int COUNT>
__device__ __forceinline__ void registers_down() {
    asm volatile("setmaxnreg.dec.sync.aligned.u32 %0;" ::"n"(COUNT));
}

// ---- stores and sums ----------------------------------------------------------------------------------------------

// Four 8 x 8 matrices of bf16, transposed, each thread giving the address of one row.
__device__ __forceinline__ void store_transposed(uint32_t at, const uint32_t (&r)[4]) {
    asm volatile("stmatrix.sync.aligned.m8n8.x4.trans.shared.b16 [%0], {%1, %2, %3, %4};" ::"r"(at), "r"(r[0]), "r"(r[1]), "r"(r[2]),
                 "r"(r[3])
                 : "memory");
}
__device__ __forceinline__ float2 load_2(uint32_t at) {
    float2 v;
    asm volatile("ld.shared.v2.f32 {%0, %1}, [%2];" : "=f"(v.x), "=f"(v.y) : "r"(at));
    return v;
}
__device__ __forceinline__ void store_4(uint32_t at, float x, float y, float z, float w) {
    asm volatile("st.shared.v4.f32 [%0], {%1, %2, %3, %4};" ::"r"(at), "f"(x), "f"(y), "f"(z), "f"(w) : "memory");
}

// Starts to add `bytes` of floats in shared memory to others.
__device__ __forceinline__ void add_bulk(float *to, uint32_t from, int bytes) {
    asm volatile("cp.reduce.async.bulk.global.shared::cta.bulk_group.add.f32 [%0], [%1], %2;" ::"l"(to), "r"(from), "r"(bytes)
                 : "memory");
}
__device__ __forceinline__ void bulk_commit() { asm volatile("cp.async.bulk.commit_group;" ::: "memory"); }
// All bulk copies of this thread have read their source.
__device__ __forceinline__ void bulk_wait_read() { asm volatile("cp.async.bulk.wait_group.read 0;" ::: "memory"); }
__device__ __forceinline__ void bulk_wait() { asm volatile("cp.async.bulk.wait_group 0;" ::: "memory"); }

// ---- copies --------------------------------------------------------------------------------------------------------

// Starts to copy 16 bytes, or to write zeros where they do not exist.
__device__ __forceinline__ void copy_16(uint32_t to, const void *from, bool exists) {
    int bytes = exists ? 16 : 0;
    asm volatile("cp.async.cg.shared.global.L2::128B [%0], [%1], 16, %2;" ::"r"(to), "l"(from), "r"(bytes) : "memory");
}
__device__ __forceinline__ void copy_4(uint32_t to, const void *from, bool exists) {
    int bytes = exists ? 4 : 0;
    asm volatile("cp.async.ca.shared.global [%0], [%1], 4, %2;" ::"r"(to), "l"(from), "r"(bytes) : "memory");
}
__device__ __forceinline__ void copies_commit() { asm volatile("cp.async.commit_group;" ::: "memory"); }
template <int PENDING>
__device__ __forceinline__ void copies_wait() {
    asm volatile("cp.async.wait_group %0;" ::"n"(PENDING) : "memory");
}

// ---- products ------------------------------------------------------------------------------------------------------

// Registers that the next products use are written.
__device__ __forceinline__ void products_begin() { asm volatile("wgmma.fence.sync.aligned;" ::: "memory"); }
__device__ __forceinline__ void products_commit() { asm volatile("wgmma.commit_group.sync.aligned;" ::: "memory"); }
template <int PENDING>
__device__ __forceinline__ void products_wait() {
    asm volatile("wgmma.wait_group.sync.aligned %0;" ::"n"(PENDING) : "memory");
}
// The values of sums are those after the last wait.
template <int N>
__device__ __forceinline__ void settle(float (&sums)[N]) {
#pragma unroll
    for (int i = 0; i < N; i++) asm volatile("" : "+f"(sums[i])::"memory");
}
// Fragments stay where they are up to here.
template <int N>
__device__ __forceinline__ void retain(uint32_t (&a)[N][4]) {
#pragma unroll
    for (int i = 0; i < N; i++) asm volatile("" : "+r"(a[i][0]), "+r"(a[i][1]), "+r"(a[i][2]), "+r"(a[i][3])::"memory");
}

// Sums as operands of an instruction, and as it names them when they come first.
#define SUMS_8(d, i)                                                                                                   \
    "+f"(d[i]), "+f"(d[i + 1]), "+f"(d[i + 2]), "+f"(d[i + 3]), "+f"(d[i + 4]), "+f"(d[i + 5]), "+f"(d[i + 6]),        \
        "+f"(d[i + 7])
#define SUMS_32(d) SUMS_8(d, 0), SUMS_8(d, 8), SUMS_8(d, 16), SUMS_8(d, 24)
#define SUMS_64(d) SUMS_32(d), SUMS_8(d, 32), SUMS_8(d, 40), SUMS_8(d, 48), SUMS_8(d, 56)
#define NAMES_32                                                                                                       \
    "%0, %1, %2, %3, %4, %5, %6, %7, %8, %9, %10, %11, %12, %13, %14, %15, "                                           \
    "%16, %17, %18, %19, %20, %21, %22, %23, %24, %25, %26, %27, %28, %29, %30, %31"
#define NAMES_64                                                                                                       \
    NAMES_32 ", %32, %33, %34, %35, %36, %37, %38, %39, %40, %41, %42, %43, %44, %45, %46, %47, "                      \
             "%48, %49, %50, %51, %52, %53, %54, %55, %56, %57, %58, %59, %60, %61, %62, %63"

// Starts d [64 x N] (+)= A [64 x 16] B [16 x N], both in shared memory. A is in columns (1) if what is summed over are the
// rows of its tile, else (0), as for B, its columns.
template <int N, int COLUMN_A>
__device__ __forceinline__ void product(float (&d)[N / 2], uint64_t a, uint64_t b, int accumulate) {
    if constexpr (N == 64) {
        asm volatile("{\n.reg .pred p;\nsetp.ne.b32 p, %34, 0;\n"
                     "wgmma.mma_async.sync.aligned.m64n64k16.f32.bf16.bf16 "
                     "{" NAMES_32 "}, "
                     "%32, %33, p, 1, 1, %35, 0;\n}\n"
                     : SUMS_32(d)
                     : "l"(a), "l"(b), "r"(accumulate), "n"(COLUMN_A));
    } else if constexpr (N == 128) {
        asm volatile("{\n.reg .pred p;\nsetp.ne.b32 p, %66, 0;\n"
                     "wgmma.mma_async.sync.aligned.m64n128k16.f32.bf16.bf16 "
                     "{" NAMES_64 "}, "
                     "%64, %65, p, 1, 1, %67, 0;\n}\n"
                     : SUMS_64(d)
                     : "l"(a), "l"(b), "r"(accumulate), "n"(COLUMN_A));
    } else {
        static_assert(N == 0, "no product of this width");
    }
}

// Starts d [64 x 128] (+)= A [64 x 16] B [16 x 128] with A in registers; what is summed over are the rows of B's tile.
__device__ __forceinline__ void product(float (&d)[64], const uint32_t (&a)[4], uint64_t b, int accumulate) {
    asm volatile("{\n.reg .pred p;\nsetp.ne.b32 p, %69, 0;\n"
                 "wgmma.mma_async.sync.aligned.m64n128k16.f32.bf16.bf16 "
                 "{" NAMES_64 "}, "
                 "{%64, %65, %66, %67}, %68, p, 1, 1, 1;\n}\n"
                 : SUMS_64(d)
                 : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "l"(b), "r"(accumulate));
}

// Keep a wait that comes after this behind what makes a value: the compiler moves waits up across arithmetic, and so would do
// after products what is to be done beside them. `at` is a spare word of shared memory, hardly ever or never written.
__device__ __forceinline__ void hold(float sum, uint32_t at) {
    asm volatile("{\n.reg .pred p;\nsetp.lt.f32 p, %0, 0f00000000;\n@p st.shared.u32 [%1], %1;\n}\n" ::"f"(sum), "r"(at)
                 : "memory");
}
__device__ __forceinline__ void hold(uint32_t bits, uint32_t at) {
    asm volatile("{\n.reg .pred p;\nsetp.eq.u32 p, %0, 0x9e3779b9;\n@p st.shared.u32 [%1], %1;\n}\n" ::"r"(bits), "r"(at)
                 : "memory");
}

#endif
