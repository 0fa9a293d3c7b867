// Antialiased resizing on x86, for both tables: it is limited by memory bandwidth, so wider registers are not faster.
// Everything is static, see x86.h.
#pragma once

#include <immintrin.h>

#include <cstdint>
#include <cstring>

#include "ops/simd/kernels.h"

namespace yolort {

/// The grey levels of sums of products with the high and the low halves of the weights.
static __m256i levels_of(__m256i high, __m256i low) {
  const __m256i sum = _mm256_add_epi32(_mm256_slli_epi32(high, 11), low);
  return _mm256_srai_epi32(_mm256_add_epi32(sum, _mm256_set1_epi32(1 << 21)), 22);
}

static void weighted_rows(const std::uint8_t* const* rows, const SplitWeight* weights, std::size_t count, std::size_t n,
                          float* values) {
  const __m256i most = _mm256_set1_epi32(255);
  const __m256 scale = _mm256_set1_ps(1.0f / 255.0f);
  std::size_t i = 0;
  for (; i + 16 <= n; i += 16) {
    __m256i high[2] = {_mm256_setzero_si256(), _mm256_setzero_si256()}, low[2] = {high[0], high[0]};
    for (std::size_t r = 0; r < count; r += 2) {
      const auto pair = [&](std::int16_t a, std::int16_t b) {
        return _mm256_set1_epi32(static_cast<std::uint16_t>(a) | static_cast<std::int32_t>(b) << 16);
      };
      const __m256i w_high = pair(weights[r].high, weights[r + 1].high),
                    w_low = pair(weights[r].low, weights[r + 1].low);
      const __m128i a = _mm_loadu_si128(reinterpret_cast<const __m128i*>(rows[r] + i));
      const __m128i b = _mm_loadu_si128(reinterpret_cast<const __m128i*>(rows[r + 1] + i));
      const __m256i both[2] = {_mm256_cvtepu8_epi16(_mm_unpacklo_epi8(a, b)),
                               _mm256_cvtepu8_epi16(_mm_unpackhi_epi8(a, b))};
      for (int k = 0; k < 2; ++k) {
        high[k] = _mm256_add_epi32(high[k], _mm256_madd_epi16(both[k], w_high));
        low[k] = _mm256_add_epi32(low[k], _mm256_madd_epi16(both[k], w_low));
      }
    }
    for (int k = 0; k < 2; ++k) {
      const __m256i levels = _mm256_min_epi32(levels_of(high[k], low[k]), most);
      _mm256_storeu_ps(values + i + 8 * k, _mm256_mul_ps(_mm256_cvtepi32_ps(levels), scale));
    }
  }
  for (; i < n; ++i) {
    std::int32_t sum = 1 << 21;
    for (std::size_t r = 0; r < count; ++r) sum += rows[r][i] * (weights[r].high * (1 << 11) + weights[r].low);
    values[i] = static_cast<float>(sum >> 22 < 255 ? sum >> 22 : 255) * (1.0f / 255.0f);
  }
}

/// Four pixels at a time, two in each half of a register: r r' g g' b b' 0 0 times w w' w w' w w' w w'.
static void weighted_windows(const std::uint8_t* row, const std::int32_t* first, const SplitWeight* weights,
                             std::size_t quads, std::size_t n, const ChannelOrder& order,
                             std::uint8_t* const planes[3]) {
  alignas(32) std::int8_t bytes[32];
  std::memset(bytes, -1, sizeof(bytes));
  for (int pixel = 0; pixel < 4; ++pixel) {
    for (int c = 0; c < 3; ++c) {
      bytes[16 * (pixel / 2) + 4 * c + 2 * (pixel % 2)] = static_cast<std::int8_t>(order.rgb[c] + pixel * order.step);
    }
  }
  const __m256i shuffle = _mm256_load_si256(reinterpret_cast<const __m256i*>(bytes));
  // Splits four weights, stored as alternating high and low halves, into pairs of high halves and pairs of low halves,
  // each pair in 32 bits.
  const __m256i pick = _mm256_setr_epi8(0, 1, 4, 5, 0, 1, 4, 5, 0, 1, 4, 5, 0, 1, 4, 5, 8, 9, 12, 13, 8, 9, 12, 13, 8,
                                        9, 12, 13, 8, 9, 12, 13);
  const __m256i next = _mm256_add_epi8(pick, _mm256_set1_epi8(2));
  for (std::size_t i = 0; i < n; ++i) {
    const std::uint8_t* at = row + static_cast<std::ptrdiff_t>(first[i]) * order.step;
    __m256i high = _mm256_setzero_si256(), low = high;
    for (std::size_t k = 0; k < quads; ++k, at += 4 * order.step, weights += 4) {
      const __m128i four = _mm_loadu_si128(reinterpret_cast<const __m128i*>(at));
      const __m256i pixels = _mm256_shuffle_epi8(_mm256_broadcastsi128_si256(four), shuffle);
      const __m256i pairs = _mm256_broadcastsi128_si256(_mm_loadu_si128(reinterpret_cast<const __m128i*>(weights)));
      high = _mm256_add_epi32(high, _mm256_madd_epi16(pixels, _mm256_shuffle_epi8(pairs, pick)));
      low = _mm256_add_epi32(low, _mm256_madd_epi16(pixels, _mm256_shuffle_epi8(pairs, next)));
    }
    high = _mm256_add_epi32(high, _mm256_permute2x128_si256(high, high, 1));
    low = _mm256_add_epi32(low, _mm256_permute2x128_si256(low, low, 1));
    const __m128i levels = _mm256_castsi256_si128(levels_of(high, low));
    const __m128i packed = _mm_packus_epi16(_mm_packs_epi32(levels, levels), levels);
    const auto three = static_cast<std::uint32_t>(_mm_cvtsi128_si32(packed));
    planes[0][i] = static_cast<std::uint8_t>(three);
    planes[1][i] = static_cast<std::uint8_t>(three >> 8);
    planes[2][i] = static_cast<std::uint8_t>(three >> 16);
  }
}

}  // namespace yolort
