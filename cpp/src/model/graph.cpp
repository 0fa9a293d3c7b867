#include "model/graph.h"

#include <algorithm>
#include <map>
#include <set>

namespace yolort {
namespace {

using Types = std::set<std::string>;

// Node types, by their names in ONNX, OpenVINO and ncnn.
const Types constants = {"Constant", "Const", "MemoryData"};
const Types convolutions = {"Conv", "Convolution"};
const Types shapes = {"Shape", "ShapeOf"};
const Types movers = {"Reshape", "Transpose", "Permute"};
const Types softmaxes = {"Softmax", "SoftMax"};
/// Operators that a tail may contain: arithmetic on anchors, boxes, keypoints and angles, and the top-k of an
/// end-to-end head.
const Types decoders = {"Add",           "BinaryOp",
                        "Broadcast",     "Cast",
                        "Clamp",         "Clip",
                        "Concat",        "Const",
                        "Constant",      "ConstantOfShape",
                        "Conv",          "Convert",
                        "Convolution",   "Cos",
                        "Crop",          "Div",
                        "Divide",        "Equal",
                        "Expand",        "Flatten",
                        "Floor",         "FloorMod",
                        "Gather",        "GatherElements",
                        "GatherND",      "Greater",
                        "Less",          "MemoryData",
                        "Mod",           "Mul",
                        "Multiply",      "Permute",
                        "Range",         "ReduceMax",
                        "Reshape",       "Select",
                        "Sigmoid",       "Sin",
                        "Slice",         "SoftMax",
                        "Softmax",       "Split",
                        "Squeeze",       "StridedSlice",
                        "Sub",           "Subtract",
                        "Tile",          "TopK",
                        "Transpose",     "Unsqueeze",
                        "VariadicSplit", "Where"};

bool has(const Types& types, const GraphNode* node) { return node && types.count(node->type); }

class Tail {
 public:
  Tail(const Graph& graph, Task task) : graph_(graph), task_(task) {
    for (const GraphNode& node : graph.nodes) {
      for (const std::string& output : node.outputs) producers_[output] = &node;
      for (const std::string& input : node.inputs) consumers_[input].push_back(&node);
      if (node.type == "Sigmoid" && !node.inputs.empty()) scored_.insert(node.inputs[0]);
    }
  }

  std::vector<std::string> maps() {
    const std::vector<std::string>& outputs = graph_.outputs;
    if (outputs.size() != (task_ == Task::segment ? 2 : 1)) return {};
    std::vector<std::string> out = maps_of(outputs[0]);
    if (task_ != Task::segment) return out;
    const bool first = !out.empty();
    if (!first) out = maps_of(outputs[1]);
    if (!out.empty()) out.push_back(outputs[first ? 1 : 0]);  // the prototypes
    return distinct(std::move(out));
  }

 private:
  const GraphNode* producer(const std::string& tensor) const {
    const auto found = producers_.find(tensor);
    return found == producers_.end() ? nullptr : found->second;
  }

  /// Excludes the convolution after a softmax that computes the mean of a distribution (DFL).
  bool is_mean(const GraphNode& convolution) const {
    const GraphNode* from = &convolution;
    for (int steps = 0; from && !from->inputs.empty() && steps < 4; ++steps) {
      from = producer(from->inputs[0]);
      if (has(softmaxes, from)) return true;
      if (!has(movers, from)) return false;
    }
    return false;
  }

  /// A convolution; in OpenVINO followed by the addition of its bias.
  bool is_map(const std::string& tensor) const {
    const GraphNode* node = producer(tensor);
    if (node && node->type == "Add" && node->inputs.size() == 2) {
      const GraphNode* bias = producer(node->inputs[1]);
      if (bias && bias->type == "Convert" && !bias->inputs.empty()) bias = producer(bias->inputs[0]);  // of fp16
      node = has(constants, bias) ? producer(node->inputs[0]) : nullptr;
    }
    return has(convolutions, node) && !is_mean(*node);
  }

  /// Older exports concatenate the two maps of a level first.
  bool is_pair(const std::string& tensor) const {
    const GraphNode* node = producer(tensor);
    return node && node->type == "Concat" && node->inputs.size() == 2 && is_map(node->inputs[0]) &&
           is_map(node->inputs[1]);
  }

  /// The concatenation of the reshaped maps of all levels.
  bool joins_levels(const GraphNode& node) const {
    return node.type == "Concat" && std::all_of(node.inputs.begin(), node.inputs.end(), [&](const std::string& input) {
             const GraphNode* reshape = producer(input);
             return reshape && reshape->type == "Reshape" && !reshape->inputs.empty() &&
                    (is_map(reshape->inputs[0]) || is_pair(reshape->inputs[0]));
           });
  }

  /// Collects the concatenations of the levels and others. Returns false if the path to the output contains more than
  /// decoding.
  bool walk(const std::string& output) {
    levels_.clear();
    concatenations_.clear();
    std::vector<std::string> open = {output};
    std::set<const GraphNode*> seen;
    while (!open.empty()) {
      const std::string tensor = open.back();
      open.pop_back();
      const GraphNode* node = producer(tensor);
      if (!node || has(shapes, node) || !seen.insert(node).second) continue;
      if (joins_levels(*node)) {
        levels_.push_back(node);
        continue;
      }
      if (!has(decoders, node) || is_map(tensor)) return false;
      if (node->type == "Concat") concatenations_.push_back(node);
      open.insert(open.end(), node->inputs.begin(), node->inputs.end());
    }
    return true;
  }

