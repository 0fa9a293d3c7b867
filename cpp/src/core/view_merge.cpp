#include "core/view_merge.h"

#include <algorithm>
#include <cstddef>
#include <cstdint>

#include "ops/decode.h"
#include "ops/masks.h"
#include "ops/nms.h"
#include "ops/rotated.h"

namespace yolort {
namespace {

/// A box joins the object with which its IoU is largest, if that exceeds this value from the paper and its authors'
/// code.
constexpr float fusion_iou = 0.55f;

/// A detection of a view. The box of `candidate` is the one before rotation; its `anchor` is an index over all views.
struct Found {
  Candidate candidate;
  std::size_t view, row;
};

/// The boxes of one object; at most one per view.
struct Cluster {
  Candidate fused{};                 ///< has the anchor of the best box
  double weight = 0, sides[4] = {};  ///< sum of the scores; of score x side
  std::uint64_t views = 0;           ///< one bit each
  std::vector<std::uint32_t> members{};

  void add(const Found& found, Task task) {
    const Candidate& box = found.candidate;
    if (members.empty()) fused = box;
    members.push_back(box.anchor);
    weight += box.score;
    views |= std::uint64_t{1} << found.view;
    if (task == Task::obb) return;
    const float xyxy[4] = {box.box.x1, box.box.y1, box.box.x2, box.box.y2};
    for (int i = 0; i < 4; ++i) sides[i] += static_cast<double>(box.score) * xyxy[i];
    const auto mean = [&](int i) { return static_cast<float>(sides[i] / weight); };
    if (weight > 0) fused.box = {mean(0), mean(1), mean(2), mean(3)};
  }
};

/// Weighted boxes fusion (Solovyev, Wang, Gabruseva: arXiv:1910.13302, section 3) with equal weights for all views. A
/// fused box is the mean of its members weighted by their scores; its score is their sum divided by the number of
/// views. Unlike in the paper, a view adds at most one box to an object, because the view's NMS or NMS-free head has
/// already decided that two of its boxes are two objects. Several equal views therefore give the same result as one.
std::vector<Cluster> fuse(const std::vector<Found>& found, std::size_t views, Task task) {
  std::vector<Cluster> clusters;
  for (const Found& each : found) {
    const Candidate& box = each.candidate;
    Cluster* nearest = nullptr;
    float best = fusion_iou;
    for (Cluster& cluster : clusters) {
      if (cluster.fused.cls != box.cls || cluster.views >> each.view & 1) continue;
      const float overlap = task == Task::obb ? probabilistic_iou(rotated_box(cluster.fused), rotated_box(box))
                                              : intersection_over_union(cluster.fused.box, box.box);
      if (!(overlap > best)) continue;
      best = overlap;
      nearest = &cluster;
    }
    (nearest ? *nearest : clusters.emplace_back()).add(each, task);
  }
  for (Cluster& cluster : clusters) {
    cluster.fused.score = static_cast<float>(cluster.weight / static_cast<double>(views));
  }
  return clusters;
}

/// All detections, best score first.
std::vector<Found> gather(const std::vector<Detections>& views) {
  std::vector<Found> found;
  for (std::size_t view = 0; view < views.size(); ++view) {
    const Detections& detections = views[view];
    for (std::size_t i = 0; i < detections.size(); ++i) {
      Candidate candidate{detections.boxes[i], detections.scores[i], detections.classes[i]};
      if (!detections.rotated.empty()) {
        const RotatedBox& box = detections.rotated[i];
        candidate.box = {box.cx - box.width / 2, box.cy - box.height / 2, box.cx + box.width / 2,
                         box.cy + box.height / 2};
        candidate.angle = box.angle;
      }
      found.push_back({candidate, view, i});
    }
  }
  std::stable_sort(found.begin(), found.end(),
                   [](const Found& a, const Found& b) { return a.candidate.score > b.candidate.score; });
  for (std::size_t i = 0; i < found.size(); ++i) found[i].candidate.anchor = static_cast<std::uint32_t>(i);
  return found;
}

/// Gives each merged detection the joined masks of all detections it was fused from; `anchor` identifies the best one.
void join_masks(const std::vector<Detections>& views, const std::vector<Found>& found,
                const std::vector<std::vector<std::uint32_t>>& members, Detections& out) {
  std::vector<std::vector<const Mask*>> parts;
  for (const std::vector<std::uint32_t>& of_object : members) {
    parts.emplace_back();
    for (const std::uint32_t member : of_object) {
      parts.back().push_back(&views[found[member].view].masks[found[member].row]);
    }
    out.masks.push_back(around(parts.back()));
  }
  check_mask_memory(out.masks);
  for (std::size_t i = 0; i < parts.size(); ++i) {
    if (parts[i].size() == 1) {
      out.masks[i] = *parts[i][0];
    } else {
      join(parts[i], out.masks[i]);
    }
  }
}

}  // namespace

Thresholds view_thresholds(const Thresholds& thresholds, Merge merge, std::size_t views) {
  Thresholds out = thresholds;
  // A fused score is a mean over all views: a view may be below conf and still count.
  if (merge == Merge::wbf) {
    out.conf /= static_cast<float>(views);
    for (float& conf : out.class_conf) conf /= static_cast<float>(views);
  }
  // The best objects overall may rank lower within each view.
  out.max_det = std::max(out.max_det, Thresholds().max_det);
  return out;
}

Detections merge_views(const std::vector<Detections>& views, Merge merge, const Thresholds& thresholds,
                       const HeadLayout& layout) {
  const std::vector<Found> found = gather(views);
  std::vector<Candidate> merged;
  std::vector<std::vector<std::uint32_t>> members(found.size());  // members of each object, by the anchor of the best
  if (merge == Merge::wbf && views.size() > 1) {
    for (Cluster& cluster : fuse(found, views.size(), layout.task)) {
      if (!(cluster.fused.score > conf_of(thresholds, cluster.fused.cls))) continue;
      merged.push_back(cluster.fused);
      members[cluster.fused.anchor] = std::move(cluster.members);
    }
    sort_by_score(merged);
  } else {
    for (const Found& each : found) {
      merged.push_back(each.candidate);
      members[each.candidate.anchor] = {each.candidate.anchor};
    }
  }
  if (views.size() > 1 && (layout.nms || merge == Merge::nms)) {
    const auto suppress = layout.task == Task::obb ? rotated_suppression : non_maximum_suppression;
    suppress(merged, thresholds.iou, thresholds.agnostic, thresholds.max_det);
  }
  merged.resize(std::min(merged.size(), static_cast<std::size_t>(thresholds.max_det)));

  Detections out;
  out.kpt_shape = layout.kpt_shape;
  std::vector<std::vector<std::uint32_t>> kept;
  for (const Candidate& candidate : merged) {
    const Found& best = found[candidate.anchor];
    const Detections& view = views[best.view];
    out.boxes.push_back(layout.task == Task::obb ? view.boxes[best.row] : candidate.box);
    out.scores.push_back(candidate.score);
    out.classes.push_back(candidate.cls);
    if (layout.task == Task::obb) out.rotated.push_back(view.rotated[best.row]);
    if (layout.task == Task::pose) {
      const auto first = view.keypoints.begin() + static_cast<std::ptrdiff_t>(best.row) * layout.extra;
      out.keypoints.insert(out.keypoints.end(), first, first + layout.extra);
    }
    kept.push_back(std::move(members[candidate.anchor]));
  }
  if (layout.task == Task::segment) join_masks(views, found, kept, out);
  return out;
}

}  // namespace yolort
