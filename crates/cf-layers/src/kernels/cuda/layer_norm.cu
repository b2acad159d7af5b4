// Layer norm over the last axis of [n, d], a warp per row, f32 throughout; the mean is taken before the squares. What is normed is
// x + added + bias, each where it is not null; `added` may be bf16.
#include "common.cuh"

// Lane l holds columns 4 l, .. 4 l + 3 and every 128 further: four at a time where rows allow it.
__device__ __forceinline__ uint32_t column_of(int c) { return c / 4 * 128 + threadIdx.x % 32 * 4 + c % 4; }

// v[c] = what lies in this lane's columns of a row, 0 past its end; added to what is there.
template <int COLUMNS, typename T>
__device__ __forceinline__ void add_row(float (&v)[COLUMNS], const T *row, uint32_t d) {
#pragma unroll
    for (int c = 0; c < COLUMNS; c += 4) {
        uint32_t column = column_of(c);
        if (d % 4 == 0) {
            if (column < d) {
                float4 four = load4(row + column);
                v[c] += four.x;
                v[c + 1] += four.y;
                v[c + 2] += four.z;
                v[c + 3] += four.w;
            }
        } else {
#pragma unroll
            for (int e = 0; e < 4; e++) {
                if (column + e < d) v[c + e] += load(row + column + e);
            }
        }
    }
}

template <int COLUMNS, typename T>
__device__ __forceinline__ void store_row(T *row, const float (&v)[COLUMNS], uint32_t d) {
#pragma unroll
    for (int c = 0; c < COLUMNS; c += 4) {
        uint32_t column = column_of(c);
        if (d % 4 == 0) {
            if (column < d) store4(row + column, make_float4(v[c], v[c + 1], v[c + 2], v[c + 3]));
        } else {
#pragma unroll
            for (int e = 0; e < 4; e++) {
                if (column + e < d) store(row + column + e, v[c + e]);
            }
        }
    }
}

template <int COLUMNS>
__device__ __forceinline__ void clear(float (&v)[COLUMNS]) {
#pragma unroll
    for (int c = 0; c < COLUMNS; c++) v[c] = 0.0f;
}

// One row of x + added + bias in registers, centred and scaled.
template <int COLUMNS>
struct Row {
    float normed[COLUMNS];
    float scale;

    template <typename A>
    __device__ Row(const float *x, const A *added, const float *bias, uint64_t row, uint32_t d, float eps) {
        clear(normed);
        if (x) add_row(normed, x + row * d, d);
        if (added) add_row(normed, added + row * d, d);
        if (bias) add_row(normed, bias, d);
        float sum = 0.0f;
#pragma unroll
        for (int c = 0; c < COLUMNS; c++) sum += normed[c];
        const float mean = warp_sum(sum) / d;
        float squares = 0.0f;
#pragma unroll
        for (int c = 0; c < COLUMNS; c++) {
            normed[c] = column_of(c) < d ? normed[c] - mean : 0.0f;
            squares += normed[c] * normed[c];
        }
        scale = rsqrtf(warp_sum(squares) / d + eps);
#pragma unroll
        for (int c = 0; c < COLUMNS; c++) normed[c] *= scale;
    }
};

// y as f32 and as bf16, each where it is wanted. y may be x: a row is in registers before any of it is written.
template <int COLUMNS, typename A>
__device__ void forward(const float *x, const A *added, const float *bias, const float *gain, const float *shift, float *y,
                        bf16 *y_bf16, uint32_t n, uint32_t d, float eps) {
    uint64_t row = (uint64_t)blockIdx.x * (blockDim.x / 32) + threadIdx.x / 32;
    if (row >= n) return;
    Row<COLUMNS> r(x, added, bias, row, d, eps);
    float factor[COLUMNS], value[COLUMNS];
    clear(factor);
    clear(value);
    add_row(factor, gain, d);
    add_row(value, shift, d);
#pragma unroll
    for (int c = 0; c < COLUMNS; c++) value[c] += r.normed[c] * factor[c];
    if (y) store_row(y + row * d, value, d);
    if (y_bf16) store_row(y_bf16 + row * d, value, d);
}