  /// Which of the levels' maps each tensor is computed from, as bits.
  std::map<std::string, unsigned> dependencies() const {
    std::map<std::string, unsigned> out;
    for (std::size_t i = 0; i < levels_.size(); ++i) {
      std::vector<std::string> open = levels_[i]->outputs;
      while (!open.empty()) {
        unsigned& bits = out[open.back()];
        const auto consumers = consumers_.find(open.back());
        open.pop_back();
        if (bits >> i & 1) continue;
        bits |= 1u << i;
        if (consumers == consumers_.end()) continue;
        for (const GraphNode* node : consumers->second) {
          open.insert(open.end(), node->outputs.begin(), node->outputs.end());
        }
      }
    }
    return out;
  }

  /// Extracts the coefficients, keypoints or angles from the levels: the head concatenates them after boxes and scores.
  const GraphNode* take_extra() {
    constexpr std::size_t max_kinds = 3;
    if (levels_.size() > max_kinds) return nullptr;
    std::map<std::string, unsigned> needs = dependencies();
    for (const GraphNode* node : concatenations_) {  // starting at the output, so the outermost comes first
      unsigned all = 0;
      for (const std::string& input : node->inputs) all |= needs[input];
      for (std::size_t i = 0; i < levels_.size(); ++i) {
        if (needs[node->inputs.back()] != 1u << i || all + 1 != 1u << levels_.size()) continue;
        const GraphNode* extra = levels_[i];
        levels_.erase(levels_.begin() + static_cast<std::ptrdiff_t>(i));
        return extra;
      }
    }
    return nullptr;
  }

  /// The maps that a node concatenates; empty if it concatenates pairs of them.
  std::vector<std::string> joined(const GraphNode& levels) const {
    std::vector<std::string> out;
    for (const std::string& input : levels.inputs) {
      const std::string& map = producer(input)->inputs[0];
      if (!is_map(map)) return {};
      out.push_back(map);
    }
    return out;
  }

  std::vector<std::string> maps_of(const std::string& output) {
    if (!walk(output)) return {};
    const GraphNode* extra = task_ == Task::detect ? nullptr : take_extra();
    if (task_ != Task::detect && !extra) return {};
    std::vector<std::vector<std::string>> kinds;
    if (levels_.size() == 1) {
      kinds = paired(*levels_[0]);
    } else if (levels_.size() == 2) {
      const bool first = scored_.count(levels_[0]->outputs[0]), second = scored_.count(levels_[1]->outputs[0]);
      if (first == second) return {};
      kinds = {joined(*levels_[first ? 1 : 0]), joined(*levels_[first ? 0 : 1])};
    }
    if (kinds.empty()) return {};
    if (extra) kinds.push_back(joined(*extra));
    std::vector<std::string> out;
    for (std::size_t level = 0; level < kinds[0].size(); ++level) {
      for (const std::vector<std::string>& kind : kinds) {
        if (kind.size() != kinds[0].size()) return {};
        out.push_back(kind[level]);
      }
    }
    return distinct(std::move(out));
  }

  std::vector<std::vector<std::string>> paired(const GraphNode& levels) const {
    std::vector<std::vector<std::string>> out(2);
    for (const std::string& input : levels.inputs) {
      const std::string& pair = producer(input)->inputs[0];
      if (!is_pair(pair)) return {};
      for (std::size_t part = 0; part < 2; ++part) out[part].push_back(producer(pair)->inputs[part]);
    }
    return out;
  }

  static std::vector<std::string> distinct(std::vector<std::string> maps) {
    if (std::set<std::string>(maps.begin(), maps.end()).size() != maps.size()) maps.clear();
    return maps;
  }

  const Graph& graph_;
  const Task task_;
  std::map<std::string, const GraphNode*> producers_;
  std::map<std::string, std::vector<const GraphNode*>> consumers_;
  std::set<std::string> scored_;  ///< input of a sigmoid
  std::vector<const GraphNode*> levels_, concatenations_;
};

}  // namespace

bool rounds_activations_to_int8(const Graph& graph) {
  std::map<std::string, const GraphNode*> producers;
  for (const GraphNode& node : graph.nodes) {
    for (const std::string& output : node.outputs) producers[output] = &node;
  }
  return std::any_of(graph.nodes.begin(), graph.nodes.end(), [&](const GraphNode& node) {
    if (!node.to_int8 || node.inputs.empty()) return false;
    const auto found = producers.find(node.inputs[0]);
    const GraphNode* from = found == producers.end() ? nullptr : found->second;
    if (node.type == "Convert") {  // OpenVINO: of what was rounded before
      if (!from || from->type != "FakeQuantize" || from->inputs.empty()) return false;
      const auto rounded = producers.find(from->inputs[0]);
      from = rounded == producers.end() ? nullptr : rounded->second;
    }
    return !has(constants, from);
  });
}

std::vector<std::string> find_raw_maps(const Graph& graph, Task task) { return Tail(graph, task).maps(); }

std::vector<std::string> raw_maps(const ModelSpec& spec, const Graph& graph) {
  return spec.may_be_cut() && !graph.external ? find_raw_maps(graph, spec.layout.task) : std::vector<std::string>();
}

}  // namespace yolort
