// Multi-head attention in f32 without a query x key matrix, for heads of up to 128 channels; every sum in a fixed order.
//
// Queries, keys and values are rows of `stride` elements; head h is columns h width .. of each. The log-sum-exp is in base 2, as
// in attention_bf16.cu. A block is 16 x 16 threads.
#include "common.cuh"

#define LOG2_E 1.4426950408889634f

struct Shape {
    int n, m, n_heads, width;
    float scale;
    uint32_t n_queries;
};

__device__ __forceinline__ float weight_factor(const Mask &mask, const Shape &shape, int head, int query, int key) {
    if (mask.limit == 0) return 1.0f;
    const uint64_t index = ((uint64_t)head * shape.n_queries + query) * shape.m + key;
    return split_mix(mask.key ^ index) < mask.limit ? 0.0f : mask.kept;
}

// Rows in shared memory are four floats longer than D, so that neighbouring rows begin in different banks.
template <int D>
struct Tile {
    static constexpr int PITCH = D + 4;
    float *values;
    __device__ float *row(int r) const { return values + r * PITCH; }

    // Rows `first ..` of a matrix of `n` rows; what lies past its end or past `width` columns is 0.
    __device__ void fill(const float *from, uint64_t stride, int n_rows, int first, int n, int width) const {
        for (int i = threadIdx.y * 16 + threadIdx.x; i < n_rows * D; i += 256) {
            const int r = i / D, c = i % D;
            row(r)[c] = first + r < n && c < width ? from[(uint64_t)(first + r) * stride + c] : 0.0f;
        }
    }
};

// The products of R rows ty, ty + 16, .. of `a` with C rows tx, tx + 16, .. of `b`.
template <int D, int R, int C>
__device__ __forceinline__ void row_products(float (&s)[R][C], const Tile<D> &a, const Tile<D> &b) {
#pragma unroll
    for (int i = 0; i < R; i++) {
#pragma unroll
        for (int j = 0; j < C; j++) s[i][j] = 0.0f;
    }
    for (int c = 0; c < D; c += 4) {
        float4 x[R], y[C];
#pragma unroll
        for (int i = 0; i < R; i++) x[i] = *(const float4 *)(a.row(threadIdx.y + 16 * i) + c);
#pragma unroll
        for (int j = 0; j < C; j++) y[j] = *(const float4 *)(b.row(threadIdx.x + 16 * j) + c);
#pragma unroll
        for (int i = 0; i < R; i++) {
#pragma unroll
            for (int j = 0; j < C; j++) {
                s[i][j] = fmaf(x[i].x, y[j].x, s[i][j]);
                s[i][j] = fmaf(x[i].y, y[j].y, s[i][j]);
                s[i][j] = fmaf(x[i].z, y[j].z, s[i][j]);
                s[i][j] = fmaf(x[i].w, y[j].w, s[i][j]);
            }
        }
    }
}

