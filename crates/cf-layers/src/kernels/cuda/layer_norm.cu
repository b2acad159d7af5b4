// Layer norm over the last axis of [n, d], a warp per row, f32 throughout; the mean is taken before the squares.
#include "common.cuh"

// The statistics of one row of x (+ added), with the row's values in registers: lane l holds columns l, l + 32, ...
template <int COLUMNS>
struct Row {
    float value[COLUMNS];
    float mean, scale;

    __device__ Row(const float *x, const float *added, uint64_t row, uint32_t d, float eps) {
        int lane = threadIdx.x % 32;
        float sum = 0.0f;
#pragma unroll
        for (int c = 0; c < COLUMNS; c++) {
            uint32_t column = c * 32 + lane;
            value[c] = 0.0f;
            if (column < d) {
                value[c] = x[row * d + column];
                if (added) value[c] += added[row * d + column];
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

template <int COLUMNS>
__device__ void forward(const float *x, const float *added, const float *gain, const float *shift, float *y, uint32_t n,
                        uint32_t d, float eps) {
    int lane = threadIdx.x % 32;
    uint64_t row = (uint64_t)blockIdx.x * (blockDim.x / 32) + threadIdx.x / 32;
    if (row >= n) return;
    Row<COLUMNS> r(x, added, row, d, eps);
#pragma unroll
    for (int c = 0; c < COLUMNS; c++) {
        uint32_t column = c * 32 + lane;
        if (column < d) y[row * d + column] = (r.value[c] - r.mean) * r.scale * gain[column] + shift[column];
    }
}

// dx, and partial sums [gridDim.x, 2 d] of the gradients of gain and shift. A block is 8 warps and takes `rows_per_block` rows.
template <int COLUMNS>
__device__ void backward(const float *x, const float *added, const float *gain, const float *grad, float *dx,
                         float *partial, uint32_t n, uint32_t d, uint32_t rows_per_block, float eps) {
    int lane = threadIdx.x % 32, warp = threadIdx.x / 32;
    uint32_t first = blockIdx.x * rows_per_block, last = min(first + rows_per_block, n);
    float dgain[COLUMNS], dshift[COLUMNS];
#pragma unroll
    for (int c = 0; c < COLUMNS; c++) dgain[c] = dshift[c] = 0.0f;
    for (uint64_t row = first + warp; row < last; row += 8) {
        Row<COLUMNS> r(x, added, row, d, eps);
        float g[COLUMNS];
        float sum = 0.0f, product = 0.0f;
#pragma unroll
        for (int c = 0; c < COLUMNS; c++) {
            uint32_t column = c * 32 + lane;
            g[c] = 0.0f;
            if (column < d) {
                float normed = (r.value[c] - r.mean) * r.scale;
                float raw = grad[row * d + column];
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
                dx[row * d + column] = r.scale * (g[c] - sum - normed * product);
            }
        }
    }
    __shared__ float shared[8][32];
#pragma unroll
    for (int c = 0; c < COLUMNS; c++) {
        for (int which = 0; which < 2; which++) {
            shared[warp][lane] = which ? dshift[c] : dgain[c];
            __syncthreads();
            uint32_t column = c * 32 + lane;
            if (warp == 0 && column < d) {
                float total = 0.0f;
                for (int w = 0; w < 8; w++) total += shared[w][lane];
                partial[((uint64_t)blockIdx.x * 2 + which) * d + column] = total;
            }
            __syncthreads();
        }
    }
}

#define LAYER_NORM(COLUMNS)                                                                                            \
    extern "C" __global__ void __launch_bounds__(256)                                                                  \
        layer_norm_##COLUMNS(const float *x, const float *added, const float *gain, const float *shift, float *y,      \
                             uint32_t n, uint32_t d, float eps) {                                                      \
        forward<COLUMNS>(x, added, gain, shift, y, n, d, eps);                                                         \
    }                                                                                                                  \
    extern "C" __global__ void __launch_bounds__(256)                                                                  \
        layer_norm_backward_##COLUMNS(const float *x, const float *added, const float *gain, const float *grad,        \
                                      float *dx, float *partial, uint32_t n, uint32_t d, uint32_t rows_per_block,      \
                                      float eps) {                                                                     \
        backward<COLUMNS>(x, added, gain, grad, dx, partial, n, d, rows_per_block, eps);                               \
    }
// Up to 128, 512, 1024 and 2048 channels.
LAYER_NORM(4)
LAYER_NORM(16)
LAYER_NORM(32)
LAYER_NORM(64)
