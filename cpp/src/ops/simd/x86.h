// Helpers shared by the x86 tables. Everything is static, so that the linker cannot use an inline function compiled
// with AVX-512 in the other tables.
#pragma once

#include <immintrin.h>

#include <cstdint>
#include <cstring>

#include "ops/simd/kernels.h"

namespace yolort {

/// Byte shuffle that widens a pixel and its right neighbor to 16 bits, as r r' g g' b b' 0 0.
static __m128i pair_shuffle(const ChannelOrder& order) {
  alignas(16) std::int8_t bytes[16];
  std::memset(bytes, -1, sizeof(bytes));
  for (int c = 0; c < 3; ++c) {
    for (int side = 0; side < 2; ++side) {
      bytes[4 * c + 2 * side] = static_cast<std::int8_t>(order.rgb[c] + side * order.step);
    }
  }
  return _mm_load_si128(reinterpret_cast<const __m128i*>(bytes));
}

}  // namespace yolort
