#include <algorithm>
#include <cmath>
#include <cstring>

#include "ops/simd/int8.h"

namespace yolort {
namespace {

std::uint8_t to_byte(float value) {
  return static_cast<std::uint8_t>(std::clamp(static_cast<int>(std::nearbyint(value)), 0, 255));
}

std::uint8_t finish(std::int32_t sum, int output, const Int8Weights& weights) {
  const auto o = static_cast<std::size_t>(output);
  const std::uint8_t byte = to_byte(static_cast<float>(sum) * weights.scale[o]);
  return weights.table.empty() ? byte : weights.table[byte];
}

/// Passes each sum to `put(pixel, output, sum)`.
template <class Put>
void multiply(const Strip* strips, int count, int pixels, const Int8Weights& weights, Put put) {
  constexpr int panel = Int8Kernels::panel;
  for (int o = 0; o < weights.outputs; ++o) {
    for (int p = 0; p < pixels; ++p) {
      std::int32_t sum = weights.bias[static_cast<std::size_t>(o)];
      auto line = weights.packed.begin() + o / panel * (weights.depth / 4);
      for (int s = 0; s < count; ++s) {
        const std::uint8_t* a = strips[s].data + p * strips[s].stride;
        for (int q = 0; q < strips[s].quads; ++q, ++line, a += 4) {
          for (int i = 0; i < 4; ++i) sum += a[i] * static_cast<std::int8_t>(line->bytes[o % panel * 4 + i]);
        }
      }
      put(p, o, sum);
    }
  }
}

void multiply_u8(const Strip* strips, int count, int pixels, const Int8Weights& weights, std::uint8_t* out,
                 std::ptrdiff_t stride) {
  multiply(strips, count, pixels, weights,
           [&](int p, int o, std::int32_t sum) { out[p * stride + o] = finish(sum, o, weights); });
}

void multiply_f32(const Strip* strips, int count, int pixels, const Int8Weights& weights, float* out,
                  std::ptrdiff_t stride) {
  multiply(strips, count, pixels, weights, [&](int p, int o, std::int32_t sum) {
    out[o * stride + p] = static_cast<float>(sum) * weights.scale[static_cast<std::size_t>(o)];
  });
}

void depthwise(const Strip* taps, int pixels, int channels, const Int8Weights& weights, std::uint8_t* out,
               std::ptrdiff_t stride) {
  const int wide = (channels + 15) / 16 * 16;
  const auto* values = reinterpret_cast<const std::int8_t*>(weights.packed.data());
  for (int p = 0; p < pixels; ++p) {
    for (int c = 0; c < channels; ++c) {
      std::int32_t sum = weights.bias[static_cast<std::size_t>(c)];
      for (int k = 0; k < 9; ++k) sum += taps[k].data[p * taps[k].stride + c] * values[k * wide + c];
      out[p * stride + c] = finish(sum, c, weights);
    }
  }
}

void add(const Strip& a, const Strip& b, int pixels, int channels, const Int8Sum& sum, std::uint8_t* out,
         std::ptrdiff_t stride) {
  for (int p = 0; p < pixels; ++p) {
    const std::uint8_t *left = a.data + p * a.stride, *right = b.data + p * b.stride;
    for (int c = 0; c < channels; ++c) {
      const float scaled = static_cast<float>(left[c]) * sum.scale_a + static_cast<float>(right[c]) * sum.scale_b;
      out[p * stride + c] = to_byte(scaled + sum.offset);
    }
  }
}

void quantize_rgb(const float* const planes[3], std::size_t n, float scale, int zero, std::uint8_t* out) {
  const float low = static_cast<float>(-zero), high = static_cast<float>(255 - zero);
  for (std::size_t i = 0; i < n; ++i, out += 4) {
    for (int c = 0; c < 3; ++c) {
      const float scaled = planes[c][i] * scale, above = scaled > low ? scaled : low;  // NaN: low
      out[c] = to_byte(std::nearbyint(above < high ? above : high) + static_cast<float>(zero));
    }
    out[3] = static_cast<std::uint8_t>(zero);
  }
}

}  // namespace

void allocate_panels(Int8Weights& to, int bytes_per_weight) {
  constexpr int panel = Int8Kernels::panel;
  const int panels = (to.outputs + panel - 1) / panel, lines = to.depth * bytes_per_weight / 4;
  to.packed.assign(static_cast<std::size_t>(panels) * static_cast<std::size_t>(lines), {});
}

void pack_quads(const std::int8_t* weights, Int8Weights& to) {
  constexpr int panel = Int8Kernels::panel;
  const int quads = to.depth / 4;
  allocate_panels(to, 1);
  for (int o = 0; o < to.outputs; ++o) {
    for (int q = 0; q < quads; ++q) {
      auto& line = to.packed[static_cast<std::size_t>(o / panel * quads + q)];
      std::memcpy(line.bytes + o % panel * 4, weights + std::ptrdiff_t{o} * to.depth + 4 * q, 4);
    }
  }
}

std::int16_t* scratch_words(std::size_t count) {
  static thread_local std::vector<std::int16_t> words;
  words.resize(count);
  return words.data();
}

extern constexpr Int8Kernels scalar_int8 = {"scalar",  pack_quads, multiply_u8, multiply_f32,
                                            depthwise, add,        quantize_rgb};

}  // namespace yolort