// 64 queries a block, KEYS keys at a time.
template <int D, int KEYS>
__device__ void forward(const float *q, uint64_t q_stride, const float *k, const float *v, uint64_t kv_stride, float *out,
                        float *log_sum_exp, const Shape &shape, const Mask &mask) {
    DYNAMIC_SHARED(float, shared);
    const Tile<D> queries{shared}, keys{queries.row(64)}, values{keys.row(KEYS)};
    const Tile<KEYS> weights{values.row(KEYS)};
    const int head = blockIdx.y, first_query = blockIdx.x * 64, tx = threadIdx.x, ty = threadIdx.y;
    const int offset = head * shape.width;
    const float scale_2 = shape.scale * LOG2_E;
    queries.fill(q + offset, q_stride, 64, first_query, shape.n, shape.width);
    float o[4][D / 16], highest[4], sum[4];
#pragma unroll
    for (int i = 0; i < 4; i++) {
        highest[i] = -INFINITY;
        sum[i] = 0.0f;
#pragma unroll
        for (int j = 0; j < D / 16; j++) o[i][j] = 0.0f;
    }
    for (int first = 0; first < shape.m; first += KEYS) {
        __syncthreads();
        keys.fill(k + offset, kv_stride, KEYS, first, shape.m, shape.width);
        values.fill(v + offset, kv_stride, KEYS, first, shape.m, shape.width);
        __syncthreads();
        float s[4][KEYS / 16];
        row_products<D, 4, KEYS / 16>(s, queries, keys);
#pragma unroll
        for (int i = 0; i < 4; i++) {
            float top = highest[i];
#pragma unroll
            for (int j = 0; j < KEYS / 16; j++) {
                s[i][j] = first + tx + 16 * j < shape.m ? s[i][j] * scale_2 : -INFINITY;
                top = fmaxf(top, s[i][j]);
            }
            for (int step = 8; step > 0; step /= 2) top = fmaxf(top, __shfl_xor_sync(0xffffffffu, top, step));
            const float shrink = exp2f(highest[i] - top);
            highest[i] = top;
            float total = 0.0f;
#pragma unroll
            for (int j = 0; j < KEYS / 16; j++) {
                const float p = exp2f(s[i][j] - top);
                total += p;
                const int key = first + tx + 16 * j;
                weights.row(ty + 16 * i)[tx + 16 * j] =
                    p * weight_factor(mask, shape, head, first_query + ty + 16 * i, key);
            }
            for (int step = 8; step > 0; step /= 2) total += __shfl_xor_sync(0xffffffffu, total, step);
            sum[i] = sum[i] * shrink + total;
#pragma unroll
            for (int j = 0; j < D / 16; j++) o[i][j] *= shrink;
        }
        __syncthreads();
        for (int key = 0; key < KEYS; key++) {
#pragma unroll
            for (int i = 0; i < 4; i++) {
                const float p = weights.row(ty + 16 * i)[key];
#pragma unroll
                for (int j = 0; j < D / 16; j++) o[i][j] = fmaf(p, values.row(key)[tx + 16 * j], o[i][j]);
            }
        }
    }
#pragma unroll
    for (int i = 0; i < 4; i++) {
        const int query = first_query + ty + 16 * i;
        if (query >= shape.n) continue;
#pragma unroll
        for (int j = 0; j < D / 16; j++) {
            const int column = tx + 16 * j;
            if (column < shape.width) {
                out[(uint64_t)query * shape.n_heads * shape.width + offset + column] = o[i][j] / sum[i];
            }
        }
        if (tx == 0) log_sum_exp[(uint64_t)head * shape.n + query] = highest[i] + log2f(sum[i]);
    }
}

// Weights (without dropout), and gradients of scores: R rows of queries by C of keys, as row_products.
template <int D, int R, int C>
__device__ __forceinline__ void score_gradients(float (&p)[R][C], float (&ds)[R][C], const Tile<D> &queries,
                                                const Tile<D> &douts, const Tile<D> &keys, const Tile<D> &values,
                                                const float *log_sum_exp, const float *delta, int head, int first_query,
                                                int first_key, const Shape &shape, const Mask &mask) {
    row_products<D, R, C>(p, queries, keys);
    row_products<D, R, C>(ds, douts, values);
#pragma unroll
    for (int i = 0; i < R; i++) {
        const int query = first_query + threadIdx.y + 16 * i;
        const bool asks = query < shape.n;
        const float lse = asks ? log_sum_exp[(uint64_t)head * shape.n + query] : INFINITY;
        const float row_delta = asks ? delta[(uint64_t)head * shape.n + query] : 0.0f;
#pragma unroll
        for (int j = 0; j < C; j++) {
            const int key = first_key + threadIdx.x + 16 * j;
            const float weight = key < shape.m ? exp2f(p[i][j] * (shape.scale * LOG2_E) - lse) : 0.0f;
            const float factor = weight_factor(mask, shape, head, query, key);
            ds[i][j] = weight * (ds[i][j] * factor - row_delta);
            p[i][j] = weight * factor;
        }
    }
}

