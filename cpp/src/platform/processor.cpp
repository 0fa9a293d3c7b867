#include "platform/processor.h"

#include <algorithm>
#include <cstdlib>
#include <iterator>
#include <string_view>
#include <thread>

#if defined(__x86_64__)
#include <cpuid.h>
#elif defined(__aarch64__) && defined(__linux__)
#include <sys/auxv.h>
#endif

namespace yolort {

int available_cores() { return std::max(static_cast<int>(std::thread::hardware_concurrency()), 1); }

#if defined(__x86_64__)
namespace {

bool is_limited_below_bf16() {
  const char* limit = std::getenv("ONEDNN_MAX_CPU_ISA");
  const char* below[] = {"SSE41", "AVX", "AVX2", "AVX2_VNNI", "AVX2_VNNI_2", "AVX512_CORE", "AVX512_CORE_VNNI"};
  return limit && std::any_of(std::begin(below), std::end(below),
                              [&](const char* isa) { return isa == std::string_view(limit); });
}

}  // namespace
#endif

bool has_bf16_arithmetic() {
#if defined(__x86_64__)
  if (is_limited_below_bf16()) return false;
  constexpr unsigned avx512_bf16 = 1u << 5, amx_bf16 = 1u << 22;
  unsigned a = 0, b = 0, c = 0, d = 0;
  if (!__builtin_cpu_supports("avx512f")) return false;  // which asks the system, too
  if (!__get_cpuid_count(7, 0, &a, &b, &c, &d)) return false;
  if (d & amx_bf16) return true;
  return a >= 1 && __get_cpuid_count(7, 1, &a, &b, &c, &d) && (a & avx512_bf16);
#elif defined(__aarch64__) && defined(__linux__)
  constexpr unsigned long bf16 = 1ul << 14, sve_bf16 = 1ul << 12;  // of AT_HWCAP2
  return (getauxval(AT_HWCAP2) & (bf16 | sve_bf16)) != 0;
#else
  return false;
#endif
}

}  // namespace yolort
