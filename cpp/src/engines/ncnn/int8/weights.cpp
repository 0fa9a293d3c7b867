#include "engines/ncnn/int8/weights.h"

#include <cstring>

#include "engines/ncnn/int8/map.h"

namespace yolort::ncnn_int8 {
namespace {

/// Sums are below 2^31. With scales up to this value, the loops of all instruction sets convert them identically.
constexpr float max_scale = 0.5f;
/// Limit of the magnitude; sums of 2^15 byte products also stay below it.
constexpr std::int32_t max_bias = 1 << 30;

}  // namespace

std::vector<Range> read_ranges(const ncnn::ParamDict& parameters) {
  const ncnn::Mat numbers = parameters.get(10, ncnn::Mat());
  std::vector<Range> out;
  for (int i = 0; i + 2 < numbers.w; i += 3) {
    const int* range = static_cast<const int*>(numbers) + i;
    out.push_back({range[0], range[1], range[2] != 0});
  }
  return out;
}

ncnn::Mat read_weights(const ncnn::ModelBin& bin, int outputs, int depth, bool table, Int8Weights& to) {
  const ncnn::Mat values = bin.load(outputs * depth, 0);
  const ncnn::Mat bias = bin.load(outputs, 1), scale = bin.load(outputs, 1);
  const ncnn::Mat bytes = table ? bin.load(64, 1) : ncnn::Mat();
  if (values.empty() || values.elemsize != 1 || bias.empty() || scale.empty() || (table && bytes.empty())) return {};
  to.outputs = outputs;
  to.depth = depth;
  const auto wide = static_cast<std::size_t>((outputs + 31) / 32 * 32);
  to.bias.assign(wide, 0);
  to.scale.assign(wide, 0);
  std::memcpy(to.bias.data(), bias.data, static_cast<std::size_t>(outputs) * 4);
  std::memcpy(to.scale.data(), scale.data, static_cast<std::size_t>(outputs) * 4);
  for (const float value : to.scale) {
    if (!(value >= 0 && value <= max_scale)) return {};
  }
  for (const std::int32_t value : to.bias) {
    if (value < -max_bias || value > max_bias) return {};
  }
  if (table) {
    const auto* from = static_cast<const std::uint8_t*>(bytes.data);
    to.table.assign(from, from + 256);
  }
  return values;
}

}  // namespace yolort::ncnn_int8
