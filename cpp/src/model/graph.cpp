#include "model/graph.h"

#include <algorithm>
#include <map>
#include <set>

namespace yolort {
namespace {

using Types = std::set<std::string>;

// Types of nodes, as ONNX, OpenVINO and ncnn call them.
const Types constants = {"Constant", "Const", "MemoryData"};
const Types convolutions = {"Conv", "Convolution"};
const Types shapes = {"Shape", "ShapeOf"};
const Types movers = {"Reshape", "Transpose", "Permute"};
const Types softmaxes = {"Softmax", "SoftMax"};
/// What a tail may consist of: arithmetic of anchors and boxes, and the choice of the best of an end-to-end head.
const Types decoders = {"Add",          "BinaryOp",
                        "Broadcast",    "Cast",
                        "Clamp",        "Clip",
                        "Concat",       "Const",
                        "Constant",     "ConstantOfShape",
                        "Conv",         "Convert",
                        "Convolution",  "Div",
                        "Divide",       "Equal",
                        "Expand",       "Flatten",
                        "Floor",        "FloorMod",
                        "Gather",       "GatherElements",
                        "GatherND",     "Greater",
                        "Less",         "MemoryData",
                        "Mod",          "Mul",
                        "Multiply",     "Permute",
                        "Range",        "ReduceMax",
                        "Reshape",      "Select",
                        "Sigmoid",      "Slice",
                        "Softmax",      "SoftMax",
                        "Split",        "Squeeze",
                        "StridedSlice", "Sub",
                        "Subtract",     "Tile",
                        "TopK",         "Transpose",
                        "Unsqueeze",    "VariadicSplit",
                        "Where"};

bool has(const Types& types, const GraphNode* node) { return node && types.count(node->type); }

class Tail {
 public:
  explicit Tail(const Graph& graph) : graph_(graph) {
    for (const GraphNode& node : graph.nodes) {
      for (const std::string& output : node.outputs) producers_[output] = &node;
      if (node.type == "Sigmoid" && !node.inputs.empty()) scored_.insert(node.inputs[0]);
    }
  }

  std::vector<std::string> maps() {
    if (graph_.outputs.size() != 1 || !walk(graph_.outputs[0])) return {};
    if (levels_.size() == 1) return paired(*levels_[0]);
    if (levels_.size() != 2) return {};
    const bool first = scored_.count(levels_[0]->outputs[0]), second = scored_.count(levels_[1]->outputs[0]);
    if (first == second) return {};
    const GraphNode &boxes = *levels_[first ? 1 : 0], &classes = *levels_[first ? 0 : 1];
    if (boxes.inputs.size() != classes.inputs.size()) return {};
    std::vector<std::string> out;
    for (std::size_t level = 0; level < boxes.inputs.size(); ++level) {
      for (const GraphNode* part : {&boxes, &classes}) {
        const std::string& map = producer(part->inputs[level])->inputs[0];
        if (!is_map(map)) return {};
        out.push_back(map);
      }
    }
    return distinct(std::move(out));
  }

 private:
  const GraphNode* producer(const std::string& tensor) const {
    const auto found = producers_.find(tensor);
    return found == producers_.end() ? nullptr : found->second;
  }

  /// The mean of a distribution (DFL) is a convolution too, of its softmax.
  bool is_mean(const GraphNode& convolution) const {
    const GraphNode* from = &convolution;
    for (int steps = 0; from && !from->inputs.empty() && steps < 4; ++steps) {
      from = producer(from->inputs[0]);
      if (has(softmaxes, from)) return true;
      if (!has(movers, from)) return false;
    }
    return false;
  }

  /// A convolution, after which OpenVINO adds the bias.
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

  /// Collects what joins the levels. False: something else than decoding leads to the output.
  bool walk(const std::string& output) {
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
      open.insert(open.end(), node->inputs.begin(), node->inputs.end());
    }
    return true;
  }

  std::vector<std::string> paired(const GraphNode& levels) const {
    std::vector<std::string> out;
    for (const std::string& input : levels.inputs) {
      const std::string& pair = producer(input)->inputs[0];
      if (!is_pair(pair)) return {};
      out.insert(out.end(), producer(pair)->inputs.begin(), producer(pair)->inputs.end());
    }
    return distinct(std::move(out));
  }

  static std::vector<std::string> distinct(std::vector<std::string> maps) {
    if (std::set<std::string>(maps.begin(), maps.end()).size() != maps.size()) maps.clear();
    return maps;
  }

  const Graph& graph_;
  std::map<std::string, const GraphNode*> producers_;
  std::set<std::string> scored_;  ///< what a sigmoid is taken of
  std::vector<const GraphNode*> levels_;
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

std::vector<std::string> find_raw_maps(const Graph& graph) { return Tail(graph).maps(); }

std::vector<std::string> raw_maps(const ModelSpec& spec, const Graph& graph) {
  return spec.may_be_cut() && !graph.external ? find_raw_maps(graph) : std::vector<std::string>();
}

}  // namespace yolort
