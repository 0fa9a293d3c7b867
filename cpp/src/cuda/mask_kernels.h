// Masks on a GPU: the counterpart of MaskDecoder (ops/masks.h), with identical numbers.
#pragma once

#include "cuda/params.h"

namespace yolort::cuda {

/// Value `cell` of the grid of a mask: the prototypes there weighted by the coefficients; 0 beyond their edges.
YOLORT_BOTH inline void mask_grid(const MaskParams& params, int mask, int cell) {
  const MaskSpan& span = params.spans[mask];
  const int row = span.top + cell / span.columns, column = span.left + cell % span.columns;
  float sum = 0;
  if (row < params.height && column < params.width) {
    const Map& map = params.prototypes;
    std::int64_t index = static_cast<std::int64_t>(params.image) * map.channels * map.cells +
                         static_cast<std::int64_t>(row) * params.width + column;
    for (int c = 0; c < map.channels; ++c, index += map.cells) sum += params.values[span.values + c] * at(map, index);
    if (!finite(sum)) *params.for_cpu = 1;
  }
  params.grids[span.grid + cell] = sum;
}

/// Byte `index` of a mask's bits: eight pixels, or fewer at the end of a row.
YOLORT_BOTH inline void mask_bits(const MaskParams& params, int mask, int index) {
  const MaskSpan& span = params.spans[mask];
  const int row_bytes = (span.width + 7) / 8, y = index / row_bytes, x = index % row_bytes * 8;
  const Sample& down = params.rows[span.y + y];
  const float* grid = params.grids + span.grid + static_cast<std::int64_t>(down.first - span.top) * span.columns;
  unsigned byte = 0;
  for (int i = 0; i < 8 && x + i < span.width; ++i) {
    const Sample& across = params.columns[span.x + x + i];
    float sum = 0;
    for (int k = 0; k < 3; ++k) {
      const float* column = grid + (across.first - span.left) + k;
      float value = 0;
      for (int r = 0; r < 3; ++r) value += down.weights[r] * column[r * span.columns];
      sum = k ? sum + across.weights[k] * value : across.weights[k] * value;
    }
    byte |= static_cast<unsigned>(sum > 0) << i;
  }
  params.bits[span.bits + index] = static_cast<std::uint8_t>(byte);
}

// ---- what each thread of a kernel does ----

YOLORT_BOTH inline void mask_grid_thread(const LaunchParams& params, int mask, int cell) {
  if (mask >= params.masks.count) return;
  const MaskSpan& span = params.masks.spans[mask];
  if (cell < span.rows * span.columns) mask_grid(params.masks, mask, cell);
}

YOLORT_BOTH inline void mask_bits_thread(const LaunchParams& params, int mask, int index) {
  if (mask >= params.masks.count) return;
  const MaskSpan& span = params.masks.spans[mask];
  if (index < (span.width + 7) / 8 * span.height) mask_bits(params.masks, mask, index);
}

}  // namespace yolort::cuda
