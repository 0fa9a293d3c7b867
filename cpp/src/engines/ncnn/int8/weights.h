// Weights of INT8 layers in the .bin.
#pragma once

#include <modelbin.h>

#include "ops/simd/int8.h"

namespace yolort::ncnn_int8 {

/// Reads and returns the values (outputs, depth) as INT8. Then reads into `to`, as untagged four-byte numbers, the bias
/// (int32) and scale (float) of each output and, with `table`, its 256 bytes. Returns an empty Mat if the file is
/// damaged, or a scale or bias is out of range.
ncnn::Mat read_weights(const ncnn::ModelBin& bin, int outputs, int depth, bool table, Int8Weights& to);

}  // namespace yolort::ncnn_int8
