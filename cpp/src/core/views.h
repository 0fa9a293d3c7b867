// Test-time augmentation: where each view of an image runs, and how what the views find becomes one set.
#pragma once

#include <string>
#include <vector>

#include "yolort/yolort.h"

namespace yolort {

/// What a scale can run on.
struct Artefact {
  std::string given;          ///< its path, for messages
  int height = 0, width = 0;  ///< network input: its only one, or the default
  bool fixed = true;
  int stride = 32;  ///< sides of another input are multiples of it
};

/// A view and where it runs: `View::imgsz` is the network input.
struct PlacedView : View {
  std::size_t artefact = 0;  ///< index
  double fraction = 1;       ///< of the input that the image may take, see Geometry::fit
};

/// Each scale plain, and mirrored with `flip`. A scale runs on the artefact of that size, else on a dynamic one, else
/// in the middle of the smallest larger input. No scales: the artefacts' own. Throws std::invalid_argument for a scale
/// out of range, given twice or too large for every artefact, and for an artefact that no scale runs on.
std::vector<PlacedView> plan_views(std::vector<int> scales, bool flip, const std::vector<Artefact>& artefacts);

/// What each of `views` views must be searched with, so that the merged result holds to `thresholds`.
Thresholds view_thresholds(const Thresholds& thresholds, Merge merge, std::size_t views);

/// One set of what each view of an image found (best score first, in pixels of the image). A single view is left as it
/// is. `nms`: whether the head needs NMS.
Detections merge_views(const std::vector<Detections>& views, Merge merge, const Thresholds& thresholds, bool nms);

}  // namespace yolort
