// The graph of an OpenVINO IR (.xml). A tensor is named "layer:port".
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "model/graph.h"

namespace yolort::openvino {

/// Never throws: the graph of a damaged file is incomplete, and OpenVINO reports the error.
Graph read_ir_graph(std::string_view xml);

/// The same model with other outputs, which may be any tensors of its graph.
std::string ir_with_outputs(const std::string& xml, const std::vector<std::string>& outputs);

}  // namespace yolort::openvino
