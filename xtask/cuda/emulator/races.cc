#include "races.h"

#ifdef CF_RACES
#include "cuda_words.h"

#include <array>
#include <cstdio>
#include <cstdlib>
#include <link.h>
#include <memory>
#include <set>
#include <string>
#include <unistd.h>
#include <unordered_map>

// What a thread had passed when it touched something.
struct Moment {
    uint32_t block = 0; // by number, over all launches; 0: none
    uint32_t n_of_warp;
    uint16_t n_of_block, thread;
    Touch how;
    bool by_several; // reads of one warp since its last barrier, by more than this thread
};
// Two bytes of memory.
struct Cell {
    Moment write, reads[2]; // reads by the last two warps
    uint32_t launch = 0;
    bool read_by_blocks = false;
};
// The cells of so many bytes.
static const size_t PAGE = 4096, MOST_PAGES = 1 << 14;
using Page = std::array<Cell, PAGE / 2>;

static const char *kernel = "";
static uint32_t n_launches, n_blocks, n_of_warp[1024];
static uint16_t n_of_block[1024];
static const char *stacks;
static size_t stacks_end;
static std::unordered_map<uintptr_t, std::unique_ptr<Page>> pages;
// Of the last ones that were asked for.
static std::pair<uintptr_t, Page *> recent[256];
static std::set<std::string> told;

// The bytes of this library itself: where static shared memory is.
struct Range {
    uintptr_t from = 0, to = 0;
    std::string file;
};
static Range found_library() {
    Range range;
    dl_iterate_phdr(
        [](dl_phdr_info *info, size_t, void *out) {
            Range found{UINTPTR_MAX, 0, info->dlpi_name};
            for (int i = 0; i < info->dlpi_phnum; i++) {
                const auto &part = info->dlpi_phdr[i];
                if (part.p_type != PT_LOAD) continue;
                found.from = std::min<uintptr_t>(found.from, info->dlpi_addr + part.p_vaddr);
                found.to = std::max<uintptr_t>(found.to, info->dlpi_addr + part.p_vaddr + part.p_memsz);
            }
            const uintptr_t own = (uintptr_t)&n_blocks;
            if (own < found.from || own >= found.to) return 0;
            *(Range *)out = found;
            return 1;
        },
        &range);
    return range;
}
static const Range &library() {
    static const Range own = found_library();
    return own;
}
static bool is_shared(uintptr_t at) {
    return (at >= library().from && at < library().to) || at - (uintptr_t)dynamic_shared < n_dynamic_shared;
}

void begin_launch(const char *name) {
    kernel = name;
    n_launches++;
    if (pages.size() > MOST_PAGES) {
        pages.clear();
        std::fill(recent, recent + 256, std::pair<uintptr_t, Page *>());
    }
}
void begin_block(const void *from, size_t n_bytes) {
    n_blocks++;
    stacks = (const char *)from;
    stacks_end = n_bytes;
    std::fill(n_of_block, n_of_block + 1024, 0);
    std::fill(n_of_warp, n_of_warp + 1024, 0);
}
void end_block() { stacks = nullptr; }
static Cell &cell_at(uintptr_t at) {
    const uintptr_t number = at / PAGE;
    auto &[known, page] = recent[number % 256];
    if (known != number) {
        std::unique_ptr<Page> &kept = pages[number];
        if (!kept) kept = std::make_unique<Page>();
        known = number;
        page = kept.get();
    }
    return (*page)[at % PAGE / 2];
}

void passed_block() { n_of_block[current]++; }
void passed_warp() { n_of_warp[current]++; }

static bool same_warp(const Moment &a, const Moment &b) { return a.block == b.block && a.thread / 32 == b.thread / 32; }

// Whether nothing orders two moments of one launch.
static bool at_once(const Moment &before, const Moment &now) {
    if (before.block != now.block) return true;
    if (before.thread == now.thread && !before.by_several) return false;
    if (before.n_of_block != now.n_of_block) return false;
    return !same_warp(before, now) || before.n_of_warp == now.n_of_warp;
}

