// The rules of our own INT8 layers (int8/).
#include <algorithm>
#include <cmath>

#include "engines/ncnn/layer_rules.h"

namespace yolort::ncnn_graph {
namespace {

struct Range {
  std::int64_t channels;
  bool doubled;
};

/// The channels that the layer reads of each input (three numbers per input in array 10). All inputs have the same
/// size, which is written to `height` and `width`.
std::vector<Range> ranges(const Layer& layer, const std::vector<Shape>& in, std::int64_t& height, std::int64_t& width) {
  const auto found = layer.parameters.find(10);
  if (found == layer.parameters.end() || !found->second.array || found->second.real ||
      found->second.values.size() != 3 * in.size()) {
    fail(layer, "parameter 10 needs three whole numbers for each of its " + std::to_string(in.size()) + " inputs");
  }
  std::vector<Range> out;
  for (std::size_t i = 0; i < in.size(); ++i) {
    expect_rank(layer, in[i], 3);
    const double* range = &found->second.values[3 * i];
    const auto held = static_cast<double>(in[i][0]);
    const bool valid = range[0] >= 0 && range[0] <= held && range[1] >= 4 && range[0] + range[1] <= held &&
                       std::fmod(range[0], 4) == 0 && std::fmod(range[1], 4) == 0 && (range[2] == 0 || range[2] == 1);
    if (!valid) fail(layer, "its range of channels does not fit the " + std::to_string(in[i][0]) + " of its input");
    out.push_back({static_cast<std::int64_t>(range[1]), range[2] == 1});
    const std::int64_t times = range[2] == 1 ? 2 : 1;
    if (i == 0) height = times * in[i][1], width = times * in[i][2];
    if (times * in[i][1] != height || times * in[i][2] != width) fail(layer, "its inputs differ in size");
  }
  return out;
}

/// A floating-point parameter whose products with bytes stay below 2^31.
void expect_moderate(const Layer& layer, int key) {
  const auto found = layer.parameters.find(key);
  if (found == layer.parameters.end()) return;
  if (found->second.array || !(std::abs(found->second.values[0]) <= 1e6)) {
    fail(layer, "parameter " + std::to_string(key) + " is out of range, expected a number from -1000000 to 1000000");
  }
}

/// The quantization step of a map, a factor.
void expect_scale(const Layer& layer, int key) {
  const auto found = layer.parameters.find(key);
  if (found == layer.parameters.end()) fail(layer, "has no parameter " + std::to_string(key));
  const bool number = !found->second.array;
  if (!number || !(found->second.values[0] > 0 && found->second.values[0] <= 1e6)) {
    fail(layer, "parameter " + std::to_string(key) + " is out of range, expected a number above 0, to 1000000");
  }
}

void expect_zero_point(const Layer& layer) { integer(layer, 5, 0, 0, 255); }

Shape convolution(const Layer& layer, const std::vector<Shape>& in, Weights& weights) {
  std::int64_t height = 0, width = 0, depth = 0;
  if (in.size() > 16) fail(layer, "takes more than 16 inputs");
  const std::vector<Range> taken = ranges(layer, in, height, width);
  const std::int64_t outputs = integer(layer, 0, 0, 1, 1 << 16), kernel = integer(layer, 1, 1, 1, 3);
  const std::int64_t stride = integer(layer, 3, 1, 1, 2);
  const bool as_float = integer(layer, 7, 0, 0, 1) == 1, table = integer(layer, 8, 0, 0, 1) == 1;
  expect_zero_point(layer);
  const bool doubled = std::any_of(taken.begin(), taken.end(), [](const Range& range) { return range.doubled; });
  if (kernel == 2 || (kernel == 3 && taken.size() != 1) || (doubled && (kernel != 1 || stride != 1))) {
    fail(layer,
         "its kernel and its inputs do not match: the kernel must be 1 or 3, kernel 3 takes one input, and doubled "
         "inputs need kernel 1 and stride 1");
  }
  if (as_float ? table : outputs % 4 != 0)
    fail(layer, "its outputs are neither a multiple of 4 nor plain floats (7=1, without a table)");
  for (const Range& range : taken) depth += kernel * kernel * range.channels;
  if (depth >= 1 << 15) fail(layer, "has more than 32767 weights for each output");
  if (integer(layer, 6, 0, 1, max_elements) != outputs * depth) fail(layer, "its weights do not fit its inputs");
  weights = {outputs * depth, 2 * outputs + (table ? 64 : 0), true, Kind::map, as_float ? Kind::fp32 : Kind::map};
  return {outputs, (height - 1) / stride + 1, (width - 1) / stride + 1};
}

Shape depthwise(const Layer& layer, const std::vector<Shape>& in, Weights& weights) {
  std::int64_t height = 0, width = 0;
  const Range taken = ranges(layer, in, height, width)[0];
  const std::int64_t stride = integer(layer, 3, 1, 1, 2), outputs = integer(layer, 0, 0, 1, 1 << 16);
  const bool table = integer(layer, 8, 0, 0, 1) == 1;
  integer(layer, 1, 0, 3, 3);
  integer(layer, 7, 0, 0, 0);
  expect_zero_point(layer);
  if (taken.doubled || taken.channels != outputs || integer(layer, 6, 0, 1, max_elements) != 9 * outputs) {
    fail(layer, "its weights do not fit its input");
  }
  weights = {9 * outputs, 2 * outputs + (table ? 64 : 0), true, Kind::map, Kind::map};
  return {outputs, (height - 1) / stride + 1, (width - 1) / stride + 1};
}

Shape add(const Layer& layer, const std::vector<Shape>& in, Weights& weights) {
  std::int64_t height = 0, width = 0;
  const std::vector<Range> taken = ranges(layer, in, height, width);
  expect_scale(layer, 1);
  expect_scale(layer, 2);
  expect_moderate(layer, 3);
  expect_zero_point(layer);
  if (taken[0].channels != taken[1].channels || taken[0].doubled || taken[1].doubled) {
    fail(layer, "its inputs differ in shape");
  }
  weights.input = weights.output = Kind::map;
  return {taken[0].channels, height, width};
}

Shape max_pool(const Layer& layer, const std::vector<Shape>& in, Weights& weights) {
  std::int64_t height = 0, width = 0;
  const Range taken = ranges(layer, in, height, width)[0];
  if (integer(layer, 1, 1, 1, 127) % 2 == 0 || taken.doubled) fail(layer, "its kernel is not supported");
  expect_zero_point(layer);
  weights.input = weights.output = Kind::map;
  return {taken.channels, height, width};
}

Shape quantize(const Layer& layer, const std::vector<Shape>& in, Weights& weights) {
  expect_rank(layer, in[0], 3);
  expect_scale(layer, 1);
  expect_zero_point(layer);
  if (in[0][0] != 3 && in[0][0] % 4 != 0) fail(layer, "its channels are neither 3 nor a multiple of 4");
  weights.output = Kind::map;
  return {(in[0][0] + 3) / 4 * 4, in[0][1], in[0][2]};
}

Shape dequantize(const Layer& layer, const std::vector<Shape>& in, Weights& weights) {
  std::int64_t height = 0, width = 0;
  const Range taken = ranges(layer, in, height, width)[0];
  if (taken.doubled) fail(layer, "its range of channels cannot be doubled");
  expect_scale(layer, 1);
  expect_zero_point(layer);
  weights.input = Kind::map;
  return {taken.channels, height, width};
}

}  // namespace

const std::map<std::string, KnownLayer>& int8_layers() {
  static const std::vector<int> convolution_keys = {0, 1, 3, 5, 6, 7, 8, 10};
  static const std::map<std::string, KnownLayer> layers = {
      {"Int8Convolution", {any, 1, convolution_keys, convolution}},
      {"Int8Depthwise", {1, 1, convolution_keys, depthwise}},
      {"Int8Add", {2, 1, {1, 2, 3, 5, 10}, add}},
      {"Int8MaxPool", {1, 1, {1, 5, 10}, max_pool}},
      {"Int8Quantize", {1, 1, {1, 5}, quantize}},
      {"Int8Dequantize", {1, 1, {1, 5, 10}, dequantize}},
  };
  return layers;
}

}  // namespace yolort::ncnn_graph
