// Multi-head attention for Hopper without a query x key matrix: bf16 operands, f32 sums, heads of 128 channels.
//
// The kernels do what those of `attention_bf16.cu` do, with the same arguments. In a block, one warpgroup copies tiles to shared
// memory and the others compute, each 64 rows of the block's tile, so that one has products running while another takes
// exponentials. Queries, keys and values are rows of `stride` elements; head h is columns 128 h .. of each. The log-sum-exp of a
// query is kept in base 2: weight = 2^(scale_2 q k - log_sum_exp) with scale_2 = log2(e) / sqrt(128).
#include "hopper.cuh"

struct Shape {
    int n, m, n_heads;
    float scale;
    // Rows of queries that the dropout index counts.
    uint32_t n_queries;
};
#define LOG2_E 1.4426950408889634f

struct Queries {
    const bf16 *q;
    uint64_t stride;
};
struct Keys {
    const bf16 *k, *v;
    uint64_t stride;
};

#define HOPPER_D 128

// The index of the weight of a query and key 0; that of key j is j more.
__device__ __forceinline__ uint64_t first_weight(const Shape &shape, int head, int query) {
    return ((uint64_t)head * shape.n_queries + query) * shape.m;
}

// Whether a weight is dropped. This alone says how.
__device__ __forceinline__ bool dropped(const Mask &mask, uint64_t index) { return split_mix(mask.key ^ index) < mask.limit; }

// Registers of a computing and of a copying thread with `CONSUMERS` computing warpgroups. Their sum is what a block is given at
// its start: 168 a thread for 3 warpgroups, 128 for 4.
template <int CONSUMERS>
struct Registers {
    static constexpr int CONSUMER = CONSUMERS == 3 ? 160 : 240, PRODUCER = CONSUMERS == 3 ? 32 : 24;
};

// Queries that the backward kernel takes at a time.
#define BACKWARD_ROWS 64

// Where the parts of its shared memory begin.
struct BackwardShared {
    static constexpr int ROWS = BACKWARD_ROWS, TILE = ROWS * 256;
    static constexpr int K = 0, V = K + 128 * 256, Q = V + 128 * 256, DOUT = Q + 2 * TILE, DS = DOUT + 2 * TILE;
    // Sums on their way to the gradients of queries.
    static constexpr int SUMS = DS + 2 * TILE, ROW_VALUES = SUMS + 2 * TILE, BARRIERS = ROW_VALUES + 2 * 2 * ROWS * 4;
    static constexpr int BYTES = 1024 + BARRIERS + 128;
};
static_assert(BackwardShared::BYTES == 198784, "what bf16.rs launches the backward kernels with");

#ifdef HOPPER

// ---- forward -------------------------------------------------------------------------------------------------------

// The state of the softmax of the two rows that a thread has part of.
struct Rows {
    float highest[2], sum[2];
};

// Which weights of a tile are dropped, a bit each. It takes longer than the products and depends on none of them, so it is done
// while they run.
//
// A thread has weights of COLUMNS columns and two rows: keys and queries, or, where scores are transposed, queries and keys.
template <int COLUMNS>
struct Gone {
    static constexpr int WORDS = (COLUMNS / 2 + 31) / 32;
    uint32_t bits[WORDS];

    // `is_dropped(eight, i)`: whether weight 8 eight + i is.
    template <typename IsDropped>
    __device__ __forceinline__ void find(IsDropped is_dropped, uint32_t spare) {
        uint32_t all = 0;
#pragma unroll
        for (int word = 0; word < WORDS; word++) {
            bits[word] = 0;
            // Eight at a time: more would not be faster, and take registers.
#pragma unroll 1
            for (int eight = 0; eight < min(COLUMNS / 16 - word * 4, 4); eight++) {
                uint32_t found = 0;
#pragma unroll
                for (int i = 0; i < 8; i++) {
                    if (is_dropped(word * 4 + eight, i)) found |= 1u << i;
                }
                bits[word] |= found << eight * 8;
            }
            all ^= bits[word];
        }
        hold(all, spare);
    }
    __device__ __forceinline__ bool at(int i) const { return bits[i / 32] >> i % 32 & 1; }
};

