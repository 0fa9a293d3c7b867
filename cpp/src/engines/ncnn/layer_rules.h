// The layers of ncnn that YOLO detectors are made of: shapes in, shapes and weights out.
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

/// The number of elements. Throws ModelError for none, and for more than 2^28.
std::int64_t elements(const Layer& layer, const Shape& shape);

/// How many numbers the layer reads from the .bin: those after a tag that says their type, and those of plain fp32.
struct Weights {
  std::int64_t tagged = 0, plain = 0;
  bool int8 = false;  ///< the tagged ones must be INT8; otherwise they must not be
  bool int8_output = false;
};
using Rule = Shape (*)(const Layer&, const std::vector<Shape>&, Weights&);

constexpr int any = -1;

struct KnownLayer {
  int bottoms, tops;      ///< how many; `any`: one or more
  std::vector<int> keys;  ///< the parameters it may have (9 and 10 are the activation)
  Rule rule;              ///< null for Slice, see slice()
};

/// Every layer that is accepted.
const std::map<std::string, KnownLayer>& known_layers();

/// The outputs of Slice.
std::vector<Shape> slice(const Layer& layer, const Shape& in);

}  // namespace yolort::ncnn_graph
