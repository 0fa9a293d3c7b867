#include <immintrin.h>

#include <cmath>
#include <cstring>

#include "simd/kernels.h"

namespace yolort {
namespace {

void blend_rows(const std::uint8_t* a, const std::uint8_t* b, std::int16_t weight, std::size_t n, std::int16_t* out) {
  const __m256i w = _mm256_set1_epi16(weight);
  std::size_t i = 0;
  for (; i + 16 <= n; i += 16) {
    const __m256i low = _mm256_slli_epi16(
        _mm256_cvtepu8_epi16(_mm_loadu_si128(reinterpret_cast<const __m128i*>(a + i))), row_bits);
    const __m256i high = _mm256_slli_epi16(
        _mm256_cvtepu8_epi16(_mm_loadu_si128(reinterpret_cast<const __m128i*>(b + i))), row_bits);
    const __m256i blend = _mm256_add_epi16(low, _mm256_mulhrs_epi16(_mm256_sub_epi16(high, low), w));
    _mm256_storeu_si256(reinterpret_cast<__m256i*>(out + i), blend);
  }
  if (i < n) scalar_kernels.blend_rows(a + i, b + i, weight, n - i, out + i);
}

/// Byte shuffle that puts a pixel and its right neighbour as r r' g g' b b' 0 0.
__m128i pair_shuffle(const ChannelOrder& order) {
  alignas(16) std::int8_t bytes[16];
  std::memset(bytes, -1, sizeof(bytes));
  for (int c = 0; c < 3; ++c) {
    for (int side = 0; side < 2; ++side) {
      for (int byte = 0; byte < 2; ++byte) {
        bytes[4 * c + 2 * side + byte] = static_cast<std::int8_t>(2 * (order.rgb[c] + side * order.step) + byte);
      }
    }
  }
  return _mm_load_si128(reinterpret_cast<const __m128i*>(bytes));
}

/// Eight output pixels: red, green and blue, each 8 x f32 in order. Pixels k and k + 4 share register k, so that the
/// 4x4 transposes within the lanes leave the pixels in order.
inline void resample8(const std::int16_t* row, const std::int32_t* offsets, const std::uint32_t* weights,
                      __m256i shuffle, __m256 rgb[3]) {
  const __m256i all_weights = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(weights));
  const __m256i half = _mm256_set1_epi32(1 << (row_bits + weight_bits - 1));
  const auto sum = [&](int k, __m256i pixel_weights) {
    const __m128i low = _mm_loadu_si128(reinterpret_cast<const __m128i*>(row + offsets[k]));
    const __m128i high = _mm_loadu_si128(reinterpret_cast<const __m128i*>(row + offsets[k + 4]));
    const __m256i pairs = _mm256_shuffle_epi8(_mm256_inserti128_si256(_mm256_castsi128_si256(low), high, 1), shuffle);
    return _mm256_srai_epi32(_mm256_add_epi32(_mm256_madd_epi16(pairs, pixel_weights), half), row_bits + weight_bits);
  };
  const __m256i p0 = sum(0, _mm256_shuffle_epi32(all_weights, 0x00));
  const __m256i p1 = sum(1, _mm256_shuffle_epi32(all_weights, 0x55));
  const __m256i p2 = sum(2, _mm256_shuffle_epi32(all_weights, 0xAA));
  const __m256i p3 = sum(3, _mm256_shuffle_epi32(all_weights, 0xFF));
  const __m256i rg01 = _mm256_unpacklo_epi32(p0, p1), b01 = _mm256_unpackhi_epi32(p0, p1);
  const __m256i rg23 = _mm256_unpacklo_epi32(p2, p3), b23 = _mm256_unpackhi_epi32(p2, p3);
  const __m256 scale = _mm256_set1_ps(1.0f / 255.0f);
  rgb[0] = _mm256_mul_ps(_mm256_cvtepi32_ps(_mm256_unpacklo_epi64(rg01, rg23)), scale);
  rgb[1] = _mm256_mul_ps(_mm256_cvtepi32_ps(_mm256_unpackhi_epi64(rg01, rg23)), scale);
  rgb[2] = _mm256_mul_ps(_mm256_cvtepi32_ps(_mm256_unpacklo_epi64(b01, b23)), scale);
}

/// The last n % 8 pixels go through a block of eight whose spare columns repeat the first.
template <class T, class Store>
void resample(const std::int16_t* row, const Columns& columns, std::size_t n, const ChannelOrder& order,
              T* const planes[3], Store store) {
  const __m256i shuffle = _mm256_broadcastsi128_si256(pair_shuffle(order));
  __m256 rgb[3];
  std::size_t i = 0;
  for (; i + 8 <= n; i += 8) {
    resample8(row, columns.offsets.data() + i, columns.weights.data() + i, shuffle, rgb);
    for (int c = 0; c < 3; ++c) store(planes[c] + i, rgb[c]);
  }
  if (i == n) return;
  std::int32_t offsets[8] = {};
  std::uint32_t weights[8] = {};
  std::memcpy(offsets, columns.offsets.data() + i, (n - i) * sizeof(offsets[0]));
  std::memcpy(weights, columns.weights.data() + i, (n - i) * sizeof(weights[0]));
  resample8(row, offsets, weights, shuffle, rgb);
  for (int c = 0; c < 3; ++c) {
    T rest[8];
    store(rest, rgb[c]);
    std::memcpy(planes[c] + i, rest, (n - i) * sizeof(T));
  }
}

void resample_f32(const std::int16_t* row, const Columns& columns, std::size_t n, const ChannelOrder& order,
                  float* const planes[3]) {
  resample(row, columns, n, order, planes, [](float* to, __m256 values) { _mm256_storeu_ps(to, values); });
}

void resample_f16(const std::int16_t* row, const Columns& columns, std::size_t n, const ChannelOrder& order,
                  std::uint16_t* const planes[3]) {
  resample(row, columns, n, order, planes, [](std::uint16_t* to, __m256 values) {
    _mm_storeu_si128(reinterpret_cast<__m128i*>(to), _mm256_cvtps_ph(values, _MM_FROUND_TO_NEAREST_INT));
  });
}

bool column_max(const float* values, std::ptrdiff_t stride, std::size_t rows, std::size_t n, float* best) {
  // x * 0 is 0 for every finite x and NaN for the others; the sum keeps the NaN.
  const __m256 zero = _mm256_setzero_ps();
  __m256 taint = zero;
  std::size_t i = 0;
  for (; i + 32 <= n; i += 32) {
    __m256 top[4];
    for (auto& t : top) t = _mm256_set1_ps(-INFINITY);
    const float* at = values + i;
    for (std::size_t r = 0; r < rows; ++r, at += stride) {
      for (int k = 0; k < 4; ++k) {
        const __m256 x = _mm256_loadu_ps(at + 8 * k);
        top[k] = _mm256_max_ps(x, top[k]);
        taint = _mm256_fmadd_ps(x, zero, taint);
      }
    }
    for (int k = 0; k < 4; ++k) _mm256_storeu_ps(best + i + 8 * k, top[k]);
  }
  bool finite = _mm256_movemask_ps(_mm256_cmp_ps(taint, taint, _CMP_UNORD_Q)) == 0;
  if (i < n) finite &= scalar_kernels.column_max(values + i, stride, rows, n - i, best + i);
  return finite;
}

}  // namespace

extern const Kernels avx2_kernels = {"avx2", blend_rows, resample_f32, resample_f16, column_max};

}  // namespace yolort
