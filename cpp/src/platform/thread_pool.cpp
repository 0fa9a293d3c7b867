// libgomp splits a loop into one part per thread and spins until each thread has done its own. If another process is
// busy, one of the threads may not be running, and the others waste their time slices waiting for it: occasionally a
// YOLO26n frame takes seconds instead of milliseconds. This pool lets any running thread, including the caller, take
// the next
// part, so a stalled thread delays nobody. Waiting threads sleep after a short spin.
#include "platform/thread_pool.h"

#include <atomic>
#include <chrono>
#include <condition_variable>
#include <cstdint>
#include <mutex>
#include <thread>

#if defined(__x86_64__)
#include <immintrin.h>
#endif

#include "platform/processor.h"
#include "platform/system.h"

namespace yolort {
namespace {

using Clock = std::chrono::steady_clock;

/// Longer than the gap between two layers, short enough not to disturb other processes.
constexpr auto spin_time = std::chrono::microseconds(50);

thread_local LoopPart current;

void relax() {
#if defined(__x86_64__)
  _mm_pause();
#elif defined(__aarch64__)
  asm volatile("yield");
#endif
}

/// Spins until `ready`, for at most spin_time.
template <class Ready>
bool spin(Ready ready) {
  const Clock::time_point end = Clock::now() + spin_time;
  do {
    for (int i = 0; i < 32; ++i) {
      if (ready()) return true;
      relax();
    }
  } while (Clock::now() < end);
  return ready();
}

/// A running loop. Slots are never freed, and parts are claimed by a compare-exchange that fails once the loop is over,
/// so a late thread accesses nothing.
struct alignas(64) Slot {
  std::atomic<bool> taken{false};
  std::atomic<std::uint64_t> state{0};  ///< generation << 32 | parts << 16 | next part
  void (*function)(void*) = nullptr;
  void* data = nullptr;

  std::atomic<unsigned> done{0};
  std::mutex mutex;
  std::condition_variable finished;

  void open(void (*f)(void*), void* d, unsigned parts) {
    function = f;
    data = d;
    done.store(0, std::memory_order_relaxed);
    const std::uint64_t generation = (state.load(std::memory_order_relaxed) >> 32) + 1;
    state.store(generation << 32 | parts << 16);
  }

  bool has_work() const {
    const std::uint64_t now = state.load();  // ordered against sleeping_, so that no wake-up is lost
    return (now & 0xFFFF) < (now >> 16 & 0xFFFF);
  }

  /// Runs one part; false when none is left.
  bool run_part() {
    std::uint64_t now = state.load(std::memory_order_acquire);
    unsigned part, parts;
    do {
      part = now & 0xFFFF;
      parts = now >> 16 & 0xFFFF;
      if (part >= parts) return false;
    } while (!state.compare_exchange_weak(now, now + 1, std::memory_order_acq_rel));
    current = {part, parts};
    function(data);
    current = {};
    if (done.fetch_add(1, std::memory_order_acq_rel) + 1 == parts) {
      {
        std::lock_guard lock(mutex);
      }
      finished.notify_one();
    }
    return true;
  }

  void wait(unsigned parts) {
    const auto all_done = [&] { return done.load(std::memory_order_acquire) == parts; };
    if (spin(all_done)) return;
    std::unique_lock lock(mutex);
    finished.wait(lock, all_done);
  }
};

class Pool {
 public:
  Pool() {
    for (int i = 1; i < available_cores(); ++i) std::thread([this] { work(); }).detach();
  }

  void run(void (*function)(void*), void* data, unsigned parts) {
    Slot* slot = take_slot();
    if (!slot) return run_alone(function, data, parts);
    slot->open(function, data, parts);
    if (sleeping_.load() > 0) {
      {
        std::lock_guard lock(mutex_);
      }
      parts > 2 ? work_there_.notify_all() : work_there_.notify_one();
    }
    while (slot->run_part()) {
    }
    slot->wait(parts);
    slot->taken.store(false, std::memory_order_release);
  }

  /// Runs all parts in sequence.
  static void run_alone(void (*function)(void*), void* data, unsigned parts) {
    const LoopPart outer = current;
    for (unsigned part = 0; part < parts; ++part) {
      current = {part, parts};
      function(data);
    }
    current = outer;
  }

 private:
  Slot* take_slot() {
    for (Slot& slot : slots_) {
      if (!slot.taken.load(std::memory_order_relaxed) && !slot.taken.exchange(true, std::memory_order_acquire)) {
        return &slot;
      }
    }
    return nullptr;
  }

  bool has_work() const {
    for (const Slot& slot : slots_) {
      if (slot.has_work()) return true;
    }
    return false;
  }

  void work() {
    while (true) {
      if (!spin([this] { return has_work(); })) {
        std::unique_lock lock(mutex_);
        sleeping_.fetch_add(1);
        work_there_.wait(lock, [this] { return has_work(); });
        sleeping_.fetch_sub(1);
      }
      for (Slot& slot : slots_) {
        while (slot.run_part()) {
        }
      }
    }
  }

  Slot slots_[16];  ///< maximum number of simultaneous loops; further callers run theirs alone
  std::mutex mutex_;
  std::condition_variable work_there_;
  std::atomic<int> sleeping_{0};
};

std::atomic<Pool*> current_pool{nullptr};

/// Never destroyed, because its threads may outlive main(). A forked child creates a new one.
Pool& pool() {
  static std::mutex creating;
  if (Pool* ready = current_pool.load(std::memory_order_acquire)) return *ready;
  std::lock_guard lock(creating);
  if (!current_pool.load()) {
    static const bool registered = yolort::system::after_fork([] { current_pool.store(nullptr); });
    static_cast<void>(registered);
    current_pool.store(new Pool, std::memory_order_release);
  }
  return *current_pool.load();
}

}  // namespace

LoopPart this_part() { return current; }

void run_parts(unsigned parts, void (*function)(void*), void* data) {
  constexpr unsigned max_parts = 0xFFFF;
  if (parts > max_parts) parts = max_parts;
  if (parts <= 1 || current.count > 1) return Pool::run_alone(function, data, parts);
  pool().run(function, data, parts);
}

}  // namespace yolort
