// The graph of a model file, without its weights.
#pragma once

#include <string>
#include <vector>

#include "model/model.h"

namespace yolort {

struct GraphNode {
  std::string type;                  ///< as named in the file format
  std::vector<std::string> inputs;   ///< names of tensors; empty for a constant
  std::vector<std::string> outputs;  ///< names of tensors
  bool to_int8 = false;              ///< it outputs signed 8-bit numbers (QuantizeLinear, Convert)
};

struct Graph {
  std::vector<GraphNode> nodes;
  std::vector<std::string> outputs;  ///< names of tensors
  bool external = false;             ///< the weights are in external files (ONNX)
};

/// Whether activations are quantized to signed 8 bits, not only weights.
bool rounds_activations_to_int8(const Graph& graph);

/// The maps from which the tail of a graph decodes the results of an Ultralytics head for this task, in the order of
/// Head::raw: for each level the boxes, the classes, and the coefficients, keypoints or angles; then the prototypes.
/// Any tensor may hold them. Empty if the tail is not recognized (another head, NMS in the graph, INT8 up to the end).
std::vector<std::string> find_raw_maps(const Graph& graph, Task task = Task::detect);

/// The maps at which an engine ends instead of the model's outputs; empty if it runs the whole graph.
std::vector<std::string> raw_maps(const ModelSpec& spec, const Graph& graph);

}  // namespace yolort
