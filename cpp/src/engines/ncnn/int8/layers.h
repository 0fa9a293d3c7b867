// yolort's own INT8 layers, which `yolort quantize --format ncnn` writes.
#pragma once

#include <net.h>

namespace yolort {

/// Lets `net` load Int8Convolution, Int8Depthwise, Int8Add, Int8MaxPool, Int8Quantize and Int8Dequantize.
void register_int8_layers(ncnn::Net& net);

/// Whether the network contains one of these layers.
bool has_int8_layers(const ncnn::Net& net);

namespace ncnn_int8 {
ncnn::Layer* make_convolution(void*);
ncnn::Layer* make_depthwise(void*);
ncnn::Layer* make_add(void*);
ncnn::Layer* make_max_pool(void*);
ncnn::Layer* make_quantize(void*);
ncnn::Layer* make_dequantize(void*);
}  // namespace ncnn_int8

}  // namespace yolort
