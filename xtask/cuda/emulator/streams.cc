#include "streams.h"

#include <cstring>

using Guard = std::lock_guard<std::recursive_mutex>;

void Streams::ask(void *stream, Copy copy) {
    Guard guard(one_at_a_time);
    streams[stream].tasks.push_back({copy, {}});
}

void Streams::wait(void *stream, Moment moment) {
    Guard guard(one_at_a_time);
    streams[stream].tasks.push_back({{}, moment});
}

Moment Streams::now(void *stream) {
    Guard guard(one_at_a_time);
    const Stream &asked = streams[stream];
    return {stream, asked.n_done + asked.tasks.size()};
}

bool Streams::is_over(Moment moment) {
    Guard guard(one_at_a_time);
    return streams[moment.stream].n_done >= moment.n_tasks;
}

void Streams::reach(Moment moment) {
    Guard guard(one_at_a_time);
    Stream &stream = streams[moment.stream];
    while (stream.n_done < moment.n_tasks) {
        const Task task = stream.tasks.front();
        stream.tasks.pop_front();
        stream.n_done++;
        if (task.copy.n_bytes) {
            memcpy(task.copy.to, task.copy.from, task.copy.n_bytes);
        } else {
            reach(task.awaited);
        }
    }
}

void Streams::finish(void *stream) {
    Guard guard(one_at_a_time);
    reach(now(stream));
}

void Streams::finish_all() {
    Guard guard(one_at_a_time);
    for (auto &[handle, stream] : streams) finish(handle);
}
