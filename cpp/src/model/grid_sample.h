// Distinguishes RT-DETR from YOLO if the metadata does not.
#pragma once

#include "model/model.h"

namespace yolort {

/// Whether the graph of an ONNX file or IR samples a map at computed positions (GridSample), which the deformable
/// attention of RT-DETR does and YOLO does not. False for other formats and damaged files.
bool samples_grid(const ModelSpec& spec);

}  // namespace yolort
