// Attention of a single query: what a class token sees. Keys are read once, split over blocks; f32 sums in a fixed order.
//
// Key j of head h is columns h width .. of row j of `k`, its value the same columns of `v`, both rows of `stride` elements.
#include "common.cuh"

#define LOG2_E 1.4426950408889634f
#define WARPS 8
// Columns that a lane holds: heads of up to 256 channels.
#define HELD 8
// Parts whose weights lie in shared memory at a time.
#define PARTS 256

struct Shape {
    int m, n_heads, width;
    float scale;
    uint32_t n_queries;
};

__device__ __forceinline__ float weight_factor(const Mask &mask, const Shape &shape, int head, int key) {
    if (mask.limit == 0) return 1.0f;
    return split_mix(mask.key ^ ((uint64_t)head * shape.n_queries * shape.m + key)) < mask.limit ? 0.0f : mask.kept;
}

template <typename T>
__device__ __forceinline__ void load_row(float (&row)[HELD], const T *from, int width) {
    const int lane = threadIdx.x % 32;
#pragma unroll
    for (int c = 0; c < HELD; c++) row[c] = c * 32 + lane < width ? load(from + c * 32 + lane) : 0.0f;
}

__device__ __forceinline__ float product(const float (&a)[HELD], const float (&b)[HELD]) {
    float sum = 0.0f;
#pragma unroll
    for (int c = 0; c < HELD; c++) sum = fmaf(a[c], b[c], sum);
    return warp_sum(sum);
}

// Per block and head: highest score, sum of weights and weighted sum of values, [gridDim.x, n_heads, 2 + width].
template <typename T>
__device__ void forward(const float *q, const T *k, const T *v, uint64_t stride, float *parts, const Shape &shape,
                        const Mask &mask, int keys_per_block) {
    const int head = blockIdx.y, lane = threadIdx.x % 32, warp = threadIdx.x / 32, width = shape.width;
    float query[HELD], o[HELD];
    load_row(query, q + head * width, width);
#pragma unroll
    for (int c = 0; c < HELD; c++) o[c] = 0.0f;
    float highest = -INFINITY, sum = 0.0f;
    const int first = blockIdx.x * keys_per_block, last = min(first + keys_per_block, shape.m);
    for (int key = first + warp; key < last; key += WARPS) {
        float row[HELD];
        load_row(row, k + (uint64_t)key * stride + head * width, width);
        const float s = product(query, row) * (shape.scale * LOG2_E), top = fmaxf(highest, s);
        const float shrink = exp2f(highest - top), p = exp2f(s - top);
        const float weight = p * weight_factor(mask, shape, head, key);
        load_row(row, v + (uint64_t)key * stride + head * width, width);
        highest = top;
        sum = sum * shrink + p;
#pragma unroll
        for (int c = 0; c < HELD; c++) o[c] = o[c] * shrink + weight * row[c];
    }
    __shared__ float tops[WARPS], sums[WARPS], rows[WARPS][HELD * 32];
    if (lane == 0) {
        tops[warp] = highest;
        sums[warp] = sum;
    }
#pragma unroll
    for (int c = 0; c < HELD; c++) rows[warp][c * 32 + lane] = o[c];
    __syncthreads();
    float top = -INFINITY;
    for (int w = 0; w < WARPS; w++) top = fmaxf(top, tops[w]);
    float *part = parts + ((uint64_t)blockIdx.x * shape.n_heads + head) * (2 + width);
    for (int c = threadIdx.x; c < width; c += WARPS * 32) {
        float total = 0.0f;
        for (int w = 0; w < WARPS; w++) {
            if (sums[w] > 0.0f) total += exp2f(tops[w] - top) * rows[w][c];
        }
        part[2 + c] = total;
    }
    if (threadIdx.x == 0) {
        float total = 0.0f;
        for (int w = 0; w < WARPS; w++) {
            if (sums[w] > 0.0f) total += exp2f(tops[w] - top) * sums[w];
        }
        part[0] = top;
        part[1] = total;
    }
}

