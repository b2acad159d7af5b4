// Multi-head attention on tensor cores without a query x key matrix (Dao, FlashAttention-2, 2023): bf16 operands, f32 sums.
//
// Queries, keys and values are rows of `stride` elements; head h is columns h D .. of each. The log-sum-exp of a query is kept
// in base 2: weight = 2^(scale_2 q k - log_sum_exp) with scale_2 = log2(e) / sqrt(D).
#include "tensor_core.cuh"

struct Shape {
    int n, m, n_heads;
    float scale;
    // Rows of queries that the dropout index counts.
    uint32_t n_queries;
};

__device__ __forceinline__ uint64_t weight_index(const Shape &shape, int head, int query, int key) {
    return ((uint64_t)head * shape.n_queries + query) * shape.m + key;
}

#define LOG2_E 1.4426950408889634f

// ---- forward -------------------------------------------------------------------------------------------------------

// A block of 4 warps takes 128 queries of one head, 32 a warp, over the keys of one split; tiles of 64 keys, two in flight. A head's
// log-sum-exps begin `log_sum_exps` after those of the head before.
template <int D>
__device__ void forward(const bf16 *q, uint64_t q_stride, const bf16 *k, const bf16 *v, uint64_t kv_stride, bf16 *out,
                        float *partial, float *log_sum_exp, const Shape &shape, const Mask &mask, int tiles_per_split,
                        int log_sum_exps) {
    constexpr int ROWS = 128, KEYS = 64, THREADS = 128, N = KEYS / 8;
    DYNAMIC_SHARED(unsigned char, shared);
    uint32_t q_tile = shared_address(shared);
    uint32_t k_tile = q_tile + ROWS * D * 2, v_tile = k_tile + 2 * KEYS * D * 2;
    const int head = blockIdx.y, split = blockIdx.z, first_query = blockIdx.x * ROWS;
    const int lane = threadIdx.x % 32, warp = threadIdx.x / 32, g = lane / 4, t = lane % 4;
    q += head * D;
    k += head * D;
    v += head * D;
    const int n_tiles = (shape.m + KEYS - 1) / KEYS;
    const int first_tile = split * tiles_per_split, last_tile = min(first_tile + tiles_per_split, n_tiles);

    copy_tile<ROWS, D, THREADS>(q_tile, q, q_stride, first_query, shape.n);
    copy_tile<KEYS, D, THREADS>(k_tile, k, kv_stride, first_tile * KEYS, shape.m);
    copy_tile<KEYS, D, THREADS>(v_tile, v, kv_stride, first_tile * KEYS, shape.m);
    copy_commit();

    float o[2][D / 8][4];
    float highest[2][2], sum[2][2];
#pragma unroll
    for (int r = 0; r < 2; r++) {
#pragma unroll
        for (int c = 0; c < D / 8; c++) {
#pragma unroll
            for (int e = 0; e < 4; e++) o[r][c][e] = 0.0f;
        }
        highest[r][0] = highest[r][1] = -INFINITY;
        sum[r][0] = sum[r][1] = 0.0f;
    }
    const float scale_2 = shape.scale * LOG2_E;

    for (int tile = first_tile; tile < last_tile; tile++) {
        const int stage = (tile - first_tile) % 2;
        if (tile + 1 < last_tile) {
            copy_tile<KEYS, D, THREADS>(k_tile + (1 - stage) * KEYS * D * 2, k, kv_stride, (tile + 1) * KEYS, shape.m);
            copy_tile<KEYS, D, THREADS>(v_tile + (1 - stage) * KEYS * D * 2, v, kv_stride, (tile + 1) * KEYS, shape.m);
            copy_commit();
            copy_wait<1>();
        } else {
            copy_wait<0>();
        }
        __syncthreads();
        const uint32_t keys = k_tile + stage * KEYS * D * 2, values = v_tile + stage * KEYS * D * 2;

        float s[2][N][4];
#pragma unroll
        for (int r = 0; r < 2; r++) {
#pragma unroll
            for (int c = 0; c < N; c++) {
#pragma unroll
                for (int e = 0; e < 4; e++) s[r][c][e] = 0.0f;
            }
        }
#pragma unroll
        for (int step = 0; step < D / 16; step++) {
            uint32_t a[2][4];
            load_a<D>(a[0], q_tile, warp * 32, step);
            load_a<D>(a[1], q_tile, warp * 32 + 16, step);
#pragma unroll
            for (int c = 0; c < N / 2; c++) {
                uint32_t b[4];
                load_b_rows<D>(b, keys, c * 16, step);
#pragma unroll
                for (int r = 0; r < 2; r++) {
                    multiply_add(s[r][2 * c], a[r], b[0], b[1]);
                    multiply_add(s[r][2 * c + 1], a[r], b[2], b[3]);
                }
            }
        }
        if ((tile + 1) * KEYS > shape.m) {
#pragma unroll
            for (int c = 0; c < N; c++) {
#pragma unroll
                for (int e = 0; e < 2; e++) {
                    if (tile * KEYS + c * 8 + 2 * t + e >= shape.m) {
                        s[0][c][e] = s[0][c][2 + e] = s[1][c][e] = s[1][c][2 + e] = -INFINITY;
                    }
                }
            }
        }
#pragma unroll
        for (int r = 0; r < 2; r++) {
#pragma unroll
            for (int half = 0; half < 2; half++) {
                float top = highest[r][half];
#pragma unroll
                for (int c = 0; c < N; c++) top = fmaxf(top, fmaxf(s[r][c][2 * half], s[r][c][2 * half + 1]));
                top = fmaxf(top, __shfl_xor_sync(0xffffffffu, top, 1));
                top = fmaxf(top, __shfl_xor_sync(0xffffffffu, top, 2));
                const float shrink = exp2_fast((highest[r][half] - top) * scale_2), shift = top * scale_2;
                highest[r][half] = top;
                float total = 0.0f;
#pragma unroll
                for (int c = 0; c < N; c++) {
#pragma unroll
                    for (int e = 2 * half; e < 2 * half + 2; e++) {
                        s[r][c][e] = exp2_fast(fmaf(s[r][c][e], scale_2, -shift));
                        total += s[r][c][e];
                    }
                }
                sum[r][half] = sum[r][half] * shrink + total;
#pragma unroll
                for (int c = 0; c < D / 8; c++) {
                    o[r][c][2 * half] *= shrink;
                    o[r][c][2 * half + 1] *= shrink;
                }
                if (mask.limit) {
                    const uint64_t first =
                        weight_index(shape, head, first_query + warp * 32 + r * 16 + half * 8 + g, tile * KEYS + 2 * t);
#pragma unroll
                    for (int c = 0; c < N; c++) {
#pragma unroll
                        for (int e = 0; e < 2; e++) {
                            if (split_mix(mask.key ^ (first + c * 8 + e)) < mask.limit) s[r][c][2 * half + e] = 0.0f;
                        }
                    }
                }
            }
        }
#pragma unroll
        for (int step = 0; step < KEYS / 16; step++) {
            uint32_t a[2][4];
#pragma unroll
            for (int r = 0; r < 2; r++) {
                a[r][0] = packed(s[r][2 * step][0], s[r][2 * step][1]);
                a[r][1] = packed(s[r][2 * step][2], s[r][2 * step][3]);
                a[r][2] = packed(s[r][2 * step + 1][0], s[r][2 * step + 1][1]);
                a[r][3] = packed(s[r][2 * step + 1][2], s[r][2 * step + 1][3]);
            }
#pragma unroll
            for (int c = 0; c < D / 16; c++) {
                uint32_t b[4];
                load_b_columns<D>(b, values, step * 16, c);
#pragma unroll
                for (int r = 0; r < 2; r++) {
                    multiply_add(o[r][2 * c], a[r], b[0], b[1]);
                    multiply_add(o[r][2 * c + 1], a[r], b[2], b[3]);
                }
            }
        }
        __syncthreads();
    }

    const int width = shape.n_heads * D;
#pragma unroll
    for (int r = 0; r < 2; r++) {
#pragma unroll
        for (int half = 0; half < 2; half++) {
            float total = sum[r][half];
            total += __shfl_xor_sync(0xffffffffu, total, 1);
            total += __shfl_xor_sync(0xffffffffu, total, 2);
            const int query = first_query + warp * 32 + r * 16 + half * 8 + g;
            if (query >= shape.n) continue;
            const float factor = mask.kept / total;
            const uint64_t row = (uint64_t)query * width + head * D + 2 * t;
#pragma unroll
            for (int c = 0; c < D / 8; c++) {
                const float x = o[r][c][2 * half] * factor, y = o[r][c][2 * half + 1] * factor;
                if (partial) {
                    *(float2 *)(partial + (uint64_t)split * shape.n * width + row + c * 8) = make_float2(x, y);
                } else {
                    *(uint32_t *)(out + row + c * 8) = packed(x, y);
                }
            }
            if (t == 0) {
                log_sum_exp[((uint64_t)split * shape.n_heads + head) * log_sum_exps + query] =
                    highest[r][half] * scale_2 + log2f(total);
            }
        }
    }
}

