// Layer norm over the last axis of [n, d], a warp per row, f32 throughout; the mean is taken before the squares. What is normed is
// x, or x + added + bias, where `added` may be bf16.
#include "common.cuh"

// The statistics of one row of x (+ added), with the row's values in registers: lane l holds columns l, l + 32, ...
template <int COLUMNS>
struct Row {
    float value[COLUMNS];
    float mean, scale;

    template <typename A>
    __device__ Row(const float *x, const A *added, const float *bias, uint64_t row, uint32_t d, float eps) {
        int lane = threadIdx.x % 32;
        float sum = 0.0f;
#pragma unroll
        for (int c = 0; c < COLUMNS; c++) {
            uint32_t column = c * 32 + lane;
            value[c] = 0.0f;
            if (column < d) {
                value[c] = x[row * d + column];
                if (added) value[c] += load(added + row * d + column);
                if (bias) value[c] += bias[column];
            }
            sum += value[c];
        }
        mean = warp_sum(sum) / d;
        float squares = 0.0f;
#pragma unroll
        for (int c = 0; c < COLUMNS; c++) {
            if (c * 32 + lane < d) squares += (value[c] - mean) * (value[c] - mean);
        }
        scale = rsqrtf(warp_sum(squares) / d + eps);
    }
};

// y as f32 and as bf16, each where it is wanted.
template <int COLUMNS, typename A>
__device__ void forward(const float *x, const A *added, const float *bias, const float *gain, const float *shift, float *y,
                        bf16 *y_bf16, uint32_t n, uint32_t d, float eps) {
    int lane = threadIdx.x % 32;
    uint64_t row = (uint64_t)blockIdx.x * (blockDim.x / 32) + threadIdx.x / 32;
    if (row >= n) return;
    Row<COLUMNS> r(x, added, bias, row, d, eps);
#pragma unroll
    for (int c = 0; c < COLUMNS; c++) {
        uint32_t column = c * 32 + lane;
        if (column < d) {
            float value = (r.value[c] - r.mean) * r.scale * gain[column] + shift[column];
            if (y) y[row * d + column] = value;
            if (y_bf16) store(y_bf16 + row * d + column, value);
        }
    }
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
#pragma unroll
    for (int c = 0; c < COLUMNS; c++) dgain[c] = dshift[c] = dsum[c] = 0.0f;
    for (uint64_t row = first + warp; row < last; row += 8) {
        Row<COLUMNS> r(x, added, bias, row, d, eps);
        float g[COLUMNS];
        float sum = 0.0f, product = 0.0f;
#pragma unroll
        for (int c = 0; c < COLUMNS; c++) {
            uint32_t column = c * 32 + lane;
            g[c] = 0.0f;
            if (column < d) {
                float normed = (r.value[c] - r.mean) * r.scale;
                float raw = grad[row * d + column];
                if (grad_2) raw += grad_2[row * d + column];
                dgain[c] += raw * normed;
                dshift[c] += raw;
                g[c] = raw * gain[column];
                sum += g[c];
                product += g[c] * normed;
            }
        }
        sum = warp_sum(sum) / d;
        product = warp_sum(product) / d;
#pragma unroll
        for (int c = 0; c < COLUMNS; c++) {
            uint32_t column = c * 32 + lane;
            if (column < d) {
                float normed = (r.value[c] - r.mean) * r.scale;
                float value = r.scale * (g[c] - sum - normed * product);
                dsum[c] += value;
                dx[row * d + column] = value;
                if (dx_bf16) store(dx_bf16 + row * d + column, value);
            }
        }
    }
    __shared__ float shared[8][32];
#pragma unroll
    for (int c = 0; c < COLUMNS; c++) {
        for (int which = 0; which < 3; which++) {
            shared[warp][lane] = which == 0 ? dgain[c] : which == 1 ? dshift[c] : dsum[c];
            __syncthreads();
            uint32_t column = c * 32 + lane;
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
