#include "ops/keypoints.h"

#include <algorithm>
#include <cmath>

namespace yolort {
namespace {

constexpr std::size_t max_limbs = 4096;

bool is_cocos(const HeadLayout& layout, const std::vector<std::string>& names) {
  return layout.kpt_shape[0] == 17 && names == std::vector<std::string>{"person"};
}

}  // namespace

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
  if (!layout.flip_idx.empty() || !is_cocos(layout, names)) return layout.flip_idx;
  return {0, 2, 1, 4, 3, 6, 5, 8, 7, 10, 9, 12, 11, 14, 13, 16, 15};
}

Skeleton limbs_of(const ModelSpec& spec) {
  if (!spec.skeleton.empty() || !is_cocos(spec.layout, spec.names)) return spec.skeleton;
  return {{15, 13}, {13, 11}, {16, 14}, {14, 12}, {11, 12}, {5, 11}, {6, 12}, {5, 6}, {5, 7}, {6, 8},
          {7, 9},   {8, 10},  {1, 2},   {0, 1},   {0, 2},   {1, 3},  {2, 4},  {3, 5}, {4, 6}};
}

std::string problem_of(const std::vector<int>& flip_idx, int keypoints) {
  if (flip_idx.size() != static_cast<std::size_t>(keypoints)) {
    return "has " + std::to_string(flip_idx.size()) + " numbers, expected one for each of the " +
           std::to_string(keypoints) + " keypoints";
  }
  for (int k = 0; k < keypoints; ++k) {
    const int other = flip_idx[static_cast<std::size_t>(k)];
    if (other < 0 || other >= keypoints || flip_idx[static_cast<std::size_t>(other)] != k) {
      return "says that keypoint " + std::to_string(k) + " becomes " + std::to_string(other) +
             " in a mirrored image, but not that " + std::to_string(other) + " becomes " + std::to_string(k);
    }
  }
  return "";
}

std::string problem_of(const Skeleton& skeleton, int keypoints) {
  if (skeleton.size() > max_limbs) return "has more than " + std::to_string(max_limbs) + " limbs";
  for (const auto& [start, end] : skeleton) {
    if (std::min(start, end) < 0 || std::max(start, end) >= keypoints) {
      return "has a limb from keypoint " + std::to_string(start) + " to " + std::to_string(end) + ", expected 0 to " +
             std::to_string(keypoints - 1);
    }
  }
  return "";
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
