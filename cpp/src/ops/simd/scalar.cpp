// The plain fallback, and the reference the other tables are tested against.
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

}  // namespace

extern const Kernels scalar_kernels = {"scalar", resample_f32, resample_f16, column_max};

}  // namespace yolort
