// Draws detections like Python's Detections.draw(), without labels.
#pragma once

#include "images.h"
#include "yolort/yolort.h"

namespace yolort {

/// Draws transparent masks, boxes or rotated boxes, and keypoints with their limbs.
void draw(DecodedImage& image, const Detections& found, const Skeleton& skeleton);

/// Copies packed pixels of any format in host memory.
DecodedImage to_rgb(const Image& image);

}  // namespace yolort
