// The threads of a block as fibers of one thread, which take turns where they wait for each other: the first first, or, with
// CF_EMULATED_ORDER=reverse, the last. A kernel that reads what another thread has not yet written, because it does not wait, gives other
// numbers in one order than in the other. Copies to shared memory are made where they are waited for, or, in reverse, at
// once; Hopper's the other way round (hopper.cc).
#include "blocks.h"
#include "instructions.cuh"
#include "launch.h"
#include "races.h"

#include <cstdio>
#include <cstdlib>
#include <sys/mman.h>
#include <unistd.h>
#include <vector>

#ifndef __x86_64__
#error "fibers are switched by a few instructions of x86-64"
#endif

Indices threadIdx, blockIdx, blockDim, gridDim;
int current;
unsigned char *dynamic_shared;
size_t n_dynamic_shared;

static const int MOST_WARPS = MOST_THREADS / 32;
static const size_t STACK = 128 << 10, MOST_SHARED = 1 << 20, PAGE = 4096;

std::map<std::string, Thread> &kernels() {
    static std::map<std::string, Thread> all;
    return all;
}

bool is_reversed() {
    static const char *const order = getenv("CF_EMULATED_ORDER");
    return order && std::string(order) == "reverse";
}

// ---- fibers ----------------------------------------------------------------------------------------------------------

// Saves this stack's pointer to `from` and goes on where `to` was left.
extern "C" void switch_stack(void **from, void *to);
asm(R"(
.text
.globl switch_stack
.type switch_stack, @function
switch_stack:
    pushq %rbp
    pushq %rbx
    pushq %r12
    pushq %r13
    pushq %r14
    pushq %r15
    movq %rsp, (%rdi)
    movq %rsi, %rsp
    popq %r15
    popq %r14
    popq %r13
    popq %r12
    popq %rbx
    popq %rbp
    ret
)");

static void *scheduler, *stacks[MOST_THREADS];
static bool has_ended[MOST_THREADS];
static Thread thread_of_launch;
static void **arguments_of_launch;
// Turns that were given since a thread last went on.
static int n_in_vain;
// Whether one has gone on, and whether some copy for others.
static bool has_gone_on, have_roles;

void give_turn() {
    // Every thread has had some.
    if (++n_in_vain > 4 * MOST_THREADS) {
        fprintf(stderr, "\nemulated GPU: all threads of a block wait for each other\n");
        _exit(1);
    }
    switch_stack(&stacks[current], scheduler);
}
void go_on() {
    n_in_vain = 0;
    has_gone_on = true;
}
void take_roles() { have_roles = true; }

static Barrier of_block, of_warps[MOST_WARPS];

void wait_for_block() {
    of_block.wait();
    passed_block();
}
void wait_for_warp() {
    of_warps[warp()].wait();
    passed_warp();
}

// ---- instructions ----------------------------------------------------------------------------------------------------

void meet() { of_warps[warp()].wait(); }

uint32_t exchanged(uint32_t value, int from) {
    static uint32_t given[MOST_WARPS][32];
    given[warp()][lane()] = value;
    meet();
    const uint32_t taken = given[warp()][from];
    meet();
    return taken;
}

void multiply_add(float (&c)[4], const uint32_t (&a)[4], uint32_t b0, uint32_t b1) {
    struct Fragments {
        uint32_t a[4], b[2];
    };
    static Fragments fragments[MOST_WARPS][32];
    const int g = lane() / 4, t = lane() % 4;
    fragments[warp()][lane()] = {{a[0], a[1], a[2], a[3]}, {b0, b1}};
    meet();
    // Rows g and g + 8 of A, columns 2t and 2t + 1 of B.
    float rows[2][16], columns[2][16];
    auto spread = [](float *to, uint32_t pair) {
        to[0] = __uint_as_float(pair << 16);
        to[1] = __uint_as_float(pair & 0xffff0000u);
    };
    for (int q = 0; q < 4; q++) {
        const Fragments &of_row = fragments[warp()][g * 4 + q];
        for (int i = 0; i < 4; i++) spread(&rows[i % 2][2 * q + i / 2 * 8], of_row.a[i]);
        for (int e = 0; e < 2; e++) {
            const Fragments &of_column = fragments[warp()][(2 * t + e) * 4 + q];
            for (int i = 0; i < 2; i++) spread(&columns[e][2 * q + i * 8], of_column.b[i]);
        }
    }
    for (int i = 0; i < 4; i++) {
        float sum = 0.0f;
        for (int k = 0; k < 16; k++) sum += rows[i / 2][k] * columns[i % 2][k];
        c[i] += sum;
    }
    meet();
}

float atomicAdd(float *to, float value) {
    touch(to, sizeof *to, Touch::ATOMIC);
    const float before = *to;
    *to += value;
    return before;
}