// The output and log-sum-exp of all keys from those of `n_splits` parts. A thread has 4 columns of one query.
template <int D>
__device__ void combine(const float *partial, const float *parts, bf16 *out, float *log_sum_exp, int n, int n_heads,
                        int n_splits, int log_sum_exps) {
    const int width = n_heads * D;
    uint64_t at = ((uint64_t)blockIdx.x * blockDim.x + threadIdx.x) * 4;
    if (at >= (uint64_t)n * width) return;
    const int query = (int)(at / width), head = (int)(at % width) / D;
    float top = -INFINITY, total = 0.0f;
    for (int s = 0; s < n_splits; s++) top = fmaxf(top, parts[((uint64_t)s * n_heads + head) * n + query]);
    float4 sum = make_float4(0.0f, 0.0f, 0.0f, 0.0f);
    for (int s = 0; s < n_splits; s++) {
        const float weight = exp2_fast(parts[((uint64_t)s * n_heads + head) * n + query] - top);
        const float4 part = load4(partial + (uint64_t)s * n * width + at);
        total += weight;
        sum.x += weight * part.x;
        sum.y += weight * part.y;
        sum.z += weight * part.z;
        sum.w += weight * part.w;
    }
    store4(out + at, make_float4(sum.x / total, sum.y / total, sum.z / total, sum.w / total));
    if (at % D == 0) log_sum_exp[(uint64_t)head * log_sum_exps + query] = top + log2f(total);
}

