// Element-wise ops and column sums over row-major matrices [n, d].
#include "common.cuh"

// The column of element i of rows of `d`, by the short division where that will do.
__device__ __forceinline__ uint32_t column_of(uint64_t i, uint32_t d) {
    return i >> 32 ? (uint32_t)(i % d) : (uint32_t)i % d;
}

// ---- types ---------------------------------------------------------------------------------------------------------

extern "C" __global__ void to_bf16(const float *x, bf16 *y, uint64_t n) {
    uint64_t i = ((uint64_t)blockIdx.x * blockDim.x + threadIdx.x) * 4;
    if (i + 4 <= n) {
        store4(y + i, load4(x + i));
    } else {
        for (; i < n; i++) store(y + i, x[i]);
    }
}

// Up to six arrays one after the other: the weights of layers that are computed as one.
struct Parts {
    const float *from[6];
    uint32_t end[6];
};
template <typename To>
__device__ void gathered(const Parts &parts, To *to) {
    uint32_t first = (blockIdx.x * blockDim.x + threadIdx.x) * 4;
    if (first >= parts.end[5]) return;
    int part = 0;
    while (first >= parts.end[part]) part++;
    uint32_t start = part ? parts.end[part - 1] : 0;
    if (start % 4 == 0 && first + 4 <= parts.end[part]) {
        store4(to + first, load4(parts.from[part] + first - start));
        return;
    }
    for (uint32_t i = first; i < first + 4 && i < parts.end[5]; i++) {
        while (i >= parts.end[part]) part++;
        store(to + i, parts.from[part][i - (part ? parts.end[part - 1] : 0)]);
    }
}
#define GATHER(NAME, TO)                                                                                               \
    extern "C" __global__ void NAME(const float *a, const float *b, const float *c, const float *d, const float *e,    \
                                    const float *f, uint32_t to_a, uint32_t to_b, uint32_t to_c, uint32_t to_d,        \
                                    uint32_t to_e, uint32_t to_f, TO *to) {                                            \
        gathered(Parts{{a, b, c, d, e, f}, {to_a, to_b, to_c, to_d, to_e, to_f}}, to);                                 \
    }
GATHER(gather_f32, float)
GATHER(gather_bf16, bf16)

// ---- a vector added to every row before a linear layer ----------------------------------------------------------------

// W (x + e) + b = W x + (W e + b): the biases that hold the vector e, of three stacked layers [3 d, d]. A warp per output.
extern "C" __global__ void embedded_biases(const float *wa, const float *wb, const float *wc, const float *ba,
                                           const float *bb, const float *bc, const float *e, float *biases, uint32_t d) {
    uint32_t row = blockIdx.x * (blockDim.x / 32) + threadIdx.x / 32, lane = threadIdx.x % 32;
    if (row >= 3 * d) return;
    uint32_t layer = row / d, at = row % d;
    const float *w = (layer == 0 ? wa : layer == 1 ? wb : wc) + (uint64_t)at * d;
    const float *b = layer == 0 ? ba : layer == 1 ? bb : bc;
    float sum = 0.0f;
    for (uint32_t c = lane; c < d; c += 32) sum += w[c] * e[c];
    sum = warp_sum(sum);
    if (lane == 0) biases[row] = sum + b[at];
}

// dw += dbias e^T for the stacked layers.
extern "C" __global__ void embedded_weight_gradient(float *dw, const float *dbiases, const float *e, uint32_t d) {
    uint64_t i = (uint64_t)blockIdx.x * blockDim.x + threadIdx.x;
    if (i < 3ull * d * d) dw[i] += dbiases[i / d] * e[i % d];
}

// ---- bias and activation -------------------------------------------------------------------------------------------

enum Activation { IDENTITY = 0, RELU = 1, TANH = 2 };

__device__ __forceinline__ float activated(float y, int activation) {
    if (activation == RELU) return fmaxf(y, 0.0f);
    if (activation == TANH) return tanhf(y);
    return y;
}

