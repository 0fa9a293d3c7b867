// The OpenMP functions that libncnn.a is linked with: every part of every loop runs once, whoever runs it.
#ifndef _WIN32
#include <sys/wait.h>
#include <unistd.h>
#endif

#include <atomic>
#include <chrono>
#include <cstdlib>
#include <thread>
#include <vector>

#include "check.h"
#include "platform/processor.h"

extern "C" {
void yolort_GOMP_parallel(void (*function)(void*), void* data, unsigned threads, unsigned flags);
int yolort_omp_get_thread_num();
int yolort_omp_get_num_threads();
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

}  // namespace

int main() {
  CHECK(yolort::available_cores() >= 1);
  test_every_part_runs_once();
  test_pauses_put_the_threads_to_sleep_and_wake_them();
  test_nested_loops();
  test_more_callers_than_loops_at_a_time();
#ifndef _WIN32
  // Under qemu-user a forked child of a process with threads fails in the emulator itself.
  if (!std::getenv("YOLORT_EMULATED")) test_a_forked_child_has_threads_of_its_own();
#endif
  return check::result();
}
