// A model file to a compiled model.
#pragma once

#include <string>
#include <vector>

#include "engines/openvino/api.h"
#include "model/graph.h"
#include "model/model.h"

namespace yolort::openvino {

/// What is known of a model before OpenVINO reads it: the C API does not show the graph.
struct Source {
  const ModelSpec& spec;
  std::string xml;  ///< of an IR
  Graph graph;      ///< of a damaged file empty, or in part: OpenVINO says what is wrong with it

  explicit Source(const ModelSpec& from);
};

/// Compiles a model, up to `maps` if there are any. `settings`: keys and values in turn. `keep`: in a file, for the
/// next time. Throws ModelError.
Owned<CompiledModel> compile(const Source& source, const std::vector<std::string>& maps, const std::string& device,
                             std::vector<std::string> settings, bool keep);

}  // namespace yolort::openvino
