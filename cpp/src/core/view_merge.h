// Test-time augmentation: merges what the views of an image find.
#pragma once

#include <vector>

#include "yolort/yolort.h"

namespace yolort {

/// The thresholds for each of `views` views, so that the merged result meets `thresholds`.
Thresholds view_thresholds(const Thresholds& thresholds, Merge merge, std::size_t views);

/// Merges the detections of each view of an image (best score first, in pixels of the image). A single view is returned
/// unchanged. `nms`: whether the head needs NMS.
Detections merge_views(const std::vector<Detections>& views, Merge merge, const Thresholds& thresholds, bool nms);

}  // namespace yolort
