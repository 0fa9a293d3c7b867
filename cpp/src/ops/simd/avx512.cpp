#if defined(__GNUC__) && !defined(__clang__)  // GCC bug 105593: its own header warns
#pragma GCC diagnostic ignored "-Wuninitialized"
#pragma GCC diagnostic ignored "-Wmaybe-uninitialized"
#endif
#include <immintrin.h>

#include <cmath>
#include <cstring>

#include "ops/simd/kernels.h"
#include "ops/simd/x86.h"
#include "ops/simd/x86_windows.h"

namespace yolort {
namespace {

/// Sixteen output pixels; pixels k, k + 4, k + 8, k + 12 share a register, so that the transposes within its lanes
/// leave the pixels in order.
inline void resample16(const RowPair& pair, const std::int32_t* offsets, const std::uint32_t* weights, __m512i shuffle,
                       __m512 rgb[3]) {
  const __m512i all_weights = _mm512_loadu_si512(weights);
  const auto across = [&](const std::uint8_t* row, int k, __m512i pixel_weights) {
    const auto load = [&](int p) { return _mm_loadu_si128(reinterpret_cast<const __m128i*>(row + offsets[p])); };
    const __m256i low = _mm256_inserti128_si256(_mm256_castsi128_si256(load(k)), load(k + 4), 1);
    const __m256i high = _mm256_inserti128_si256(_mm256_castsi128_si256(load(k + 8)), load(k + 12), 1);
    const __m512i pairs = _mm512_shuffle_epi8(_mm512_inserti64x4(_mm512_castsi256_si512(low), high, 1), shuffle);
    return _mm512_srai_epi32(_mm512_madd_epi16(pairs, pixel_weights), 4);
  };
  // Pixels k and k + 1 of each lane as 16-bit r g b 0 r g b 0.
  const auto levels = [&](int k, __m512i weights_k, __m512i weights_next) {
    __m512i sum = _mm512_set1_epi16(2);
    for (int r = 0; r < 2; ++r) {
      const __m512i both =
          _mm512_packs_epi32(across(pair.rows[r], k, weights_k), across(pair.rows[r], k + 1, weights_next));
      sum = _mm512_add_epi16(sum, _mm512_mulhi_epi16(both, _mm512_set1_epi16(pair.weights[r])));
    }
    return _mm512_srai_epi16(sum, 2);
  };
  const __m512i p01 =
      levels(0, _mm512_shuffle_epi32(all_weights, _MM_PERM_AAAA), _mm512_shuffle_epi32(all_weights, _MM_PERM_BBBB));
  const __m512i p23 =
      levels(2, _mm512_shuffle_epi32(all_weights, _MM_PERM_CCCC), _mm512_shuffle_epi32(all_weights, _MM_PERM_DDDD));
  const __m512i p02 = _mm512_unpacklo_epi16(p01, p23), p13 = _mm512_unpackhi_epi16(p01, p23);
  const __m512i rg = _mm512_unpacklo_epi16(p02, p13), b = _mm512_unpackhi_epi16(p02, p13);
  const __m512i zero = _mm512_setzero_si512();
  const __m512 scale = _mm512_set1_ps(1.0f / 255.0f);
  rgb[0] = _mm512_mul_ps(_mm512_cvtepi32_ps(_mm512_unpacklo_epi16(rg, zero)), scale);
  rgb[1] = _mm512_mul_ps(_mm512_cvtepi32_ps(_mm512_unpackhi_epi16(rg, zero)), scale);
  rgb[2] = _mm512_mul_ps(_mm512_cvtepi32_ps(_mm512_unpacklo_epi16(b, zero)), scale);
}

/// The last n % 16 columns go through a block of 16 whose spare columns repeat the start of the row.
template <class T, class Store>
void resample(const RowPair& pair, const Columns& columns, std::size_t first, std::size_t n, const ChannelOrder& order,
              T* const planes[3], Store store) {
  const __m512i shuffle = _mm512_broadcast_i32x4(pair_shuffle(order));
  const std::int32_t* offsets = columns.offsets.data() + first;
  const std::uint32_t* weights = columns.weights.data() + first;
  __m512 rgb[3];
  std::size_t i = 0;
  for (; i + 16 <= n; i += 16) {
    resample16(pair, offsets + i, weights + i, shuffle, rgb);
    for (int c = 0; c < 3; ++c) store(planes[c] + i, __mmask16(0xFFFF), rgb[c]);
  }
  if (i == n) return;
  std::int32_t last_offsets[16] = {};
  std::uint32_t last_weights[16] = {};
  std::memcpy(last_offsets, offsets + i, (n - i) * sizeof(offsets[0]));
  std::memcpy(last_weights, weights + i, (n - i) * sizeof(weights[0]));
  resample16(pair, last_offsets, last_weights, shuffle, rgb);
  for (int c = 0; c < 3; ++c) store(planes[c] + i, static_cast<__mmask16>((1u << (n - i)) - 1), rgb[c]);
}

void resample_f32(const RowPair& pair, const Columns& columns, std::size_t first, std::size_t n,
                  const ChannelOrder& order, float* const planes[3]) {
  resample(pair, columns, first, n, order, planes,
           [](float* to, __mmask16 mask, __m512 values) { _mm512_mask_storeu_ps(to, mask, values); });
}

void resample_f16(const RowPair& pair, const Columns& columns, std::size_t first, std::size_t n,
                  const ChannelOrder& order, std::uint16_t* const planes[3]) {
  resample(pair, columns, first, n, order, planes, [](std::uint16_t* to, __mmask16 mask, __m512 values) {
    _mm256_mask_storeu_epi16(to, mask, _mm512_cvtps_ph(values, _MM_FROUND_TO_NEAREST_INT));
  });
}

bool column_max(const float* values, std::ptrdiff_t stride, std::size_t rows, std::size_t n, float* best) {
  // x * 0 is 0 for every finite x and NaN for the others; the sum keeps the NaN.
  const __m512 zero = _mm512_setzero_ps();
  __m512 taint = zero;
  std::size_t i = 0;
  for (; i + 64 <= n; i += 64) {
    __m512 top[4];
    for (auto& t : top) t = _mm512_set1_ps(-INFINITY);
    const float* at = values + i;
    for (std::size_t r = 0; r < rows; ++r, at += stride) {
      for (int k = 0; k < 4; ++k) {
        const __m512 x = _mm512_loadu_ps(at + 16 * k);
        top[k] = _mm512_max_ps(x, top[k]);
        taint = _mm512_fmadd_ps(x, zero, taint);
      }
    }
    for (int k = 0; k < 4; ++k) _mm512_storeu_ps(best + i + 16 * k, top[k]);
  }
  bool finite = _mm512_cmp_ps_mask(taint, taint, _CMP_UNORD_Q) == 0;
  if (i < n) finite &= avx2_kernels.column_max(values + i, stride, rows, n - i, best + i);
  return finite;
}

/// No FMA: products and sums are rounded separately, as in every table.
void weighted_sum(const float* values, std::ptrdiff_t stride, const float* weights, std::size_t rows, std::size_t n,
                  float* sums) {
  const auto block = [&](std::size_t i, __mmask16 last, auto& sum) {
    for (auto& s : sum) s = _mm512_setzero_ps();
    const float* at = values + i;
    for (std::size_t r = 0; r < rows; ++r, at += stride) {
      const __m512 weight = _mm512_set1_ps(weights[r]);
      int k = 0;
      for (auto& s : sum) {
        s = _mm512_add_ps(s, _mm512_mul_ps(weight, _mm512_maskz_loadu_ps(last, at + 16 * k++)));
      }
    }
    int k = 0;
    for (const auto& s : sum) _mm512_mask_storeu_ps(sums + i + 16 * k++, last, s);
  };
  constexpr auto full = static_cast<__mmask16>(0xFFFF);
  std::size_t i = 0;
  __m512 four[4], one[1];
  for (; i + 64 <= n; i += 64) block(i, full, four);
  for (; i + 16 <= n; i += 16) block(i, full, one);
  if (i < n) block(i, static_cast<__mmask16>((1u << (n - i)) - 1), one);
}

/// Samples of 16 positions; `pick` gives the value at offset k of each.
template <class Pick>
inline std::uint16_t bits16(const Samples& samples, std::size_t at, Pick pick) {
  __m512 sum = _mm512_setzero_ps();
  for (int k = 0; k < 3; ++k) {
    const __m512 product = _mm512_mul_ps(_mm512_loadu_ps(&samples.weights[k][at]), pick(k));
    sum = k ? _mm512_add_ps(sum, product) : product;
  }
  return _mm512_cmp_ps_mask(sum, _mm512_setzero_ps(), _CMP_GT_OQ);
}

/// If the image is larger than the network input, positions are closer together than values, and all values of 16
/// positions fit in one register.
void sample_bits(const float* values, const Samples& samples, std::size_t first, std::size_t n, std::uint8_t* bits) {
  std::size_t i = 0;
  for (; i + 16 <= n; i += 16) {
    const std::size_t at = first + i;
    const __m512i from = _mm512_loadu_si512(&samples.first[at]);
    const std::int32_t one = samples.first[at], other = samples.first[at + 15], least = one < other ? one : other;
    std::uint16_t above;
    if (one + other - 2 * least + 2 < 16) {
      const __m512 window = _mm512_loadu_ps(values + least);
      const __m512i place = _mm512_sub_epi32(from, _mm512_set1_epi32(least));
      above = bits16(samples, at, [&](int k) {
        return _mm512_permutexvar_ps(_mm512_add_epi32(place, _mm512_set1_epi32(k)), window);
      });
    } else {
      above = bits16(samples, at, [&](int k) { return _mm512_i32gather_ps(from, values + k, 4); });
    }
    std::memcpy(bits + i / 8, &above, sizeof(above));
  }
  if (i < n) avx2_kernels.sample_bits(values, samples, first + i, n - i, bits + i / 8);
}

}  // namespace

extern const Kernels avx512_kernels = {"avx512",     resample_f32, resample_f16,  column_max,
                                       weighted_sum, sample_bits,  weighted_rows, weighted_windows};

}  // namespace yolort
