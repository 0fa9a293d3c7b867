// What libncnn.a takes from yolort: the functions of OpenMP, so that its parallel loops run on the threads of
// platform/thread_pool.h, its stderr, and the choice between its variants for x86 (cpp/cmake/ncnn_project.cmake).
#include <cpu.h>

#include <cstdio>
#include <cstdlib>

#include "platform/processor.h"
#include "platform/system.h"
#include "platform/thread_pool.h"

extern "C" {

/// The stream that ncnn uses as stderr (see cpp/cmake/ncnn.cmake): it would print eight lines for each GPU, and for
/// each driver that it does not find. YOLORT_NCNN_LOG=1 shows them.
std::FILE* yolort_stderr = [] {
  std::FILE* nowhere = std::getenv("YOLORT_NCNN_LOG") ? nullptr : std::fopen(yolort::system::null_device, "w");
  return nowhere ? nowhere : stderr;
}();

void yolort_GOMP_parallel(void (*function)(void*), void* data, unsigned threads, unsigned /*flags*/) {
  yolort::run_parts(threads ? threads : static_cast<unsigned>(yolort::available_cores()), function, data);
}

int yolort_omp_get_thread_num() { return static_cast<int>(yolort::this_part().index); }
int yolort_omp_get_num_threads() { return static_cast<int>(yolort::this_part().count); }
int yolort_omp_get_max_threads() { return yolort::available_cores(); }
int yolort_omp_get_dynamic() { return 0; }
void yolort_omp_set_dynamic(int) {}
void yolort_omp_set_num_threads(int) {}

}  // extern "C"

namespace ncnn {

/// Called instead of cpu_support_x86_avx(), because the AVX variants are compiled for AVX2, FMA and F16C.
int yolort_supports_avx_variants() { return cpu_support_x86_avx2() && cpu_support_x86_fma() && cpu_support_x86_f16c(); }

}  // namespace ncnn
