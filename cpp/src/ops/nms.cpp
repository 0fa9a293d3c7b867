#include "ops/nms.h"

#include <algorithm>

namespace yolort {
namespace {

float area(const Box& box) { return (box.x2 - box.x1) * (box.y2 - box.y1); }

}  // namespace

float intersection_over_union(const Box& a, const Box& b) {
  const float width = std::min(a.x2, b.x2) - std::max(a.x1, b.x1);
  const float height = std::min(a.y2, b.y2) - std::max(a.y1, b.y1);
  const float common = std::max(width, 0.0f) * std::max(height, 0.0f);
  return common / (area(a) + area(b) - common);
}

void sort_by_score(std::vector<Candidate>& candidates) {
  std::stable_sort(candidates.begin(), candidates.end(),
                   [](const Candidate& a, const Candidate& b) { return a.score > b.score; });
}

void non_maximum_suppression(std::vector<Candidate>& candidates, float iou, bool agnostic, int max_det) {
  std::size_t kept = 0;
  for (std::size_t i = 0; i < candidates.size() && kept < static_cast<std::size_t>(max_det); ++i) {
    const Candidate candidate = candidates[i];
    const bool suppressed = std::any_of(candidates.begin(), candidates.begin() + kept, [&](const Candidate& better) {
      if (!agnostic && better.cls != candidate.cls) return false;
      return intersection_over_union(better.box, candidate.box) > iou;
    });
    if (!suppressed) candidates[kept++] = candidate;
  }
  candidates.resize(kept);
}

}  // namespace yolort