// From the scores of a tile to weights relative to the highest score so far. `shrink` is what earlier weights are to be
// multiplied by. The thread's first key is `key`, and there are `m`; CUT: some keys of this tile may not exist.
template <int KEYS, bool CUT, bool DROPOUT>
__device__ __forceinline__ void soften(float (&s)[KEYS / 2], Rows &rows, float (&shrink)[2], float scale_2,
                                       const Gone<KEYS> &gone, int key, int m) {
    if (CUT && key - key % KEYS + KEYS > m) {
#pragma unroll
        for (int c = 0; c < KEYS / 8; c++) {
#pragma unroll
            for (int e = 0; e < 2; e++) {
                if (key + c * 8 + e >= m) s[4 * c + e] = s[4 * c + 2 + e] = -INFINITY;
            }
        }
    }
#pragma unroll
    for (int half = 0; half < 2; half++) {
        float top = rows.highest[half];
#pragma unroll
        for (int c = 0; c < KEYS / 8; c++) top = fmaxf(top, fmaxf(s[4 * c + 2 * half], s[4 * c + 2 * half + 1]));
        top = fmaxf(top, __shfl_xor_sync(0xffffffffu, top, 1));
        top = fmaxf(top, __shfl_xor_sync(0xffffffffu, top, 2));
        const float shift = top * scale_2;
        shrink[half] = exp2_fast(fmaf(rows.highest[half], scale_2, -shift));
        rows.highest[half] = top;
        float total = 0.0f;
#pragma unroll
        for (int c = 0; c < KEYS / 8; c++) {
#pragma unroll
            for (int e = 0; e < 2; e++) {
                float &weight = s[4 * c + 2 * half + e];
                weight = exp2_fast(fmaf(weight, scale_2, -shift));
                total += weight;
                if (DROPOUT && gone.at(4 * c + 2 * half + e)) weight = 0.0f;
            }
        }
        rows.sum[half] = fmaf(rows.sum[half], shrink[half], total);
    }
}

// Weights, or their gradients, as the operand of products.
template <int KEYS>
__device__ __forceinline__ void pack_weights(uint32_t (&p)[KEYS / 16][4], const float (&s)[KEYS / 2]) {
#pragma unroll
    for (int step = 0; step < KEYS / 16; step++) {
#pragma unroll
        for (int part = 0; part < 4; part++) p[step][part] = packed(s[8 * step + 2 * part], s[8 * step + 2 * part + 1]);
    }
}

// Starts s = A B^T, summed over the channels of 64 rows of a tile of A_ROWS and of all of a tile of B_ROWS.
template <int A_ROWS, int B_ROWS>
__device__ __forceinline__ void start_over_channels(float (&s)[B_ROWS / 2], uint64_t a, uint64_t b) {
#pragma unroll
    for (int step = 0; step < 8; step++) {
        product<B_ROWS, 0>(s, a + further(step / 4 * (A_ROWS * 128) + step % 4 * 32),
                           b + further(step / 4 * (B_ROWS * 128) + step % 4 * 32), step > 0);
    }
}
// Starts o (+)= P B, summed over the rows of a tile of B_ROWS, with 64 rows of P in registers.
template <int B_ROWS>
__device__ __forceinline__ void start_over_rows(float (&o)[64], const uint32_t (&p)[B_ROWS / 16][4], uint64_t b, bool add) {
#pragma unroll
    for (int step = 0; step < B_ROWS / 16; step++) product(o, p[step], b + further(step * 2048), add || step > 0);
}

__device__ __forceinline__ void shrink_rows(float (&o)[64], const float (&shrink)[2]) {
#pragma unroll
    for (int i = 0; i < 64; i++) o[i] *= shrink[i / 2 % 2];
}

