// The OpenMP functions that libncnn.a is linked with.
#include <atomic>
#include <vector>

#include "check.h"
#include "platform/processor.h"

extern "C" {
void yolort_GOMP_parallel(void (*function)(void*), void* data, unsigned threads, unsigned flags);
int yolort_omp_get_thread_num();
int yolort_omp_get_num_threads();
int yolort_omp_get_max_threads();
}

namespace {

void count(void* data) {
  auto& runs = *static_cast<std::vector<std::atomic<int>>*>(data);
  if (yolort_omp_get_num_threads() != static_cast<int>(runs.size())) return;
  ++runs.at(static_cast<std::size_t>(yolort_omp_get_thread_num()));
}

void test_every_part_runs_once(unsigned threads, int parts) {
  std::vector<std::atomic<int>> runs(static_cast<std::size_t>(parts));
  yolort_GOMP_parallel(count, &runs, threads, 0);
  for (const auto& times : runs) CHECK(times == 1);
}

}  // namespace

int main() {
  CHECK(yolort_omp_get_max_threads() == yolort::available_cores());
  test_every_part_runs_once(1, 1);
  test_every_part_runs_once(5, 5);
  test_every_part_runs_once(0, yolort::available_cores());
  return check::result();
}