// Copies to shared memory that a thread asked for, by the group to which it committed them.
struct AsyncCopy {
    uint32_t to;
    const void *from;
    bool exists;
    int n_bytes, group;
};
static std::vector<AsyncCopy> copies[MOST_THREADS];
static int n_groups[MOST_THREADS];

void copy_async(uint32_t to, const void *from, bool exists, int n_bytes, bool at_once) {
    need_multiple(to, n_bytes);
    need_multiple((uint64_t)from, n_bytes);
    if (exists) touch(from, n_bytes, Touch::READ);
    // It may be made at once, too.
    touch(shared_at(to), n_bytes, Touch::WRITE);
    copies[current].push_back({to, from, exists, n_bytes, n_groups[current]});
    if (at_once) finish({current, n_groups[current]});
}
void copy_commit() { n_groups[current]++; }
CopiesOfThread copies_so_far() { return {current, n_groups[current]++}; }
void finish(CopiesOfThread which) {
    std::vector<AsyncCopy> &asked = copies[which.thread];
    size_t n_done = 0;
    for (; n_done < asked.size() && asked[n_done].group <= which.group; n_done++) {
        const AsyncCopy &copy = asked[n_done];
        touch(shared_at(copy.to), copy.n_bytes, Touch::WRITE);
        if (copy.exists) {
            memcpy(shared_at(copy.to), copy.from, copy.n_bytes);
        } else {
            memset(shared_at(copy.to), 0, copy.n_bytes);
        }
    }
    asked.erase(asked.begin(), asked.begin() + n_done);
}
void copy_wait_for(int n_pending) { finish({current, n_groups[current] - n_pending - 1}); }

// ---- blocks ----------------------------------------------------------------------------------------------------------

static void run_thread() {
    thread_of_launch(arguments_of_launch);
    has_ended[current] = true;
    of_block.leave();
    of_warps[warp()].leave();
    switch_stack(&stacks[current], scheduler);
    abort(); // nobody goes on with a thread that has ended
}

static unsigned char *mapped(size_t n_bytes) {
    void *at = mmap(nullptr, n_bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (at == MAP_FAILED) abort();
    return (unsigned char *)at;
}

static void run_block(int n_threads) {
    static unsigned char *memory = mapped(MOST_THREADS * STACK);
    of_block = {n_threads, 0, 0};
    for (int w = 0; w < MOST_WARPS; w++) of_warps[w] = {std::clamp(n_threads - 32 * w, 0, 32), 0, 0};
    begin_block(memory, MOST_THREADS * STACK);
    if (have_roles) forget_hopper();
    have_roles = false;
    for (int t = 0; t < n_threads; t++) {
        has_ended[t] = false;
        copies[t].clear();
        n_groups[t] = 0;
        void **top = (void **)(memory + (t + 1) * STACK - 64);
        *--top = nullptr; // where `run_thread` would return to
        *--top = (void *)run_thread;
        top -= 6; // the registers that `switch_stack` takes back
        stacks[t] = top;
    }
    while (of_block.n_live > 0) {
        has_gone_on = false;
        for (int turn = 0; turn < n_threads; turn++) {
            // Threads of one role get as far ahead of the others as barriers let them.
            if (have_roles && turn % 128 == 0 && has_gone_on) break;
            current = is_reversed() ? n_threads - 1 - turn : turn;
            if (has_ended[current]) continue;
            const unsigned t = current;
            threadIdx = {t % blockDim.x, t / blockDim.x % blockDim.y, t / (blockDim.x * blockDim.y)};
            switch_stack(&scheduler, stacks[current]);
        }
    }
    end_block();
}

bool run_blocks(const char *name, const unsigned (&grid)[3], const unsigned (&block)[3], unsigned shared, void **arguments) {
    const auto found = kernels().find(name);
    if (found == kernels().end()) return false;
    // It ends where a page without access begins.
    static unsigned char *const shared_end = [] {
        unsigned char *const end = mapped(MOST_SHARED + PAGE) + MOST_SHARED;
        if (mprotect(end, PAGE, PROT_NONE)) abort();
        return end;
    }();
    begin_launch(name);
    thread_of_launch = found->second;
    arguments_of_launch = arguments;
    n_dynamic_shared = (shared + 15) / 16 * 16;
    dynamic_shared = shared_end - n_dynamic_shared;
    gridDim = {grid[0], grid[1], grid[2]};
    blockDim = {block[0], block[1], block[2]};
    const size_t n_blocks = (size_t)grid[0] * grid[1] * grid[2];
    for (size_t turn = 0; turn < n_blocks; turn++) {
        const size_t at = is_reversed() ? n_blocks - 1 - turn : turn;
        blockIdx = {(unsigned)(at % grid[0]), (unsigned)(at / grid[0] % grid[1]), (unsigned)(at / grid[0] / grid[1])};
        memset(dynamic_shared, 0xff, n_dynamic_shared); // NaN
        run_block(block[0] * block[1] * block[2]);
    }
    return true;
}