static void tell(const Moment &before, const Moment &now, uintptr_t at, const void *line) {
    static const char *const words[] = {"reads", "writes", "adds to"};
    const bool shared = is_shared(at);
    char place[64];
    snprintf(place, sizeof place, "%p", (void *)((uintptr_t)line - library().from));
    if (!told.insert(std::string(kernel) + place).second) return;
    if (told.size() == 1) atexit([] { _exit(1); });
    fprintf(stderr,
            "\nemulated GPU: race in `%s`: thread %u %s %s memory that thread %u%s %s, and no barrier lies between (addr2line -Cfpi -e %s %s)\n",
            kernel, now.thread, words[(int)now.how], shared ? "shared" : "global", before.thread,
            before.block == now.block ? "" : " of another block", words[(int)before.how], library().file.c_str(), place);
}

static void touch_cell(uintptr_t at, bool shared, Touch how, const void *line) {
    Cell &cell = cell_at(at);
    const Moment now{n_blocks, n_of_warp[current], n_of_block[current], (uint16_t)current, how, false};
    if (cell.launch != n_launches) {
        cell = Cell{};
        cell.launch = n_launches;
    }
    // Shared memory is another one in each block.
    const auto races = [&](const Moment &before) {
        return before.block && !(shared && before.block != n_blocks) && at_once(before, now);
    };
    const bool both_atomic = cell.write.how == Touch::ATOMIC && how == Touch::ATOMIC;
    if (!both_atomic && races(cell.write)) tell(cell.write, now, at, line);
    Moment &last = cell.reads[0];
    if (how == Touch::READ) {
        if (!shared && last.block && last.block != n_blocks) cell.read_by_blocks = true;
        if (!same_warp(last, now)) std::swap(last, cell.reads[1]);
        const bool in_a_row = same_warp(last, now) && last.n_of_block == now.n_of_block && last.n_of_warp == now.n_of_warp;
        const bool by_several = in_a_row && (last.by_several || last.thread != now.thread);
        last = now;
        last.by_several = by_several;
        return;
    }
    for (const Moment &read : cell.reads) {
        if (races(read)) tell(read, now, at, line);
    }
    if (cell.read_by_blocks) tell(last, now, at, line);
    cell.write = now;
}

static void touch_from(const void *at, size_t n_bytes, Touch how, const void *line) {
    const char *first = (const char *)at;
    // Between blocks nothing of a kernel runs.
    if (!stacks) return;
    if (first >= stacks && first < stacks + stacks_end) return;
    const bool shared = is_shared((uintptr_t)at);
    for (uintptr_t cell = (uintptr_t)at & ~1; cell < (uintptr_t)at + n_bytes; cell += 2) touch_cell(cell, shared, how, line);
}
void touch(const void *at, size_t n_bytes, Touch how) { touch_from(at, n_bytes, how, __builtin_return_address(0)); }

// What -fsanitize=thread calls.
extern "C" {
#define ACCESSES(N)                                                                                                        \
    void __tsan_read##N(void *at) { touch_from(at, N, Touch::READ, __builtin_return_address(0)); }                         \
    void __tsan_write##N(void *at) { touch_from(at, N, Touch::WRITE, __builtin_return_address(0)); }                       \
    void __tsan_unaligned_read##N(void *at) { touch_from(at, N, Touch::READ, __builtin_return_address(0)); }               \
    void __tsan_unaligned_write##N(void *at) { touch_from(at, N, Touch::WRITE, __builtin_return_address(0)); }
ACCESSES(1)
ACCESSES(2)
ACCESSES(4)
ACCESSES(8)
ACCESSES(16)
void __tsan_read_range(void *at, size_t n) { touch_from(at, n, Touch::READ, __builtin_return_address(0)); }
void __tsan_write_range(void *at, size_t n) { touch_from(at, n, Touch::WRITE, __builtin_return_address(0)); }
void __tsan_func_entry(void *) {}
void __tsan_func_exit() {}
void __tsan_init() {}
}
#endif
