// Loops of our own on the threads of ncnn's.
#pragma once

#include <algorithm>
#include <atomic>

extern "C" void yolort_GOMP_parallel(void (*function)(void*), void* data, unsigned threads, unsigned flags);

namespace yolort {

/// Calls body(part) for each part from 0 to `parts` - 1, on at most `threads` threads, which claim them in order.
template <class Body>
void parallel_for(int parts, int threads, const Body& body) {
  struct Loop {
    const Body& body;
    int parts;
    std::atomic<int> next{0};
  } loop{body, parts};
  const auto run = [](void* data) {
    auto& own = *static_cast<Loop*>(data);
    for (int part; (part = own.next.fetch_add(1, std::memory_order_relaxed)) < own.parts;) own.body(part);
  };
  yolort_GOMP_parallel(run, &loop, static_cast<unsigned>(std::max(1, std::min(parts, threads))), 0);
}

}  // namespace yolort
