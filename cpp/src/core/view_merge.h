// Test-time augmentation: how what the views of an image find becomes one set.
#pragma once

#include <vector>

#include "yolort/yolort.h"

namespace yolort {

/// What each of `views` views must be searched with, so that the merged result holds to `thresholds`.
Thresholds view_thresholds(const Thresholds& thresholds, Merge merge, std::size_t views);

/// One set of what each view of an image found (best score first, in pixels of the image). A single view is left as it
/// is. `nms`: whether the head needs NMS.
Detections merge_views(const std::vector<Detections>& views, Merge merge, const Thresholds& thresholds, bool nms);

}  // namespace yolort
