#include "engines/ncnn/graph_check.h"

#include <algorithm>
#include <array>
#include <cstdint>
#include <fstream>
#include <map>
#include <string>
#include <utility>
#include <vector>

#include "engines/ncnn/layer_rules.h"
#include "engines/ncnn/param_file.h"
#include "yolort/yolort.h"

namespace yolort {
namespace ncnn_graph {
namespace {

class Graph {
 public:
  Graph(const std::filesystem::path& bin, Shape input) : bin_(bin, std::ios::binary), input_(std::move(input)) {
    bin_.seekg(0, std::ios::end);
    bin_bytes_ = static_cast<std::int64_t>(bin_.tellg());
  }

  int inputs() const { return inputs_; }

  /// Throws ModelError if an output of the network is an INT8 map.
  void check_outputs() const {
    for (const auto& [name, shape] : blobs_) {
      if (!shape.empty() && kinds_.at(name) == Kind::map)
        throw ModelError("its output \"" + name + "\" is an INT8 map");
    }
  }

  void add(const Layer& layer) {
    std::vector<Shape> in;
    for (const std::string& bottom : layer.bottoms) {
      const auto found = blobs_.find(bottom);
      if (found == blobs_.end()) fail(layer, "takes the blob \"" + bottom + "\", which no earlier layer produces");
      if (found->second.empty()) fail(layer, "takes the blob \"" + bottom + "\", which another layer consumes");
      in.push_back(std::exchange(found->second, {}));
    }
    const std::vector<Shape> out = run(layer, in);
    for (std::size_t i = 0; i < layer.tops.size(); ++i) {
      elements(layer, out[i]);
      kinds_[layer.tops[i]] = output_;
      if (!blobs_.emplace(layer.tops[i], out[i]).second)
        fail(layer, "produces the blob \"" + layer.tops[i] + "\" again");
    }
  }

 private:
  static const KnownLayer& rules_of(const Layer& layer) {
    for (const auto* layers : {&known_layers(), &int8_layers()}) {
      const auto found = layers->find(layer.type);
      if (found != layers->end()) return found->second;
    }
    fail(layer, "is not a supported layer (cpp/src/engines/ncnn/layer_rules.cpp lists them)");
  }

  std::vector<Shape> run(const Layer& layer, const std::vector<Shape>& in) {
    output_ = Kind::fp32;
    if (layer.type == "Input" && layer.bottoms.empty() && layer.tops.size() == 1) {
      ++inputs_;
      return {input_};
    }
    const KnownLayer& known = rules_of(layer);
    const auto arity = [](int wanted, std::size_t got) {
      return wanted == any ? got >= 1 : got == static_cast<std::size_t>(wanted);
    };
    // A Noop without outputs is legal; every other layer has outputs.
    if (!arity(known.bottoms, in.size()) ||
        (!arity(known.tops, layer.tops.size()) && !(layer.type == "Noop" && layer.tops.empty()))) {
      fail(layer, "has " + std::to_string(in.size()) + " inputs and " + std::to_string(layer.tops.size()) + " outputs");
    }
    // Refuses the feature mask (31), with which ncnn passes bf16 data as fp32, and shape hints (30).
    for (const auto& [key, parameter] : layer.parameters) {
      if (std::find(known.keys.begin(), known.keys.end(), key) == known.keys.end()) {
        fail(layer, "parameter " + std::to_string(key) + " is not supported");
      }
    }
    if (!known.rule) {
      expect_kind(layer, {});
      return slice(layer, in[0]);
    }
    Weights weights;
    const Shape shape = known.rule(layer, in, weights);
    read(layer, weights);
    if (layer.type == "Split" && kinds_[layer.bottoms[0]] == Kind::map) {
      weights.input = weights.output = Kind::map;
      // ncnn treats four-byte elements as floats, and may change their layout.
      if (shape[0] < 8) fail(layer, "takes an INT8 map of fewer than 8 channels");
    }
    expect_kind(layer, weights);
    output_ = weights.output;
    return std::vector<Shape>(std::max<std::size_t>(layer.tops.size(), 1), shape);
  }

  /// Other layers would interpret the bytes of an INT8 blob as fp32.
  void expect_kind(const Layer& layer, const Weights& weights) {
    for (const std::string& bottom : layer.bottoms) {
      const Kind kind = kinds_[bottom];
      if (kind == weights.input || (kind == Kind::int8 && weights.int8 && weights.input == Kind::fp32)) continue;
      fail(layer, "takes the " + std::string(kind == Kind::fp32 ? "float" : "INT8") + " blob \"" + bottom + "\"");
    }
  }

  /// Skips the weights; the type tags are those of ncnn's ModelBin.
  void read(const Layer& layer, const Weights& weights) {
    if (weights.tagged) {
      unsigned char tag[4] = {};
      bin_.seekg(position_);
      bin_.read(reinterpret_cast<char*>(tag), 4);
      const unsigned value = tag[0] | tag[1] << 8 | tag[2] << 16 | static_cast<unsigned>(tag[3]) << 24;
      if (!bin_) fail(layer, "has more weights than the .bin contains");
      // ncnn checks the tag in one place and the scales in another, so both must agree.
      const bool int8 = value == 0x000D4B38;
      if (int8 && !weights.int8) fail(layer, "has INT8 weights without scales");
      if (!int8 && weights.int8) fail(layer, "has INT8 scales but no INT8 weights");
      const bool half = value == 0x01306B47 || value == 0x01348B83, full = value == 0 || value == 0x0002C056;
      const std::int64_t bytes = int8   ? weights.tagged
                                 : half ? 2 * weights.tagged
                                 : full ? 4 * weights.tagged
                                        : 1024 + weights.tagged;
      position_ += 4 + (bytes + 3) / 4 * 4;
    }
    position_ += 4 * weights.plain;
    if (position_ > bin_bytes_) fail(layer, "has more weights than the .bin contains");
  }

  std::ifstream bin_;
  std::int64_t position_ = 0, bin_bytes_ = 0;
  Shape input_;
  std::map<std::string, Shape> blobs_;  // empty once consumed: only Split serves several layers
  std::map<std::string, Kind> kinds_;   // contents of each blob
  Kind output_ = Kind::fp32;            // kind of the last layer's output
  int inputs_ = 0;
};

}  // namespace
}  // namespace ncnn_graph

void check_ncnn_graph(const std::filesystem::path& param, const std::filesystem::path& bin,
                      const std::array<int, 3>& input) {
  ncnn_graph::Graph graph(bin, {input[0], input[1], input[2]});
  ncnn_graph::read_param(param, [&](const ncnn_graph::Layer& layer) { graph.add(layer); });
  if (graph.inputs() != 1) {
    throw ModelError("has " + std::to_string(graph.inputs()) + " inputs, expected one image");
  }
  graph.check_outputs();
}

}  // namespace yolort
