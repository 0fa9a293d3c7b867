#include <immintrin.h>

#include <cmath>
#include <cstring>

#include "ops/simd/kernels.h"
#include "ops/simd/x86.h"
#include "ops/simd/x86_windows.h"

namespace yolort {
namespace {

/// Eight output pixels: red, green and blue, each 8 x f32 in order. Pixels k and k + 4 share a register, so that the
/// transposes within its lanes leave the pixels in order.
inline void resample8(const RowPair& pair, const std::int32_t* offsets, const std::uint32_t* weights, __m256i shuffle,
                      __m256 rgb[3]) {
  const __m256i all_weights = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(weights));
  const auto across = [&](const std::uint8_t* row, int k, __m256i pixel_weights) {
    const __m128i low = _mm_loadu_si128(reinterpret_cast<const __m128i*>(row + offsets[k]));
    const __m128i high = _mm_loadu_si128(reinterpret_cast<const __m128i*>(row + offsets[k + 4]));
    const __m256i pairs = _mm256_shuffle_epi8(_mm256_inserti128_si256(_mm256_castsi128_si256(low), high, 1), shuffle);
    return _mm256_srai_epi32(_mm256_madd_epi16(pairs, pixel_weights), 4);
  };
  // Pixels k and k + 1 of each lane as 16-bit r g b 0 r g b 0.
  const auto levels = [&](int k, __m256i weights_k, __m256i weights_next) {
    __m256i sum = _mm256_set1_epi16(2);
    for (int r = 0; r < 2; ++r) {
      const __m256i both =
          _mm256_packs_epi32(across(pair.rows[r], k, weights_k), across(pair.rows[r], k + 1, weights_next));
      sum = _mm256_add_epi16(sum, _mm256_mulhi_epi16(both, _mm256_set1_epi16(pair.weights[r])));
    }
    return _mm256_srai_epi16(sum, 2);
  };
  const __m256i p01 = levels(0, _mm256_shuffle_epi32(all_weights, 0x00), _mm256_shuffle_epi32(all_weights, 0x55));
  const __m256i p23 = levels(2, _mm256_shuffle_epi32(all_weights, 0xAA), _mm256_shuffle_epi32(all_weights, 0xFF));
  const __m256i p02 = _mm256_unpacklo_epi16(p01, p23), p13 = _mm256_unpackhi_epi16(p01, p23);
  const __m256i rg = _mm256_unpacklo_epi16(p02, p13), b = _mm256_unpackhi_epi16(p02, p13);
  const __m256i zero = _mm256_setzero_si256();
  const __m256 scale = _mm256_set1_ps(1.0f / 255.0f);
  rgb[0] = _mm256_mul_ps(_mm256_cvtepi32_ps(_mm256_unpacklo_epi16(rg, zero)), scale);
  rgb[1] = _mm256_mul_ps(_mm256_cvtepi32_ps(_mm256_unpackhi_epi16(rg, zero)), scale);
  rgb[2] = _mm256_mul_ps(_mm256_cvtepi32_ps(_mm256_unpacklo_epi16(b, zero)), scale);
}

/// The last n % 8 columns go through a block of 8 whose spare columns repeat the start of the row.
template <class T, class Store>
void resample(const RowPair& pair, const Columns& columns, std::size_t first, std::size_t n, const ChannelOrder& order,
              T* const planes[3], Store store) {
  const __m256i shuffle = _mm256_broadcastsi128_si256(pair_shuffle(order));
  const std::int32_t* offsets = columns.offsets.data() + first;
  const std::uint32_t* weights = columns.weights.data() + first;
  __m256 rgb[3];
  std::size_t i = 0;
  for (; i + 8 <= n; i += 8) {
    resample8(pair, offsets + i, weights + i, shuffle, rgb);
    for (int c = 0; c < 3; ++c) store(planes[c] + i, rgb[c]);
  }
  if (i == n) return;
  std::int32_t last_offsets[8] = {};
  std::uint32_t last_weights[8] = {};
  std::memcpy(last_offsets, offsets + i, (n - i) * sizeof(offsets[0]));
  std::memcpy(last_weights, weights + i, (n - i) * sizeof(weights[0]));
  resample8(pair, last_offsets, last_weights, shuffle, rgb);
  for (int c = 0; c < 3; ++c) {
    T rest[8];
    store(rest, rgb[c]);
    std::memcpy(planes[c] + i, rest, (n - i) * sizeof(T));
  }
}

void resample_f32(const RowPair& pair, const Columns& columns, std::size_t first, std::size_t n,
                  const ChannelOrder& order, float* const planes[3]) {
  resample(pair, columns, first, n, order, planes, [](float* to, __m256 values) { _mm256_storeu_ps(to, values); });
}

void resample_f16(const RowPair& pair, const Columns& columns, std::size_t first, std::size_t n,
                  const ChannelOrder& order, std::uint16_t* const planes[3]) {
  resample(pair, columns, first, n, order, planes, [](std::uint16_t* to, __m256 values) {
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

/// No FMA: products and sums are rounded separately, as in every table.
void weighted_sum(const float* values, std::ptrdiff_t stride, const float* weights, std::size_t rows, std::size_t n,
                  float* sums) {
  const auto block = [&](std::size_t i, auto& sum) {
    for (auto& s : sum) s = _mm256_setzero_ps();
    const float* at = values + i;
    for (std::size_t r = 0; r < rows; ++r, at += stride) {
      const __m256 weight = _mm256_set1_ps(weights[r]);
      int k = 0;
      for (auto& s : sum) s = _mm256_add_ps(s, _mm256_mul_ps(weight, _mm256_loadu_ps(at + 8 * k++)));
    }
    int k = 0;
    for (const auto& s : sum) _mm256_storeu_ps(sums + i + 8 * k++, s);
  };
  std::size_t i = 0;
  __m256 four[4], one[1];
  for (; i + 32 <= n; i += 32) block(i, four);
  for (; i + 8 <= n; i += 8) block(i, one);
  if (i < n) scalar_kernels.weighted_sum(values + i, stride, weights, rows, n - i, sums + i);
}

/// Samples of 8 positions; `pick` gives the value at offset k of each.
template <class Pick>
inline std::uint8_t bits8(const Samples& samples, std::size_t at, Pick pick) {
  __m256 sum = _mm256_setzero_ps();
  for (int k = 0; k < 3; ++k) {
    const __m256 product = _mm256_mul_ps(_mm256_loadu_ps(&samples.weights[k][at]), pick(k));
    sum = k ? _mm256_add_ps(sum, product) : product;
  }
  return static_cast<std::uint8_t>(_mm256_movemask_ps(_mm256_cmp_ps(sum, _mm256_setzero_ps(), _CMP_GT_OQ)));
}

/// If the image is larger than the network input, positions are closer together than values, and all values of 8
/// positions fit in one register.
void sample_bits(const float* values, const Samples& samples, std::size_t first, std::size_t n, std::uint8_t* bits) {
  std::size_t i = 0;
  for (; i + 8 <= n; i += 8) {
    const std::size_t at = first + i;
    const __m256i from = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(&samples.first[at]));
    const std::int32_t one = samples.first[at], other = samples.first[at + 7], least = one < other ? one : other;
    if (one + other - 2 * least + 2 < 8) {
      const __m256 window = _mm256_loadu_ps(values + least);
      const __m256i place = _mm256_sub_epi32(from, _mm256_set1_epi32(least));
      bits[i / 8] = bits8(samples, at, [&](int k) {
        return _mm256_permutevar8x32_ps(window, _mm256_add_epi32(place, _mm256_set1_epi32(k)));
      });
    } else {
      bits[i / 8] = bits8(samples, at, [&](int k) { return _mm256_i32gather_ps(values + k, from, 4); });
    }
  }
  if (i < n) scalar_kernels.sample_bits(values, samples, first + i, n - i, bits + i / 8);
}

}  // namespace

extern const Kernels avx2_kernels = {"avx2",       resample_f32, resample_f16,  column_max,
                                     weighted_sum, sample_bits,  weighted_rows, weighted_windows};

}  // namespace yolort
