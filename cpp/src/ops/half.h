// IEEE half precision. Everything is inline, because callers loop over whole tensors.
#pragma once

#include <cmath>
#include <cstdint>
#include <cstring>

namespace yolort {

/// IEEE half of a float, round to nearest even.
inline std::uint16_t float_to_half(float value) {
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

inline float half_to_float(std::uint16_t half) {
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

}  // namespace yolort
