#include "nms.h"

#include <algorithm>

namespace yolort {
namespace {

float area(const Box& box) { return (box.x2 - box.x1) * (box.y2 - box.y1); }

}  // namespace

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
      const float width = std::min(better.box.x2, candidate.box.x2) - std::max(better.box.x1, candidate.box.x1);
      const float height = std::min(better.box.y2, candidate.box.y2) - std::max(better.box.y1, candidate.box.y1);
      const float common = std::max(width, 0.0f) * std::max(height, 0.0f);
      return common / (area(better.box) + area(candidate.box) - common) > iou;
    });
    if (!suppressed) candidates[kept++] = candidate;
  }
  candidates.resize(kept);
}

}  // namespace yolort
