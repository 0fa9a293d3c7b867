#include "engines/ncnn/int8/layers.h"

#include <layer.h>
#include <layer_type.h>

#include <algorithm>

namespace yolort {

void register_int8_layers(ncnn::Net& net) {
  net.register_custom_layer("Int8Convolution", ncnn_int8::make_convolution);
  net.register_custom_layer("Int8Depthwise", ncnn_int8::make_depthwise);
  net.register_custom_layer("Int8Add", ncnn_int8::make_add);
  net.register_custom_layer("Int8MaxPool", ncnn_int8::make_max_pool);
  net.register_custom_layer("Int8Quantize", ncnn_int8::make_quantize);
  net.register_custom_layer("Int8Dequantize", ncnn_int8::make_dequantize);
}

bool has_int8_layers(const ncnn::Net& net) {
  return std::any_of(net.layers().begin(), net.layers().end(),
                     [](const ncnn::Layer* layer) { return (layer->typeindex & ncnn::LayerType::CustomBit) != 0; });
}

}  // namespace yolort
