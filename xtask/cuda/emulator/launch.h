// Kernels by name: a generated file per .cu has a KERNEL line for each of its kernels.
#pragma once

#include <map>
#include <string>
#include <utility>

// Runs one thread of a kernel with the arguments of a launch.
using Thread = void (*)(void **);
std::map<std::string, Thread> &kernels();

template <typename... A, size_t... I>
void call(void (*kernel)(A...), void **arguments, std::index_sequence<I...>) {
    kernel(*(A *)arguments[I]...);
}
template <typename... A>
void call(void (*kernel)(A...), void **arguments) {
    call(kernel, arguments, std::index_sequence_for<A...>());
}

#define KERNEL(NAME) static bool known_##NAME = (kernels()[#NAME] = [](void **a) { call(NAME, a); }, true);

// Runs a launch, its blocks one after the other. False if there is no such kernel.
bool run_blocks(const char *name, const unsigned (&grid)[3], const unsigned (&block)[3], unsigned shared, void **arguments);
// The same of Candle's kernels: candle_kernels.cc.
bool run_candle(const char *name, void **arguments);
