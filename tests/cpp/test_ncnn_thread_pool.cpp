// The OpenMP functions that libncnn.a is linked with: every part of every loop runs once, whoever runs it.
#ifndef _WIN32
#include <sys/wait.h>
#include <unistd.h>
#endif

#include <atomic>
#include <chrono>
#include <cstdint>
#include <cstdlib>
#include <thread>
#include <vector>

#include "check.h"
#include "platform/processor.h"

extern "C" {
void yolort_GOMP_parallel(void (*function)(void*), void* data, unsigned threads, unsigned flags);
int yolort_omp_get_thread_num();
int yolort_omp_get_num_threads();

#ifdef YOLORT_OPENMP_PLAIN
#define YOLORT_KMPC(name) __kmpc_##name
#else
#define YOLORT_KMPC(name) yolort___kmpc_##name
#endif
void YOLORT_KMPC(push_num_threads)(void*, std::int32_t, std::int32_t threads);
void YOLORT_KMPC(fork_call)(void*, std::int32_t count, void (*part)(int*, int*, ...), ...);
void YOLORT_KMPC(for_static_init_4)(void*, std::int32_t, std::int32_t, std::int32_t* last, std::int32_t* lower,
                                    std::int32_t* upper, std::int32_t*, std::int32_t, std::int32_t);
void YOLORT_KMPC(for_static_init_8u)(void*, std::int32_t, std::int32_t, std::int32_t* last, std::uint64_t* lower,
                                     std::uint64_t* upper, std::int64_t*, std::int64_t, std::int64_t);
}

namespace {

struct Loop {
  explicit Loop(int parts) : runs(static_cast<std::size_t>(parts)) {}

  std::vector<std::atomic<int>> runs;
  std::atomic<bool> right_count{true};
  Loop* inner = nullptr;  // a loop that each part starts

  static void part(void* data) {
    auto* loop = static_cast<Loop*>(data);
    if (yolort_omp_get_num_threads() != static_cast<int>(loop->runs.size())) loop->right_count = false;
    const int index = yolort_omp_get_thread_num();
    ++loop->runs.at(static_cast<std::size_t>(index));
    if (!loop->inner) return;
    yolort_GOMP_parallel(part, loop->inner, static_cast<unsigned>(loop->inner->runs.size()), 0);
    if (yolort_omp_get_thread_num() != index) loop->right_count = false;  // as before the inner loop
  }

  void run() { yolort_GOMP_parallel(part, this, static_cast<unsigned>(runs.size()), 0); }

  bool all_ran(int times) const {
    for (const auto& count : runs) {
      if (count != times) return false;
    }
    return right_count;
  }
};

void test_every_part_runs_once() {
  for (const int parts : {1, 2, 3, 8, 100}) {
    Loop loop(parts);
    for (int i = 0; i < 200; ++i) loop.run();
    CHECK(loop.all_ran(200));
  }
  CHECK(yolort_omp_get_num_threads() == 1 && yolort_omp_get_thread_num() == 0);
}

void test_pauses_put_the_threads_to_sleep_and_wake_them() {
  Loop loop(4);
  for (int i = 0; i < 20; ++i) {
    loop.run();
    std::this_thread::sleep_for(std::chrono::milliseconds(2));
  }
  CHECK(loop.all_ran(20));
}

void test_nested_loops() {
  Loop outer(4), inner(3);
  outer.inner = &inner;
  for (int i = 0; i < 50; ++i) outer.run();
  CHECK(outer.all_ran(50));
  CHECK(inner.all_ran(200));
}

void test_more_callers_than_loops_at_a_time() {
  std::vector<std::thread> callers;
  std::atomic<int> good{0};
  for (int c = 0; c < 24; ++c) {
    callers.emplace_back([&good] {
      Loop loop(4);
      for (int i = 0; i < 100; ++i) loop.run();
      good += loop.all_ran(100);
    });
  }
  for (std::thread& caller : callers) caller.join();
  CHECK(good == 24);
}

#ifndef _WIN32
void test_a_forked_child_has_threads_of_its_own() {
  Loop before(4);
  before.run();
  const pid_t child = fork();
  if (child == 0) {
    Loop loop(4);
    for (int i = 0; i < 100; ++i) loop.run();
    _exit(loop.all_ran(100) ? 7 : 8);
  }
  int status = 0;
  waitpid(child, &status, 0);
  CHECK(WIFEXITED(status) && WEXITSTATUS(status) == 7);
}
#endif

// A loop as Clang compiles it: 0 to count, once with signed and once with unsigned indices.
void clang_part(int*, int*, std::vector<std::atomic<int>>* runs, std::atomic<int>* lasts) {
  const auto count = static_cast<std::int32_t>(runs->size());
  std::int32_t last = 0, lower = 0, upper = count - 1, stride = 1;
  YOLORT_KMPC(for_static_init_4)(nullptr, 0, 34, &last, &lower, &upper, &stride, 1, 1);
  for (std::int32_t i = lower; i <= upper; ++i) ++runs->at(static_cast<std::size_t>(i));
  *lasts += last;
  std::uint64_t first = 0, end = static_cast<std::uint64_t>(count - 1);
  std::int64_t step = 1;
  YOLORT_KMPC(for_static_init_8u)(nullptr, 0, 34, &last, &first, &end, &step, 1, 1);
  for (std::uint64_t i = first; i <= end; ++i) ++runs->at(i);
}

void test_loops_of_clang() {
  const auto part = reinterpret_cast<void (*)(int*, int*, ...)>(reinterpret_cast<void (*)()>(clang_part));
  for (const int threads : {1, 2, 5}) {
    for (const std::size_t count : {1u, 2u, 3u, 5u, 64u, 101u}) {
      std::vector<std::atomic<int>> runs(count);
      std::atomic<int> lasts{0};
      YOLORT_KMPC(push_num_threads)(nullptr, 0, threads);
      YOLORT_KMPC(fork_call)(nullptr, 2, part, &runs, &lasts);
      for (const auto& times : runs) CHECK(times == 2);
      CHECK(lasts == 1);
    }
  }
}

}  // namespace

int main() {
  CHECK(yolort::available_cores() >= 1);
  test_every_part_runs_once();
  test_pauses_put_the_threads_to_sleep_and_wake_them();
  test_nested_loops();
  test_loops_of_clang();
  test_more_callers_than_loops_at_a_time();
#ifndef _WIN32
  // Under qemu-user a forked child of a process with threads fails in the emulator itself.
  if (!std::getenv("YOLORT_EMULATED")) test_a_forked_child_has_threads_of_its_own();
#endif
  return check::result();
}
