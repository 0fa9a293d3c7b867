// Tells RT-DETR from YOLO where the metadata does not.
#pragma once

#include "model/model.h"

namespace yolort {

/// Whether the graph of an ONNX file or IR takes samples of a map at places that it computes (GridSample), as the
/// deformable attention of RT-DETR does and no YOLO. False for other formats and damaged files.
bool samples_grid(const ModelSpec& spec);

}  // namespace yolort
