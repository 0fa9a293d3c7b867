// Weights of INT8 layers in the .bin.
#pragma once

#include <modelbin.h>

#include "ops/simd/int8.h"

namespace yolort::ncnn_int8 {

/// Reads the values (outputs, depth) as INT8, then, as plain numbers of four bytes, the bias (int32) and the scale
/// (float) of each output, and with `table` its 256 bytes. The values are returned, the rest goes to `to`. Empty: the
/// file is damaged, or a scale or a bias is out of range.
ncnn::Mat read_weights(const ncnn::ModelBin& bin, int outputs, int depth, bool table, Int8Weights& to);

}  // namespace yolort::ncnn_int8
