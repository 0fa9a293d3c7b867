#include "ops/rotated.h"

#include <algorithm>
#include <cmath>

#include "ops/gaussian_box.h"

namespace yolort {

RotatedBox rotated_box(const Candidate& candidate) {
  const Box& box = candidate.box;
  return {(box.x1 + box.x2) / 2, (box.y1 + box.y2) / 2, box.x2 - box.x1, box.y2 - box.y1, candidate.angle};
}

void turn(Candidate& candidate, const HeadLayout& layout, const Cell& cell, float value) {
  if (layout.head != Head::raw) {
    candidate.angle = value;
    return;
  }
  candidate.angle = angle_of(value, layout.direct);
  Box& box = candidate.box;
  float sides[4] = {box.x1, box.y1, box.x2, box.y2};
  turn_around(cell.x * cell.stride, cell.y * cell.stride, candidate.angle, sides);
  box = {sides[0], sides[1], sides[2], sides[3]};
}

std::array<float, 8> corners(const RotatedBox& box) {
  const float cos = std::cos(box.angle), sin = std::sin(box.angle);
  const float ux = box.width / 2 * cos, uy = box.width / 2 * sin;     // half of the width
  const float vx = -box.height / 2 * sin, vy = box.height / 2 * cos;  // half of the height
  return {box.cx + ux + vx, box.cy + uy + vy, box.cx + ux - vx, box.cy + uy - vy,
          box.cx - ux - vx, box.cy - uy - vy, box.cx - ux + vx, box.cy - uy + vy};
}

Box hull(const RotatedBox& box) {
  const std::array<float, 8> xy = corners(box);
  const auto [left, right] = std::minmax({xy[0], xy[2], xy[4], xy[6]});
  const auto [top, bottom] = std::minmax({xy[1], xy[3], xy[5], xy[7]});
  return {left, top, right, bottom};
}

float probabilistic_iou(const RotatedBox& a, const RotatedBox& b) {
  const auto gaussian = [](const RotatedBox& box) {
    const float x = box.width / 2, y = box.height / 2;
    return gaussian_box({box.cx - x, box.cy - y, box.cx + x, box.cy + y}, box.angle, 0);
  };
  return std::max(1 - std::sqrt(1 - std::exp(-distance(gaussian(a), gaussian(b))) + gaussian_epsilon), 0.0f);
}

void rotated_suppression(std::vector<Candidate>& candidates, float iou, bool agnostic, int max_det) {
  const float limit = distance_of(iou);
  std::vector<GaussianBox> all;
  all.reserve(candidates.size());
  for (const Candidate& candidate : candidates) {
    const Box& box = candidate.box;
    all.push_back(gaussian_box({box.x1, box.y1, box.x2, box.y2}, candidate.angle, candidate.cls));
  }
  std::size_t kept = 0;
  for (std::size_t i = 0; i < all.size() && kept < static_cast<std::size_t>(max_det); ++i) {
    const auto end = all.begin() + static_cast<std::ptrdiff_t>(i);
    const bool suppressed = std::any_of(
        all.begin(), end, [&](const GaussianBox& better) { return suppresses(better, all[i], limit, agnostic); });
    if (!suppressed) candidates[kept++] = candidates[i];
  }
  candidates.resize(kept);
}

}  // namespace yolort