// ---- backward ------------------------------------------------------------------------------------------------------

// delta[head, query] = sum of out * dout, a warp per query and head.
template <int D>
__device__ void products(const bf16 *out, const bf16 *dout, float *delta, int n, int n_heads) {
    const int pair = blockIdx.x * (blockDim.x / 32) + threadIdx.x / 32, lane = threadIdx.x % 32;
    if (pair >= n * n_heads) return;
    const int query = pair / n_heads, head = pair % n_heads;
    const uint64_t row = (uint64_t)query * n_heads * D + head * D;
    float sum = 0.0f;
    for (int c = lane; c < D; c += 32) sum += widened(out[row + c]) * widened(dout[row + c]);
    sum = warp_sum(sum);
    if (lane == 0) delta[(uint64_t)head * n + query] = sum;
}

// Gradients of keys and values; of queries, too, if `dq` is not null (unscaled, by atomic sums in no fixed order).
//
// A block of 8 warps takes 128 keys of one head, 16 a warp, over the query tiles of one split, ROWS queries each. Scores are
// made transposed, so that weights and their gradients are operands of the next products where they are. Of STAGES tiles in
// shared memory the second is copied while the first is worked on; a single one is copied during the products for gradients
// of queries, which do not need it.
template <int D, int ROWS, int STAGES>
__device__ void backward(const bf16 *q, uint64_t q_stride, const bf16 *k, const bf16 *v, uint64_t kv_stride,
                         const bf16 *dout, const float *log_sum_exp, const float *delta, float *dq, bf16 *dk, bf16 *dv,
                         uint64_t dkv_stride, float *partial, const Shape &shape, const Mask &mask, int tiles_per_split) {
    constexpr int KEYS = 128, THREADS = 256, N = ROWS / 8;
    // Of the products for gradients of queries a warp has 16 queries and a part of the columns.
    constexpr int PARTS = THREADS / 32 * 16 / ROWS, COLUMNS = D / PARTS;
    DYNAMIC_SHARED(unsigned char, shared);
    const uint32_t k_tile = shared_address(shared), v_tile = k_tile + KEYS * D * 2;
    const uint32_t q_tile = v_tile + KEYS * D * 2, dout_tile = q_tile + STAGES * ROWS * D * 2;
    const uint32_t ds_tile = dout_tile + STAGES * ROWS * D * 2;
    float *rows = (float *)(shared + 2 * KEYS * D * 2 + 2 * STAGES * ROWS * D * 2 + KEYS * ROWS * 2);
    const int head = blockIdx.y, split = blockIdx.z, first_key = blockIdx.x * KEYS;
    const int lane = threadIdx.x % 32, warp = threadIdx.x / 32, g = lane / 4, t = lane % 4;
    const int width = shape.n_heads * D;
    q += head * D;
    k += head * D;
    v += head * D;
    dout += head * D;
    log_sum_exp += (uint64_t)head * shape.n;
    delta += (uint64_t)head * shape.n;
    const int n_tiles = (shape.n + ROWS - 1) / ROWS;
    const int first_tile = split * tiles_per_split, last_tile = min(first_tile + tiles_per_split, n_tiles);

    const auto copy_next = [&](int tile, int stage) {
        copy_tile<ROWS, D, THREADS>(q_tile + stage * ROWS * D * 2, q, q_stride, tile * ROWS, shape.n);
        copy_tile<ROWS, D, THREADS>(dout_tile + stage * ROWS * D * 2, dout, width, tile * ROWS, shape.n);
        copy_commit();
    };
    copy_tile<KEYS, D, THREADS>(k_tile, k, kv_stride, first_key, shape.m);
    copy_tile<KEYS, D, THREADS>(v_tile, v, kv_stride, first_key, shape.m);
    copy_next(first_tile, 0);

    float sum_k[D / 8][4], sum_v[D / 8][4];
#pragma unroll
    for (int c = 0; c < D / 8; c++) {
#pragma unroll
        for (int e = 0; e < 4; e++) sum_k[c][e] = sum_v[c][e] = 0.0f;
    }
    const float scale_2 = shape.scale * LOG2_E;
    const int key = first_key + warp * 16 + g;
    const bool exists[2] = {key < shape.m, key + 8 < shape.m};

    for (int tile = first_tile; tile < last_tile; tile++) {
        const int stage = (tile - first_tile) % STAGES;
        const bool copies_ahead = STAGES > 1 && tile + 1 < last_tile;
        if (copies_ahead) copy_next(tile + 1, 1 - stage);
        if (threadIdx.x < ROWS) {
            const int query = tile * ROWS + threadIdx.x;
            // A query past the end gets weights of 0.
            rows[threadIdx.x] = query < shape.n ? log_sum_exp[query] : INFINITY;
            rows[ROWS + threadIdx.x] = query < shape.n ? delta[query] : 0.0f;
        }
        if (copies_ahead) {
            copy_wait<1>();
        } else {
            copy_wait<0>();
        }
        __syncthreads();
        const uint32_t queries = q_tile + stage * ROWS * D * 2, douts = dout_tile + stage * ROWS * D * 2;

        float s[N][4], dp[N][4];
#pragma unroll
        for (int c = 0; c < N; c++) {
#pragma unroll
            for (int e = 0; e < 4; e++) s[c][e] = dp[c][e] = 0.0f;
        }
#pragma unroll
        for (int step = 0; step < D / 16; step++) {
            uint32_t a[4];
            load_a<D>(a, k_tile, warp * 16, step);
#pragma unroll
            for (int c = 0; c < N / 2; c++) {
                uint32_t b[4];
                load_b_rows<D>(b, queries, c * 16, step);
                multiply_add(s[2 * c], a, b[0], b[1]);
                multiply_add(s[2 * c + 1], a, b[2], b[3]);
            }
        }
#pragma unroll
        for (int step = 0; step < D / 16; step++) {
            uint32_t a[4];
            load_a<D>(a, v_tile, warp * 16, step);
#pragma unroll
            for (int c = 0; c < N / 2; c++) {
                uint32_t b[4];
                load_b_rows<D>(b, douts, c * 16, step);
                multiply_add(dp[2 * c], a, b[0], b[1]);
                multiply_add(dp[2 * c + 1], a, b[2], b[3]);
            }
        }
        // From scores and products to weights (s) and the gradients of scores (dp).
#pragma unroll
        for (int c = 0; c < N; c++) {
#pragma unroll
            for (int e = 0; e < 4; e++) {
                const int column = c * 8 + 2 * t + e % 2, half = e / 2;
                const float p = exists[half] ? exp2_fast(fmaf(s[c][e], scale_2, -rows[column])) : 0.0f;
                float kept = 1.0f;
                if (mask.limit) {
                    const uint64_t index = weight_index(shape, head, tile * ROWS + column, key + half * 8);
                    kept = split_mix(mask.key ^ index) < mask.limit ? 0.0f : mask.kept;
                }
                s[c][e] = p * kept;
                dp[c][e] = p * (dp[c][e] * kept - rows[ROWS + column]);
            }
        }
#pragma unroll
        for (int step = 0; step < ROWS / 16; step++) {
            const uint32_t p[4] = {packed(s[2 * step][0], s[2 * step][1]), packed(s[2 * step][2], s[2 * step][3]),
                                   packed(s[2 * step + 1][0], s[2 * step + 1][1]),
                                   packed(s[2 * step + 1][2], s[2 * step + 1][3])};
#pragma unroll
            for (int c = 0; c < D / 16; c++) {
                uint32_t b[4];
                load_b_columns<D>(b, douts, step * 16, c);
                multiply_add(sum_v[2 * c], p, b[0], b[1]);
                multiply_add(sum_v[2 * c + 1], p, b[2], b[3]);
            }
        }
#pragma unroll
        for (int step = 0; step < ROWS / 16; step++) {
            const uint32_t ds[4] = {packed(dp[2 * step][0], dp[2 * step][1]), packed(dp[2 * step][2], dp[2 * step][3]),
                                    packed(dp[2 * step + 1][0], dp[2 * step + 1][1]),
                                    packed(dp[2 * step + 1][2], dp[2 * step + 1][3])};
            if (dq) {
                // [key, query], read transposed below.
#pragma unroll
                for (int part = 0; part < 4; part++) {
                    const int row = warp * 16 + part % 2 * 8 + g;
                    store_shared(ds_tile + chunk_offset<ROWS / 8>(row, step * 2 + part / 2) + t * 4, ds[part]);
                }
            }
#pragma unroll
            for (int c = 0; c < D / 16; c++) {
                uint32_t b[4];
                load_b_columns<D>(b, queries, step * 16, c);
                multiply_add(sum_k[2 * c], ds, b[0], b[1]);
                multiply_add(sum_k[2 * c + 1], ds, b[2], b[3]);
            }
        }
        if (dq || STAGES == 1) __syncthreads();
        if (STAGES == 1 && tile + 1 < last_tile) copy_next(tile + 1, 0);
        if (dq) {
            const int first_row = warp / PARTS * 16, first_column = warp % PARTS * COLUMNS;
            float sum[COLUMNS / 8][4];
#pragma unroll
            for (int c = 0; c < COLUMNS / 8; c++) {
#pragma unroll
                for (int e = 0; e < 4; e++) sum[c][e] = 0.0f;
            }
#pragma unroll
            for (int step = 0; step < KEYS / 16; step++) {
                uint32_t a[4];
                load_a_transposed<ROWS>(a, ds_tile, first_row / 16, step * 16);
#pragma unroll
                for (int c = 0; c < COLUMNS / 16; c++) {
                    uint32_t b[4];
                    load_b_columns<D>(b, k_tile, step * 16, first_column / 16 + c);
                    multiply_add(sum[2 * c], a, b[0], b[1]);
                    multiply_add(sum[2 * c + 1], a, b[2], b[3]);
                }
            }
#pragma unroll
            for (int half = 0; half < 2; half++) {
                const int query = tile * ROWS + first_row + half * 8 + g;
                if (query >= shape.n) continue;
                float *to = dq + (uint64_t)query * width + head * D + first_column + 2 * t;
#pragma unroll
                for (int c = 0; c < COLUMNS / 8; c++) atomic_add2(to + c * 8, sum[c][2 * half], sum[c][2 * half + 1]);
            }
        }
        __syncthreads();
    }

#pragma unroll
    for (int half = 0; half < 2; half++) {
        if (!exists[half]) continue;
        const int row = key + half * 8;
#pragma unroll
        for (int c = 0; c < D / 8; c++) {
            const int column = head * D + c * 8 + 2 * t;
            const float kx = sum_k[c][2 * half] * shape.scale, ky = sum_k[c][2 * half + 1] * shape.scale;
            const float vx = sum_v[c][2 * half], vy = sum_v[c][2 * half + 1];
            if (partial) {
                float *to = partial + ((uint64_t)split * shape.m + row) * 2 * width + column;
                *(float2 *)to = make_float2(kx, ky);
                *(float2 *)(to + width) = make_float2(vx, vy);
            } else {
                *(uint32_t *)(dk + (uint64_t)row * dkv_stride + column) = packed(kx, ky);
                *(uint32_t *)(dv + (uint64_t)row * dkv_stride + column) = packed(vx, vy);
            }
        }
    }
}

