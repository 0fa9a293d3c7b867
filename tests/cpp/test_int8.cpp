// Compares every table of INT8 kernels with the definition computed in 64 bits, so all tables are equal.
#include "ops/simd/int8.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>
#include <random>

#include "check.h"

using namespace yolort;

namespace {

std::mt19937 engine(7);

int random(int low, int high) { return std::uniform_int_distribution<int>(low, high)(engine); }

std::vector<std::uint8_t> random_bytes(std::size_t count) {
  std::vector<std::uint8_t> out(count);
  for (auto& byte : out) byte = static_cast<std::uint8_t>(random(0, 255));
  return out;
}

int byte_of(float value) { return static_cast<int>(std::min(255.0f, std::max(0.0f, std::nearbyint(value)))); }

struct Weights {
  std::vector<std::int8_t> values;  // (outputs, depth)
  std::vector<std::int32_t> bias;
  Int8Weights made;
};

Weights random_weights(int outputs, int depth, bool table, bool extreme) {
  Weights out;
  out.values.resize(static_cast<std::size_t>(outputs) * static_cast<std::size_t>(depth));
  for (auto& value : out.values)
    value = static_cast<std::int8_t>(extreme ? random(0, 1) * 254 - 127 : random(-127, 127));
  const auto wide = static_cast<std::size_t>((outputs + 31) / 32 * 32);
  out.made.outputs = outputs;
  out.made.depth = depth;
  out.made.bias.assign(wide, 0);
  out.made.scale.assign(wide, 0);
  for (int o = 0; o < outputs; ++o) {
    out.made.bias[static_cast<std::size_t>(o)] = random(-20000, 20000);
    out.made.scale[static_cast<std::size_t>(o)] = static_cast<float>(random(1, 1000)) * (o % 5 ? 1e-5f : 5e-4f);
  }
  out.bias = out.made.bias;
  if (table) out.made.table = random_bytes(256);
  return out;
}

float scaled(const Weights& weights, int output, std::int64_t sum) {
  return static_cast<float>(static_cast<std::int32_t>(sum)) * weights.made.scale[static_cast<std::size_t>(output)];
}

int looked_up(const Weights& weights, int byte) {
  return weights.made.table.empty() ? byte : weights.made.table[static_cast<std::size_t>(byte)];
}

/// Strips of random lengths over random bytes; one of them repeats one pixel.
struct Input {
  std::vector<std::uint8_t> bytes;
  std::vector<Strip> strips;

  Input(const std::vector<int>& quads, bool extreme) {
    std::vector<std::ptrdiff_t> at;
    std::size_t total = 0;
    for (const int count : quads) {
      at.push_back(static_cast<std::ptrdiff_t>(total));
      total += static_cast<std::size_t>(Int8Kernels::pixels * (4 * count + 8));
    }
    bytes = random_bytes(total);
    if (extreme) std::fill(bytes.begin(), bytes.end(), std::uint8_t{255});
    for (std::size_t i = 0; i < quads.size(); ++i) {
      strips.push_back({bytes.data() + at[i], i == 1 ? 0 : 4 * quads[i] + 8, quads[i]});
    }
  }

