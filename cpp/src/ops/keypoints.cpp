#include "ops/keypoints.h"

#include <algorithm>
#include <cmath>

namespace yolort {

void decode_keypoints(const HeadLayout& layout, const Cell& cell, float* values) {
  const auto [count, size] = layout.kpt_shape;
  for (int k = 0; k < count; ++k, values += size) {
    const float scale = layout.direct ? 1.0f : 2.0f, shift = layout.direct ? 0.0f : 0.5f;
    values[0] = (values[0] * scale + (cell.x - shift)) * cell.stride;
    values[1] = (values[1] * scale + (cell.y - shift)) * cell.stride;
    if (size == 3) values[2] = 1 / (1 + std::exp(-values[2]));
  }
}

std::vector<int> counterparts(const HeadLayout& layout, const std::vector<std::string>& names) {
  if (!layout.flip_idx.empty() || layout.kpt_shape[0] != 17 || names != std::vector<std::string>{"person"}) {
    return layout.flip_idx;
  }
  return {0, 2, 1, 4, 3, 6, 5, 8, 7, 10, 9, 12, 11, 14, 13, 16, 15};
}

void keypoints_to_image(const HeadLayout& layout, const Geometry& geometry, float* values) {
  const auto [count, size] = layout.kpt_shape;
  for (int k = 0; k < count; ++k) {
    float* point = values + k * size;
    const Box at = geometry.to_image(Box{point[0], point[1], point[0], point[1]});
    point[0] = at.x1;
    point[1] = at.y1;
  }
  if (!geometry.mirrored) return;
  for (int k = 0; k < count && !layout.flip_idx.empty(); ++k) {
    const int other = layout.flip_idx[static_cast<std::size_t>(k)];
    if (other > k) std::swap_ranges(values + k * size, values + (k + 1) * size, values + other * size);
  }
}

}  // namespace yolort