// Gradients of queries in a fixed order: scores are made a second time, by query. A block of 8 warps takes 128 queries of one
// head, 16 a warp, over all keys, KEYS at a time.
template <int D, int KEYS>
__device__ void backward_queries(const bf16 *q, uint64_t q_stride, const bf16 *k, const bf16 *v, uint64_t kv_stride,
                                 const bf16 *dout, const float *log_sum_exp, const float *delta, bf16 *dq,
                                 uint64_t dq_stride, const Shape &shape, const Mask &mask) {
    constexpr int ROWS = 128, THREADS = 256, N = KEYS / 8;
    DYNAMIC_SHARED(unsigned char, shared);
    const uint32_t q_tile = shared_address(shared), dout_tile = q_tile + ROWS * D * 2;
    const uint32_t k_tile = dout_tile + ROWS * D * 2, v_tile = k_tile + 2 * KEYS * D * 2;
    const int head = blockIdx.y, first_query = blockIdx.x * ROWS;
    const int lane = threadIdx.x % 32, warp = threadIdx.x / 32, g = lane / 4, t = lane % 4;
    const int width = shape.n_heads * D;
    q += head * D;
    k += head * D;
    v += head * D;
    dout += head * D;
    const int n_tiles = (shape.m + KEYS - 1) / KEYS;

    copy_tile<ROWS, D, THREADS>(q_tile, q, q_stride, first_query, shape.n);
    copy_tile<ROWS, D, THREADS>(dout_tile, dout, width, first_query, shape.n);
    copy_tile<KEYS, D, THREADS>(k_tile, k, kv_stride, 0, shape.m);
    copy_tile<KEYS, D, THREADS>(v_tile, v, kv_stride, 0, shape.m);
    copy_commit();

    float sum[D / 8][4];
#pragma unroll
    for (int c = 0; c < D / 8; c++) {
#pragma unroll
        for (int e = 0; e < 4; e++) sum[c][e] = 0.0f;
    }
    const float scale_2 = shape.scale * LOG2_E;
    float lse[2], row_delta[2];
#pragma unroll
    for (int half = 0; half < 2; half++) {
        const int query = first_query + warp * 16 + half * 8 + g;
        lse[half] = query < shape.n ? log_sum_exp[(uint64_t)head * shape.n + query] : INFINITY;
        row_delta[half] = query < shape.n ? delta[(uint64_t)head * shape.n + query] : 0.0f;
    }

    for (int tile = 0; tile < n_tiles; tile++) {
        const int stage = tile % 2;
        if (tile + 1 < n_tiles) {
            copy_tile<KEYS, D, THREADS>(k_tile + (1 - stage) * KEYS * D * 2, k, kv_stride, (tile + 1) * KEYS, shape.m);
            copy_tile<KEYS, D, THREADS>(v_tile + (1 - stage) * KEYS * D * 2, v, kv_stride, (tile + 1) * KEYS, shape.m);
            copy_commit();
            copy_wait<1>();
        } else {
            copy_wait<0>();
        }
        __syncthreads();
        const uint32_t keys = k_tile + stage * KEYS * D * 2, values = v_tile + stage * KEYS * D * 2;
        float s[N][4], dp[N][4];
#pragma unroll
        for (int c = 0; c < N; c++) {
#pragma unroll
            for (int e = 0; e < 4; e++) s[c][e] = dp[c][e] = 0.0f;
        }
#pragma unroll
        for (int step = 0; step < D / 16; step++) {
            uint32_t a[4], grad[4];
            load_a<D>(a, q_tile, warp * 16, step);
            load_a<D>(grad, dout_tile, warp * 16, step);
#pragma unroll
            for (int c = 0; c < N / 2; c++) {
                uint32_t b[4];
                load_b_rows<D>(b, keys, c * 16, step);
                multiply_add(s[2 * c], a, b[0], b[1]);
                multiply_add(s[2 * c + 1], a, b[2], b[3]);
                load_b_rows<D>(b, values, c * 16, step);
                multiply_add(dp[2 * c], grad, b[0], b[1]);
                multiply_add(dp[2 * c + 1], grad, b[2], b[3]);
            }
        }
#pragma unroll
        for (int c = 0; c < N; c++) {
#pragma unroll
            for (int e = 0; e < 4; e++) {
                const int key = tile * KEYS + c * 8 + 2 * t + e % 2, half = e / 2;
                const float p = key < shape.m ? exp2_fast(fmaf(s[c][e], scale_2, -lse[half])) : 0.0f;
                float kept = 1.0f;
                if (mask.limit) {
                    const uint64_t index = weight_index(shape, head, first_query + warp * 16 + half * 8 + g, key);
                    kept = split_mix(mask.key ^ index) < mask.limit ? 0.0f : mask.kept;
                }
                dp[c][e] = p * (dp[c][e] * kept - row_delta[half]);
            }
        }
#pragma unroll
        for (int step = 0; step < KEYS / 16; step++) {
            const uint32_t ds[4] = {packed(dp[2 * step][0], dp[2 * step][1]), packed(dp[2 * step][2], dp[2 * step][3]),
                                    packed(dp[2 * step + 1][0], dp[2 * step + 1][1]),
                                    packed(dp[2 * step + 1][2], dp[2 * step + 1][3])};
#pragma unroll
            for (int c = 0; c < D / 16; c++) {
                uint32_t b[4];
                load_b_columns<D>(b, keys, step * 16, c);
                multiply_add(sum[2 * c], ds, b[0], b[1]);
                multiply_add(sum[2 * c + 1], ds, b[2], b[3]);
            }
        }
        __syncthreads();
    }
#pragma unroll
    for (int half = 0; half < 2; half++) {
        const int query = first_query + warp * 16 + half * 8 + g;
        if (query >= shape.n) continue;
#pragma unroll
        for (int c = 0; c < D / 8; c++) {
            *(uint32_t *)(dq + (uint64_t)query * dq_stride + head * D + c * 8 + 2 * t) =
                packed(sum[c][2 * half] * shape.scale, sum[c][2 * half + 1] * shape.scale);
        }
    }
}

