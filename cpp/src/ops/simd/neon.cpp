#include <arm_neon.h>

#include <cmath>
#include <cstring>

#include "ops/simd/kernels.h"

namespace yolort {
namespace {

/// Byte shuffle that widens a pixel and then its right neighbor to 16-bit r g b 0.
uint8x16_t side_shuffle(const ChannelOrder& order) {
  std::uint8_t bytes[16];
  std::memset(bytes, 0xFF, sizeof(bytes));
  for (int side = 0; side < 2; ++side) {
    for (int c = 0; c < 3; ++c) {
      bytes[8 * side + 2 * c] = static_cast<std::uint8_t>(order.rgb[c] + side * order.step);
    }
  }
  return vld1q_u8(bytes);
}

/// Four output pixels: red, green and blue, each 4 x f32 in order.
inline void resample4(const RowPair& pair, const std::int32_t* offsets, const std::uint32_t* weights,
                      uint8x16_t shuffle, float32x4_t rgb[3]) {
  int16x4_t pixel[4];
  for (int k = 0; k < 4; ++k) {
    pixel[k] = vdup_n_s16(0);
    for (int r = 0; r < 2; ++r) {
      const int16x8_t sides = vreinterpretq_s16_u8(vqtbl1q_u8(vld1q_u8(pair.rows[r] + offsets[k]), shuffle));
      const int32x4_t left = vmull_n_s16(vget_low_s16(sides), static_cast<std::int16_t>(weights[k] & 0xFFFF));
      const int32x4_t sum = vmlal_n_s16(left, vget_high_s16(sides), static_cast<std::int16_t>(weights[k] >> 16));
      pixel[k] = vadd_s16(pixel[k], vshrn_n_s32(vmull_n_s16(vshrn_n_s32(sum, 4), pair.weights[r]), 16));
    }
    pixel[k] = vrshr_n_s16(pixel[k], 2);
  }
  const int16x4_t rb01 = vtrn1_s16(pixel[0], pixel[1]), g01 = vtrn2_s16(pixel[0], pixel[1]);
  const int16x4_t rb23 = vtrn1_s16(pixel[2], pixel[3]), g23 = vtrn2_s16(pixel[2], pixel[3]);
  const auto join = [](int16x4_t a, int16x4_t b, bool high) {
    const int32x2_t x = vreinterpret_s32_s16(a), y = vreinterpret_s32_s16(b);
    const int16x4_t levels = vreinterpret_s16_s32(high ? vtrn2_s32(x, y) : vtrn1_s32(x, y));
    return vmulq_n_f32(vcvtq_f32_s32(vmovl_s16(levels)), 1.0f / 255.0f);
  };
  rgb[0] = join(rb01, rb23, false);
  rgb[1] = join(g01, g23, false);
  rgb[2] = join(rb01, rb23, true);
}

/// The last n % 4 columns go through a block of 4 whose spare columns repeat the start of the row.
template <class T, class Store>
void resample(const RowPair& pair, const Columns& columns, std::size_t first, std::size_t n, const ChannelOrder& order,
              T* const planes[3], Store store) {
  const uint8x16_t shuffle = side_shuffle(order);
  const std::int32_t* offsets = columns.offsets.data() + first;
  const std::uint32_t* weights = columns.weights.data() + first;
  float32x4_t rgb[3];
  std::size_t i = 0;
  for (; i + 4 <= n; i += 4) {
    resample4(pair, offsets + i, weights + i, shuffle, rgb);
    for (int c = 0; c < 3; ++c) store(planes[c] + i, rgb[c]);
  }
  if (i == n) return;
  std::int32_t last_offsets[4] = {};
  std::uint32_t last_weights[4] = {};
  std::memcpy(last_offsets, offsets + i, (n - i) * sizeof(offsets[0]));
  std::memcpy(last_weights, weights + i, (n - i) * sizeof(weights[0]));
  resample4(pair, last_offsets, last_weights, shuffle, rgb);
  for (int c = 0; c < 3; ++c) {
    T rest[4];
    store(rest, rgb[c]);
    std::memcpy(planes[c] + i, rest, (n - i) * sizeof(T));
  }
}

void resample_f32(const RowPair& pair, const Columns& columns, std::size_t first, std::size_t n,
                  const ChannelOrder& order, float* const planes[3]) {
  resample(pair, columns, first, n, order, planes, [](float* to, float32x4_t values) { vst1q_f32(to, values); });
}

void resample_f16(const RowPair& pair, const Columns& columns, std::size_t first, std::size_t n,
                  const ChannelOrder& order, std::uint16_t* const planes[3]) {
  resample(pair, columns, first, n, order, planes,
           [](std::uint16_t* to, float32x4_t values) { vst1_u16(to, vreinterpret_u16_f16(vcvt_f16_f32(values))); });
}

bool column_max(const float* values, std::ptrdiff_t stride, std::size_t rows, std::size_t n, float* best) {
  // x * 0 is 0 for every finite x and NaN for the others; the sum keeps the NaN.
  const float32x4_t zero = vdupq_n_f32(0);
  float32x4_t taint = zero;
  std::size_t i = 0;
  for (; i + 16 <= n; i += 16) {
    float32x4_t top[4];
    for (auto& t : top) t = vdupq_n_f32(-INFINITY);
    const float* at = values + i;
    for (std::size_t r = 0; r < rows; ++r, at += stride) {
      for (int k = 0; k < 4; ++k) {
        const float32x4_t x = vld1q_f32(at + 4 * k);
        top[k] = vmaxnmq_f32(x, top[k]);
        taint = vfmaq_f32(taint, x, zero);
      }
    }
    for (int k = 0; k < 4; ++k) vst1q_f32(best + i + 4 * k, top[k]);
  }
  const float sum = vaddvq_f32(taint);
  bool finite = sum == sum;
  if (i < n) finite &= scalar_kernels.column_max(values + i, stride, rows, n - i, best + i);
  return finite;
}

void weighted_sum(const float* values, std::ptrdiff_t stride, const float* weights, std::size_t rows, std::size_t n,
                  float* sums) {
  const auto block = [&](std::size_t i, auto& sum) {
    for (auto& s : sum) s = vdupq_n_f32(0);
    const float* at = values + i;
    for (std::size_t r = 0; r < rows; ++r, at += stride) {
      int k = 0;
      for (auto& s : sum) s = vaddq_f32(s, vmulq_n_f32(vld1q_f32(at + 4 * k++), weights[r]));
    }
    int k = 0;
    for (const auto& s : sum) vst1q_f32(sums + i + 4 * k++, s);
  };
  std::size_t i = 0;
  float32x4_t four[4], one[1];
  for (; i + 16 <= n; i += 16) block(i, four);
  for (; i + 4 <= n; i += 4) block(i, one);
  if (i < n) scalar_kernels.weighted_sum(values + i, stride, weights, rows, n - i, sums + i);
}

/// Whether samples of four positions are above 0, as 1, 2, 4 and 8 in the lanes. All their values are in `window`,
/// which holds the eight values from `least` on.
inline uint32x4_t bits4(const Samples& samples, std::size_t at, std::int32_t least, const uint8x16x2_t& window) {
  const uint32x4_t place = vreinterpretq_u32_s32(vsubq_s32(vld1q_s32(&samples.first[at]), vdupq_n_s32(least)));
  // Value i is in bytes 4 * i to 4 * i + 3.
  const uint32x4_t bytes = vmlaq_n_u32(vdupq_n_u32(0x03020100), place, 0x04040404);
  float32x4_t sum = vdupq_n_f32(0);
  for (int k = 0; k < 3; ++k) {
    const uint32x4_t own = vaddq_u32(bytes, vdupq_n_u32(0x04040404u * static_cast<unsigned>(k)));
    const float32x4_t value = vreinterpretq_f32_u8(vqtbl2q_u8(window, vreinterpretq_u8_u32(own)));
    const float32x4_t product = vmulq_f32(vld1q_f32(&samples.weights[k][at]), value);
    sum = k ? vaddq_f32(sum, product) : product;
  }
  constexpr std::uint32_t places[4] = {1, 2, 4, 8};
  return vandq_u32(vcgtzq_f32(sum), vld1q_u32(places));
}

/// If the image is larger than the network input, positions are closer together than values, and all values of 8
/// positions fit in two registers.
void sample_bits(const float* values, const Samples& samples, std::size_t first, std::size_t n, std::uint8_t* bits) {
  for (std::size_t i = 0; i < n; i += 8) {
    const std::size_t at = first + i, last = at + 7;
    const std::int32_t one = samples.first[at], other = i + 8 <= n ? samples.first[last] : one;
    const std::int32_t least = one < other ? one : other;
    if (i + 8 > n || one + other - 2 * least + 2 >= 8) {
      const std::size_t count = n - i < 8 ? n - i : 8;
      scalar_kernels.sample_bits(values, samples, at, count, bits + i / 8);
      continue;
    }
    const float* from = values + least;
    const uint8x16x2_t window = {{vreinterpretq_u8_f32(vld1q_f32(from)), vreinterpretq_u8_f32(vld1q_f32(from + 4))}};
    const unsigned low = vaddvq_u32(bits4(samples, at, least, window));
    const unsigned high = vaddvq_u32(bits4(samples, at + 4, least, window));
    bits[i / 8] = static_cast<std::uint8_t>(low | high << 4);
  }
}

// Loops over integers, which compilers turn into the instructions of every 64-bit ARM.
void weighted_rows(const std::uint8_t* const* rows, const SplitWeight* weights, std::size_t count, std::size_t n,
                   float* values) {
  scalar_kernels.weighted_rows(rows, weights, count, n, values);
}
void weighted_windows(const std::uint8_t* row, const std::int32_t* first, const SplitWeight* weights, std::size_t quads,
                      std::size_t n, const ChannelOrder& order, std::uint8_t* const planes[3]) {
  scalar_kernels.weighted_windows(row, first, weights, quads, n, order, planes);
}

}  // namespace

extern const Kernels neon_kernels = {"neon",       resample_f32, resample_f16,  column_max,
                                     weighted_sum, sample_bits,  weighted_rows, weighted_windows};

}  // namespace yolort
