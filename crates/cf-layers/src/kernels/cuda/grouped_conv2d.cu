// Grouped convolution with one output channel per group on channels-last maps [height, width, channels], stride 1, zero padding.
//
// A thread has one channel and a strip of `STRIP` pixels of one map row; neighbouring threads have neighbouring channels, so
// every access is coalesced, and a pixel that is read serves all taps of the kernel row.
#include "common.cuh"

#define STRIP 8
// Channels of a block.
#define CHANNELS 32

// The weights of a block's channels, which lie one after the other. Channels are an odd number of taps apart, so neighbouring
// threads read different banks.
template <int TAPS>
__device__ __forceinline__ const float *shared_weights(const float *w, int c_out) {
    __shared__ float taps[CHANNELS * TAPS];
    int first = blockIdx.x * CHANNELS * TAPS, last = c_out * TAPS;
    for (int i = threadIdx.y * blockDim.x + threadIdx.x; i < CHANNELS * TAPS; i += blockDim.x * blockDim.y) {
        taps[i] = first + i < last ? w[first + i] : 0.0f;
    }
    __syncthreads();
    return taps + threadIdx.x * TAPS;
}

// y[p, c] = bias[c] + sum over i, ky, kx of w[c, i, ky, kx] x[p + (ky, kx) - k / 2, c * PER_GROUP + i].
template <int K, int PER_GROUP>
__device__ void forward(const float *x, const float *w, const float *bias, float *y, int height, int width, int c_out) {
    int c = blockIdx.x * CHANNELS + threadIdx.x;
    int strips = (width + STRIP - 1) / STRIP;
    int strip = blockIdx.y * blockDim.y + threadIdx.y;
    const float *taps = shared_weights<PER_GROUP * K * K>(w, c_out);
    if (c >= c_out || strip >= strips * height) return;
    int row = strip / strips, first = strip % strips * STRIP;
    float sum[STRIP];
#pragma unroll
    for (int s = 0; s < STRIP; s++) sum[s] = bias[c];
    for (int i = 0; i < PER_GROUP; i++) {
        for (int ky = 0; ky < K; ky++) {
            int from = row + ky - K / 2;
            if (from < 0 || from >= height) continue;
            float value[STRIP + K - 1];
#pragma unroll
            for (int s = 0; s < STRIP + K - 1; s++) {
                int column = first + s - K / 2;
                bool inside = column >= 0 && column < width;
                value[s] = inside ? x[((uint64_t)from * width + column) * c_out * PER_GROUP + c * PER_GROUP + i] : 0.0f;
            }
#pragma unroll
            for (int kx = 0; kx < K; kx++) {
                float tap = taps[(i * K + ky) * K + kx];
#pragma unroll
                for (int s = 0; s < STRIP; s++) sum[s] += tap * value[s + kx];
            }
        }
    }
#pragma unroll
    for (int s = 0; s < STRIP; s++) {
        if (first + s < width) y[((uint64_t)row * width + first + s) * c_out + c] = sum[s];
    }
}

// dx[p, c * PER_GROUP + i] = sum over ky, kx of w[c, i, ky, kx] dy[p - (ky, kx) + k / 2, c].
template <int K, int PER_GROUP>
__device__ void input_gradient(const float *dy, const float *w, float *dx, int height, int width, int c_out) {
    int c = blockIdx.x * CHANNELS + threadIdx.x;
    int strips = (width + STRIP - 1) / STRIP;
    int strip = blockIdx.y * blockDim.y + threadIdx.y;
    const float *taps = shared_weights<PER_GROUP * K * K>(w, c_out);
    if (c >= c_out || strip >= strips * height) return;
    int row = strip / strips, first = strip % strips * STRIP;
    float sum[PER_GROUP][STRIP];
#pragma unroll
    for (int s = 0; s < STRIP; s++) {
        for (int i = 0; i < PER_GROUP; i++) sum[i][s] = 0.0f;
    }
    for (int ky = 0; ky < K; ky++) {
        int from = row - ky + K / 2;
        if (from < 0 || from >= height) continue;
        float value[STRIP + K - 1];
#pragma unroll
        for (int s = 0; s < STRIP + K - 1; s++) {
            int column = first + s - K / 2;
            bool inside = column >= 0 && column < width;
            value[s] = inside ? dy[((uint64_t)from * width + column) * c_out + c] : 0.0f;
        }
#pragma unroll
        for (int kx = 0; kx < K; kx++) {
#pragma unroll
            for (int i = 0; i < PER_GROUP; i++) {
                float tap = taps[(i * K + ky) * K + kx];
#pragma unroll
                for (int s = 0; s < STRIP; s++) sum[i][s] += tap * value[s + K - 1 - kx];
            }
        }
    }
#pragma unroll
    for (int s = 0; s < STRIP; s++) {
        for (int i = 0; i < PER_GROUP; i++) {
            if (first + s < width) {
                dx[((uint64_t)row * width + first + s) * c_out * PER_GROUP + c * PER_GROUP + i] = sum[i][s];
            }
        }
    }
}

