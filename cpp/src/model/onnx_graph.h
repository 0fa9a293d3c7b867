// The graph of an ONNX file.
#pragma once

#include <cstdint>
#include <istream>
#include <string>
#include <vector>

#include "model/graph.h"

namespace yolort {

/// Reads the graph and skips the weights; initializers become nodes of type Constant. Throws ParseError.
Graph read_onnx_graph(std::istream& onnx, std::uint64_t size);

/// The same model with other outputs, any tensors of its graph. Throws ParseError.
std::string with_outputs(const std::string& onnx, const std::vector<std::string>& outputs);

}  // namespace yolort
