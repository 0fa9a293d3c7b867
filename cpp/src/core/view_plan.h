// Test-time augmentation: where each view of an image runs.
#pragma once

#include <string>
#include <vector>

#include "yolort/yolort.h"

namespace yolort {

/// A model file that a scale can run on.
struct Artifact {
  std::string path;           ///< as the user wrote it, for messages
  int height = 0, width = 0;  ///< size of its network input; if dynamic, the default
  bool fixed = true;
  int stride = 32;  ///< sides of other input sizes must be multiples of it
};

/// A view and where it runs: `View::imgsz` is the network input.
struct PlacedView : View {
  std::size_t artifact = 0;  ///< index
  double fraction = 1;       ///< share of the input that the image may fill, see Geometry::fit
};

/// Plans the views: each scale and, with `flip`, its mirror image. A scale runs on the artifact of that size; otherwise
/// on a dynamic one; otherwise centered in the smallest larger input. Without scales, the artifacts' sizes are used.
/// Throws
/// std::invalid_argument for a scale that is out of range, given twice or too large for every artifact, and for an
/// artifact on which no scale runs.
std::vector<PlacedView> plan_views(std::vector<int> scales, bool flip, const std::vector<Artifact>& artifacts);

}  // namespace yolort
