// The functions that Clang calls for parallel loops. They are only in the Python module that Clang compiles, so this
// test brings them itself.
#include "engines/ncnn/openmp_clang.cpp"

#include <atomic>
#include <mutex>
#include <set>
#include <thread>
#include <vector>

#include "check.h"

namespace {

/// What Clang makes of `for (i = begin; i <= end; i += step) ++runs[i]`.
template <class Integer, class Init>
void run_share(std::vector<std::atomic<int>>& runs, Integer begin, Integer end, int step, Init init) {
  Id is_last = 0;
  Integer lower = begin, upper = end, stride = 1;
  init(nullptr, 0, 34, &is_last, &lower, &upper, &stride, step, 1);
  for (Integer i = lower; step > 0 ? i <= upper : i >= upper; i += static_cast<Integer>(step)) {
    ++runs.at(static_cast<std::size_t>(i));
  }
  CHECK(!is_last || upper == end - (end - begin) % static_cast<Integer>(step));
  __kmpc_for_static_fini(nullptr, 0);
}

struct Range {
  int begin, end, step;
};

void loop_body(Id*, Id*, std::vector<std::atomic<int>>* runs, const Range* range) {
  if (range->step > 0) {
    run_share<std::uint64_t>(*runs, range->begin, range->end, range->step, __kmpc_for_static_init_8u);
    run_share<std::uint32_t>(*runs, range->begin, range->end, range->step, __kmpc_for_static_init_4u);
  }
  run_share<std::int32_t>(*runs, range->begin, range->end, range->step, __kmpc_for_static_init_4);
  run_share<std::int64_t>(*runs, range->begin, range->end, range->step, __kmpc_for_static_init_8);
}

template <class Function>
Body body_of(Function function) {
  return reinterpret_cast<Body>(reinterpret_cast<void (*)()>(function));
}

void test_every_step_runs_once() {
  for (const int threads : {1, 2, 3, 16}) {
    for (const Range range : {Range{0, 99, 1}, Range{3, 50, 7}, Range{0, 1, 1}, Range{5, 5, 4}, Range{60, 2, -3}}) {
      std::vector<std::atomic<int>> runs(100);
      __kmpc_push_num_threads(nullptr, 0, threads);
      __kmpc_fork_call(nullptr, 2, body_of(loop_body), &runs, &range);
      for (int i = 0; i < 100; ++i) {
        const int low = std::min(range.begin, range.end), high = std::max(range.begin, range.end);
        const bool inside = i >= low && i <= high && (i - range.begin) % range.step == 0;
        CHECK(runs[static_cast<std::size_t>(i)] == (inside ? (range.step > 0 ? 4 : 2) : 0));
      }
    }
  }
}

void empty_body(Id*, Id*) {
  Id is_last = 1;
  std::int32_t lower = 0, upper = -1, stride = 1;
  __kmpc_for_static_init_4(nullptr, 0, 34, &is_last, &lower, &upper, &stride, 1, 1);
  CHECK(lower > upper && !is_last);
}

/// Ends only when another thread has come, too.
void meeting_body(Id*, Id*, std::atomic<int>* come) {
  ++*come;
  while (*come < 2) std::this_thread::yield();
}

void numbers_body(Id* thread, Id*, std::mutex* mutex, std::set<Id>* numbers) {
  const std::lock_guard lock(*mutex);
  numbers->insert(*thread);
  CHECK(__kmpc_global_thread_num(nullptr) == *thread);
}

}  // namespace

int main() {
  test_every_step_runs_once();
  __kmpc_fork_call(nullptr, 0, body_of(empty_body));
  if (yolort::available_cores() > 1) {
    std::atomic<int> come{0};
    __kmpc_push_num_threads(nullptr, 0, 2);
    __kmpc_fork_call(nullptr, 1, body_of(meeting_body), &come);
    CHECK(come == 2);
  }
  std::mutex mutex;
  std::set<Id> numbers;
  __kmpc_push_num_threads(nullptr, 0, 3);
  __kmpc_fork_call(nullptr, 2, body_of(numbers_body), &mutex, &numbers);
  CHECK(numbers == std::set<Id>({0, 1, 2}));
  return check::result();
}
