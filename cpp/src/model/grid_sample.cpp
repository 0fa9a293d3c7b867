#include "model/grid_sample.h"

#include <algorithm>

#include "model/onnx_graph.h"
#include "model/value.h"
#include "platform/text_file.h"

namespace yolort {

bool samples_grid(const ModelSpec& spec) {
  constexpr std::size_t max_xml_bytes = std::size_t{1} << 28;
  if (spec.format == Format::openvino) {
    const std::optional<std::string> xml = read_text(spec.graph, max_xml_bytes);
    return xml && xml->find("type=\"GridSample\"") != std::string::npos;
  }
  if (spec.format != Format::onnx) return false;
  try {
    const GraphStream file = open_graph(spec);
    const Graph graph = read_onnx_graph(*file.stream, file.size);
    return std::any_of(graph.nodes.begin(), graph.nodes.end(),
                       [](const GraphNode& node) { return node.type == "GridSample"; });
  } catch (const ParseError&) {
    return false;
  }
}

}  // namespace yolort
