#include "streams.h"

#include <cstring>

using Guard = std::lock_guard<std::recursive_mutex>;

void Streams::ask(void *stream, Copy copy) {
    Guard guard(one_at_a_time);
    streams[stream].copies.push_back(copy);
}

Moment Streams::now(void *stream) {
    Guard guard(one_at_a_time);
    const Stream &asked = streams[stream];
    return {stream, asked.n_done + asked.copies.size()};
}

bool Streams::is_over(Moment moment) {
    Guard guard(one_at_a_time);
    return streams[moment.stream].n_done >= moment.n_copies;
}

void Streams::reach(Moment moment) {
    Guard guard(one_at_a_time);
    Stream &stream = streams[moment.stream];
    while (stream.n_done < moment.n_copies) {
        while (!stream.awaited.empty() && stream.awaited.front().first <= stream.n_done) {
            const Moment first = stream.awaited.front().second;
            stream.awaited.pop_front();
            reach(first);
        }
        const Copy copy = stream.copies.front();
        stream.copies.pop_front();
        memcpy(copy.to, copy.from, copy.n_bytes);
        stream.n_done++;
    }
}

void Streams::wait(void *stream, Moment moment) {
    Guard guard(one_at_a_time);
    streams[stream].awaited.push_back({now(stream).n_copies, moment});
}

void Streams::finish(void *stream) {
    Guard guard(one_at_a_time);
    reach(now(stream));
    std::deque<std::pair<size_t, Moment>> awaited;
    std::swap(awaited, streams[stream].awaited);
    for (const auto &[n_before, moment] : awaited) reach(moment);
}

void Streams::finish_all() {
    Guard guard(one_at_a_time);
    for (auto &[handle, stream] : streams) finish(handle);
}
