// The plain fallback, and the reference the other tables are tested against.
#ifdef YOLORT_X86
#include <cpuid.h>
#endif

#include <cmath>
#include <cstdlib>
#include <cstring>
#include <string>

#include "simd/kernels.h"

namespace yolort {
namespace {

int resample_one(const RowPair& pair, std::int32_t offset, int step, std::uint32_t weights) {
  const int left = static_cast<std::int16_t>(weights & 0xFFFF), right = static_cast<std::int16_t>(weights >> 16);
  int sum = 2;
  for (int r = 0; r < 2; ++r) {
    const std::uint8_t* at = pair.rows[r] + offset;
    sum += (pair.weights[r] * ((at[0] * left + at[step] * right) >> 4)) >> 16;
  }
  return sum >> 2;
}

template <class T, class Convert>
void resample(const RowPair& pair, const Columns& columns, std::size_t first, std::size_t n, const ChannelOrder& order,
              T* const planes[3], Convert convert) {
  for (std::size_t i = 0; i < n; ++i) {
    for (int c = 0; c < 3; ++c) {
      const std::int32_t offset = columns.offsets[first + i] + order.rgb[c];
      const int level = resample_one(pair, offset, order.step, columns.weights[first + i]);
      planes[c][i] = convert(static_cast<float>(level) * (1.0f / 255.0f));
    }
  }
}

void resample_f32(const RowPair& pair, const Columns& columns, std::size_t first, std::size_t n,
                  const ChannelOrder& order, float* const planes[3]) {
  resample(pair, columns, first, n, order, planes, [](float value) { return value; });
}

void resample_f16(const RowPair& pair, const Columns& columns, std::size_t first, std::size_t n,
                  const ChannelOrder& order, std::uint16_t* const planes[3]) {
  resample(pair, columns, first, n, order, planes, float_to_half);
}

bool column_max(const float* values, std::ptrdiff_t stride, std::size_t rows, std::size_t n, float* best) {
  bool finite = true;
  for (std::size_t i = 0; i < n; ++i) best[i] = -INFINITY;
  for (std::size_t r = 0; r < rows; ++r, values += stride) {
    for (std::size_t i = 0; i < n; ++i) {
      finite &= std::isfinite(values[i]);
      best[i] = values[i] > best[i] ? values[i] : best[i];
    }
  }
  return finite;
}

}  // namespace

extern const Kernels scalar_kernels = {"scalar", resample_f32, resample_f16, column_max};

std::uint16_t float_to_half(float value) {
  std::uint32_t bits;
  std::memcpy(&bits, &value, 4);
  const auto sign = static_cast<std::uint16_t>(bits >> 16 & 0x8000);
  bits &= 0x7FFFFFFF;
  if (bits >= 0x7F800000) return static_cast<std::uint16_t>(sign | 0x7C00 | (bits > 0x7F800000 ? 0x200 : 0));
  if (bits >= 0x477FF000) return static_cast<std::uint16_t>(sign | 0x7C00);  // rounds past 65504
  if (bits < 0x38800000) {                                                   // subnormal half: units of 2^-24
    std::memcpy(&value, &bits, 4);
    return static_cast<std::uint16_t>(sign | static_cast<std::uint16_t>(std::nearbyint(value * 16777216.0f)));
  }
  return static_cast<std::uint16_t>(sign | ((bits + 0xFFF + (bits >> 13 & 1) - 0x38000000) >> 13));
}

float half_to_float(std::uint16_t half) {
  const std::uint32_t sign = (half & 0x8000u) << 16;
  const std::uint32_t exponent = half >> 10 & 31, mantissa = half & 1023;
  if (exponent == 0) {
    const float value = static_cast<float>(mantissa) * (1.0f / 16777216.0f);
    return sign ? -value : value;
  }
  const std::uint32_t bits = sign | (exponent == 31 ? 0x7F800000 : (exponent + 112) << 23) | mantissa << 13;
  float value;
  std::memcpy(&value, &bits, 4);
  return value;
}

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
