// Compiles a model file.
#pragma once

#include <string>
#include <vector>

#include "engines/openvino/api.h"
#include "model/graph.h"
#include "model/model.h"

namespace yolort::openvino {

/// What yolort itself reads from a model, because OpenVINO's C API does not expose the graph.
struct Source {
  const ModelSpec& spec;
  std::string xml;  ///< of an IR
  Graph graph;      ///< empty or incomplete if the file is damaged; OpenVINO then reports the error

  explicit Source(const ModelSpec& from);
};

/// Compiles a model, up to `maps` if any are given. `settings`: alternating keys and values. `keep`: cache the result
/// in a file. Throws ModelError.
Owned<CompiledModel> compile(const Source& source, const std::vector<std::string>& maps, const std::string& device,
                             std::vector<std::string> settings, bool keep);

}  // namespace yolort::openvino
