// Boxes rotated around their center.
#pragma once

#include <vector>

#include "model/model.h"
#include "ops/head_layout.h"
#include "ops/nms.h"
#include "yolort/yolort.h"

namespace yolort {

/// The box of a candidate, rotated by its angle, in the coordinates of the candidate.
RotatedBox rotated_box(const Candidate& candidate);

/// Sets the angle of a candidate from the extra value of its anchor. In a raw head of Ultralytics' OBB or OBB26, the
/// center's offset from the cell center is rotated as well (utils/tal.py, dist2rbox).
void turn(Candidate& candidate, const HeadLayout& layout, const Cell& cell, float value);

/// The smallest axis-aligned box around a rotated box.
Box hull(const RotatedBox& box);

/// The probabilistic IoU of rotated boxes (arXiv:2106.06072, equations 2 to 8), 0 to 1.
float probabilistic_iou(const RotatedBox& a, const RotatedBox& b);

/// Fast-NMS (arXiv:1904.02689) by probabilistic IoU, as Ultralytics' fast_nms: drops each candidate that overlaps any
/// better one (of the same class, unless `agnostic`) by more than `iou`, even if the better one was dropped itself. The
/// candidates are sorted by score. Stops at `max_det`.
void rotated_suppression(std::vector<Candidate>& candidates, float iou, bool agnostic, int max_det);

}  // namespace yolort
