// Keypoints of detections.
#pragma once

#include <array>
#include <string>
#include <vector>

#include "model/model.h"
#include "ops/coordinates.h"
#include "ops/head_layout.h"

namespace yolort {

/// Turns the extra values of an anchor of a raw head into keypoints in pixels of the network input, as
/// Ultralytics' Pose.kpts_decode and Pose26.kpts_decode (nn/modules/head.py).
void decode_keypoints(const HeadLayout& layout, const Cell& cell, float* values);

/// HeadLayout::flip_idx; if the model has none, COCO's for 17 keypoints of the single class "person"; otherwise empty.
std::vector<int> counterparts(const HeadLayout& layout, const std::vector<std::string>& names);

/// ModelSpec::skeleton; if the model has none, COCO's limbs for 17 keypoints of the single class "person"; otherwise
/// empty.
Skeleton limbs_of(const ModelSpec& spec);

/// What is wrong with a flip_idx or skeleton for a model with `keypoints` keypoints, as the end of a sentence; empty if
/// valid.
std::string problem_of(const std::vector<int>& flip_idx, int keypoints);
std::string problem_of(const Skeleton& skeleton, int keypoints);

/// Maps the keypoints of a detection from the network input to the original image, clipped to it. In a mirrored image
/// each takes the place of its counterpart, HeadLayout::flip_idx.
void keypoints_to_image(const HeadLayout& layout, const Geometry& geometry, float* values);

}  // namespace yolort