// ---- by name -------------------------------------------------------------------------------------------------------

#define ATTENTION(D)                                                                                                   \
    extern "C" __global__ void __launch_bounds__(128)                                                                  \
        attention_##D(const bf16 *q, uint64_t q_stride, const bf16 *k, const bf16 *v, uint64_t kv_stride, bf16 *out,   \
                      float *partial, float *log_sum_exp, int n, int m, int n_heads, float scale, uint32_t n_queries,  \
                      uint64_t key, uint64_t limit, float kept, int tiles_per_split, int log_sum_exps) {               \
        forward<D>(q, q_stride, k, v, kv_stride, out, partial, log_sum_exp, Shape{n, m, n_heads, scale, n_queries},    \
                   Mask{key, limit, kept}, tiles_per_split, log_sum_exps);                                             \
    }                                                                                                                  \
    extern "C" __global__ void attention_combine_##D(const float *partial, const float *parts, bf16 *out,              \
                                                     float *log_sum_exp, int n, int n_heads, int n_splits,             \
                                                     int log_sum_exps) {                                               \
        combine<D>(partial, parts, out, log_sum_exp, n, n_heads, n_splits, log_sum_exps);                              \
    }                                                                                                                  \
    extern "C" __global__ void attention_products_##D(const bf16 *out, const bf16 *dout, float *delta, int n,          \
                                                      int n_heads) {                                                   \
        products<D>(out, dout, delta, n, n_heads);                                                                     \
    }
