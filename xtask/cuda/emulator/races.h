// Races between the threads of a launch, looked for where the kernels are compiled with -fsanitize=thread (CF_RACES): its calls for each
// access to memory end in races.cc, which knows what a barrier orders. Two accesses to the same bytes race if one is a write, not both are
// atomic, and no barrier that both threads passed lies between; whatever two blocks do is in no order.
#pragma once

#include <cstddef>
#include <cstdint>

enum class Touch : uint8_t { READ, WRITE, ATOMIC };

#ifdef CF_RACES
void begin_launch(const char *kernel);
// Its threads begin; `stacks` are theirs alone.
void begin_block(const void *stacks, size_t n_bytes);
void end_block();
// This thread was at a barrier of its block or its warp, and goes on.
void passed_block();
void passed_warp();
// What no instrumented line does.
void touch(const void *at, size_t n_bytes, Touch how);
#else
inline void begin_launch(const char *) {}
inline void begin_block(const void *, size_t) {}
inline void end_block() {}
inline void passed_block() {}
inline void passed_warp() {}
inline void touch(const void *, size_t, Touch) {}
#endif