// dx from grad (+ grad_2) as f32 and, where it is wanted, as bf16; and partial sums [gridDim.x, 3 d] of the gradients of gain and
// shift and of dx. A block is 8 warps and takes `rows_per_block` rows.
template <int COLUMNS, typename A>
__device__ void backward(const float *x, const A *added, const float *bias, const float *gain, const float *grad,
                         const float *grad_2, float *dx, bf16 *dx_bf16, float *partial, uint32_t n, uint32_t d,
                         uint32_t rows_per_block, float eps) {
    int lane = threadIdx.x % 32, warp = threadIdx.x / 32;
    uint32_t first = blockIdx.x * rows_per_block, last = min(first + rows_per_block, n);
    float dgain[COLUMNS], dshift[COLUMNS], dsum[COLUMNS];
    clear(dgain);
    clear(dshift);
    clear(dsum);
    for (uint64_t row = first + warp; row < last; row += 8) {
        Row<COLUMNS> r(x, added, bias, row, d, eps);
        float raw[COLUMNS], g[COLUMNS];
        clear(raw);
        clear(g);
        add_row(raw, grad + row * d, d);
        if (grad_2) add_row(raw, grad_2 + row * d, d);
        add_row(g, gain, d);
        float sum = 0.0f, product = 0.0f;
#pragma unroll
        for (int c = 0; c < COLUMNS; c++) {
            dgain[c] += raw[c] * r.normed[c];
            dshift[c] += raw[c];
            g[c] *= raw[c];
            sum += g[c];
            product += g[c] * r.normed[c];
        }
        sum = warp_sum(sum) / d;
        product = warp_sum(product) / d;
#pragma unroll
        for (int c = 0; c < COLUMNS; c++) {
            g[c] = r.scale * (g[c] - sum - r.normed[c] * product);
            if (column_of(c) < d) dsum[c] += g[c];
        }
        store_row(dx + row * d, g, d);
        if (dx_bf16) store_row(dx_bf16 + row * d, g, d);
    }
    __shared__ float shared[8][32];
#pragma unroll
    for (int c = 0; c < COLUMNS; c++) {
        for (int which = 0; which < 3; which++) {
            shared[warp][lane] = which == 0 ? dgain[c] : which == 1 ? dshift[c] : dsum[c];
            __syncthreads();
            uint32_t column = column_of(c);
            if (warp == 0 && column < d) {
                float total = 0.0f;
                for (int w = 0; w < 8; w++) total += shared[w][lane];
                partial[((uint64_t)blockIdx.x * 3 + which) * d + column] = total;
            }
            __syncthreads();
        }
    }
}

#define LAYER_NORM(COLUMNS, NAME, A)                                                                                   \
    extern "C" __global__ void __launch_bounds__(256)                                                                  \
        layer_norm_##NAME(const float *x, const A *added, const float *bias, const float *gain, const float *shift,    \
                          float *y, bf16 *y_bf16, uint32_t n, uint32_t d, float eps) {                                 \
        forward<COLUMNS>(x, added, bias, gain, shift, y, y_bf16, n, d, eps);                                           \
    }                                                                                                                  \
    extern "C" __global__ void __launch_bounds__(256)                                                                  \
        layer_norm_backward_##NAME(const float *x, const A *added, const float *bias, const float *gain,               \
                                   const float *grad, const float *grad_2, float *dx, bf16 *dx_bf16, float *partial,   \
                                   uint32_t n, uint32_t d, uint32_t rows_per_block, float eps) {                       \
        backward<COLUMNS>(x, added, bias, gain, grad, grad_2, dx, dx_bf16, partial, n, d, rows_per_block, eps);        \
    }
// Up to 128, 512, 1024 and 2048 channels.
LAYER_NORM(4, 4, float)
LAYER_NORM(16, 16, float)
LAYER_NORM(32, 32, float)
LAYER_NORM(64, 64, float)
LAYER_NORM(4, 4_bf16, bf16)
LAYER_NORM(16, 16_bf16, bf16)
LAYER_NORM(32, 32_bf16, bf16)
LAYER_NORM(64, 64_bf16, bf16)
