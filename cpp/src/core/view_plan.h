// Test-time augmentation: where each view of an image runs.
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

}  // namespace yolort
