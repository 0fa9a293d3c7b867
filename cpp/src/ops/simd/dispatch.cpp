// Chooses the table of kernels for this CPU.
#ifdef YOLORT_X86
#include <cpuid.h>
#endif

#if defined(YOLORT_NEON) && defined(__linux__)
#include <asm/hwcap.h>
#include <sys/auxv.h>
#endif

#include <cstdlib>
#include <string>

#include "ops/simd/int8.h"
#include "ops/simd/kernels.h"

namespace yolort {

std::vector<const Kernels*> available_kernels() {
  std::vector<const Kernels*> out;
#ifdef YOLORT_X86
  __builtin_cpu_init();
  unsigned a = 0, b = 0, c = 0, d = 0;
  const bool f16c = __get_cpuid(1, &a, &b, &c, &d) && (c & bit_F16C);  // older Clangs do not know its name
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

/// The first table, or the one that $YOLORT_SIMD names if it is among them.
template <class Table>
const Table* choose(const std::vector<const Table*>& available) {
  const char* forced = std::getenv("YOLORT_SIMD");
  for (const Table* table : available) {
    if (forced && std::string(forced) == table->name) return table;
  }
  return available.front();
}

const Kernels& kernels() {
  static const Kernels* chosen = choose(available_kernels());
  return *chosen;
}

std::vector<const Int8Kernels*> available_int8_kernels() {
  std::vector<const Int8Kernels*> out;
#ifdef YOLORT_X86
  __builtin_cpu_init();
  if (__builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512vl") &&
      __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vnni") &&
      __builtin_cpu_supports("avx512vbmi")) {
    out.push_back(&avx512vnni_int8);
  }
  if (__builtin_cpu_supports("avx2")) {
    unsigned a = 0, b = 0, c = 0, d = 0;  // compilers before GCC 14 do not know its name
    if (__get_cpuid_count(7, 1, &a, &b, &c, &d) && (a & 1u << 4)) out.push_back(&avxvnni_int8);
    out.push_back(&avx2_int8);
  }
#endif
#ifdef YOLORT_NEON
#ifdef __linux__
#ifdef HWCAP2_I8MM  // not in older headers
  if (getauxval(AT_HWCAP2) & HWCAP2_I8MM) out.push_back(&i8mm_int8);
#endif
  if (getauxval(AT_HWCAP) & HWCAP_ASIMDDP) out.push_back(&dotprod_int8);
#endif
  out.push_back(&neon_int8);
#endif
  out.push_back(&scalar_int8);
  return out;
}

const Int8Kernels& int8_kernels() {
  static const Int8Kernels* chosen = choose(available_int8_kernels());
  return *chosen;
}

}  // namespace yolort
