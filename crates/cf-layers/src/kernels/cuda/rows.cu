// Element-wise ops and column sums over row-major matrices [n, d].
#include "common.cuh"

// The column of element i of rows of `d`, by the short division where that will do.
__device__ __forceinline__ uint32_t column_of(uint64_t i, uint32_t d) {
    return i >> 32 ? (uint32_t)(i % d) : (uint32_t)i % d;
}

// ---- types ---------------------------------------------------------------------------------------------------------

extern "C" __global__ void to_bf16(const float *x, bf16 *y, uint64_t n) {
    uint64_t i = ((uint64_t)blockIdx.x * blockDim.x + threadIdx.x) * 4;
    if (i + 4 <= n && begins_at_four(x)) {
        store4(y + i, load4(x + i));
    } else {
        for (uint64_t e = i; e < i + 4 && e < n; e++) store(y + e, x[e]);
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
    for (uint32_t i = first; i < first + 4 && i < parts.end[5];) {
        // The part of element i, by comparisons: an index that is not known at compile time would move the struct to memory.
        const float *from = parts.from[0];
        uint32_t start = 0, end = parts.end[0];
#pragma unroll
        for (int part = 1; part < 6; part++) {
            if (i >= parts.end[part - 1]) {
                from = parts.from[part];
                start = parts.end[part - 1];
                end = parts.end[part];
            }
        }
        if (i == first && start % 4 == 0 && i + 4 <= end && begins_at_four(from)) {
            store4(to + i, load4(from + i - start));
            return;
        }
        store(to + i, from[i - start]);
        i++;
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

// W (x + e) + b = W x + (W e + b): the biases that hold the vector e, of three stacked layers [3 d, d]. Those of the second, keys, are 0:
// softmax does not see what all keys share. A warp per output.
template <typename W>
__device__ void embedded_biases(const W *queries, const W *values, const float *query_bias, const float *value_bias, const float *e,
                                float *biases, uint32_t d) {
    uint32_t row = blockIdx.x * (blockDim.x / 32) + threadIdx.x / 32, lane = threadIdx.x % 32;
    if (row >= 3 * d) return;
    uint32_t layer = row / d, at = row % d;
    float sum = 0.0f;
    if (layer != 1) {
        const W *w = (layer == 0 ? queries : values) + (uint64_t)at * d;
        for (uint32_t c = lane; c < d; c += 32) sum += load(w + c) * e[c];
        sum = warp_sum(sum) + (layer == 0 ? query_bias : value_bias)[at];
    }
    if (lane == 0) biases[row] = sum;
}
#define EMBEDDED_BIASES(NAME, W)                                                                                       \
    extern "C" __global__ void NAME(const W *queries, const W *values, const float *query_bias,                        \
                                    const float *value_bias, const float *e, float *biases, uint32_t d) {              \
        embedded_biases(queries, values, query_bias, value_bias, e, biases, d);                                        \
    }
EMBEDDED_BIASES(embedded_biases_f32, float)
EMBEDDED_BIASES(embedded_biases_bf16, bf16)

// dw += dbias e^T for the stacked layers.
extern "C" __global__ void embedded_weight_gradient(float *dw, const float *dbiases, const float *e, uint32_t d) {
    uint64_t i = (uint64_t)blockIdx.x * blockDim.x + threadIdx.x;
    if (i < 3ull * d * d) dw[i] += dbiases[i / d] * e[i % d];
}

// ---- bias and activation -------------------------------------------------------------------------------------------

enum Activation { IDENTITY = 0, RELU = 1, TANH = 2 };

__device__ __forceinline__ float activated(float y, int activation) {
    // Not fmaxf, which turns NaN into 0.
    if (activation == RELU) return y < 0.0f ? 0.0f : y;
    if (activation == TANH) return tanhf(y);
    return y;
}

// y = activation(y + bias), in place.
template <typename T>
__device__ void bias_activation(T *y, const float *bias, uint64_t n_elements, uint32_t d, int activation) {
    uint64_t stride = (uint64_t)gridDim.x * blockDim.x * 4;
    for (uint64_t i = ((uint64_t)blockIdx.x * blockDim.x + threadIdx.x) * 4; i < n_elements; i += stride) {
        if (d % 4 == 0 && begins_at_four(bias)) {
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

// y += the biases of the first and the last of three layers of d channels each, side by side: queries, keys and values.
template <typename T>
__device__ void add_outer_biases(T *y, const float *first, const float *last, uint64_t n_elements, uint32_t d) {
    uint64_t stride = (uint64_t)gridDim.x * blockDim.x * 4;
    for (uint64_t i = ((uint64_t)blockIdx.x * blockDim.x + threadIdx.x) * 4; i < n_elements; i += stride) {
        if (d % 4 == 0 && begins_at_four(first) && begins_at_four(last)) {
            uint32_t column = column_of(i, 3 * d), layer = column / d;
            if (layer == 1) continue;
            float4 v = load4(y + i), bias = load4((layer == 0 ? first : last) + column - layer * d);
            store4(y + i, make_float4(v.x + bias.x, v.y + bias.y, v.z + bias.z, v.w + bias.w));
            continue;
        }
        for (uint64_t at = i; at < i + 4 && at < n_elements; at++) {
            uint32_t column = column_of(at, 3 * d), layer = column / d;
            if (layer == 1) continue;
            store(y + at, load(y + at) + (layer == 0 ? first : last)[column - layer * d]);
        }
    }
}
extern "C" __global__ void add_outer_biases_f32(float *y, const float *first, const float *last, uint64_t n, uint32_t d) {
    add_outer_biases(y, first, last, n, d);
}
extern "C" __global__ void add_outer_biases_bf16(bf16 *y, const float *first, const float *last, uint64_t n, uint32_t d) {
    add_outer_biases(y, first, last, n, d);
}

// ---- gradients of rows ---------------------------------------------------------------------------------------------

// Sums over columns are made in two steps of fixed order: partial sums of `rows_per_block` rows each, [gridDim.y, d], and their sum.
// A block is 32 threads of four columns by 8 rows at a time. `what(row, column, i)` is what is summed of element i.
template <typename What>
__device__ __forceinline__ void column_sums(float *partial, uint32_t n, uint32_t d, uint32_t rows_per_block, What what) {
    __shared__ float rows[8][132];
    uint32_t column = (blockIdx.x * 32 + threadIdx.x) * 4;
    uint32_t first = blockIdx.y * rows_per_block, last = min(first + rows_per_block, n);
    float sum[4] = {0.0f, 0.0f, 0.0f, 0.0f};
    if (column < d) {
#pragma unroll 2
        for (uint32_t row = first + threadIdx.y; row < last; row += 8) {
            float4 four = what(column, (uint64_t)row * d + column, min(d - column, 4u));
            sum[0] += four.x;
            sum[1] += four.y;
            sum[2] += four.z;
            sum[3] += four.w;
        }
    }
    for (int e = 0; e < 4; e++) rows[threadIdx.y][threadIdx.x * 4 + e] = sum[e];
    __syncthreads();
    if (threadIdx.y < 4) {
        uint32_t at = threadIdx.y * 32 + threadIdx.x, of = blockIdx.x * 128 + at;
        float total = 0.0f;
        for (int row = 0; row < 8; row++) total += rows[row][at];
        if (of < d) partial[(uint64_t)blockIdx.y * d + of] = total;
    }
}

// Up to four elements from i on, i a multiple of four in its row; four at once where all rows begin at multiples of four.
template <typename T>
__device__ __forceinline__ float4 load_some(const T *from, uint64_t i, uint32_t count, uint32_t d) {
    if (d % 4 == 0 && begins_at_four(from)) return load4(from + i);
    return make_float4(load(from + i), count > 1 ? load(from + i + 1) : 0.0f, count > 2 ? load(from + i + 2) : 0.0f,
                       count > 3 ? load(from + i + 3) : 0.0f);
}
template <typename T>
__device__ __forceinline__ void store_some(T *to, uint64_t i, float4 v, uint32_t count, uint32_t d) {
    if (d % 4 == 0 && begins_at_four(to)) {
        store4(to + i, v);
        return;
    }
    store(to + i, v.x);
    if (count > 1) store(to + i + 1, v.y);
    if (count > 2) store(to + i + 2, v.z);
    if (count > 3) store(to + i + 3, v.w);
}

__device__ __forceinline__ float before_activation(float g, float y, int activation) {
    if (activation == RELU) return y <= 0.0f ? 0.0f : g;
    if (activation == TANH) return g * (1.0f - y * y);
    return g;
}

// g = the gradient before dropout and activation; written as T where `to` is not null. `y` is the activation's output.
template <typename From, typename To>
__device__ void row_gradient(const From *grad, const float *y, To *to, float *partial, uint32_t n, uint32_t d,
                             uint32_t rows_per_block, int activation, Mask mask) {
    column_sums(partial, n, d, rows_per_block, [=](uint32_t, uint64_t i, uint32_t count) {
        float4 g = load_some(grad, i, count, d);
        if (activation != IDENTITY) {
            float4 out = load_some(y, i, count, d);
            g = make_float4(before_activation(g.x, out.x, activation), before_activation(g.y, out.y, activation),
                            before_activation(g.z, out.z, activation), before_activation(g.w, out.w, activation));
        }
        g = make_float4(masked(mask, i, g.x), masked(mask, i + 1, g.y), masked(mask, i + 2, g.z), masked(mask, i + 3, g.w));
        if (to) store_some(to, i, g, count, d);
        return g;
    });
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

// ReLU of an array, and the gradient before it from its output and the gradient of that.
extern "C" __global__ void relu(const float *x, float *y, uint64_t n) {
    uint64_t stride = (uint64_t)gridDim.x * blockDim.x;
    for (uint64_t i = (uint64_t)blockIdx.x * blockDim.x + threadIdx.x; i < n; i += stride) y[i] = activated(x[i], RELU);
}
extern "C" __global__ void relu_gradient(const float *y, const float *dy, float *dx, uint64_t n) {
    uint64_t stride = (uint64_t)gridDim.x * blockDim.x;
    for (uint64_t i = (uint64_t)blockIdx.x * blockDim.x + threadIdx.x; i < n; i += stride) {
        dx[i] = before_activation(dy[i], y[i], RELU);
    }
}

// The sum of `n_partial` rows of `d`. A block is 32 columns by 8 rows at a time.
extern "C" __global__ void sum_partial(const float *partial, float *total, uint32_t n_partial, uint32_t d) {
    __shared__ float rows[8][33];
    uint32_t column = blockIdx.x * 32 + threadIdx.x;
    float sum = 0.0f;
    if (column < d) {
        for (uint32_t first = threadIdx.y; first < n_partial; first += 64) {
            // Eight loads at a time; a sum that waits for each would take eight times as long.
            float some[8];
#pragma unroll
            for (int i = 0; i < 8; i++) {
                uint32_t row = first + 8 * i;
                some[i] = row < n_partial ? partial[(uint64_t)row * d + column] : 0.0f;
            }
#pragma unroll
            for (int i = 0; i < 8; i++) sum += some[i];
        }
    }
    rows[threadIdx.y][threadIdx.x] = sum;
    __syncthreads();
    if (threadIdx.y == 0 && column < d) {
        float all = 0.0f;
        for (int row = 0; row < 8; row++) all += rows[row][threadIdx.x];
        total[column] = all;
    }
}

// ---- GELU ----------------------------------------------------------------------------------------------------------

// The normal distribution function of x, and its derivative.
template <typename T>
struct Normal {
    float below, density;
    __device__ __forceinline__ Normal(float x) {
        below = 0.5f * (1.0f + erff(x * 0.70710678118654752f));
        density = 0.39894228040143268f * expf(-0.5f * x * x);
    }
};
// Where what comes of it is rounded to bf16: to 1e-6, by one exponential (Abramowitz and Stegun, 1964, 7.1.26).
template <>
struct Normal<bf16> {
    float below, density;
    __device__ __forceinline__ Normal(float x) {
        float power = __expf(-0.5f * x * x), t = __fdividef(1.0f, 1.0f + 0.2316418883f * fabsf(x));
        float tail = t * (0.127414796f + t * (-0.142248368f + t * (0.710706871f + t * (-0.726576014f + t * 0.530702715f))));
        tail *= power;
        below = x < 0.0f ? tail : 1.0f - tail;
        density = 0.39894228040143268f * power;
    }
};

template <typename T>
__device__ __forceinline__ float gelu(float x) {
    return x * Normal<T>(x).below;
}
template <typename T>
__device__ __forceinline__ float gelu_slope(float x) {
    Normal<T> normal(x);
    return normal.below + x * normal.density;
}

// h = mask(gelu(z + bias)). Without a bias, z holds it already. h may be z: a thread reads what it writes, and nothing else.
template <typename T>
__device__ void gelu_forward(const T *z, const float *bias, T *h, uint64_t n_elements, uint32_t d, Mask mask) {
    uint64_t stride = (uint64_t)gridDim.x * blockDim.x * 4;
    for (uint64_t i = ((uint64_t)blockIdx.x * blockDim.x + threadIdx.x) * 4; i < n_elements; i += stride) {
        if (n_elements % 4 == 0 && d % 4 == 0 && begins_at_four(z) && begins_at_four(bias)) {
            float4 v = load4(z + i);
            float4 b = bias ? load4(bias + column_of(i, d)) : make_float4(0.0f, 0.0f, 0.0f, 0.0f);
            v.x = masked(mask, i, gelu<T>(v.x + b.x));
            v.y = masked(mask, i + 1, gelu<T>(v.y + b.y));
            v.z = masked(mask, i + 2, gelu<T>(v.z + b.z));
            v.w = masked(mask, i + 3, gelu<T>(v.w + b.w));
            store4(h + i, v);
        } else {
            for (uint64_t e = i; e < i + 4 && e < n_elements; e++) {
                store(h + e, masked(mask, e, gelu<T>(load(z + e) + (bias ? bias[e % d] : 0.0f))));
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

// dz from dh, in place, and partial sums of its columns.
template <typename T>
__device__ void gelu_backward(const T *z, const float *bias, T *dh, float *partial, uint32_t n, uint32_t d,
                              uint32_t rows_per_block, Mask mask) {
    column_sums(partial, n, d, rows_per_block, [=](uint32_t column, uint64_t i, uint32_t count) {
        float4 g = load_some(dh, i, count, d), x = load_some(z, i, count, d);
        float4 b = bias ? load_some(bias, column, count, d) : make_float4(0.0f, 0.0f, 0.0f, 0.0f);
        g = make_float4(masked(mask, i, g.x) * gelu_slope<T>(x.x + b.x), masked(mask, i + 1, g.y) * gelu_slope<T>(x.y + b.y),
                        masked(mask, i + 2, g.z) * gelu_slope<T>(x.z + b.z),
                        masked(mask, i + 3, g.w) * gelu_slope<T>(x.w + b.w));
        store_some(dh, i, g, count, d);
        return g;
    });
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
        if (n_elements % 4 == 0 && d % 4 == 0 && begins_at_four(base) && begins_at_four(y) && begins_at_four(bias)) {
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