// Gradients of keys and values: 64 keys a block, QUERIES queries at a time.
template <int D, int QUERIES>
__device__ void backward_keys(const float *q, uint64_t q_stride, const float *k, const float *v, uint64_t kv_stride,
                              const float *dout, const float *log_sum_exp, const float *delta, float *dk, float *dv,
                              uint64_t dkv_stride, const Shape &shape, const Mask &mask) {
    DYNAMIC_SHARED(float, shared);
    const Tile<D> keys{shared}, values{keys.row(64)}, queries{values.row(64)}, douts{queries.row(QUERIES)};
    const Tile<64> weights{douts.row(QUERIES)}, gradients{weights.row(QUERIES)};
    const int head = blockIdx.y, first_key = blockIdx.x * 64, tx = threadIdx.x, ty = threadIdx.y;
    const int offset = head * shape.width, width = shape.n_heads * shape.width;
    keys.fill(k + offset, kv_stride, 64, first_key, shape.m, shape.width);
    values.fill(v + offset, kv_stride, 64, first_key, shape.m, shape.width);
    float sum_k[4][D / 16], sum_v[4][D / 16];
#pragma unroll
    for (int i = 0; i < 4; i++) {
#pragma unroll
        for (int j = 0; j < D / 16; j++) sum_k[i][j] = sum_v[i][j] = 0.0f;
    }
    for (int first = 0; first < shape.n; first += QUERIES) {
        __syncthreads();
        queries.fill(q + offset, q_stride, QUERIES, first, shape.n, shape.width);
        douts.fill(dout + offset, width, QUERIES, first, shape.n, shape.width);
        __syncthreads();
        float p[QUERIES / 16][4], ds[QUERIES / 16][4];
        score_gradients<D, QUERIES / 16, 4>(p, ds, queries, douts, keys, values, log_sum_exp, delta, head, first, first_key,
                                            shape, mask);
#pragma unroll
        for (int i = 0; i < QUERIES / 16; i++) {
#pragma unroll
            for (int j = 0; j < 4; j++) {
                weights.row(ty + 16 * i)[tx + 16 * j] = p[i][j];
                gradients.row(ty + 16 * i)[tx + 16 * j] = ds[i][j];
            }
        }
        __syncthreads();
        for (int query = 0; query < QUERIES; query++) {
#pragma unroll
            for (int i = 0; i < 4; i++) {
                const float weight = weights.row(query)[ty + 16 * i], gradient = gradients.row(query)[ty + 16 * i];
#pragma unroll
                for (int j = 0; j < D / 16; j++) {
                    sum_v[i][j] = fmaf(weight, douts.row(query)[tx + 16 * j], sum_v[i][j]);
                    sum_k[i][j] = fmaf(gradient, queries.row(query)[tx + 16 * j], sum_k[i][j]);
                }
            }
        }
    }
#pragma unroll
    for (int i = 0; i < 4; i++) {
        const int key = first_key + ty + 16 * i;
        if (key >= shape.m) continue;
#pragma unroll
        for (int j = 0; j < D / 16; j++) {
            const int column = tx + 16 * j;
            if (column < shape.width) {
                dk[(uint64_t)key * dkv_stride + offset + column] = sum_k[i][j] * shape.scale;
                dv[(uint64_t)key * dkv_stride + offset + column] = sum_v[i][j];
            }
        }
    }
}

// Gradients of queries: 64 queries a block, KEYS keys at a time.
template <int D, int KEYS>
__device__ void backward_queries(const float *q, uint64_t q_stride, const float *k, const float *v, uint64_t kv_stride,
                                 const float *dout, const float *log_sum_exp, const float *delta, float *dq,
                                 uint64_t dq_stride, const Shape &shape, const Mask &mask) {
    DYNAMIC_SHARED(float, shared);
    const Tile<D> queries{shared}, douts{queries.row(64)}, keys{douts.row(64)}, values{keys.row(KEYS)};
    const Tile<KEYS> gradients{values.row(KEYS)};
    const int head = blockIdx.y, first_query = blockIdx.x * 64, tx = threadIdx.x, ty = threadIdx.y;
    const int offset = head * shape.width, width = shape.n_heads * shape.width;
    queries.fill(q + offset, q_stride, 64, first_query, shape.n, shape.width);
    douts.fill(dout + offset, width, 64, first_query, shape.n, shape.width);
    float sum[4][D / 16];
#pragma unroll
    for (int i = 0; i < 4; i++) {
#pragma unroll
        for (int j = 0; j < D / 16; j++) sum[i][j] = 0.0f;
    }
    for (int first = 0; first < shape.m; first += KEYS) {
        __syncthreads();
        keys.fill(k + offset, kv_stride, KEYS, first, shape.m, shape.width);
        values.fill(v + offset, kv_stride, KEYS, first, shape.m, shape.width);
        __syncthreads();
        float p[4][KEYS / 16], ds[4][KEYS / 16];
        score_gradients<D, 4, KEYS / 16>(p, ds, queries, douts, keys, values, log_sum_exp, delta, head, first_query, first,
                                         shape, mask);
#pragma unroll
        for (int i = 0; i < 4; i++) {
#pragma unroll
            for (int j = 0; j < KEYS / 16; j++) gradients.row(ty + 16 * i)[tx + 16 * j] = ds[i][j];
        }
        __syncthreads();
        for (int key = 0; key < KEYS; key++) {
#pragma unroll
            for (int i = 0; i < 4; i++) {
                const float gradient = gradients.row(ty + 16 * i)[key];
#pragma unroll
                for (int j = 0; j < D / 16; j++) sum[i][j] = fmaf(gradient, keys.row(key)[tx + 16 * j], sum[i][j]);
            }
        }
    }
#pragma unroll
    for (int i = 0; i < 4; i++) {
        const int query = first_query + ty + 16 * i;
        if (query >= shape.n) continue;
#pragma unroll
        for (int j = 0; j < D / 16; j++) {
            const int column = tx + 16 * j;
            if (column < shape.width) dq[(uint64_t)query * dq_stride + offset + column] = sum[i][j] * shape.scale;
        }
    }
}

