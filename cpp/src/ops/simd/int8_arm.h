// INT8 kernels of 64-bit ARM, for tables that differ in how they multiply.
#pragma once

#include <arm_neon.h>

#include <cstring>
#include <vector>

#include "ops/simd/int8.h"

namespace yolort::int8_arm {
namespace {  // one copy per file, because the files are compiled for different processors

/// Sums of 16 outputs.
using Sums = int32x4_t[4];

/// Replaces 16 bytes with values from a table.
class Table {
 public:
  explicit Table(const std::vector<std::uint8_t>& bytes) : bytes_(bytes.empty() ? nullptr : bytes.data()) {}

  uint8x16_t operator()(uint8x16_t index) const {
    if (!bytes_) return index;
    uint8x16_t out = vqtbl4q_u8(vld1q_u8_x4(bytes_), index);
    for (int part = 1; part < 4; ++part) {
      index = vsubq_u8(index, vdupq_n_u8(64));
      out = vqtbx4q_u8(out, vld1q_u8_x4(bytes_ + 64 * part), index);
    }
    return out;
  }

 private:
  const std::uint8_t* bytes_;
};

inline float32x4_t scaled(int32x4_t sum, const float* scale) { return vmulq_f32(vcvtq_f32_s32(sum), vld1q_f32(scale)); }

/// 16 integers as bytes.
inline uint8x16_t to_bytes(const Sums& q) {
  const int16x8_t low = vcombine_s16(vqmovn_s32(q[0]), vqmovn_s32(q[1]));
  const int16x8_t high = vcombine_s16(vqmovn_s32(q[2]), vqmovn_s32(q[3]));
  return vcombine_u8(vqmovun_s16(low), vqmovun_s16(high));
}

inline uint8x16_t rounded(const Sums& sum, const float* scale) {
  Sums q;
  for (int v = 0; v < 4; ++v) q[v] = vcvtnq_s32_f32(scaled(sum[v], scale + 4 * v));
  return to_bytes(q);
}

inline void store(std::uint8_t* to, uint8x16_t bytes, int count) {
  if (count >= 16) return vst1q_u8(to, bytes);
  std::uint8_t all[16];
  vst1q_u8(all, bytes);
  std::memcpy(to, all, static_cast<std::size_t>(count));
}

inline uint8x16_t load(const std::uint8_t* from, int count) {
  if (count >= 16) return vld1q_u8(from);
  std::uint8_t all[16] = {};
  std::memcpy(all, from, static_cast<std::size_t>(count));
  return vld1q_u8(all);
}

/// Four bytes, in each of four elements.
inline uint8x16_t four_bytes(const std::uint8_t* from) {
  std::uint32_t bytes;
  std::memcpy(&bytes, from, sizeof(bytes));
  return vreinterpretq_u8_u32(vdupq_n_u32(bytes));
}

/// P pixels of one panel: Dot::step<lane>(sum, activations, weights) multiplies four of 16 bytes of activations.
template <class Dot, int P>
inline void accumulate(const Strip* strips, int count, const Int8Weights& weights, const std::int8_t* w, int panel,
                       int first, Sums (&sum)[P]) {
#pragma GCC unroll 4
  for (int v = 0; v < 4; ++v) {
    const int32x4_t bias = vld1q_s32(&weights.bias[static_cast<std::size_t>(16 * panel + 4 * v)]);
#pragma GCC unroll 8
    for (int p = 0; p < P; ++p) sum[p][v] = bias;
  }
  for (int s = 0; s < count; ++s) {
    const std::ptrdiff_t stride = strips[s].stride;
    const std::uint8_t* a = strips[s].data + first * stride;
    int q = 0;
    const auto quad = [&](auto lane, const uint8x16_t(&rows)[P]) {
#pragma GCC unroll 4
      for (int v = 0; v < 4; ++v) {
        const int8x16_t column = vld1q_s8(w + 16 * v);
#pragma GCC unroll 8
        for (int p = 0; p < P; ++p) sum[p][v] = Dot::template step<decltype(lane)::value>(sum[p][v], rows[p], column);
      }
      w += 64;
    };
    for (; q + 4 <= strips[s].quads; q += 4, a += 16) {
      uint8x16_t rows[P];
#pragma GCC unroll 8
      for (int p = 0; p < P; ++p) rows[p] = Dot::prepare(vld1q_u8(a + p * stride));
      quad(std::integral_constant<int, 0>(), rows);
      quad(std::integral_constant<int, 1>(), rows);
      quad(std::integral_constant<int, 2>(), rows);
      quad(std::integral_constant<int, 3>(), rows);
    }
    for (; q < strips[s].quads; ++q, a += 4) {
      uint8x16_t rows[P];
#pragma GCC unroll 8
      for (int p = 0; p < P; ++p) rows[p] = Dot::prepare(four_bytes(a + p * stride));
      quad(std::integral_constant<int, 0>(), rows);
    }
  }
}

/// Passes the sums of each pixel and panel to put(sum, pixel, panel).
template <class Dot, int P, class Put>
void multiply_tile(const Strip* strips, int count, int first, const Int8Weights& weights, Put put) {
  for (int panel = 0; panel * Int8Kernels::panel < weights.outputs; ++panel) {
    Sums sum[P];
    const auto* w =
        reinterpret_cast<const std::int8_t*>(weights.packed.data()) + std::ptrdiff_t{16} * weights.depth * panel;
    accumulate<Dot>(strips, count, weights, w, panel, first, sum);
#pragma GCC unroll 8
    for (int p = 0; p < P; ++p) put(sum[p], first + p, panel);
  }
}

template <class Dot, class Put>
void multiply(const Strip* strips, int count, int pixels, const Int8Weights& weights, Put put) {
  int first = 0;
  for (; first + 5 <= pixels; first += 5) multiply_tile<Dot, 5>(strips, count, first, weights, put);
  for (; first < pixels; ++first) multiply_tile<Dot, 1>(strips, count, first, weights, put);
}

template <class Dot>
void multiply_u8(const Strip* strips, int count, int pixels, const Int8Weights& weights, std::uint8_t* out,
                 std::ptrdiff_t stride) {
  const Table table(weights.table);
  multiply<Dot>(strips, count, pixels, weights, [&](const Sums& sum, int pixel, int panel) {
    const int n = panel * Int8Kernels::panel;
    store(out + pixel * stride + n, table(rounded(sum, &weights.scale[static_cast<std::size_t>(n)])),
          weights.outputs - n);
  });
}

template <class Dot>
void multiply_f32(const Strip* strips, int count, int pixels, const Int8Weights& weights, float* out,
                  std::ptrdiff_t stride) {
  multiply<Dot>(strips, count, pixels, weights, [&](const Sums& sum, int pixel, int panel) {
    const int n = panel * Int8Kernels::panel;
    float row[16];
    for (int v = 0; v < 4; ++v) {
      vst1q_f32(row + 4 * v, scaled(sum[v], &weights.scale[static_cast<std::size_t>(n + 4 * v)]));
    }
    for (int i = 0; i < 16 && n + i < weights.outputs; ++i) out[(n + i) * stride + pixel] = row[i];
  });
}

inline void depthwise(const Strip* taps, int pixels, int channels, const Int8Weights& weights, std::uint8_t* out,
                      std::ptrdiff_t stride) {
  const int wide = (channels + 15) / 16 * 16;
  const auto* values = reinterpret_cast<const std::int8_t*>(weights.packed.data());
  const Table table(weights.table);
  for (int c = 0; c < channels; c += 16) {
    const std::int32_t* bias = &weights.bias[static_cast<std::size_t>(c)];
    for (int p = 0; p < pixels; ++p) {
      Sums sum = {vld1q_s32(bias), vld1q_s32(bias + 4), vld1q_s32(bias + 8), vld1q_s32(bias + 12)};
      for (int k = 0; k < 9; ++k) {
        const uint8x16_t bytes = load(taps[k].data + p * taps[k].stride + c, channels - c);
        const int8x16_t w = vld1q_s8(values + k * wide + c);
        const int16x8_t x[2] = {vreinterpretq_s16_u16(vmovl_u8(vget_low_u8(bytes))),
                                vreinterpretq_s16_u16(vmovl_high_u8(bytes))};
        const int16x8_t y[2] = {vmovl_s8(vget_low_s8(w)), vmovl_high_s8(w)};
        for (int half = 0; half < 2; ++half) {
          sum[2 * half] = vmlal_s16(sum[2 * half], vget_low_s16(x[half]), vget_low_s16(y[half]));
          sum[2 * half + 1] = vmlal_high_s16(sum[2 * half + 1], x[half], y[half]);
        }
      }
      store(out + p * stride + c, table(rounded(sum, &weights.scale[static_cast<std::size_t>(c)])), channels - c);
    }
  }
}

inline void add(const Strip& a, const Strip& b, int pixels, int channels, const Int8Sum& sum, std::uint8_t* out,
                std::ptrdiff_t stride) {
  const float32x4_t scale_a = vdupq_n_f32(sum.scale_a), scale_b = vdupq_n_f32(sum.scale_b);
  const float32x4_t offset = vdupq_n_f32(sum.offset);
  const auto values = [](uint8x16_t bytes, int v) {
    const uint16x8_t words = v < 2 ? vmovl_u8(vget_low_u8(bytes)) : vmovl_high_u8(bytes);
    return vcvtq_f32_u32(v % 2 ? vmovl_high_u16(words) : vmovl_u16(vget_low_u16(words)));
  };
  for (int p = 0; p < pixels; ++p) {
    for (int c = 0; c < channels; c += 16) {
      const uint8x16_t left = load(a.data + p * a.stride + c, channels - c);
      const uint8x16_t right = load(b.data + p * b.stride + c, channels - c);
      Sums q;
      for (int v = 0; v < 4; ++v) {
        const float32x4_t both = vaddq_f32(vmulq_f32(values(left, v), scale_a), vmulq_f32(values(right, v), scale_b));
        q[v] = vcvtnq_s32_f32(vaddq_f32(both, offset));
      }
      store(out + p * stride + c, to_bytes(q), channels - c);
    }
  }
}

inline void quantize_rgb(const float* const planes[3], std::size_t n, float scale, int zero, std::uint8_t* out) {
  const float32x4_t low = vdupq_n_f32(static_cast<float>(-zero)), high = vdupq_n_f32(static_cast<float>(255 - zero));
  const auto four = [&](const float* from) {
    const float32x4_t level = vmulq_n_f32(vld1q_f32(from), scale);
    const float32x4_t above = vbslq_f32(vcgtq_f32(level, low), level, low);  // NaN: low
    return vqmovn_s32(vaddq_s32(vcvtnq_s32_f32(vminq_f32(above, high)), vdupq_n_s32(zero)));
  };
  std::size_t i = 0;
  for (; i + 8 <= n; i += 8) {
    uint8x8x4_t pixels;
    for (int c = 0; c < 3; ++c) {
      pixels.val[c] = vqmovun_s16(vcombine_s16(four(planes[c] + i), four(planes[c] + i + 4)));
    }
    pixels.val[3] = vdup_n_u8(static_cast<std::uint8_t>(zero));
    vst4_u8(out + 4 * i, pixels);
  }
  const float* const rest[3] = {planes[0] + i, planes[1] + i, planes[2] + i};
  if (i < n) scalar_int8.quantize_rgb(rest, n - i, scale, zero, out + 4 * i);
}

/// For loops that multiply byte - 128: the bias includes the contribution of 128 to the sums.
inline void pack_signed(const std::int8_t* from, Int8Weights& to) {
  pack_quads(from, to);
  for (int o = 0; o < to.outputs; ++o) {
    for (int i = 0; i < to.depth; ++i)
      to.bias[static_cast<std::size_t>(o)] += 128 * from[std::ptrdiff_t{o} * to.depth + i];
  }
}

}  // namespace
}  // namespace yolort::int8_arm
