// Chooses the table of kernels for this CPU.
#ifdef YOLORT_X86
#include <cpuid.h>
#endif

#include <cstdlib>
#include <string>

#include "ops/simd/kernels.h"

namespace yolort {

std::vector<const Kernels*> available_kernels() {
  std::vector<const Kernels*> out;
#ifdef YOLORT_X86
  __builtin_cpu_init();
  unsigned a = 0, b = 0, c = 0, d = 0;
  const bool f16c = __get_cpuid(1, &a, &b, &c, &d) && (c & bit_F16C);  // older Clangs cannot ask for it by name
  const bool avx2 = __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") && f16c;
  if (avx2 && __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
      __builtin_cpu_supports("avx512vl") && __builtin_cpu_supports("avx512dq")) {
    out.push_back(&avx512_kernels);
  }
  if (avx2) out.push_back(&avx2_kernels);
#endif
#ifdef YOLORT_NEON
  out.push_back(&neon_kernels);
#endif
  out.push_back(&scalar_kernels);
  return out;
}

const Kernels& kernels() {
  static const Kernels* chosen = []() -> const Kernels* {
    const std::vector<const Kernels*> all = available_kernels();
    const char* forced = std::getenv("YOLORT_SIMD");
    for (const Kernels* table : all) {
      if (forced && std::string(forced) == table->name) return table;
    }
    return all.front();
  }();
  return *chosen;
}

}  // namespace yolort
