// The ncnn layers of YOLO detectors: computes output shapes and weights from input shapes.
#pragma once

#include <cstddef>
#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "engines/ncnn/param_file.h"

namespace yolort::ncnn_graph {

/// Outermost side first: {c, d, h, w}, {c, h, w}, {h, w} or {w}.
using Shape = std::vector<std::int64_t>;

/// Number of elements. Throws ModelError for zero or more than 2^28.
std::int64_t elements(const Layer& layer, const Shape& shape);

/// Contents of a blob: fp32, the INT8 of ncnn's convolutions, or a map of our INT8 layers (int8/map.h).
enum class Kind { fp32, int8, map };

/// The numbers that the layer reads from the .bin (tagged ones and plain fp32), and the kinds of its input and output
/// blobs.
struct Weights {
  std::int64_t tagged = 0, plain = 0;
  bool int8 = false;  ///< the tagged ones must be INT8; otherwise they must not be
  Kind input = Kind::fp32, output = Kind::fp32;
};
using Rule = Shape (*)(const Layer&, const std::vector<Shape>&, Weights&);

constexpr int any = -1;

struct KnownLayer {
  int bottoms, tops;      ///< how many; `any`: one or more
  std::vector<int> keys;  ///< the parameters it may have (9 and 10 are the activation of ncnn's own layers)
  Rule rule;              ///< null for Slice, see slice()
};

/// An integer parameter of a layer, or its default. The default must be within the range, too.
std::int64_t integer(const Layer& layer, int key, std::int64_t fallback, std::int64_t low, std::int64_t high);

/// Throws ModelError if the blob does not have this number of dimensions.
void expect_rank(const Layer& layer, const Shape& shape, std::size_t rank);

constexpr std::int64_t max_elements = std::int64_t{1} << 28;  ///< of one blob

/// Our own INT8 layers.
const std::map<std::string, KnownLayer>& int8_layers();

/// The layers of ncnn that are accepted.
const std::map<std::string, KnownLayer>& known_layers();

/// The outputs of Slice.
std::vector<Shape> slice(const Layer& layer, const Shape& in);

}  // namespace yolort::ncnn_graph