// delta[head, query] = sum of out * dout, a warp per query and head.
extern "C" __global__ void attention_products_f32(const float *out, const float *dout, float *delta, int n, int n_heads,
                                                  int width) {
    const int pair = blockIdx.x * (blockDim.x / 32) + threadIdx.x / 32, lane = threadIdx.x % 32;
    if (pair >= n * n_heads) return;
    const int query = pair / n_heads, head = pair % n_heads;
    const uint64_t row = ((uint64_t)query * n_heads + head) * width;
    float sum = 0.0f;
    for (int c = lane; c < width; c += 32) sum += out[row + c] * dout[row + c];
    sum = warp_sum(sum);
    if (lane == 0) delta[(uint64_t)head * n + query] = sum;
}

// `forward` takes KEYS keys at a time, the others FEW queries or keys.
#define ATTENTION(NAME, D, KEYS, FEW)                                                                                  \
    extern "C" __global__ void __launch_bounds__(256)                                                                  \
        attention_f32_##NAME(const float *q, uint64_t q_stride, const float *k, const float *v, uint64_t kv_stride,    \
                             float *out, float *log_sum_exp, int n, int m, int n_heads, int width, float scale,        \
                             uint32_t n_queries, uint64_t key, uint64_t limit, float kept) {                           \
        forward<D, KEYS>(q, q_stride, k, v, kv_stride, out, log_sum_exp,                                               \
                         Shape{n, m, n_heads, width, scale, n_queries}, Mask{key, limit, kept});                       \
    }                                                                                                                  \
    extern "C" __global__ void __launch_bounds__(256)                                                                  \
        attention_f32_backward_keys_##NAME(const float *q, uint64_t q_stride, const float *k, const float *v,          \
                                           uint64_t kv_stride, const float *dout, const float *log_sum_exp,            \
                                           const float *delta, float *dk, float *dv, uint64_t dkv_stride, int n,       \
                                           int m, int n_heads, int width, float scale, uint32_t n_queries,             \
                                           uint64_t key, uint64_t limit, float kept) {                                 \
        backward_keys<D, FEW>(q, q_stride, k, v, kv_stride, dout, log_sum_exp, delta, dk, dv, dkv_stride,              \
                              Shape{n, m, n_heads, width, scale, n_queries}, Mask{key, limit, kept});                  \
    }                                                                                                                  \
    extern "C" __global__ void __launch_bounds__(256)                                                                  \
        attention_f32_backward_queries_##NAME(const float *q, uint64_t q_stride, const float *k, const float *v,       \
                                              uint64_t kv_stride, const float *dout, const float *log_sum_exp,         \
                                              const float *delta, float *dq, uint64_t dq_stride, int n, int m,         \
                                              int n_heads, int width, float scale, uint32_t n_queries,                 \
                                              uint64_t key, uint64_t limit, float kept) {                              \
        backward_queries<D, FEW>(q, q_stride, k, v, kv_stride, dout, log_sum_exp, delta, dq, dq_stride,                \
                                 Shape{n, m, n_heads, width, scale, n_queries}, Mask{key, limit, kept});               \
    }
ATTENTION(32, 32, 64, 32)
ATTENTION(64, 64, 64, 32)
ATTENTION(128, 128, 64, 32)
// For GPUs that do not hold the tiles of the line before: 99 KiB of shared memory a block.
ATTENTION(128_small, 128, 32, 16)
