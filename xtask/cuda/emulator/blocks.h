// What instructions need of the threads of a block that take turns (blocks.cc).
#pragma once

#include "cuda_words.h"

static const int MOST_THREADS = 1024;

// The next thread's turn; ends the process where all wait and none goes on.
void give_turn();
// This thread goes on.
void go_on();
// The threads of this block have roles by warpgroup: some copy, others compute.
void take_roles();
template <typename Ready>
void wait_until(Ready ready) {
    while (!ready()) give_turn();
    go_on();
}

// Threads of a block, a warp or another part that have not ended, how many of them wait, and how often all have come.
struct Barrier {
    int n_live = 0, n_waiting = 0, n_passed = 0;

    void pass() {
        n_waiting = 0;
        n_passed++;
    }
    void wait() {
        const int before = n_passed;
        if (++n_waiting == n_live) return pass();
        wait_until([&] { return n_passed != before; });
    }
    void leave() {
        if (--n_live > 0 && n_waiting == n_live) pass();
    }
};
// Lanes meet where an instruction is the whole warp's. That orders nothing that they do to memory.
void meet();

// The copies to shared memory that a thread has asked for so far.
struct CopiesOfThread {
    int thread, group;
};
CopiesOfThread copies_so_far();
// Makes those that are not made yet.
void finish(CopiesOfThread copies);

// What a block left of barriers, products and sums.
void forget_hopper();
