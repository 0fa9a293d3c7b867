// The plain fallback, and the reference the other tables are tested against.
#include <algorithm>
#include <cmath>

#include "ops/half.h"
#include "ops/simd/kernels.h"

namespace yolort {
namespace {

int resample_one(const RowPair& pair, std::int32_t offset, int step, std::uint32_t weights) {
  const int left = static_cast<std::int16_t>(weights & 0xFFFF), right = static_cast<std::int16_t>(weights >> 16);
  int sum = 2;
  for (int r = 0; r < 2; ++r) {
    const std::uint8_t* at = pair.rows[r] + offset;
    sum += (pair.weights[r] * ((at[0] * left + at[step] * right) >> 4)) >> 16;
  }
  return sum >> 2;
}

template <class T, class Convert>
void resample(const RowPair& pair, const Columns& columns, std::size_t first, std::size_t n, const ChannelOrder& order,
              T* const planes[3], Convert convert) {
  for (std::size_t i = 0; i < n; ++i) {
    for (int c = 0; c < 3; ++c) {
      const std::int32_t offset = columns.offsets[first + i] + order.rgb[c];
      const int level = resample_one(pair, offset, order.step, columns.weights[first + i]);
      planes[c][i] = convert(static_cast<float>(level) * (1.0f / 255.0f));
    }
  }
}

void resample_f32(const RowPair& pair, const Columns& columns, std::size_t first, std::size_t n,
                  const ChannelOrder& order, float* const planes[3]) {
  resample(pair, columns, first, n, order, planes, [](float value) { return value; });
}

void resample_f16(const RowPair& pair, const Columns& columns, std::size_t first, std::size_t n,
                  const ChannelOrder& order, std::uint16_t* const planes[3]) {
  resample(pair, columns, first, n, order, planes, float_to_half);
}

bool column_max(const float* values, std::ptrdiff_t stride, std::size_t rows, std::size_t n, float* best) {
  bool finite = true;
  for (std::size_t i = 0; i < n; ++i) best[i] = -INFINITY;
  for (std::size_t r = 0; r < rows; ++r, values += stride) {
    for (std::size_t i = 0; i < n; ++i) {
      finite &= std::isfinite(values[i]);
      best[i] = values[i] > best[i] ? values[i] : best[i];
    }
  }
  return finite;
}

void weighted_sum(const float* values, std::ptrdiff_t stride, const float* weights, std::size_t rows, std::size_t n,
                  float* sums) {
  for (std::size_t i = 0; i < n; ++i) sums[i] = 0;
  for (std::size_t r = 0; r < rows; ++r, values += stride) {
    for (std::size_t i = 0; i < n; ++i) sums[i] += weights[r] * values[i];
  }
}

void sample_bits(const float* values, const Samples& samples, std::size_t first, std::size_t n, std::uint8_t* bits) {
  for (std::size_t i = 0; i < n; ++i) {
    const float* at = values + samples.first[first + i];
    float sum = samples.weights[0][first + i] * at[0];
    sum += samples.weights[1][first + i] * at[1];
    sum += samples.weights[2][first + i] * at[2];
    if (i % 8 == 0) bits[i / 8] = 0;
    bits[i / 8] = static_cast<std::uint8_t>(bits[i / 8] | (sum > 0) << i % 8);
  }
}

constexpr std::int32_t half_level = 1 << 21;

std::int32_t whole(SplitWeight weight) { return weight.high * (1 << 11) + weight.low; }

void weighted_rows(const std::uint8_t* const* rows, const SplitWeight* weights, std::size_t count, std::size_t n,
                   float* values) {
  constexpr std::size_t block = 64;  // small enough for a compiler to keep in registers
  for (std::size_t i = 0; i < n; i += block) {
    const std::size_t size = std::min(block, n - i);
    std::int32_t sum[block];
    for (std::size_t k = 0; k < size; ++k) sum[k] = half_level;
    for (std::size_t r = 0; r < count; ++r) {
      const std::uint8_t* row = rows[r] + i;
      const std::int32_t weight = whole(weights[r]);
      for (std::size_t k = 0; k < size; ++k) sum[k] += row[k] * weight;
    }
    for (std::size_t k = 0; k < size; ++k) {
      values[i + k] = static_cast<float>(std::min(sum[k] >> 22, 255)) * (1.0f / 255.0f);
    }
  }
}

void weighted_windows(const std::uint8_t* row, const std::int32_t* first, const SplitWeight* weights, std::size_t quads,
                      std::size_t n, const ChannelOrder& order, std::uint8_t* const planes[3]) {
  for (std::size_t i = 0; i < n; ++i, weights += 4 * quads) {
    for (int c = 0; c < 3; ++c) {
      const std::uint8_t* at = row + static_cast<std::ptrdiff_t>(first[i]) * order.step + order.rgb[c];
      std::int32_t sum = half_level;
      for (std::size_t k = 0; k < 4 * quads; ++k, at += order.step) sum += *at * whole(weights[k]);
      planes[c][i] = static_cast<std::uint8_t>(std::min(sum >> 22, 255));
    }
  }
}

}  // namespace

extern const Kernels scalar_kernels = {"scalar",     resample_f32, resample_f16,  column_max,
                                       weighted_sum, sample_bits,  weighted_rows, weighted_windows};

}  // namespace yolort
