// Parallel loops: every part runs exactly once.
#include "platform/thread_pool.h"

#ifndef _WIN32
#include <sys/wait.h>
#include <unistd.h>
#endif

#include <atomic>
#include <chrono>
#include <cstdlib>
#include <stdexcept>
#include <thread>
#include <vector>

#include "check.h"
#include "platform/processor.h"

using namespace yolort;

namespace {

struct Loop {
  explicit Loop(int parts) : runs(static_cast<std::size_t>(parts)) {}

  std::vector<std::atomic<int>> runs;
  std::atomic<bool> right_count{true};
  Loop* inner = nullptr;  // a loop that each part starts

  void part() {
    const LoopPart own = this_part();
    if (own.count != runs.size()) right_count = false;
    ++runs.at(own.index);
    if (!inner) return;
    inner->run();
    if (this_part().index != own.index) right_count = false;  // unchanged after the inner loop
  }

  void run() {
    run_parts(static_cast<unsigned>(runs.size()), [this] { part(); });
  }

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
  CHECK(this_part().count == 1 && this_part().index == 0);
}

void test_the_caller_gets_what_a_part_throws() {
  std::atomic<int> runs{0};
  const auto fail = [&runs] {
    ++runs;
    if (this_part().index == 2) throw std::runtime_error("part 2");
  };
  CHECK_THROWS(run_parts(8, fail), std::runtime_error, "part 2");
  CHECK(runs == 8);
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
  CHECK(available_cores() >= 1);
  test_every_part_runs_once();
  test_the_caller_gets_what_a_part_throws();
  test_pauses_put_the_threads_to_sleep_and_wake_them();
  test_nested_loops();
  test_more_callers_than_loops_at_a_time();
#ifndef _WIN32
  // Under qemu-user, a forked child of a process with threads fails within the emulator.
  if (!std::getenv("YOLORT_EMULATED")) test_a_forked_child_has_threads_of_its_own();
#endif
  return check::result();
}
