// The text of a .param.
#pragma once

#include <filesystem>
#include <functional>
#include <map>
#include <string>
#include <vector>

namespace yolort::ncnn_graph {

/// ncnn infers the type from the text; a mismatch yields the default.
struct Parameter {
  bool array = false, real = false;
  std::vector<double> values;
};

struct Layer {
  std::string type, name;
  std::vector<std::string> bottoms, tops;
  std::map<int, Parameter> parameters;
};

/// Throws ModelError that names the layer.
[[noreturn]] void fail(const Layer& layer, const std::string& what);

/// Calls `add` with each layer, in order. Throws ModelError for a file that is damaged, truncated or larger than ncnn
/// supports, and the exceptions of `add`.
void read_param(const std::filesystem::path& path, const std::function<void(const Layer&)>& add);

}  // namespace yolort::ncnn_graph
