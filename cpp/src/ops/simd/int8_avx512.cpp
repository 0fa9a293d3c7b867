#if defined(__GNUC__) && !defined(__clang__)  // GCC bug 105593: its own header warns
#pragma GCC diagnostic ignored "-Wuninitialized"
#pragma GCC diagnostic ignored "-Wmaybe-uninitialized"
#endif
#include <immintrin.h>

#include <cstring>

#include "ops/simd/int8.h"

namespace yolort {
namespace {

/// A table of 256 bytes in four registers.
class Table {
 public:
  explicit Table(const std::vector<std::uint8_t>& bytes) : empty_(bytes.empty()) {
    for (int i = 0; i < 4 && !empty_; ++i) part_[i] = _mm512_loadu_si512(bytes.data() + 64 * i);
  }
  __m512i operator()(__m512i index) const {
    if (empty_) return index;
    const __m512i low = _mm512_permutex2var_epi8(part_[0], index, part_[1]);
    const __m512i high = _mm512_permutex2var_epi8(part_[2], index, part_[3]);
    return _mm512_mask_blend_epi8(_mm512_movepi8_mask(index), low, high);
  }

 private:
  bool empty_;
  __m512i part_[4] = {};
};

/// 64 sums as bytes, in order.
__m512i to_bytes(__m512i a, __m512i b, __m512i c, __m512i d) {
  const __m512i packed = _mm512_packus_epi16(_mm512_packs_epi32(a, b), _mm512_packs_epi32(c, d));
  const __m512i order = _mm512_setr_epi32(0, 4, 8, 12, 1, 5, 9, 13, 2, 6, 10, 14, 3, 7, 11, 15);
  return _mm512_permutexvar_epi32(order, packed);
}

/// The same four bytes in every element.
__m512i four_bytes(const std::uint8_t* from) {
  int bytes;
  std::memcpy(&bytes, from, sizeof(bytes));
  return _mm512_set1_epi32(bytes);
}

/// In-place _mm512_dpbusd_epi32. With the intrinsic, GCC 12 copies each sum twice and keeps some on the stack.
void add_products(__m512i& sum, __m512i bytes, __m512i weights) {
  asm("vpdpbusd %2, %1, %0" : "+v"(sum) : "v"(bytes), "v"(weights));
}

__m512 scaled(__m512i sum, __m512 scale) { return _mm512_mul_ps(_mm512_cvtepi32_ps(sum), scale); }
__m512i rounded(__m512i sum, __m512 scale) { return _mm512_cvtps_epi32(scaled(sum, scale)); }

/// Sums of P pixels and V panels, starting from the bias.
template <int P, int V>
inline void accumulate(const Strip* strips, int count, const Int8Weights& weights, int panel, int first,
                       __m512i (&sum)[P][V]) {
  const std::ptrdiff_t panel_bytes = std::ptrdiff_t{weights.depth} * Int8Kernels::panel;
  const std::uint8_t* w = weights.packed.data()->bytes + panel * panel_bytes;
#pragma GCC unroll 2
  for (int v = 0; v < V; ++v) {
    const __m512i bias = _mm512_loadu_si512(&weights.bias[static_cast<std::size_t>(Int8Kernels::panel * (panel + v))]);
#pragma GCC unroll 16
    for (int p = 0; p < P; ++p) sum[p][v] = bias;
  }
  for (int s = 0; s < count; ++s) {
    const std::ptrdiff_t stride = strips[s].stride;
    const std::uint8_t* a[(P + 2) / 3];  // only for every third pixel: the others are within reach of an address offset
#pragma GCC unroll 16
    for (int p = 0; p < (P + 2) / 3; ++p) a[p] = strips[s].data + (first + 3 * p) * stride;
    for (int q = 0; q < strips[s].quads; ++q, w += 64) {
      __m512i column[V];
#pragma GCC unroll 2
      for (int v = 0; v < V; ++v) column[v] = _mm512_load_si512(w + v * panel_bytes);
#pragma GCC unroll 16
      for (int p = 0; p < P; ++p) {
        const __m512i row = four_bytes(a[p / 3] + p % 3 * stride);
#pragma GCC unroll 2
        for (int v = 0; v < V; ++v) add_products(sum[p][v], row, column[v]);
      }
#pragma GCC unroll 16
      for (int p = 0; p < (P + 2) / 3; ++p) a[p] += 4;
    }
  }
}

/// Stores `columns` bytes (1 to 16 V) of each of P pixels.
template <int P, int V>
inline void store_u8(const __m512i (&sum)[P][V], const Int8Weights& weights, int panel, int columns, const Table& table,
                     std::uint8_t* out, std::ptrdiff_t stride) {
  constexpr int per = 4 / V;  // pixels of one register of bytes
  __m512 scale[V];
#pragma GCC unroll 2
  for (int v = 0; v < V; ++v) {
    scale[v] = _mm512_loadu_ps(&weights.scale[static_cast<std::size_t>(Int8Kernels::panel * (panel + v))]);
  }
#pragma GCC unroll 16
  for (int p = 0; p < P; p += per) {
    __m512i part[4];
#pragma GCC unroll 4
    for (int i = 0; i < 4; ++i) {
      const int pixel = p + i / V < P ? p + i / V : P - 1;
      part[i] = rounded(sum[pixel][i % V], scale[i % V]);
    }
    const __m512i bytes = table(to_bytes(part[0], part[1], part[2], part[3]));
    std::uint8_t* to = out + p * stride;
    if constexpr (V == 2) {
      const __mmask32 mask = 0xFFFFFFFFu >> (32 - columns);
      _mm256_mask_storeu_epi8(to, mask, _mm512_castsi512_si256(bytes));
      if (p + 1 < P) _mm256_mask_storeu_epi8(to + stride, mask, _mm512_extracti64x4_epi64(bytes, 1));
    } else {
      const auto mask = static_cast<__mmask16>(0xFFFFu >> (16 - columns));
      _mm_mask_storeu_epi8(to, mask, _mm512_castsi512_si128(bytes));
      if (p + 1 < P) _mm_mask_storeu_epi8(to + stride, mask, _mm512_extracti32x4_epi32(bytes, 1));
      if (p + 2 < P) _mm_mask_storeu_epi8(to + 2 * stride, mask, _mm512_extracti32x4_epi32(bytes, 2));
      if (p + 3 < P) _mm_mask_storeu_epi8(to + 3 * stride, mask, _mm512_extracti32x4_epi32(bytes, 3));
    }
  }
}

template <int P, int V>
inline void store_f32(const __m512i (&sum)[P][V], const Int8Weights& weights, int panel, int columns, float* out,
                      std::ptrdiff_t stride) {
  alignas(64) float row[P][16 * V];
#pragma GCC unroll 2
  for (int v = 0; v < V; ++v) {
    const __m512 scale = _mm512_loadu_ps(&weights.scale[static_cast<std::size_t>(Int8Kernels::panel * (panel + v))]);
#pragma GCC unroll 16
    for (int p = 0; p < P; ++p) _mm512_store_ps(row[p] + 16 * v, scaled(sum[p][v], scale));
  }
  for (int n = 0; n < columns; ++n) {
    for (int p = 0; p < P; ++p) out[n * stride + p] = row[p][n];
  }
}

/// All outputs of P pixels beginning at `first`; `store` has the signature of store_u8 and store_f32.
template <int P, class Store>
void multiply_tile(const Strip* strips, int count, int first, const Int8Weights& weights, Store store) {
  constexpr int wide = Int8Kernels::panel;
  for (int n = 0; n < weights.outputs; n += 2 * wide) {
    const int left = weights.outputs - n;
    if (left > wide) {
      __m512i sum[P][2];
      accumulate<P, 2>(strips, count, weights, n / wide, first, sum);
      store(sum, n / wide, left < 2 * wide ? left : 2 * wide, first);
    } else {
      __m512i sum[P][1];
      accumulate<P, 1>(strips, count, weights, n / wide, first, sum);
      store(sum, n / wide, left, first);
    }
  }
}

template <class Store>
void multiply(const Strip* strips, int count, int pixels, const Int8Weights& weights, Store store) {
  int first = 0;
  if (pixels == 10) return multiply_tile<10>(strips, count, 0, weights, store);
  for (; first + 4 <= pixels; first += 4) multiply_tile<4>(strips, count, first, weights, store);
  for (; first < pixels; ++first) multiply_tile<1>(strips, count, first, weights, store);
}

void multiply_u8(const Strip* strips, int count, int pixels, const Int8Weights& weights, std::uint8_t* out,
                 std::ptrdiff_t stride) {
  const Table table(weights.table);
  multiply(strips, count, pixels, weights, [&](const auto& sum, int panel, int columns, int first) {
    store_u8(sum, weights, panel, columns, table, out + first * stride + panel * Int8Kernels::panel, stride);
  });
}

void multiply_f32(const Strip* strips, int count, int pixels, const Int8Weights& weights, float* out,
                  std::ptrdiff_t stride) {
  multiply(strips, count, pixels, weights, [&](const auto& sum, int panel, int columns, int first) {
    store_f32(sum, weights, panel, columns, out + panel * Int8Kernels::panel * stride + first, stride);
  });
}

__mmask16 mask_of(int count) { return static_cast<__mmask16>(count >= 16 ? 0xFFFF : (1u << count) - 1); }

void depthwise(const Strip* taps, int pixels, int channels, const Int8Weights& weights, std::uint8_t* out,
               std::ptrdiff_t stride) {
  const int wide = (channels + 15) / 16 * 16;
  const std::uint8_t* values = weights.packed.data()->bytes;
  const Table table(weights.table);
  for (int c = 0; c < channels; c += 16) {
    const __mmask16 mask = mask_of(channels - c);
    const __m512i bias = _mm512_loadu_si512(&weights.bias[static_cast<std::size_t>(c)]);
    const __m512 scale = _mm512_loadu_ps(&weights.scale[static_cast<std::size_t>(c)]);
    __m512i w[9];
    for (int k = 0; k < 9; ++k) {
      w[k] = _mm512_cvtepi8_epi32(_mm_loadu_si128(reinterpret_cast<const __m128i*>(values + k * wide + c)));
    }
    for (int p = 0; p < pixels; ++p) {
      __m512i sum = bias;
      for (int k = 0; k < 9; ++k) {
        const __m128i bytes = _mm_maskz_loadu_epi8(mask, taps[k].data + p * taps[k].stride + c);
        sum = _mm512_add_epi32(sum, _mm512_madd_epi16(_mm512_cvtepu8_epi32(bytes), w[k]));
      }
      const __m512i q = rounded(sum, scale);
      const __m512i bytes = table(to_bytes(q, q, q, q));
      _mm_mask_storeu_epi8(out + p * stride + c, mask, _mm512_castsi512_si128(bytes));
    }
  }
}

void add(const Strip& a, const Strip& b, int pixels, int channels, const Int8Sum& sum, std::uint8_t* out,
         std::ptrdiff_t stride) {
  const __m512 scale_a = _mm512_set1_ps(sum.scale_a), scale_b = _mm512_set1_ps(sum.scale_b);
  const __m512 offset = _mm512_set1_ps(sum.offset);
  const auto block = [&](const std::uint8_t* left, const std::uint8_t* right, __mmask16 mask) {
    const auto values = [&](const std::uint8_t* from) {
      return _mm512_cvtepi32_ps(_mm512_cvtepu8_epi32(_mm_maskz_loadu_epi8(mask, from)));
    };
    const __m512 scaled_sum =
        _mm512_add_ps(_mm512_mul_ps(values(left), scale_a), _mm512_mul_ps(values(right), scale_b));
    const __m512i q = _mm512_cvtps_epi32(_mm512_add_ps(scaled_sum, offset));
    return _mm512_cvtusepi32_epi8(_mm512_max_epi32(q, _mm512_setzero_si512()));
  };
  for (int p = 0; p < pixels; ++p) {
    for (int c = 0; c < channels; c += 16) {
      const __mmask16 mask = mask_of(channels - c);
      _mm_mask_storeu_epi8(out + p * stride + c, mask,
                           block(a.data + p * a.stride + c, b.data + p * b.stride + c, mask));
    }
  }
}

void quantize_rgb(const float* const planes[3], std::size_t n, float scale, int zero, std::uint8_t* out) {
  const __m512 low = _mm512_set1_ps(static_cast<float>(-zero)), high = _mm512_set1_ps(static_cast<float>(255 - zero));
  const __m512i offset = _mm512_set1_epi32(zero), fourth = _mm512_set1_epi32(static_cast<int>(unsigned(zero) << 24));
  for (std::size_t i = 0; i < n; i += 16) {
    const __mmask16 mask = mask_of(static_cast<int>(n - i < 16 ? n - i : 16));
    __m512i pixel = fourth;
    for (int c = 0; c < 3; ++c) {
      const __m512 level = _mm512_mul_ps(_mm512_maskz_loadu_ps(mask, planes[c] + i), _mm512_set1_ps(scale));
      const __m512i q = _mm512_cvtps_epi32(_mm512_min_ps(_mm512_max_ps(level, low), high));
      pixel = _mm512_or_si512(pixel, _mm512_sllv_epi32(_mm512_add_epi32(q, offset), _mm512_set1_epi32(8 * c)));
    }
    _mm512_mask_storeu_epi32(out + 4 * i, mask, pixel);
  }
}

}  // namespace

extern constexpr Int8Kernels avx512vnni_int8 = {"avx512vnni", pack_quads, multiply_u8, multiply_f32,
                                                depthwise,    add,        quantize_rgb};

}  // namespace yolort
