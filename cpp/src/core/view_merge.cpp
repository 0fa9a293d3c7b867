#include "core/view_merge.h"

#include <algorithm>
#include <cstddef>
#include <cstdint>

#include "ops/nms.h"

namespace yolort {
namespace {

/// A box joins the object with the largest IoU above this value, which is that of the paper and of its authors' code.
constexpr float fusion_iou = 0.55f;

/// The boxes of one object, at most one per view.
struct Cluster {
  int cls = 0;
  Box fused{};
  double weight = 0, sides[4] = {};  ///< sum of the scores; of score x side
  std::uint64_t views = 0;           ///< one bit each

  void add(const Candidate& box, std::size_t view) {
    const float xyxy[4] = {box.box.x1, box.box.y1, box.box.x2, box.box.y2};
    weight += box.score;
    for (int i = 0; i < 4; ++i) sides[i] += static_cast<double>(box.score) * xyxy[i];
    const auto mean = [&](int i) { return static_cast<float>(sides[i] / weight); };
    if (weight > 0) fused = {mean(0), mean(1), mean(2), mean(3)};
    cls = box.cls;
    views |= std::uint64_t{1} << view;
  }
};

struct ViewCandidate {
  Candidate box;
  std::size_t view;
};

/// Weighted boxes fusion (Solovyev, Wang, Gabruseva: arXiv:1910.13302, section 3) with equal weights for all views. A
/// fused box is the mean of its members weighted by their scores; its score is their sum divided by the number of
/// views. Unlike in the paper, a view adds at most one box to an object: two boxes of one view are two objects
/// according to its NMS or its NMS-free head. So several equal views give the same result as one.
std::vector<Candidate> fuse(const std::vector<ViewCandidate>& found, std::size_t views) {
  std::vector<Cluster> clusters;
  for (const auto& [box, view] : found) {
    Cluster* nearest = nullptr;
    float best = fusion_iou;
    for (Cluster& cluster : clusters) {
      if (cluster.cls != box.cls || cluster.views >> view & 1) continue;
      const float overlap = intersection_over_union(cluster.fused, box.box);
      if (!(overlap > best)) continue;
      best = overlap;
      nearest = &cluster;
    }
    (nearest ? *nearest : clusters.emplace_back()).add(box, view);
  }
  std::vector<Candidate> out;
  for (const Cluster& cluster : clusters) {
    out.push_back({cluster.fused, static_cast<float>(cluster.weight / static_cast<double>(views)), cluster.cls});
  }
  return out;
}

}  // namespace

Thresholds view_thresholds(const Thresholds& thresholds, Merge merge, std::size_t views) {
  Thresholds out = thresholds;
  // A fused score is a mean over all views: a view may be below conf and still count.
  if (merge == Merge::wbf) out.conf /= static_cast<float>(views);
  // The best objects overall need not be among the best of each view.
  out.max_det = std::max(out.max_det, Thresholds().max_det);
  return out;
}

Detections merge_views(const std::vector<Detections>& views, Merge merge, const Thresholds& thresholds, bool nms) {
  std::vector<ViewCandidate> found;
  for (std::size_t view = 0; view < views.size(); ++view) {
    const Detections& detections = views[view];
    for (std::size_t i = 0; i < detections.size(); ++i)
      found.push_back({{detections.boxes[i], detections.scores[i], detections.classes[i]}, view});
  }
  std::stable_sort(found.begin(), found.end(),
                   [](const ViewCandidate& a, const ViewCandidate& b) { return a.box.score > b.box.score; });

  std::vector<Candidate> merged;
  if (merge == Merge::wbf && views.size() > 1) {
    merged = fuse(found, views.size());
    merged.erase(std::remove_if(merged.begin(), merged.end(),
                                [&](const Candidate& candidate) { return !(candidate.score > thresholds.conf); }),
                 merged.end());
    sort_by_score(merged);
  } else {
    for (const ViewCandidate& candidate : found) merged.push_back(candidate.box);
  }
  if (views.size() > 1 && (nms || merge == Merge::nms)) {
    non_maximum_suppression(merged, thresholds.iou, thresholds.agnostic, thresholds.max_det);
  }
  merged.resize(std::min(merged.size(), static_cast<std::size_t>(thresholds.max_det)));

  Detections out;
  for (const Candidate& candidate : merged) {
    out.boxes.push_back(candidate.box);
    out.scores.push_back(candidate.score);
    out.classes.push_back(candidate.cls);
  }
  return out;
}

}  // namespace yolort