// A block of CONSUMERS + 1 warpgroups takes 64 x CONSUMERS queries of one head over the keys of one split, from the last tile of
// KEYS keys to the first; STAGES tiles are in shared memory.
//
// AHEAD: the scores of the next tile are started before the products of this one's weights and values.
template <int CONSUMERS, int KEYS, int STAGES, bool AHEAD, bool DROPOUT>
__device__ __forceinline__ void hopper_forward(Queries queries, Keys keys, bf16 *out, float *partial, float *log_sum_exp,
                                               const Shape &shape, const Mask &mask, int tiles_per_split, int log_sum_exps) {
    constexpr int D = HOPPER_D, ROWS = CONSUMERS * 64, TILE = KEYS * 256;
    DYNAMIC_SHARED(unsigned char, shared);
    const uint32_t q_tile = (shared_address(shared) + 1023) & ~1023u, k_tile = q_tile + ROWS * 256, v_tile = k_tile + STAGES * TILE;
    const uint32_t barriers = v_tile + STAGES * TILE;
    // Copied, for queries and each stage of keys and values, and free again, for each stage.
    const uint32_t q_there = barriers, k_there = q_there + 8, v_there = k_there + STAGES * 8;
    const uint32_t k_free = v_there + STAGES * 8, v_free = k_free + STAGES * 8, spare = barriers + 248;
    const int head = blockIdx.y, split = blockIdx.z, first_query = blockIdx.x * ROWS;
    const int n_tiles = (shape.m + KEYS - 1) / KEYS;
    const int first_tile = split * tiles_per_split, count = min(tiles_per_split, n_tiles - first_tile);
    if (count <= 0) return;
    const int last_tile = first_tile + count - 1;
    const int group = __shfl_sync(0xffffffffu, threadIdx.x / 128, 0), thread = threadIdx.x % 128;

    if (threadIdx.x == 0) {
        barrier_init(q_there, 128);
        for (int stage = 0; stage < STAGES; stage++) {
            barrier_init(k_there + stage * 8, 128);
            barrier_init(v_there + stage * 8, 128);
            // An arrival of each computing warp.
            barrier_init(k_free + stage * 8, CONSUMERS * 4);
            barrier_init(v_free + stage * 8, CONSUMERS * 4);
        }
        show_to_products();
    }
    __syncthreads();

    if (group == 0) {
        registers_down<Registers<CONSUMERS>::PRODUCER>();
        const bf16 *k = keys.k + head * D, *v = keys.v + head * D;
        copy_rows<ROWS>(q_tile, queries.q + head * D, queries.stride, first_query, shape.n, thread);
        Copies copies;
        copies.end(q_there);
        int stage = 0;
        uint32_t parity = 1;
        for (int tile = last_tile; tile >= first_tile; tile--) {
            copies.begin(k_free + stage * 8, parity);
            copy_rows<KEYS>(k_tile + stage * TILE, k, keys.stride, tile * KEYS, shape.m, thread);
            copies.end(k_there + stage * 8);
            copies.begin(v_free + stage * 8, parity);
            copy_rows<KEYS>(v_tile + stage * TILE, v, keys.stride, tile * KEYS, shape.m, thread);
            copies.end(v_there + stage * 8);
            if (++stage == STAGES) {
                stage = 0;
                parity ^= 1;
            }
        }
        copies.end_all();
    } else {
        registers_up<Registers<CONSUMERS>::CONSUMER>();
        const int mine = group - 1, warp = thread / 32, lane = thread % 32, g = lane / 4, t = lane % 4;
        const int query = first_query + mine * 64 + warp * 16 + g;
        const float scale_2 = shape.scale * LOG2_E;
        const uint64_t weights[2] = {first_weight(shape, head, query), first_weight(shape, head, query + 8)};
        const uint64_t query_rows = operand(q_tile + mine * 64 * 128, 16);
        const uint64_t key_rows = operand(k_tile, 16), value_rows = operand(v_tile, KEYS * 128);
        // Of the weights of a tile that this thread has, eight at a time.
        const auto dropped_of = [&](int tile) {
            const uint32_t first_key = tile * KEYS + 2 * t;
            return [=](int eight, int i) { return dropped(mask, weights[i / 2 % 2] + (first_key + eight * 16 + i / 4 * 8 + i % 2)); };
        };
        Rows rows = {{-INFINITY, -INFINITY}, {0.0f, 0.0f}};
        float o[64], s[KEYS / 2], shrink[2];
        uint32_t p[KEYS / 16][4];
        Gone<KEYS> gone;

        barrier_wait(q_there, 0);
        barrier_wait(k_there, 0);
        products_begin();
        start_over_channels<ROWS, KEYS>(s, query_rows, key_rows);
        products_commit();
        if (DROPOUT) gone.find(dropped_of(last_tile), spare);
        products_wait<0>();
        settle(s);
        if (lane == 0) barrier_arrive(k_free);
        soften<KEYS, true, DROPOUT>(s, rows, shrink, scale_2, gone, last_tile * KEYS + 2 * t, shape.m);
        pack_weights<KEYS>(p, s);

        if constexpr (AHEAD) {
            int stage = 0;
            uint32_t parity = 0;
            for (int i = 1; i < count; i++) {
                // The stage and parity of the tile of the scores; values are one behind.
                const int last_stage = stage;
                const uint32_t last_parity = parity;
                if (++stage == STAGES) {
                    stage = 0;
                    parity ^= 1;
                }
                barrier_wait(k_there + stage * 8, parity);
                products_begin();
                start_over_channels<ROWS, KEYS>(s, query_rows, key_rows + further(stage * TILE));
                products_commit();
                barrier_wait(v_there + last_stage * 8, last_parity);
                products_begin();
                start_over_rows<KEYS>(o, p, value_rows + further(last_stage * TILE), i > 1);
                products_commit();
                if (DROPOUT) gone.find(dropped_of(last_tile - i), spare);
                products_wait<1>();
                settle(s);
                if (lane == 0) barrier_arrive(k_free + stage * 8);
                soften<KEYS, false, DROPOUT>(s, rows, shrink, scale_2, gone, (last_tile - i) * KEYS + 2 * t, shape.m);
                settle(s);
                hold(rows.sum[0] + rows.sum[1], spare);
                products_wait<0>();
                settle(o);
                retain(p);
                if (lane == 0) barrier_arrive(v_free + last_stage * 8);
                shrink_rows(o, shrink);
                pack_weights<KEYS>(p, s);
            }
            barrier_wait(v_there + stage * 8, parity);
            products_begin();
            start_over_rows<KEYS>(o, p, value_rows + further(stage * TILE), count > 1);
            products_commit();
            products_wait<0>();
            settle(o);
            retain(p);
        } else {
            int stage = 0;
            uint32_t parity = 0;
            for (int i = 0;;) {
                barrier_wait(v_there + stage * 8, parity);
                products_begin();
                start_over_rows<KEYS>(o, p, value_rows + further(stage * TILE), i > 0);
                products_commit();
                products_wait<0>();
                settle(o);
                retain(p);
                if (lane == 0) barrier_arrive(v_free + stage * 8);
                if (++i == count) break;
                if (++stage == STAGES) {
                    stage = 0;
                    parity ^= 1;
                }
                barrier_wait(k_there + stage * 8, parity);
                products_begin();
                start_over_channels<ROWS, KEYS>(s, query_rows, key_rows + further(stage * TILE));
                products_commit();
                if (DROPOUT) gone.find(dropped_of(last_tile - i), spare);
                products_wait<0>();
                settle(s);
                if (lane == 0) barrier_arrive(k_free + stage * 8);
                soften<KEYS, false, DROPOUT>(s, rows, shrink, scale_2, gone, (last_tile - i) * KEYS + 2 * t, shape.m);
                shrink_rows(o, shrink);
                pack_weights<KEYS>(p, s);
            }
        }

        const int width = shape.n_heads * D;
#pragma unroll
        for (int half = 0; half < 2; half++) {
            float total = rows.sum[half];
            total += __shfl_xor_sync(0xffffffffu, total, 1);
            total += __shfl_xor_sync(0xffffffffu, total, 2);
            if (query + half * 8 >= shape.n) continue;
            const float factor = mask.kept / total;
            const uint64_t row = (uint64_t)(query + half * 8) * width + head * D + 2 * t;
#pragma unroll
            for (int c = 0; c < D / 8; c++) {
                const float x = o[4 * c + 2 * half] * factor, y = o[4 * c + 2 * half + 1] * factor;
                if (partial) {
                    *(float2 *)(partial + (uint64_t)split * shape.n * width + row + c * 8) = make_float2(x, y);
                } else {
                    *(uint32_t *)(out + row + c * 8) = packed(x, y);
                }
            }
            if (t == 0) {
                log_sum_exp[((uint64_t)split * shape.n_heads + head) * log_sum_exps + query + half * 8] =
                    rows.highest[half] * scale_2 + log2f(total);
            }
        }
    }
}

