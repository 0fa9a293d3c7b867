// Draws what was found, as Python's Detections.draw() does, but for the labels.
#pragma once

#include "images.h"
#include "yolort/yolort.h"

namespace yolort {

/// Draws transparent masks, boxes or turned boxes, and the keypoints with the limbs between them.
void draw(DecodedImage& image, const Detections& found, const Skeleton& skeleton);

/// A copy of packed pixels of the host, of any format.
DecodedImage to_rgb(const Image& image);

}  // namespace yolort
