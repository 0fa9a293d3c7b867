// Greedy non-maximum suppression.
#pragma once

#include <cstdint>
#include <vector>

#include "yolort/yolort.h"

namespace yolort {

struct Candidate {
  Box box;
  float score;
  int cls;
  std::uint32_t anchor = 0;  ///< see ExtraValues
  float angle = 0;           ///< rotation of the box around its center, radians
};

/// 0 to 1; NaN for two boxes without area.
float intersection_over_union(const Box& a, const Box& b);

/// Best score first; equal scores keep their order.
void sort_by_score(std::vector<Candidate>& candidates);

/// NMS as in torchvision.ops.nms: drops each candidate whose IoU with a kept one (of the same class, unless `agnostic`)
/// is above `iou`. The candidates are sorted by score. Stops at `max_det`.
void non_maximum_suppression(std::vector<Candidate>& candidates, float iou, bool agnostic, int max_det);

}  // namespace yolort
