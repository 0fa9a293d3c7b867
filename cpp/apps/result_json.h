// Detections as JSON, in the form of Python's Detections.to_dict().
#pragma once

#include <string>
#include <vector>

#include "yolort/yolort.h"

namespace yolort {

/// `"shape":[height,width],"detections":[...]`. A detection has box, score, class and name, and for the model's task:
/// mask (COCO's compressed RLE), keypoints, or rotated and corners.
std::string json_members(const Detections& found, const std::vector<std::string>& names, const Image& image);

}  // namespace yolort
