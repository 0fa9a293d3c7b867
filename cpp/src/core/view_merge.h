// Test-time augmentation: merges the detections of an image's views.
#pragma once

#include <vector>

#include "model/model.h"
#include "yolort/yolort.h"

namespace yolort {

/// The thresholds to use within each view so that the merged result of `views` views meets `thresholds`.
Thresholds view_thresholds(const Thresholds& thresholds, Merge merge, std::size_t views);

/// Merges the detections of each view of an image (best score first, in pixels of the image). A single view is returned
/// unchanged. Keypoints and rotated boxes come from the best view of an object, because a mean of angles or of guessed
/// points is meaningless. Masks that Merge::wbf fuses are joined. Throws std::invalid_argument if the masks
/// take more than max_mask_bytes.
Detections merge_views(const std::vector<Detections>& views, Merge merge, const Thresholds& thresholds,
                       const HeadLayout& layout);

}  // namespace yolort