// Partial sums [gridDim.y, c_out * PER_GROUP * K * K] of dw over `rows_per_block` map rows each; thread row ky has one kernel row.
template <int K, int PER_GROUP>
__device__ void weight_gradient(const float *x, const float *dy, float *partial, int height, int width, int c_out,
                                int rows_per_block) {
    int c = blockIdx.x * blockDim.x + threadIdx.x, ky = threadIdx.y;
    if (c >= c_out) return;
    int last = min((int)(blockIdx.y + 1) * rows_per_block, height);
    for (int i = 0; i < PER_GROUP; i++) {
        float sum[K];
#pragma unroll
        for (int kx = 0; kx < K; kx++) sum[kx] = 0.0f;
        for (int row = blockIdx.y * rows_per_block; row < last; row++) {
            int from = row + ky - K / 2;
            if (from < 0 || from >= height) continue;
            const float *line = x + (uint64_t)from * width * c_out * PER_GROUP + c * PER_GROUP + i;
            float window[K];
#pragma unroll
            for (int kx = 0; kx < K; kx++) {
                int column = kx - K / 2 - 1;
                window[kx] = column >= 0 && column < width ? line[(uint64_t)column * c_out * PER_GROUP] : 0.0f;
            }
#pragma unroll 4
            for (int column = 0; column < width; column++) {
#pragma unroll
                for (int kx = 0; kx + 1 < K; kx++) window[kx] = window[kx + 1];
                int next = column + K / 2;
                window[K - 1] = next < width ? line[(uint64_t)next * c_out * PER_GROUP] : 0.0f;
                float g = dy[((uint64_t)row * width + column) * c_out + c];
#pragma unroll
                for (int kx = 0; kx < K; kx++) sum[kx] += g * window[kx];
            }
        }
        float *to = partial + (uint64_t)blockIdx.y * c_out * PER_GROUP * K * K;
#pragma unroll
        for (int kx = 0; kx < K; kx++) to[((c * PER_GROUP + i) * K + ky) * K + kx] = sum[kx];
    }
}

#define CONV(K, PER_GROUP)                                                                                             \
    extern "C" __global__ void conv_##K##_##PER_GROUP(const float *x, const float *w, const float *bias, float *y,     \
                                                      int height, int width, int c_out) {                             \
        forward<K, PER_GROUP>(x, w, bias, y, height, width, c_out);                                                    \
    }                                                                                                                  \
    extern "C" __global__ void conv_input_gradient_##K##_##PER_GROUP(const float *dy, const float *w, float *dx,       \
                                                                     int height, int width, int c_out) {              \
        input_gradient<K, PER_GROUP>(dy, w, dx, height, width, c_out);                                                 \
    }                                                                                                                  \
    extern "C" __global__ void conv_weight_gradient_##K##_##PER_GROUP(const float *x, const float *dy, float *partial, \
                                                                      int height, int width, int c_out,               \
                                                                      int rows_per_block) {                            \
        weight_gradient<K, PER_GROUP>(x, dy, partial, height, width, c_out, rows_per_block);                           \
    }
CONV(1, 1)
CONV(3, 1)
CONV(5, 1)
CONV(7, 1)
CONV(1, 2)
CONV(3, 2)
CONV(5, 2)
CONV(7, 2)

// ---- several kernels in one ------------------------------------------------------------------------------------------

// Up to four kernels of odd sizes, the largest K x K, and their biases.
struct Branches {
    const float *weight[4];
    const float *bias[4];
    int size[4];
};

// Their sum, each in the middle of the largest, and the sum of their biases; with the identity added if asked for.
extern "C" __global__ void merge_kernels(const float *wa, const float *wb, const float *wc, const float *wd, const float *ba,
                                         const float *bb, const float *bc, const float *bd, int ka, int kb, int kc, int kd,
                                         float *weight, float *bias, int c_in, int c_out, int k, int identity) {
    const Branches branches{{wa, wb, wc, wd}, {ba, bb, bc, bd}, {ka, kb, kc, kd}};
    int i = blockIdx.x * blockDim.x + threadIdx.x;
    if (i < c_in * k * k) {
        int channel = i / (k * k), ky = i / k % k, kx = i % k;
        float sum = identity && ky == k / 2 && kx == k / 2 ? 1.0f : 0.0f;
        for (int branch = 0; branch < 4; branch++) {
            int size = branches.size[branch], margin = (k - size) / 2, y = ky - margin, x = kx - margin;
            if (size && y >= 0 && y < size && x >= 0 && x < size) {
                sum += branches.weight[branch][(channel * size + y) * size + x];
            }
        }
        weight[i] = sum;
    }
    if (i < c_out) {
        float sum = 0.0f;
        for (int branch = 0; branch < 4; branch++) {
            if (branches.size[branch]) sum += branches.bias[branch][i];
        }
        bias[i] = sum;
    }
}

// The gradients of up to four kernels and then of their biases, one after the other, from those of their sum.
extern "C" __global__ void split_kernel_gradients(const float *dweight, const float *dbias, float *to, int ka, int kb, int kc,
                                                  int kd, int c_in, int c_out, int k) {
    const int sizes[4] = {ka, kb, kc, kd};
    int i = blockIdx.x * blockDim.x + threadIdx.x, first = 0;
    for (int branch = 0; branch < 4; branch++) {
        int size = sizes[branch], n = c_in * size * size, margin = (k - size) / 2, at = i - first;
        if (at >= 0 && at < n) {
            int channel = at / (size * size), y = at / size % size + margin, x = at % size + margin;
            to[i] = dweight[(channel * k + y) * k + x];
        }
        first += n;
    }
    for (int branch = 0; branch < 4; branch++) {
        int n = sizes[branch] ? c_out : 0, at = i - first;
        if (at >= 0 && at < n) to[i] = dbias[at];
        first += n;
    }
}
