// Masks as COCO writes them.
#pragma once

#include <string>

#include "yolort/yolort.h"

namespace yolort {

/// The `counts` of a compressed COCO RLE of a mask in an image of `width` x `height` pixels: the lengths of the runs of
/// pixels column by column, the first one outside the object, as text (cocoapi, common/maskApi.c, rleToString).
std::string coco_rle(const Mask& mask, int width, int height);

}  // namespace yolort