// ---- backward ------------------------------------------------------------------------------------------------------

// Gradients of keys and values; sums for those of queries, too, if `dq` is not null (unscaled, added in no fixed order).
//
// In a block of three warpgroups two take 64 keys each of one head, over the query tiles of one split. Scores are made transposed,
// so that weights and their gradients are operands of the next products where they are. The gradients of scores also go to shared
// memory, queries by keys: from there each warpgroup makes half of the channels of the gradients of queries, transposed.
//
// `dq` is, for each head and tile, what its warps have of these in the order of their registers, so that a warp adds all at once: many
// small additions would take longer than the products. `attention_hopper_queries` brings them in order. Blocks begin at different tiles,
// so that their sums do not meet.
template <bool DROPOUT>
__device__ __forceinline__ void hopper_backward(Queries queries, Keys keys, const bf16 *dout, const float *log_sum_exp,
                                                const float *delta, float *dq, bf16 *dk, bf16 *dv, uint64_t dkv_stride,
                                                float *partial, const Shape &shape, const Mask &mask, int tiles_per_split) {
    typedef BackwardShared Parts;
    constexpr int D = HOPPER_D, KEYS = 128, ROWS = Parts::ROWS, TILE = Parts::TILE, STEPS = ROWS / 16;
    DYNAMIC_SHARED(unsigned char, shared);
    const uint32_t base = (shared_address(shared) + 1023) & ~1023u;
    const uint32_t k_tile = base + Parts::K, v_tile = base + Parts::V, q_tile = base + Parts::Q, dout_tile = base + Parts::DOUT;
    const uint32_t ds_tile = base + Parts::DS, row_values = base + Parts::ROW_VALUES, barriers = base + Parts::BARRIERS;
    // For each stage: a tile's queries and gradients are copied, and the place of either is free again.
    const uint32_t there = barriers, q_free = there + 16, dout_free = q_free + 16, spare = barriers + 120;
    const int head = blockIdx.y, split = blockIdx.z, first_key = blockIdx.x * KEYS;
    const int width = shape.n_heads * D;
    const int n_tiles = (shape.n + ROWS - 1) / ROWS;
    const int first_tile = split * tiles_per_split, count = min(tiles_per_split, n_tiles - first_tile);
    if (count <= 0) return;
    // Tiles begin here and go around.
    const int start = (int)((uint64_t)blockIdx.x * count / gridDim.x);
    const int group = __shfl_sync(0xffffffffu, threadIdx.x / 128, 0), thread = threadIdx.x % 128;

    if (threadIdx.x == 0) {
        for (int stage = 0; stage < 2; stage++) {
            barrier_init(there + stage * 8, 128);
            // An arrival of each computing warp.
            barrier_init(q_free + stage * 8, 8);
            barrier_init(dout_free + stage * 8, 8);
        }
        show_to_products();
    }
    __syncthreads();

    if (group == 0) {
        registers_down<Registers<2>::PRODUCER>();
        copy_rows<KEYS>(k_tile, keys.k + head * D, keys.stride, first_key, shape.m, thread);
        copy_rows<KEYS>(v_tile, keys.v + head * D, keys.stride, first_key, shape.m, thread);
        const bf16 *q = queries.q + head * D;
        dout += head * D;
        log_sum_exp += (uint64_t)head * shape.n;
        delta += (uint64_t)head * shape.n;
        int at = start;
        for (int i = 0; i < count; i++) {
            // A query past the end has zeros everywhere, and so adds nothing to any gradient.
            const int stage = i % 2, first = (first_tile + at) * ROWS, query = first + thread;
            const uint32_t parity = i / 2 % 2 ^ 1;
            const uint32_t value_at = row_values + (stage * 2 * ROWS + thread) * 4;
            const bool exists = query < shape.n;
            // The gradients' place is free before that of the queries.
            barrier_wait(dout_free + stage * 8, parity);
            copy_rows<ROWS>(dout_tile + stage * TILE, dout, width, first, shape.n, thread);
            if (thread < ROWS) copy_4(value_at + ROWS * 4, delta + (exists ? query : 0), exists);
            barrier_wait(q_free + stage * 8, parity);
            copy_rows<ROWS>(q_tile + stage * TILE, q, queries.stride, first, shape.n, thread);
            if (thread < ROWS) copy_4(value_at, log_sum_exp + (exists ? query : 0), exists);
            // With the first tile come the keys and values.
            barrier_arrive_copied(there + stage * 8);
            if (++at == count) at = 0;
        }
        // The barriers tell the others; this thread does not end before its copies.
        copies_commit();
        copies_wait<0>();
    } else {
        registers_up<Registers<2>::CONSUMER>();
        const int mine = group - 1, warp = thread / 32, lane = thread % 32, g = lane / 4, t = lane % 4;
        const float scale_2 = shape.scale * LOG2_E;
        const int key = first_key + mine * 64 + warp * 16 + g;
        const bool exists[2] = {key < shape.m, key + 8 < shape.m}, cut = first_key + KEYS > shape.m;
        const uint64_t key_rows = operand(k_tile + mine * 64 * 128, 16), value_rows = operand(v_tile + mine * 64 * 128, 16);
        const uint64_t key_columns = operand(k_tile + mine * KEYS * 128, 16);
        // Queries and gradients of the output by rows and by columns are found the same way.
        const uint64_t query_tiles = operand(q_tile, ROWS * 128), dout_tiles = operand(dout_tile, ROWS * 128);
        const uint64_t ds_tiles = operand(ds_tile, 16);
        // The row of gradients of scores whose address this thread gives when its warp stores the first four matrices.
        const uint32_t ds_at = ds_tile + mine * (ROWS * 128) + (lane / 16 * 8 + lane % 8) * 128 +
                               ((warp * 2 + lane / 8 % 2) ^ lane % 8) * 16;
        const uint32_t sums = base + Parts::SUMS + (mine * 4 + warp) * (ROWS * 64);
        // `s` are scores, and then parts of the gradients of queries.
        float sum_k[64], sum_v[64], s[ROWS / 2], dp[ROWS / 2];
        uint32_t p[STEPS][4], ds[STEPS][4];

        int at = start;
        for (int i = 0; i < count; i++) {
            const int stage = i % 2, tile = first_tile + at;
            const uint32_t parity = i / 2 % 2;
            const uint64_t query_tile = query_tiles + further(stage * TILE), gradient_tile = dout_tiles + further(stage * TILE);
            const uint32_t lse_at = row_values + stage * (2 * ROWS * 4) + t * 8, delta_at = lse_at + ROWS * 4;
            if (++at == count) at = 0;

            barrier_wait(there + stage * 8, parity);
            show_to_products();
            products_begin();
            start_over_channels<KEYS, ROWS>(s, key_rows, query_tile);
            products_commit();
            // The last tile's products for the gradients of keys are done.
            products_wait<1>();
            settle(sum_k);
            retain(ds);
            if (i > 0 && lane == 0) barrier_arrive(q_free + (stage ^ 1) * 8);
            products_begin();
            start_over_channels<KEYS, ROWS>(dp, value_rows, gradient_tile);
            products_commit();

            // Which weights are dropped, while these products run.
            Gone<ROWS> gone;
            if constexpr (DROPOUT) {
                const uint64_t first = first_weight(shape, head, tile * ROWS + 2 * t) + (uint32_t)key;
                const auto is_dropped = [&](int eight, int i) {
                    const uint64_t column = (uint64_t)(uint32_t)shape.m * (uint32_t)(eight * 16 + i / 4 * 8 + i % 2);
                    return dropped(mask, first + column + i / 2 % 2 * 8);
                };
                gone.find(is_dropped, spare);
            }

            products_wait<1>();
            settle(s);
#pragma unroll
            for (int c = 0; c < ROWS / 8; c++) {
                const float2 lse = load_2(lse_at + c * 32);
                s[4 * c] = exp2_fast(fmaf(s[4 * c], scale_2, -lse.x));
                s[4 * c + 1] = exp2_fast(fmaf(s[4 * c + 1], scale_2, -lse.y));
                s[4 * c + 2] = exp2_fast(fmaf(s[4 * c + 2], scale_2, -lse.x));
                s[4 * c + 3] = exp2_fast(fmaf(s[4 * c + 3], scale_2, -lse.y));
            }
            if (cut) {
#pragma unroll
                for (int e = 0; e < ROWS / 2; e++) {
                    if (!exists[e / 2 % 2]) s[e] = 0.0f;
                }
            }
#pragma unroll
            for (int step = 0; step < STEPS; step++) {
#pragma unroll
                for (int part = 0; part < 4; part++) {
                    const int e = 8 * step + 2 * part;
                    float x = s[e], y = s[e + 1];
                    if constexpr (DROPOUT) {
                        x = gone.at(e) ? 0.0f : x * mask.kept;
                        y = gone.at(e + 1) ? 0.0f : y * mask.kept;
                    }
                    p[step][part] = packed(x, y);
                }
            }
            products_begin();
            start_over_rows<ROWS>(sum_v, p, gradient_tile, i > 0);
            products_commit();

            products_wait<1>();
            settle(dp);
#pragma unroll
            for (int c = 0; c < ROWS / 8; c++) {
                const float2 row_delta = load_2(delta_at + c * 32);
#pragma unroll
                for (int e = 0; e < 4; e++) {
                    float &value = dp[4 * c + e];
                    const float less = e % 2 ? row_delta.y : row_delta.x;
                    if constexpr (DROPOUT) {
                        value = s[4 * c + e] * ((gone.at(4 * c + e) ? 0.0f : value * mask.kept) - less);
                    } else {
                        value = s[4 * c + e] * (value - less);
                    }
                }
            }
            pack_weights<ROWS>(ds, dp);
#pragma unroll
            for (int step = 0; step < STEPS; step++) {
                store_transposed(ds_at + stage * TILE + step * 2048, ds[step]);
            }
            show_to_products();
            // Both warpgroups' gradients are there. That both are past the products of the tile before the last, which read what
            // is overwritten here, they knew when they met last.
            part_wait(1, 256);
            products_begin();
#pragma unroll
            for (int step = 0; step < 8; step++) {
                product<ROWS, 1>(s, key_columns + further(step * 2048),
                                 ds_tiles + further(stage * TILE + step / 4 * (ROWS * 128) + step % 4 * 32), step > 0);
            }
            products_commit();
            start_over_rows<ROWS>(sum_k, ds, query_tile, i > 0);
            products_commit();

            products_wait<1>();
            settle(s);
            settle(sum_v);
            retain(p);
            if (lane == 0) barrier_arrive(dout_free + stage * 8);
            if (dq) {
                bulk_wait_read();
                __syncwarp();
#pragma unroll
                for (int c = 0; c < ROWS / 8; c++) {
                    store_4(sums + (c * 32 + lane) * 16, s[4 * c], s[4 * c + 1], s[4 * c + 2], s[4 * c + 3]);
                }
                show_to_products();
                __syncwarp();
                if (lane == 0) add_bulk(dq + (((uint64_t)head * n_tiles + tile) * 8 + mine * 4 + warp) * (ROWS * 16), sums, ROWS * 64);
                bulk_commit();
            }
        }
        products_wait<0>();
        settle(sum_k);
        retain(ds);
        bulk_wait();

#pragma unroll
        for (int half = 0; half < 2; half++) {
            if (!exists[half]) continue;
            const int row = key + half * 8;
#pragma unroll
            for (int c = 0; c < D / 8; c++) {
                const int column = head * D + c * 8 + 2 * t, e = 4 * c + 2 * half;
                const float kx = sum_k[e] * shape.scale, ky = sum_k[e + 1] * shape.scale, vx = sum_v[e], vy = sum_v[e + 1];
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
}

#endif

// ---- by name -------------------------------------------------------------------------------------------------------

#ifdef HOPPER
#define HOPPER_RUN(call) call
#else
// Compiled for a Hopper that was told to leave its own code aside: better no result than a wrong one.
#define HOPPER_RUN(call) __trap()
#endif

// Without dropout (`limit` 0) and with it are two kernels each.
#define HOPPER_FORWARD(NAME, CONSUMERS, STAGES, AHEAD, DROPOUT)                                                        \
    extern "C" __global__ void __launch_bounds__(128 * (CONSUMERS + 1), 1)                                             \
        NAME(const bf16 *q, uint64_t q_stride, const bf16 *k, const bf16 *v, uint64_t kv_stride, bf16 *out,            \
             float *partial, float *log_sum_exp, int n, int m, int n_heads, float scale, uint32_t n_queries,           \
             uint64_t key, uint64_t limit, float kept, int tiles_per_split, int log_sum_exps) {                        \
        HOPPER_RUN((hopper_forward<CONSUMERS, 128, STAGES, AHEAD, DROPOUT>(                                            \
            Queries{q, q_stride}, Keys{k, v, kv_stride}, out, partial, log_sum_exp,                                    \
            Shape{n, m, n_heads, scale, n_queries}, Mask{key, limit, kept}, tiles_per_split, log_sum_exps)));          \
    }
// 192 queries a block, where there are blocks for all multiprocessors, and 128; tiles of 128 keys.
HOPPER_FORWARD(attention_hopper_192, 3, 2, false, false)
HOPPER_FORWARD(attention_hopper_192_dropout, 3, 2, false, true)
HOPPER_FORWARD(attention_hopper_128, 2, 3, true, false)
HOPPER_FORWARD(attention_hopper_128_dropout, 2, 3, true, true)

#define HOPPER_BACKWARD(NAME, DROPOUT)                                                                                 \
    extern "C" __global__ void __launch_bounds__(384, 1)                                                               \
        NAME(const bf16 *q, uint64_t q_stride, const bf16 *k, const bf16 *v, uint64_t kv_stride, const bf16 *dout,     \
             const float *log_sum_exp, const float *delta, float *dq, bf16 *dk, bf16 *dv, uint64_t dkv_stride,         \
             float *partial, int n, int m, int n_heads, float scale, uint32_t n_queries, uint64_t key, uint64_t limit, \
             float kept, int tiles_per_split) {                                                                        \
        HOPPER_RUN((hopper_backward<DROPOUT>(                                                                          \
            Queries{q, q_stride}, Keys{k, v, kv_stride}, dout, log_sum_exp, delta, dq, dk, dv, dkv_stride, partial,    \
            Shape{n, m, n_heads, scale, n_queries}, Mask{key, limit, kept}, tiles_per_split)));                        \
    }
// 128 keys a block, tiles of 64 queries.
HOPPER_BACKWARD(attention_hopper_backward, false)
HOPPER_BACKWARD(attention_hopper_backward_dropout, true)

// Gradients of queries, from the sums of the kernels above: a block of 256 threads per 8 queries and head.
extern "C" __global__ void attention_hopper_queries(const float *sums, bf16 *dq, uint64_t stride, int n, float scale) {
    constexpr int D = HOPPER_D, EIGHTS = BACKWARD_ROWS / 8;
    // Four floats between rows, so that stores spread over the banks.
    __shared__ __align__(16) float rows[8][D + 4];
    const int head = blockIdx.y, n_tiles = (n + BACKWARD_ROWS - 1) / BACKWARD_ROWS, warp = threadIdx.x / 32, lane = threadIdx.x % 32;
    // Warps had 16 channels each.
    const uint64_t part = ((uint64_t)head * n_tiles + blockIdx.x / EIGHTS) * 8 + warp;
    const float4 v = load4(sums + ((part * EIGHTS + blockIdx.x % EIGHTS) * 32 + lane) * 4);
    const int channel = warp * 16 + lane / 4, row = lane % 4 * 2;
    rows[row][channel] = v.x;
    rows[row + 1][channel] = v.y;
    rows[row][channel + 8] = v.z;
    rows[row + 1][channel + 8] = v.w;
    __syncthreads();
    const int query = blockIdx.x * 8 + warp;
    if (query >= n) return;
    const float4 sum = load4(&rows[warp][lane * 4]);
    store4(dq + query * stride + head * D + lane * 4, make_float4(sum.x * scale, sum.y * scale, sum.z * scale, sum.w * scale));
}