// The output [n_heads, width] and log-sum-exp (base 2) from the parts of all blocks; a block of 128 threads per head.
extern "C" __global__ void attention_one_combine(const float *parts, float *out, float *log_sum_exp, int n_parts,
                                                 int n_heads, int width) {
    const int head = blockIdx.x, lane = threadIdx.x % 32, warp = threadIdx.x / 32;
    const uint64_t stride = (uint64_t)n_heads * (2 + width);
    parts += (uint64_t)head * (2 + width);
    __shared__ float tops[4], sums[4], weights[PARTS];
    float top = -INFINITY;
    for (int p = threadIdx.x; p < n_parts; p += 128) top = fmaxf(top, parts[p * stride]);
    top = warp_max(top);
    if (lane == 0) tops[warp] = top;
    __syncthreads();
    top = fmaxf(fmaxf(tops[0], tops[1]), fmaxf(tops[2], tops[3]));
    float sum = 0.0f, total[2] = {0.0f, 0.0f};
    for (int first = 0; first < n_parts; first += PARTS) {
        __syncthreads();
        for (int p = threadIdx.x; p < PARTS && first + p < n_parts; p += 128) {
            weights[p] = exp2f(parts[(first + p) * stride] - top);
            sum += weights[p] * parts[(first + p) * stride + 1];
        }
        __syncthreads();
        const int n = min(PARTS, n_parts - first);
#pragma unroll 8
        for (int p = 0; p < n; p++) {
            const float *part = parts + (first + p) * stride + 2;
            if (threadIdx.x < width) total[0] += weights[p] * part[threadIdx.x];
            if (threadIdx.x + 128 < width) total[1] += weights[p] * part[threadIdx.x + 128];
        }
    }
    sum = warp_sum(sum);
    if (lane == 0) sums[warp] = sum;
    __syncthreads();
    sum = sums[0] + sums[1] + sums[2] + sums[3];
    if (threadIdx.x < width) out[head * width + threadIdx.x] = total[0] / sum;
    if (threadIdx.x + 128 < width) out[head * width + threadIdx.x + 128] = total[1] / sum;
    if (threadIdx.x == 0) log_sum_exp[head] = top + log2f(sum);
}

// Gradients of keys and values, and partial sums [gridDim.x, n_heads * width] of the query's.
template <typename T>
__device__ void backward(const float *q, const T *k, const T *v, uint64_t stride, const float *out, const float *dout,
                         const float *log_sum_exp, T *dk, T *dv, uint64_t dstride, float *partial, const Shape &shape,
                         const Mask &mask, int keys_per_block) {
    const int head = blockIdx.y, lane = threadIdx.x % 32, warp = threadIdx.x / 32, width = shape.width;
    float query[HELD], gradient[HELD], row[HELD], dq[HELD];
    load_row(query, q + head * width, width);
    load_row(gradient, dout + head * width, width);
    load_row(row, out + head * width, width);
    const float delta = product(gradient, row), lse = log_sum_exp[head];
#pragma unroll
    for (int c = 0; c < HELD; c++) dq[c] = 0.0f;
    const int first = blockIdx.x * keys_per_block, last = min(first + keys_per_block, shape.m);
    for (int key = first + warp; key < last; key += WARPS) {
        float values[HELD];
        load_row(row, k + (uint64_t)key * stride + head * width, width);
        load_row(values, v + (uint64_t)key * stride + head * width, width);
        const float p = exp2f(product(query, row) * (shape.scale * LOG2_E) - lse);
        const float factor = weight_factor(mask, shape, head, key);
        const float ds = p * (product(gradient, values) * factor - delta) * shape.scale;
#pragma unroll
        for (int c = 0; c < HELD; c++) {
            dq[c] = fmaf(ds, row[c], dq[c]);
            if (c * 32 + lane < width) {
                const uint64_t to = (uint64_t)key * dstride + head * width + c * 32 + lane;
                store(dk + to, ds * query[c]);
                store(dv + to, p * factor * gradient[c]);
            }
        }
    }
    __shared__ float rows[WARPS][HELD * 32];
#pragma unroll
    for (int c = 0; c < HELD; c++) rows[warp][c * 32 + lane] = dq[c];
    __syncthreads();
    for (int c = threadIdx.x; c < width; c += WARPS * 32) {
        float total = 0.0f;
        for (int w = 0; w < WARPS; w++) total += rows[w][c];
        partial[((uint64_t)blockIdx.x * shape.n_heads + head) * width + c] = total;
    }
}

#define ATTENTION_ONE(NAME, T)                                                                                         \
    extern "C" __global__ void __launch_bounds__(256)                                                                  \
        attention_one_##NAME(const float *q, const T *k, const T *v, uint64_t stride, float *parts, int m,             \
                             int n_heads, int width, float scale, uint32_t n_queries, uint64_t key, uint64_t limit,    \
                             float kept, int keys_per_block) {                                                         \
        forward(q, k, v, stride, parts, Shape{m, n_heads, width, scale, n_queries}, Mask{key, limit, kept},            \
                keys_per_block);                                                                                       \
    }                                                                                                                  \
    extern "C" __global__ void __launch_bounds__(256)                                                                  \
        attention_one_backward_##NAME(const float *q, const T *k, const T *v, uint64_t stride, const float *out,       \
                                      const float *dout, const float *log_sum_exp, T *dk, T *dv, uint64_t dstride,     \
                                      float *partial, int m, int n_heads, int width, float scale, uint32_t n_queries,  \
                                      uint64_t key, uint64_t limit, float kept, int keys_per_block) {                  \
        backward(q, k, v, stride, out, dout, log_sum_exp, dk, dv, dstride, partial,                                    \
                 Shape{m, n_heads, width, scale, n_queries}, Mask{key, limit, kept}, keys_per_block);                  \
    }
ATTENTION_ONE(f32, float)
ATTENTION_ONE(bf16, bf16)