ATTENTION(32)
ATTENTION(64)
ATTENTION(128)

// `backward` takes ROWS queries at a time and holds STAGES such tiles, `backward_queries` takes KEYS keys at a time.
#define GRADIENTS(NAME, D, ROWS, STAGES, KEYS)                                                                         \
    extern "C" __global__ void __launch_bounds__(256, 1)                                                               \
        attention_backward_##NAME(const bf16 *q, uint64_t q_stride, const bf16 *k, const bf16 *v, uint64_t kv_stride,  \
                                  const bf16 *dout, const float *log_sum_exp, const float *delta, float *dq, bf16 *dk, \
                                  bf16 *dv, uint64_t dkv_stride, float *partial, int n, int m, int n_heads,            \
                                  float scale, uint32_t n_queries, uint64_t key, uint64_t limit, float kept,           \
                                  int tiles_per_split) {                                                               \
        backward<D, ROWS, STAGES>(q, q_stride, k, v, kv_stride, dout, log_sum_exp, delta, dq, dk, dv, dkv_stride,      \
                                  partial, Shape{n, m, n_heads, scale, n_queries}, Mask{key, limit, kept},             \
                                  tiles_per_split);                                                                    \
    }                                                                                                                  \
    extern "C" __global__ void __launch_bounds__(256, 1) attention_backward_queries_##NAME(                            \
        const bf16 *q, uint64_t q_stride, const bf16 *k, const bf16 *v, uint64_t kv_stride, const bf16 *dout,          \
        const float *log_sum_exp, const float *delta, bf16 *dq, uint64_t dq_stride, int n, int m, int n_heads,         \
        float scale, uint32_t n_queries, uint64_t key, uint64_t limit, float kept) {                                   \
        backward_queries<D, KEYS>(q, q_stride, k, v, kv_stride, dout, log_sum_exp, delta, dq, dq_stride,               \
                                  Shape{n, m, n_heads, scale, n_queries}, Mask{key, limit, kept});                     \
    }
