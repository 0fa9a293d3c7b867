// INT8 kernels of 256-bit registers, for tables that differ in how they multiply.
#pragma once

#include <immintrin.h>

#include <cstring>
#include <vector>

#include "ops/simd/int8.h"

namespace yolort::int8_ymm {
namespace {  // one copy per file, because the files are compiled for different processors

/// Replaces 16 bytes with values from a table.
class Table {
 public:
  explicit Table(const std::vector<std::uint8_t>& bytes) : bytes_(bytes.empty() ? nullptr : bytes.data()) {}

  __m128i operator()(__m128i index) const {
    if (!bytes_) return index;
    // The shuffle gives 0 if the highest bit is set, so only the right one of the table's 16 parts contributes.
    __m128i out = _mm_setzero_si128();
    for (int part = 0; part < 16; ++part) {
      const __m128i row = _mm_loadu_si128(reinterpret_cast<const __m128i*>(bytes_ + 16 * part));
      const __m128i at = _mm_xor_si128(index, _mm_set1_epi8(static_cast<char>(16 * part)));
      out = _mm_or_si128(out, _mm_shuffle_epi8(row, _mm_adds_epu8(at, _mm_set1_epi8(0x70))));
    }
    return out;
  }

 private:
  const std::uint8_t* bytes_;
};

inline __m256 scaled(__m256i sum, const float* scale) {
  return _mm256_mul_ps(_mm256_cvtepi32_ps(sum), _mm256_loadu_ps(scale));
}

/// 16 integers as bytes.
inline __m128i to_bytes(__m256i low, __m256i high) {
  const __m256i words = _mm256_permute4x64_epi64(_mm256_packs_epi32(low, high), _MM_SHUFFLE(3, 1, 2, 0));
  return _mm_packus_epi16(_mm256_castsi256_si128(words), _mm256_extracti128_si256(words, 1));
}

inline __m128i rounded(const __m256i (&sum)[2], const float* scale) {
  return to_bytes(_mm256_cvtps_epi32(scaled(sum[0], scale)), _mm256_cvtps_epi32(scaled(sum[1], scale + 8)));
}

inline void store(std::uint8_t* to, __m128i bytes, int count) {
  if (count >= 16) return _mm_storeu_si128(reinterpret_cast<__m128i*>(to), bytes);
  alignas(16) std::uint8_t all[16];
  _mm_store_si128(reinterpret_cast<__m128i*>(all), bytes);
  std::memcpy(to, all, static_cast<std::size_t>(count));
}

inline __m128i load(const std::uint8_t* from, int count) {
  if (count >= 16) return _mm_loadu_si128(reinterpret_cast<const __m128i*>(from));
  alignas(16) std::uint8_t all[16] = {};
  std::memcpy(all, from, static_cast<std::size_t>(count));
  return _mm_load_si128(reinterpret_cast<const __m128i*>(all));
}

/// Four bytes of activations times 64 bytes of weights at a time, by Dot(sum, activations, weights).
template <class Dot, int P>
inline void accumulate(const Strip* strips, int count, const Int8Weights& weights, const std::uint8_t* w, int panel,
                       int first, __m256i (&sum)[P][2]) {
  const auto* bias = reinterpret_cast<const __m256i*>(&weights.bias[static_cast<std::size_t>(16 * panel)]);
#pragma GCC unroll 8
  for (int p = 0; p < P; ++p) {
    sum[p][0] = _mm256_loadu_si256(bias);
    sum[p][1] = _mm256_loadu_si256(bias + 1);
  }
  for (int s = 0; s < count; ++s) {
    const std::ptrdiff_t stride = strips[s].stride;
    const std::uint8_t *a = strips[s].data + first * stride, *b = a + 3 * stride;
    for (int q = 0; q < strips[s].quads; ++q, w += 64, a += 4, b += 4) {
      const __m256i left = _mm256_load_si256(reinterpret_cast<const __m256i*>(w));
      const __m256i right = _mm256_load_si256(reinterpret_cast<const __m256i*>(w + 32));
#pragma GCC unroll 8
      for (int p = 0; p < P; ++p) {
        int bytes;
        std::memcpy(&bytes, p < 3 ? a + p * stride : b + (p - 3) * stride, sizeof(bytes));
        const __m256i row = _mm256_set1_epi32(bytes);
        sum[p][0] = Dot::add(sum[p][0], row, left);
        sum[p][1] = Dot::add(sum[p][1], row, right);
      }
    }
  }
}

/// Passes the sums of each pixel and panel to put(sum, pixel, panel). `steps`: number of 64-byte blocks of weights.
template <class Dot, int P, class Put>
void multiply_tile(const Strip* strips, int count, int first, const Int8Weights& weights, std::ptrdiff_t steps,
                   Put put) {
  for (int panel = 0; panel * Int8Kernels::panel < weights.outputs; ++panel) {
    __m256i sum[P][2];
    accumulate<Dot>(strips, count, weights, weights.packed[static_cast<std::size_t>(panel * steps)].bytes, panel, first,
                    sum);
#pragma GCC unroll 8
    for (int p = 0; p < P; ++p) put(sum[p], first + p, panel);
  }
}

/// The same bytes as words, pixel by pixel; valid until the next call on this thread.
inline Strip widen(const Strip* strips, int count, int pixels, int depth) {
  std::int16_t* const words = scratch_words(static_cast<std::size_t>(pixels) * static_cast<std::size_t>(depth));
  std::int16_t* to = words;
  for (int p = 0; p < pixels; ++p) {
    for (int s = 0; s < count; ++s) {
      const std::uint8_t* from = strips[s].data + p * strips[s].stride;
      for (int i = 0; i < 4 * strips[s].quads; ++i) *to++ = from[i];
    }
  }
  return {reinterpret_cast<const std::uint8_t*>(words), std::ptrdiff_t{2} * depth, depth / 2};
}

template <class Dot, class Put>
void multiply(const Strip* strips, int count, int pixels, const Int8Weights& weights, Put put) {
  std::ptrdiff_t steps = weights.depth / 4;
  Strip words{};
  if constexpr (Dot::words) {
    words = widen(strips, count, pixels, weights.depth);
    steps = words.quads;
    strips = &words;
    count = 1;
  }
  int first = 0;
  for (; first + 5 <= pixels; first += 5) multiply_tile<Dot, 5>(strips, count, first, weights, steps, put);
  for (; first < pixels; ++first) multiply_tile<Dot, 1>(strips, count, first, weights, steps, put);
}

template <class Dot>
void multiply_u8(const Strip* strips, int count, int pixels, const Int8Weights& weights, std::uint8_t* out,
                 std::ptrdiff_t stride) {
  const Table table(weights.table);
  multiply<Dot>(strips, count, pixels, weights, [&](const __m256i(&sum)[2], int pixel, int panel) {
    const int n = panel * Int8Kernels::panel;
    store(out + pixel * stride + n, table(rounded(sum, &weights.scale[static_cast<std::size_t>(n)])),
          weights.outputs - n);
  });
}

template <class Dot>
void multiply_f32(const Strip* strips, int count, int pixels, const Int8Weights& weights, float* out,
                  std::ptrdiff_t stride) {
  multiply<Dot>(strips, count, pixels, weights, [&](const __m256i(&sum)[2], int pixel, int panel) {
    const int n = panel * Int8Kernels::panel;
    const float* scale = &weights.scale[static_cast<std::size_t>(n)];
    alignas(32) float row[16];
    _mm256_store_ps(row, scaled(sum[0], scale));
    _mm256_store_ps(row + 8, scaled(sum[1], scale + 8));
    for (int i = 0; i < 16 && n + i < weights.outputs; ++i) out[(n + i) * stride + pixel] = row[i];
  });
}

inline void depthwise(const Strip* taps, int pixels, int channels, const Int8Weights& weights, std::uint8_t* out,
                      std::ptrdiff_t stride) {
  const int wide = (channels + 15) / 16 * 16;
  const std::uint8_t* values = weights.packed.data()->bytes;
  const Table table(weights.table);
  for (int c = 0; c < channels; c += 16) {
    const float* scale = &weights.scale[static_cast<std::size_t>(c)];
    const auto* bias = reinterpret_cast<const __m256i*>(&weights.bias[static_cast<std::size_t>(c)]);
    for (int p = 0; p < pixels; ++p) {
      __m256i sum[2] = {_mm256_loadu_si256(bias), _mm256_loadu_si256(bias + 1)};
      for (int k = 0; k < 9; ++k) {
        const __m128i bytes = load(taps[k].data + p * taps[k].stride + c, channels - c);
        const auto* w = reinterpret_cast<const __m128i*>(values + k * wide + c);
        const __m256i x = _mm256_cvtepu8_epi16(bytes), y = _mm256_cvtepi8_epi16(_mm_loadu_si128(w));
        // The product of a byte and a signed byte fits 16 bits.
        const __m256i product = _mm256_mullo_epi16(x, y);
        sum[0] = _mm256_add_epi32(sum[0], _mm256_cvtepi16_epi32(_mm256_castsi256_si128(product)));
        sum[1] = _mm256_add_epi32(sum[1], _mm256_cvtepi16_epi32(_mm256_extracti128_si256(product, 1)));
      }
      store(out + p * stride + c, table(rounded(sum, scale)), channels - c);
    }
  }
}

inline void add(const Strip& a, const Strip& b, int pixels, int channels, const Int8Sum& sum, std::uint8_t* out,
                std::ptrdiff_t stride) {
  const __m256 scale_a = _mm256_set1_ps(sum.scale_a), scale_b = _mm256_set1_ps(sum.scale_b);
  const __m256 offset = _mm256_set1_ps(sum.offset);
  const auto eight = [&](__m128i left, __m128i right) {
    const __m256 x = _mm256_mul_ps(_mm256_cvtepi32_ps(_mm256_cvtepu8_epi32(left)), scale_a);
    const __m256 y = _mm256_mul_ps(_mm256_cvtepi32_ps(_mm256_cvtepu8_epi32(right)), scale_b);
    return _mm256_cvtps_epi32(_mm256_add_ps(_mm256_add_ps(x, y), offset));
  };
  for (int p = 0; p < pixels; ++p) {
    for (int c = 0; c < channels; c += 16) {
      const __m128i left = load(a.data + p * a.stride + c, channels - c);
      const __m128i right = load(b.data + p * b.stride + c, channels - c);
      const __m256i high = eight(_mm_srli_si128(left, 8), _mm_srli_si128(right, 8));
      store(out + p * stride + c, to_bytes(eight(left, right), high), channels - c);
    }
  }
}

inline void quantize_rgb(const float* const planes[3], std::size_t n, float scale, int zero, std::uint8_t* out) {
  const __m256 low = _mm256_set1_ps(static_cast<float>(-zero)), high = _mm256_set1_ps(static_cast<float>(255 - zero));
  const __m256i offset = _mm256_set1_epi32(zero);
  std::size_t i = 0;
  for (; i + 8 <= n; i += 8) {
    __m256i pixel = _mm256_slli_epi32(offset, 24);
    for (int c = 0; c < 3; ++c) {
      const __m256 level = _mm256_mul_ps(_mm256_loadu_ps(planes[c] + i), _mm256_set1_ps(scale));
      const __m256i q = _mm256_cvtps_epi32(_mm256_min_ps(_mm256_max_ps(level, low), high));
      pixel = _mm256_or_si256(pixel, _mm256_sllv_epi32(_mm256_add_epi32(q, offset), _mm256_set1_epi32(8 * c)));
    }
    _mm256_storeu_si256(reinterpret_cast<__m256i*>(out + 4 * i), pixel);
  }
  const float* const rest[3] = {planes[0] + i, planes[1] + i, planes[2] + i};
  if (i < n) scalar_int8.quantize_rgb(rest, n - i, scale, zero, out + 4 * i);
}

}  // namespace
}  // namespace yolort::int8_ymm
