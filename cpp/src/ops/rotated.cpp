#include "ops/rotated.h"

#include <algorithm>
#include <cmath>

namespace yolort {
namespace {

constexpr float epsilon = 1e-7f;  ///< Ultralytics' eps

/// A box as a Gaussian: its center, and the covariance [[a, c], [c, b]].
struct Gaussian {
  float x, y, a, b, c;
  int cls;
};

Gaussian gaussian(const RotatedBox& box, int cls = 0) {
  const float along = box.width * box.width / 12, across = box.height * box.height / 12;
  const float cos = std::cos(box.angle), sin = std::sin(box.angle);
  return {box.cx,
          box.cy,
          along * cos * cos + across * sin * sin,
          along * sin * sin + across * cos * cos,
          (along - across) * cos * sin,
          cls};
}

/// The Bhattacharyya distance.
float distance(const Gaussian& p, const Gaussian& q) {
  const float dx = q.x - p.x, dy = p.y - q.y;
  const float a = p.a + q.a, b = p.b + q.b, c = p.c + q.c;
  const float determinant = a * b - c * c;
  const float place = (0.25f * (a * dy * dy + b * dx * dx) + 0.5f * c * dx * dy) / (determinant + epsilon);
  const float areas = std::max(p.a * p.b - p.c * p.c, 0.0f) * std::max(q.a * q.b - q.c * q.c, 0.0f);
  const float shape = 0.5f * std::log(determinant / (4 * std::sqrt(areas) + epsilon) + epsilon);
  return std::clamp(place + shape, epsilon, 100.0f);
}

/// Whether the distance of the centers alone is `limit` or more: no covariance is wider than its trace.
bool is_far(const Gaussian& p, const Gaussian& q, float limit) {
  const float dx = q.x - p.x, dy = q.y - p.y;
  return 0.25f * (dx * dx + dy * dy) > limit * (p.a + q.a + p.b + q.b);
}

}  // namespace

RotatedBox rotated_box(const Candidate& candidate) {
  const Box& box = candidate.box;
  return {(box.x1 + box.x2) / 2, (box.y1 + box.y2) / 2, box.x2 - box.x1, box.y2 - box.y1, candidate.angle};
}

void turn(Candidate& candidate, const HeadLayout& layout, const Cell& cell, float value) {
  if (layout.head != Head::raw) {
    candidate.angle = value;
    return;
  }
  constexpr float pi = 3.14159265358979f;
  candidate.angle = layout.direct ? value : (1 / (1 + std::exp(-value)) - 0.25f) * pi;
  const RotatedBox box = rotated_box(candidate);
  const float x = box.cx - cell.x * cell.stride, y = box.cy - cell.y * cell.stride;
  const float cos = std::cos(candidate.angle), sin = std::sin(candidate.angle);
  const float cx = x * cos - y * sin + cell.x * cell.stride, cy = x * sin + y * cos + cell.y * cell.stride;
  candidate.box = {cx - box.width / 2, cy - box.height / 2, cx + box.width / 2, cy + box.height / 2};
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
  return std::max(1 - std::sqrt(1 - std::exp(-distance(gaussian(a), gaussian(b))) + epsilon), 0.0f);
}

void rotated_suppression(std::vector<Candidate>& candidates, float iou, bool agnostic, int max_det) {
  // 1 - sqrt(1 - exp(-distance) + epsilon) > iou, solved for the distance.
  const float limit = -std::log(1 + epsilon - (1 - iou) * (1 - iou));
  std::vector<Gaussian> all;
  all.reserve(candidates.size());
  for (const Candidate& candidate : candidates) all.push_back(gaussian(rotated_box(candidate), candidate.cls));
  std::size_t kept = 0;
  for (std::size_t i = 0; i < all.size() && kept < static_cast<std::size_t>(max_det); ++i) {
    const auto end = all.begin() + static_cast<std::ptrdiff_t>(i);
    const bool suppressed = std::any_of(all.begin(), end, [&](const Gaussian& better) {
      return (agnostic || better.cls == all[i].cls) && !is_far(better, all[i], limit) &&
             distance(better, all[i]) < limit;
    });
    if (!suppressed) candidates[kept++] = candidates[i];
  }
  candidates.resize(kept);
}

}  // namespace yolort