// y = activation(y + bias), in place.
template <typename T>
__device__ void bias_activation(T *y, const float *bias, uint64_t n_elements, uint32_t d, int activation) {
    uint64_t stride = (uint64_t)gridDim.x * blockDim.x * 4;
    for (uint64_t i = ((uint64_t)blockIdx.x * blockDim.x + threadIdx.x) * 4; i < n_elements; i += stride) {
        if (d % 4 == 0) {
            uint32_t column = column_of(i, d);
            float4 v = load4(y + i), b = load4(bias + column);
            v.x = activated(v.x + b.x, activation);
            v.y = activated(v.y + b.y, activation);
            v.z = activated(v.z + b.z, activation);
            v.w = activated(v.w + b.w, activation);
            store4(y + i, v);
        } else {
            for (uint64_t e = i; e < i + 4 && e < n_elements; e++) {
                store(y + e, activated(load(y + e) + bias[e % d], activation));
            }
        }
    }
}
extern "C" __global__ void bias_activation_f32(float *y, const float *bias, uint64_t n, uint32_t d, int activation) {
    bias_activation(y, bias, n, d, activation);
}
extern "C" __global__ void bias_activation_bf16(bf16 *y, const float *bias, uint64_t n, uint32_t d, int activation) {
    bias_activation(y, bias, n, d, activation);
}

// y += the biases of three layers of d channels each, side by side.
template <typename T>
__device__ void add_three_biases(T *y, const float *a, const float *b, const float *c, uint64_t n_elements, uint32_t d) {
    uint64_t stride = (uint64_t)gridDim.x * blockDim.x * 4;
    for (uint64_t i = ((uint64_t)blockIdx.x * blockDim.x + threadIdx.x) * 4; i < n_elements; i += stride) {
        if (d % 4 == 0) {
            uint32_t column = column_of(i, 3 * d), layer = column / d;
            float4 v = load4(y + i), bias = load4((layer == 0 ? a : layer == 1 ? b : c) + column - layer * d);
            store4(y + i, make_float4(v.x + bias.x, v.y + bias.y, v.z + bias.z, v.w + bias.w));
            continue;
        }
        for (uint64_t at = i; at < i + 4 && at < n_elements; at++) {
            uint32_t column = column_of(at, 3 * d), layer = column / d;
            const float *bias = layer == 0 ? a : layer == 1 ? b : c;
            store(y + at, load(y + at) + bias[column - layer * d]);
        }
    }
}
extern "C" __global__ void add_three_biases_f32(float *y, const float *a, const float *b, const float *c, uint64_t n,
                                                uint32_t d) {
    add_three_biases(y, a, b, c, n, d);
}
extern "C" __global__ void add_three_biases_bf16(bf16 *y, const float *a, const float *b, const float *c, uint64_t n,
                                                 uint32_t d) {
    add_three_biases(y, a, b, c, n, d);
}

// ---- gradients of rows ---------------------------------------------------------------------------------------------

// Sums over columns are made in two steps of fixed order: partial sums of `rows_per_block` rows each, [gridDim.y, d], and their sum.
// A block is 32 columns by 8 rows at a time.
struct ColumnSum {
    float sum;
    __device__ ColumnSum() : sum(0.0f) {}
    __device__ void write(float *partial, uint32_t column, uint32_t d) {
        __shared__ float rows[8][33];
        rows[threadIdx.y][threadIdx.x] = sum;
        __syncthreads();
        if (threadIdx.y == 0) {
            float total = 0.0f;
            for (int row = 0; row < 8; row++) total += rows[row][threadIdx.x];
            if (column < d) partial[(uint64_t)blockIdx.y * d + column] = total;
        }
    }
};

// g = the gradient before dropout and activation; written as T where `to` is not null. `y` is the activation's output.
template <typename From, typename To>
__device__ void row_gradient(const From *grad, const float *y, To *to, float *partial, uint32_t n, uint32_t d,
                             uint32_t rows_per_block, int activation, Mask mask) {
    uint32_t column = blockIdx.x * 32 + threadIdx.x;
    uint32_t first = blockIdx.y * rows_per_block;
    uint32_t last = min(first + rows_per_block, n);
    ColumnSum column_sum;
    if (column < d) {
        for (uint32_t row = first + threadIdx.y; row < last; row += 8) {
            uint64_t i = (uint64_t)row * d + column;
            float g = load(grad + i);
            if (activation == RELU) g = y[i] > 0.0f ? g : 0.0f;
            if (activation == TANH) g *= 1.0f - y[i] * y[i];
            g = masked(mask, i, g);
            column_sum.sum += g;
            if (to) store(to + i, g);
        }
    }
    column_sum.write(partial, column, d);
}
#define ROW_GRADIENT(NAME, FROM, TO)                                                                                   \
    extern "C" __global__ void NAME(const FROM *grad, const float *y, TO *to, float *partial, uint32_t n, uint32_t d,  \
                                    uint32_t rows_per_block, int activation, uint64_t key, uint64_t limit,             \
                                    float kept) {                                                                      \
        row_gradient(grad, y, to, partial, n, d, rows_per_block, activation, Mask{key, limit, kept});                  \
    }
