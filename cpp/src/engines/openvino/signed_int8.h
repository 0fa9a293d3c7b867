// Models that OpenVINO computes wrongly.
#pragma once

#include "model/model.h"

namespace yolort::openvino {

/// Whether activations are rounded to signed 8 bits: INT8 ONNX for TensorRT or ARM, and what Ultralytics makes.
///
/// With OpenVINO 2026.4 the low-precision passes of the CPU plugin then give other results than ONNX Runtime: of such a
/// YOLOv8n 0.04 mAP50-95 instead of 0.16, and as it should be without those passes. The C API does not show the graph,
/// so the graph is read here. False if that is damaged: OpenVINO says why.
bool rounds_to_signed(const ModelSpec& spec);

}  // namespace yolort::openvino
