// Antialiased resizing on x86, for both tables: 256 bits are enough for what memory gives. Everything is static, see
// x86.h.
#pragma once

#include <immintrin.h>

#include <cstdint>
#include <cstring>

#include "ops/simd/kernels.h"

namespace yolort {

static void weighted_rows(const std::uint8_t* const* rows, const std::int16_t* weights, std::size_t count,
                          std::size_t n, std::int16_t* sums) {
  std::size_t i = 0;
  for (; i + 16 <= n; i += 16) {
    __m256i low = _mm256_set1_epi32(1 << 7), high = low;
    for (std::size_t r = 0; r < count; r += 2) {
      std::int32_t both = 0;
      std::memcpy(&both, weights + r, sizeof(both));
      const __m256i pair = _mm256_set1_epi32(both);
      const __m128i a = _mm_loadu_si128(reinterpret_cast<const __m128i*>(rows[r] + i));
      const __m128i b = _mm_loadu_si128(reinterpret_cast<const __m128i*>(rows[r + 1] + i));
      low = _mm256_add_epi32(low, _mm256_madd_epi16(_mm256_cvtepu8_epi16(_mm_unpacklo_epi8(a, b)), pair));
      high = _mm256_add_epi32(high, _mm256_madd_epi16(_mm256_cvtepu8_epi16(_mm_unpackhi_epi8(a, b)), pair));
    }
    const __m256i packed = _mm256_packs_epi32(_mm256_srai_epi32(low, 8), _mm256_srai_epi32(high, 8));
    _mm256_storeu_si256(reinterpret_cast<__m256i*>(sums + i), _mm256_permute4x64_epi64(packed, 0xD8));
  }
  if (i == n) return;
  const std::size_t rest = n - i;
  for (std::size_t k = 0; k < rest; ++k) {
    std::int32_t sum = 1 << 7;
    for (std::size_t r = 0; r < count; ++r) sum += rows[r][i + k] * weights[r];
    sums[i + k] = static_cast<std::int16_t>(sum >> 8);
  }
}

/// Four pixels at a time, two in each half of a register: r r' g g' b b' 0 0 times w w' w w' w w' w w'.
static void weighted_windows(const std::int16_t* row, const std::int32_t* first, const std::int16_t* weights,
                             std::size_t taps, std::size_t n, const ChannelOrder& order, float* const planes[3]) {
  alignas(16) std::int8_t bytes[16];
  std::memset(bytes, -1, sizeof(bytes));
  for (int c = 0; c < 3; ++c) {
    for (int side = 0; side < 2; ++side) {
      const int at = 2 * (order.rgb[c] + side * order.step);
      bytes[4 * c + 2 * side] = static_cast<std::int8_t>(at);
      bytes[4 * c + 2 * side + 1] = static_cast<std::int8_t>(at + 1);
    }
  }
  const __m256i shuffle = _mm256_broadcastsi128_si256(_mm_load_si128(reinterpret_cast<const __m128i*>(bytes)));
  const __m128 scale = _mm_set1_ps(1.0f / 255.0f);
  const std::ptrdiff_t step = order.step;
  for (std::size_t i = 0; i < n; ++i, weights += taps) {
    const std::int16_t* at = row + first[i] * step;
    __m256i sum = _mm256_setzero_si256();
    for (std::size_t k = 0; k < taps; k += 4, at += 4 * step) {
      const __m128i low = _mm_loadu_si128(reinterpret_cast<const __m128i*>(at));
      const __m128i high = _mm_loadu_si128(reinterpret_cast<const __m128i*>(at + 2 * step));
      const __m256i pixels =
          _mm256_shuffle_epi8(_mm256_inserti128_si256(_mm256_castsi128_si256(low), high, 1), shuffle);
      std::int64_t four = 0;
      std::memcpy(&four, weights + k, sizeof(four));
      const __m256i spread = _mm256_setr_epi32(0, 0, 0, 0, 1, 1, 1, 1);
      const __m256i pairs = _mm256_permutevar8x32_epi32(_mm256_castsi128_si256(_mm_cvtsi64_si128(four)), spread);
      sum = _mm256_add_epi32(sum, _mm256_madd_epi16(pixels, pairs));
    }
    const __m128i whole = _mm_add_epi32(_mm256_castsi256_si128(sum), _mm256_extracti128_si256(sum, 1));
    const __m128i levels = _mm_srai_epi32(_mm_add_epi32(whole, _mm_set1_epi32(1 << 19)), 20);
    alignas(16) float out[4];
    _mm_store_ps(out, _mm_mul_ps(_mm_cvtepi32_ps(levels), scale));
    for (int c = 0; c < 3; ++c) planes[c][i] = out[c];
  }
}

}  // namespace yolort