GRADIENTS(32, 32, 64, 2, 64)
GRADIENTS(64, 64, 64, 2, 64)
GRADIENTS(128, 128, 64, 2, 64)
// For GPUs that do not hold the tiles of the line before: 99 KiB of shared memory a block.
GRADIENTS(128_small, 128, 32, 1, 32)

// ---- sums of parts -------------------------------------------------------------------------------------------------

// Rows of `width` floats, the sum of `n_parts` of them times `scale`, as bf16 in rows of `stride`.
extern "C" __global__ void sum_to_bf16(const float *parts, bf16 *to, uint32_t n, uint32_t width, uint64_t stride,
                                       int n_parts, float scale) {
    uint64_t at = ((uint64_t)blockIdx.x * blockDim.x + threadIdx.x) * 4;
    const uint64_t size = (uint64_t)n * width;
    if (at >= size) return;
    float4 sum = make_float4(0.0f, 0.0f, 0.0f, 0.0f);
    for (int part = 0; part < n_parts; part++) {
        const float4 v = load4(parts + part * size + at);
        sum.x += v.x;
        sum.y += v.y;
        sum.z += v.z;
        sum.w += v.w;
    }
    store4(to + at / width * stride + at % width, make_float4(sum.x * scale, sum.y * scale, sum.z * scale, sum.w * scale));
}