  std::int64_t sum(const Weights& weights, int pixel, int output) const {
    std::int64_t sum = weights.bias[static_cast<std::size_t>(output)];
    const std::int8_t* w = weights.values.data() + std::ptrdiff_t{output} * weights.made.depth;
    for (const Strip& strip : strips) {
      for (int i = 0; i < 4 * strip.quads; ++i) sum += strip.data[pixel * strip.stride + i] * *w++;
    }
    return sum;
  }
};

void check_multiply(const Int8Kernels& table, int outputs, int pixels, const std::vector<int>& quads, bool extreme) {
  int depth = 0;
  for (const int count : quads) depth += 4 * count;
  const Input input(quads, extreme);
  Weights weights = random_weights(outputs, depth, outputs % 8 == 0, extreme);
  table.pack(weights.values.data(), weights.made);
  const std::ptrdiff_t stride = outputs + 3;
  std::vector<std::uint8_t> bytes(static_cast<std::size_t>(pixels * stride), 77);
  std::vector<float> floats(static_cast<std::size_t>(outputs * (pixels + 2)), 77.f);
  const auto count = static_cast<int>(input.strips.size());
  table.multiply_u8(input.strips.data(), count, pixels, weights.made, bytes.data(), stride);
  table.multiply_f32(input.strips.data(), count, pixels, weights.made, floats.data(), pixels + 2);
  bool same = true;
  for (int p = 0; p < pixels; ++p) {
    for (int o = 0; o < outputs; ++o) {
      const float wanted = scaled(weights, o, input.sum(weights, p, o));
      same &= bytes[static_cast<std::size_t>(p * stride + o)] == looked_up(weights, byte_of(wanted));
      same &= floats[static_cast<std::size_t>(o * (pixels + 2) + p)] == wanted;
    }
    for (int o = outputs; o < stride; ++o) same &= bytes[static_cast<std::size_t>(p * stride + o)] == 77;
  }
  for (int o = 0; o < outputs; ++o) same &= floats[static_cast<std::size_t>((o + 1) * (pixels + 2) - 1)] == 77.f;
  if (!same) {
    check::fail(__FILE__, __LINE__,
                std::string(table.name) + ": " + std::to_string(outputs) + " outputs of " + std::to_string(pixels) +
                    " pixels, depth " + std::to_string(depth));
  }
}

void check_depthwise(const Int8Kernels& table, int channels, int pixels) {
  const int wide = (channels + 15) / 16 * 16;
  const std::vector<std::uint8_t> bytes = random_bytes(static_cast<std::size_t>(9 * (pixels + 2) * channels));
  Weights weights = random_weights(channels, 9, channels % 8 == 0, false);
  weights.made.packed.assign(static_cast<std::size_t>(9 * wide + 63) / 64, {});
  auto* packed = reinterpret_cast<std::int8_t*>(weights.made.packed.data());
  for (int c = 0; c < channels; ++c) {
    for (int k = 0; k < 9; ++k) packed[k * wide + c] = weights.values[static_cast<std::size_t>(c * 9 + k)];
  }
  Strip taps[9];
  for (int k = 0; k < 9; ++k) taps[k] = {bytes.data() + k * (pixels + 2) * channels, k == 4 ? 0 : channels, 0};
  std::vector<std::uint8_t> out(static_cast<std::size_t>(pixels * (channels + 5)), 77);
  table.depthwise(taps, pixels, channels, weights.made, out.data(), channels + 5);
  bool same = true;
  for (int p = 0; p < pixels; ++p) {
    for (int c = 0; c < channels + 5; ++c) {
      int wanted = 77;
      if (c < channels) {
        std::int64_t sum = weights.bias[static_cast<std::size_t>(c)];
        for (int k = 0; k < 9; ++k) {
          sum += taps[k].data[p * taps[k].stride + c] * weights.values[static_cast<std::size_t>(c * 9 + k)];
        }
        wanted = looked_up(weights, byte_of(scaled(weights, c, sum)));
      }
      same &= out[static_cast<std::size_t>(p * (channels + 5) + c)] == wanted;
    }
  }
  if (!same) check::fail(__FILE__, __LINE__, std::string(table.name) + ": depthwise, " + std::to_string(channels));
}

void check_add(const Int8Kernels& table, int channels, int pixels) {
  const std::vector<std::uint8_t> bytes = random_bytes(static_cast<std::size_t>(2 * pixels * (channels + 4)));
  const Strip a{bytes.data(), channels + 4, 0}, b{bytes.data() + pixels * (channels + 4), channels, 0};
  const Int8Sum sum{0.731f, 0.5f, -3.25f};
  std::vector<std::uint8_t> out(static_cast<std::size_t>(pixels * (channels + 1)), 77);
  table.add(a, b, pixels, channels, sum, out.data(), channels + 1);
  bool same = true;
  for (int p = 0; p < pixels; ++p) {
    for (int c = 0; c < channels; ++c) {
      const float left = static_cast<float>(a.data[p * a.stride + c]) * sum.scale_a;
      const float both = left + static_cast<float>(b.data[p * b.stride + c]) * sum.scale_b;
      same &= out[static_cast<std::size_t>(p * (channels + 1) + c)] == byte_of(both + sum.offset);
    }
    same &= out[static_cast<std::size_t>(p * (channels + 1) + channels)] == 77;
  }
  if (!same) check::fail(__FILE__, __LINE__, std::string(table.name) + ": add, " + std::to_string(channels));
}

void check_quantize(const Int8Kernels& table, std::size_t n, int zero) {
  std::vector<float> values(3 * n);
  for (auto& value : values) value = static_cast<float>(random(-2000, 2000)) / 1000.f;
  const float special[] = {std::numeric_limits<float>::quiet_NaN(), std::numeric_limits<float>::infinity(), -1e30f};
  for (std::size_t i = 0; i < 3 && i < n; ++i) values[i] = special[i];
  const float* planes[3] = {values.data(), values.data() + n, values.data() + 2 * n};
  std::vector<std::uint8_t> out(4 * n + 1, 77);
  table.quantize_rgb(planes, n, 200.f, zero, out.data());
  bool same = out[4 * n] == 77;
  for (std::size_t i = 0; i < n; ++i) {
    for (std::size_t c = 0; c < 3; ++c) {
      const float value = std::isnan(planes[c][i]) ? -1e9f : planes[c][i] * 200.f;
      const auto low = static_cast<float>(-zero), high = static_cast<float>(255 - zero);
      same &= out[4 * i + c] == static_cast<int>(std::nearbyint(std::min(std::max(value, low), high))) + zero;
    }
    same &= out[4 * i + 3] == zero;
  }
  if (!same) check::fail(__FILE__, __LINE__, std::string(table.name) + ": quantize " + std::to_string(n));
}

}  // namespace

int main() {
  for (const Int8Kernels* table : available_int8_kernels()) {
    for (int pixels = 1; pixels <= Int8Kernels::pixels; ++pixels) {
      for (const int outputs : {1, 4, 8, 16, 20, 32, 36, 80, 128}) {
        check_multiply(*table, outputs, pixels, {5}, false);
        check_multiply(*table, outputs, pixels, {3, 8, 1}, false);
      }
    }
    check_multiply(*table, 64, 10, {300, 12}, true);
    for (const int channels : {4, 8, 16, 20, 64, 80}) {
      for (const int pixels : {1, 5, 10, 13}) {
        check_depthwise(*table, channels, pixels);
        check_add(*table, channels, pixels);
      }
    }
    for (const std::size_t n : {1, 15, 16, 37}) {
      check_quantize(*table, n, 0);
      check_quantize(*table, n, 31);
    }
  }
  CHECK(available_int8_kernels().back() == &scalar_int8);
  return check::result();
}