ROW_GRADIENT(row_gradient_f32_f32, float, float)
ROW_GRADIENT(row_gradient_f32_bf16, float, bf16)
ROW_GRADIENT(row_gradient_bf16_bf16, bf16, bf16)

// The sum of `n_partial` rows of `d`; added to what is there, or in its place.
extern "C" __global__ void sum_partial(const float *partial, float *total, uint32_t n_partial, uint32_t d, int adds) {
    uint32_t column = blockIdx.x * 32 + threadIdx.x;
    ColumnSum column_sum;
    if (column < d) {
        for (uint32_t row = threadIdx.y; row < n_partial; row += 8) {
            column_sum.sum += partial[(uint64_t)row * d + column];
        }
        if (adds && threadIdx.y == 0) column_sum.sum += total[column];
    }
    column_sum.write(total, column, d);
}

// ---- GELU ----------------------------------------------------------------------------------------------------------

__device__ __forceinline__ float gelu(float x) { return 0.5f * x * (1.0f + erff(x * 0.70710678118654752f)); }

__device__ __forceinline__ float gelu_slope(float x) {
    float density = 0.39894228040143268f * expf(-0.5f * x * x);
    return 0.5f * (1.0f + erff(x * 0.70710678118654752f)) + x * density;
}

// h = mask(gelu(z + bias)). Without a bias, z holds it already.
template <typename T>
__device__ void gelu_forward(const T *z, const float *bias, T *h, uint64_t n_elements, uint32_t d, Mask mask) {
    uint64_t stride = (uint64_t)gridDim.x * blockDim.x * 4;
    for (uint64_t i = ((uint64_t)blockIdx.x * blockDim.x + threadIdx.x) * 4; i < n_elements; i += stride) {
        if (n_elements % 4 == 0 && d % 4 == 0) {
            float4 v = load4(z + i);
            float4 b = bias ? load4(bias + column_of(i, d)) : make_float4(0.0f, 0.0f, 0.0f, 0.0f);
            v.x = masked(mask, i, gelu(v.x + b.x));
            v.y = masked(mask, i + 1, gelu(v.y + b.y));
            v.z = masked(mask, i + 2, gelu(v.z + b.z));
            v.w = masked(mask, i + 3, gelu(v.w + b.w));
            store4(h + i, v);
        } else {
            for (uint64_t e = i; e < i + 4 && e < n_elements; e++) {
                store(h + e, masked(mask, e, gelu(load(z + e) + (bias ? bias[e % d] : 0.0f))));
            }
        }
    }
}
#define GELU_FORWARD(NAME, T)                                                                                          \
    extern "C" __global__ void NAME(const T *z, const float *bias, T *h, uint64_t n, uint32_t d, uint64_t key,         \
                                    uint64_t limit, float kept) {                                                      \
        gelu_forward(z, bias, h, n, d, Mask{key, limit, kept});                                                        \
    }
GELU_FORWARD(gelu_f32, float)
GELU_FORWARD(gelu_bf16, bf16)

// dz from dh, in place, and partial sums of its columns (see row_gradient).
template <typename T>
__device__ void gelu_backward(const T *z, const float *bias, T *dh, float *partial, uint32_t n, uint32_t d,
                              uint32_t rows_per_block, Mask mask) {
    uint32_t column = blockIdx.x * 32 + threadIdx.x;
    uint32_t first = blockIdx.y * rows_per_block;
    uint32_t last = min(first + rows_per_block, n);
    ColumnSum column_sum;
    if (column < d) {
        float b = bias ? bias[column] : 0.0f;
        for (uint32_t row = first + threadIdx.y; row < last; row += 8) {
            uint64_t i = (uint64_t)row * d + column;
            float g = masked(mask, i, load(dh + i)) * gelu_slope(load(z + i) + b);
            column_sum.sum += g;
            store(dh + i, g);
        }
    }
    column_sum.write(partial, column, d);
}
#define GELU_BACKWARD(NAME, T)                                                                                         \
    extern "C" __global__ void NAME(const T *z, const float *bias, T *dh, float *partial, uint32_t n, uint32_t d,      \
                                    uint32_t rows_per_block, uint64_t key, uint64_t limit, float kept) {               \
        gelu_backward(z, bias, dh, partial, n, d, rows_per_block, Mask{key, limit, kept});                             \
    }
GELU_BACKWARD(gelu_backward_f32, float)
GELU_BACKWARD(gelu_backward_bf16, bf16)

