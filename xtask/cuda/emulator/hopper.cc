// Hopper's instructions. Threads of a block are fibers (blocks.cc). What a GPU does beside them is done as early or as late as it may be:
// where those that copy come first, copies and bulk sums are made at once and products where they are waited for, from what is in memory
// and registers then, so that a copy which comes before a product is done is seen; in reverse order copies and bulk sums are late and
// products made at once, so that a product which does not wait for its operands is seen. Sums that a product is to add to are NaN while it
// runs. Which thread sees what another wrote without a fence is not looked at.
#include "hopper_instructions.cuh"
#include "blocks.h"

#include <cstdio>
#include <cstdlib>
#include <map>
#include <vector>

// ---- barriers --------------------------------------------------------------------------------------------------------

struct CountingBarrier {
    int n_expected = 0, n_arrived = 0;
    uint32_t phase = 0;
    // Arrivals that come when copies are made.
    std::vector<CopiesOfThread> awaited;

    void arrive() {
        if (++n_arrived < n_expected) return;
        n_arrived = 0;
        phase++;
    }
};
static std::map<uint32_t, CountingBarrier> barriers;
static std::map<int, Barrier> parts; // by number

void barrier_init(uint32_t barrier, int arrivals) {
    barriers[barrier] = {};
    barriers[barrier].n_expected = arrivals;
    take_roles();
}
// In reverse order those that wait go on before the thread that arrives does more.
static void let_others_go_on() {
    if (is_reversed()) give_turn();
    go_on();
}
void barrier_arrive(uint32_t barrier) {
    barriers[barrier].arrive();
    let_others_go_on();
}
void barrier_arrive_copied(uint32_t barrier) {
    barriers[barrier].awaited.push_back(copies_so_far());
    let_others_go_on();
}
bool barrier_passed(uint32_t barrier, uint32_t parity) {
    CountingBarrier &it = barriers[barrier];
    for (const CopiesOfThread &copies : it.awaited) {
        finish(copies);
        it.arrive();
    }
    it.awaited.clear();
    return it.phase % 2 != parity;
}
void barrier_wait(uint32_t barrier, uint32_t parity) {
    wait_until([&] { return barrier_passed(barrier, parity); });
}
void part_wait(int number, int threads) {
    parts[number].n_live = threads;
    parts[number].wait();
}

// ---- products --------------------------------------------------------------------------------------------------------

// A thread's part of one.
struct Product {
    float *d;
    int width;
    Operand a, b;
    const uint32_t *a_in_registers;
    bool accumulate;
    // What was in `d`, unless another product on it is under way.
    std::vector<float> before;
    int group;
};
static std::vector<Product> products[MOST_THREADS];
static int n_groups[MOST_THREADS];

void products_commit() { n_groups[current]++; }

// Element `k` of row `i` of an operand whose columns are summed over, or of column `i` of one whose rows are.
static float element(const Operand &operand, int i, int k) {
    const uint32_t start = (operand.descriptor & 0x3fff) << 4, halves = (operand.descriptor >> 16 & 0x3fff) << 4,
                   eights = (operand.descriptor >> 32 & 0x3fff) << 4;
    if (operand.descriptor >> 62 != 1) {
        fprintf(stderr, "emulated GPU: an operand whose chunks are in another order than this emulator knows\n");
        abort();
    }
    const uint32_t plain = operand.columns ? start + i / 64 * halves + k / 8 * eights + k % 8 * 128 + i % 64 * 2
                                           : start + i / 8 * eights + i % 8 * 128 + k * 2;
    uint16_t bits;
    memcpy(&bits, shared_at(plain ^ (plain >> 7 & 7) << 4), sizeof bits);
    return __uint_as_float((uint32_t)bits << 16);
}

// Product `at` of each thread of this warp: 16 rows.
static void carry_out(size_t at) {
    const int first = warp() * 32;
    const Product &any = products[first][at];
    const int width = any.width;
    std::vector<float> a(16 * 16), b(16 * width), sums(16 * width);
    for (int l = 0; any.a_in_registers && l < 32; l++) {
        for (int i = 0; i < 4; i++) {
            const uint32_t pair = products[first + l][at].a_in_registers[i];
            float *to = &a[(l / 4 + i % 2 * 8) * 16 + l % 4 * 2 + i / 2 * 8];
            to[0] = __uint_as_float(pair << 16);
            to[1] = __uint_as_float(pair & 0xffff0000u);
        }
    }
    for (int k = 0; k < 16; k++) {
        for (int i = 0; !any.a_in_registers && i < 16; i++) a[i * 16 + k] = element(any.a, warp() % 4 * 16 + i, k);
        for (int j = 0; j < width; j++) b[k * width + j] = element(any.b, j, k);
    }
    for (int i = 0; i < 16; i++) {
        for (int k = 0; k < 16; k++) {
            for (int j = 0; j < width; j++) sums[i * width + j] += a[i * 16 + k] * b[k * width + j];
        }
    }
    for (int l = 0; l < 32; l++) {
        const Product &it = products[first + l][at];
        for (int e = 0; e < width / 2; e++) {
            const float before = !it.accumulate ? 0.0f : it.before.empty() ? it.d[e] : it.before[e];
            it.d[e] = before + sums[(l / 4 + e / 2 % 2 * 8) * width + e / 4 * 8 + l % 4 * 2 + e % 2];
        }
    }
}

// Those of this warp from one to before another.
static void carry_out_by_warp(size_t first, size_t end) {
    meet();
    for (size_t at = first; lane() == 0 && at < end; at++) carry_out(at);
    meet();
    std::vector<Product> &mine = products[current];
    mine.erase(mine.begin() + first, mine.begin() + end);
}

void start_product(float *d, int width, Operand a, const uint32_t *a_in_registers, Operand b, bool accumulate) {
    std::vector<Product> &mine = products[current];
    Product it{d, width, a, b, a_in_registers, accumulate, {}, n_groups[current]};
    const bool is_first = std::none_of(mine.begin(), mine.end(), [&](const Product &other) { return other.d == d; });
    if (is_first) {
        it.before.assign(d, d + width / 2);
        std::fill(d, d + width / 2, NAN);
    }
    mine.push_back(std::move(it));
    if (is_reversed()) carry_out_by_warp(mine.size() - 1, mine.size());
}
void products_wait_for(int n_pending) {
    const std::vector<Product> &mine = products[current];
    size_t n_due = 0;
    while (n_due < mine.size() && mine[n_due].group < n_groups[current] - n_pending) n_due++;
    carry_out_by_warp(0, n_due);
}

// ---- sums ------------------------------------------------------------------------------------------------------------

struct Sums {
    float *to;
    uint32_t from;
    int bytes;
};
static std::vector<Sums> sums[MOST_THREADS];

void add_bulk(float *to, uint32_t from, int bytes) {
    for (uint64_t number : {(uint64_t)to, (uint64_t)from, (uint64_t)bytes}) need_multiple(number, 16);
    sums[current].push_back({to, from, bytes});
    if (!is_reversed()) bulk_wait_read();
}
void bulk_wait_read() {
    for (const Sums &it : sums[current]) {
        for (int i = 0; i < it.bytes / 4; i++) {
            float value;
            memcpy(&value, shared_at(it.from + i * 4), sizeof value);
            it.to[i] += value;
        }
    }
    sums[current].clear();
}

void forget_hopper() {
    barriers.clear();
    parts.clear();
    for (int thread = 0; thread < MOST_THREADS; thread++) {
        products[thread].clear();
        n_groups[thread] = 0;
        sums[thread].clear();
    }
}
