// The threads of this process for parallel loops: one per core, including the caller.
#pragma once

#include <algorithm>
#include <atomic>
#include <cstddef>
#include <exception>
#include <mutex>

namespace yolort {

/// The part of a loop that a thread runs, and the number of parts. Outside a loop, there is one part.
struct LoopPart {
  unsigned index = 0, count = 1;
};
LoopPart this_part();

/// Calls `function(data)` once per part (at most 65535), on any threads; this_part() returns the current part. Returns
/// when all parts have run. The parts of a loop within a loop run in sequence. `function` throws nothing.
void run_parts(unsigned parts, void (*function)(void*), void* data);

/// Calls `function()` once per part. If a call throws, the exception is rethrown to the caller after all parts have
/// run.
template <class Function>
void run_parts(unsigned parts, const Function& function) {
  struct Loop {
    const Function& function;
    std::mutex mutex;
    std::exception_ptr failure;
  } loop{function, {}, nullptr};
  const auto part = [](void* data) {
    auto& own = *static_cast<Loop*>(data);
    try {
      own.function();
    } catch (...) {
      const std::lock_guard lock(own.mutex);
      own.failure = std::current_exception();
    }
  };
  run_parts(parts, part, &loop);
  if (loop.failure) std::rethrow_exception(loop.failure);
}

/// Calls `body(i)` once for each i from 0 to `count` - 1, in at most `parts` parts, which claim them in order.
template <class Body>
void parallel_for(std::size_t count, std::size_t parts, const Body& body) {
  std::atomic<std::size_t> next{0};
  run_parts(static_cast<unsigned>(std::max<std::size_t>(1, std::min(count, parts))), [&] {
    for (std::size_t i = next++; i < count; i = next++) body(i);
  });
}

}  // namespace yolort