// ---- ends of sub-layers --------------------------------------------------------------------------------------------

// out = base + mask(y + bias). Base and bias may be null.
template <typename T>
__device__ void add_masked(const float *base, const T *y, const float *bias, float *out, uint64_t n_elements, uint32_t d,
                           Mask mask) {
    uint64_t stride = (uint64_t)gridDim.x * blockDim.x * 4;
    for (uint64_t i = ((uint64_t)blockIdx.x * blockDim.x + threadIdx.x) * 4; i < n_elements; i += stride) {
        if (n_elements % 4 == 0 && d % 4 == 0) {
            float4 v = load4(y + i), o = base ? load4(base + i) : make_float4(0.0f, 0.0f, 0.0f, 0.0f);
            float4 b = bias ? load4(bias + column_of(i, d)) : make_float4(0.0f, 0.0f, 0.0f, 0.0f);
            v.x = o.x + masked(mask, i, v.x + b.x);
            v.y = o.y + masked(mask, i + 1, v.y + b.y);
            v.z = o.z + masked(mask, i + 2, v.z + b.z);
            v.w = o.w + masked(mask, i + 3, v.w + b.w);
            store4(out + i, v);
        } else {
            for (uint64_t e = i; e < i + 4 && e < n_elements; e++) {
                float v = load(y + e) + (bias ? bias[e % d] : 0.0f);
                out[e] = (base ? base[e] : 0.0f) + masked(mask, e, v);
            }
        }
    }
}
#define ADD_MASKED(NAME, T)                                                                                            \
    extern "C" __global__ void NAME(const float *base, const T *y, const float *bias, float *out, uint64_t n,          \
                                    uint32_t d, uint64_t key, uint64_t limit, float kept) {                            \
        add_masked(base, y, bias, out, n, d, Mask{key, limit, kept});                                                  \
    }
ADD_MASKED(add_masked_f32, float)
ADD_MASKED(add_masked_bf16, bf16)

// ---- sums of maps -----------------------------------------------------------------------------------------------------

// y = w[0] a + w[1] b + w[2] c + bias[0], element by element.
extern "C" __global__ void mix_three(const float *a, const float *b, const float *c, const float *w, const float *bias,
                                     float *y, uint64_t n) {
    uint64_t stride = (uint64_t)gridDim.x * blockDim.x;
    float wa = w[0], wb = w[1], wc = w[2], constant = bias[0];
    for (uint64_t i = (uint64_t)blockIdx.x * blockDim.x + threadIdx.x; i < n; i += stride) {
        y[i] = wa * a[i] + wb * b[i] + wc * c[i] + constant;
    }
}

// The gradients of the maps, and partial sums [gridDim.x, 4] of those of the weights and the bias.
extern "C" __global__ void mix_three_backward(const float *a, const float *b, const float *c, const float *w,
                                              const float *dy, float *da, float *db, float *dc, float *partial,
                                              uint64_t n) {
    uint64_t stride = (uint64_t)gridDim.x * blockDim.x;
    float wa = w[0], wb = w[1], wc = w[2], sum[4] = {0.0f, 0.0f, 0.0f, 0.0f};
    for (uint64_t i = (uint64_t)blockIdx.x * blockDim.x + threadIdx.x; i < n; i += stride) {
        float g = dy[i];
        da[i] = wa * g;
        db[i] = wb * g;
        dc[i] = wc * g;
        sum[0] += g * a[i];
        sum[1] += g * b[i];
        sum[2] += g * c[i];
        sum[3] += g;
    }
    __shared__ float warps[8][4];
    for (int which = 0; which < 4; which++) {
        float total = warp_sum(sum[which]);
        if (threadIdx.x % 32 == 0) warps[threadIdx.x / 32][which] = total;
    }
    __syncthreads();
    if (threadIdx.x < 4) {
        float total = 0.0f;
        for (int warp = 0; warp < 8; warp++) total += warps[warp][threadIdx.x];
        partial[blockIdx.x * 4 + threadIdx.x] = total;
    }
}

// Rows 0 .. n of the gradient of a sequence whose first rows are repeated at its end: what came to both is added.
extern "C" __global__ void fold_repeated(const float *dy, float *dx, uint64_t n, uint64_t n_repeated) {
    uint64_t i = ((uint64_t)blockIdx.x * blockDim.x + threadIdx.x) * 4;
    for (uint64_t e = i; e < i + 4 && e < n; e++) dx[e] = dy[e] + (e < n_repeated ? dy[n + e] : 0.0f);
}
