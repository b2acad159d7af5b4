// What a stream has yet to do. Launches are carried out when they are asked for; copies out of page-locked memory, which a GPU makes
// beside its other work, as late as it may: when the stream is asked for something else, or somebody waits for it. So an array that
// is used without waiting for its copy is NaN still, and memory that is written again too early gives other numbers.
#pragma once

#include <cstddef>
#include <deque>
#include <map>
#include <mutex>

struct Copy {
    void *to;
    const void *from;
    size_t n_bytes;
};
// So much of a stream's work: the first `n_tasks` that it was asked for.
struct Moment {
    void *stream;
    size_t n_tasks;
};

class Streams {
  public:
    // A copy to be made on `stream`, not yet.
    void ask(void *stream, Copy copy);
    // `stream` will do nothing more before `moment`.
    void wait(void *stream, Moment moment);
    // The work of `stream` so far.
    Moment now(void *stream);
    bool is_over(Moment moment);
    // Does what `moment` includes.
    void reach(Moment moment);
    // Does all that `stream` was asked for, before what is about to be done on it.
    void finish(void *stream);
    void finish_all();

  private:
    // A copy, or, without a size, something to wait for.
    struct Task {
        Copy copy;
        Moment awaited;
    };
    struct Stream {
        size_t n_done = 0;
        std::deque<Task> tasks;
    };
    std::recursive_mutex one_at_a_time;
    std::map<void *, Stream> streams;
};
