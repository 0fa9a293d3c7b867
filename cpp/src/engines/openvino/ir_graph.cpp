#include "engines/openvino/ir_graph.h"

#include <algorithm>
#include <map>
#include <set>
#include <utility>

namespace yolort::openvino {
namespace {

/// The value of an attribute in the text of a tag; empty if it has none.
std::string attribute(std::string_view tag, const std::string& name) {
  const std::string start = " " + name + "=\"";
  const std::size_t at = tag.find(start);
  if (at == std::string_view::npos) return {};
  tag.remove_prefix(at + start.size());
  return std::string(tag.substr(0, tag.find('"')));
}

/// Number of the first added layer; higher than in any export.
constexpr std::size_t first_new_layer = 1'000'000'000;

struct Element {
  std::size_t begin, end;  ///< positions in the text
  std::string_view tag;    ///< without its contents
};

/// All elements with a name that contain no element of the same name, in order. `close`: its end tag, if it has one.
std::vector<Element> elements(std::string_view xml, std::string_view open, std::string_view close) {
  std::vector<Element> out;
  for (std::size_t at = 0; (at = xml.find(open, at)) != std::string_view::npos;) {
    const std::size_t tag_end = xml.find('>', at);
    if (tag_end == std::string_view::npos) break;
    std::size_t end = tag_end + 1;
    if (xml[tag_end - 1] != '/') {
      const std::size_t closed = xml.find(close, end);
      if (closed == std::string_view::npos) break;
      end = closed + close.size();
    }
    out.push_back({at, end, xml.substr(at, tag_end - at)});
    at = end;
  }
  return out;
}

std::vector<Element> layers(std::string_view xml) { return elements(xml, "<layer ", "</layer>"); }
std::vector<Element> edges(std::string_view xml) { return elements(xml, "<edge ", "</edge>"); }

/// Loops and branches contain subgraphs whose layers have the same numbers.
bool is_nested(std::string_view xml) {
  return xml.find("<body") != std::string_view::npos || xml.find("_body>") != std::string_view::npos;
}

}  // namespace

Graph read_ir_graph(std::string_view xml) {
  Graph out;
  if (is_nested(xml)) return out;
  std::map<std::string, std::size_t> indices;
  for (const Element& layer : layers(xml)) {
    GraphNode node;
    node.type = attribute(layer.tag, "type");
    node.to_int8 = node.type == "Convert" &&
                   attribute(xml.substr(layer.begin, layer.end - layer.begin), "destination_type") == "i8";
    indices[attribute(layer.tag, "id")] = out.nodes.size();
    out.nodes.push_back(std::move(node));
  }
  std::vector<std::map<std::string, std::string>> inputs(out.nodes.size());  // by port
  std::vector<std::set<std::string>> outputs(out.nodes.size());
  for (const Element& edge : edges(xml)) {
    const auto from = indices.find(attribute(edge.tag, "from-layer")),
               to = indices.find(attribute(edge.tag, "to-layer"));
    if (from == indices.end() || to == indices.end()) continue;
    const std::string tensor = from->first + ":" + attribute(edge.tag, "from-port");
    outputs[from->second].insert(tensor);
    inputs[to->second][attribute(edge.tag, "to-port")] = tensor;
    if (out.nodes[to->second].type == "Result") out.outputs.push_back(tensor);
  }
  for (std::size_t i = 0; i < out.nodes.size(); ++i) {
    out.nodes[i].outputs.assign(outputs[i].begin(), outputs[i].end());
    for (const auto& [port, tensor] : inputs[i]) out.nodes[i].inputs.push_back(tensor);
  }
  return out;
}

std::string ir_with_outputs(const std::string& xml, const std::vector<std::string>& outputs) {
  std::set<std::string> results;
  std::vector<Element> dropped;
  for (const Element& layer : layers(xml)) {
    if (attribute(layer.tag, "type") != "Result") continue;
    results.insert(attribute(layer.tag, "id"));
    dropped.push_back(layer);
  }
  for (const Element& edge : edges(xml)) {
    if (results.count(attribute(edge.tag, "to-layer"))) dropped.push_back(edge);
  }
  std::string new_layers, new_edges;
  for (std::size_t i = 0; i < outputs.size(); ++i) {
    const std::size_t colon = outputs[i].find(':');
    const std::string id = std::to_string(first_new_layer + i);
    new_layers += "<layer id=\"" + id + "\" name=\"yolort_" + id +
                  "\" type=\"Result\" version=\"opset1\"><input><port id=\"0\"/></input></layer>\n";
    new_edges += "<edge from-layer=\"" + outputs[i].substr(0, colon) + "\" from-port=\"" +
                 outputs[i].substr(colon + 1) + "\" to-layer=\"" + id + "\" to-port=\"0\"/>\n";
  }
  std::string out;
  std::size_t at = 0;
  std::sort(dropped.begin(), dropped.end(), [](const Element& a, const Element& b) { return a.begin < b.begin; });
  for (const Element& element : dropped) {
    out.append(xml, at, element.begin - at);
    at = element.end;
  }
  out.append(xml, at);
  const auto insert_before = [&](const char* tag, const std::string& text) {
    if (const std::size_t place = out.find(tag); place != std::string::npos) out.insert(place, text);
  };
  insert_before("</layers>", new_layers);
  insert_before("</edges>", new_edges);
  return out;
}

}  // namespace yolort::openvino
