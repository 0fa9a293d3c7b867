#include "engines/openvino/signed_int8.h"

#include <map>
#include <sstream>
#include <string>
#include <string_view>

#include "model/onnx_graph.h"
#include "model/value.h"

namespace yolort::openvino {
namespace {

/// The value of an attribute in the text of a tag; empty if it has none.
std::string_view attribute(std::string_view tag, const std::string& name) {
  const std::string start = " " + name + "=\"";
  const std::size_t at = tag.find(start);
  if (at == std::string_view::npos) return {};
  tag.remove_prefix(at + start.size());
  return tag.substr(0, tag.find('"'));
}

/// The tag that begins here, without what it contains.
std::string_view tag_at(std::string_view text, std::size_t at) { return text.substr(at, text.find('>', at) - at); }

/// Of an IR: a Convert to i8 of the FakeQuantize of what is no Const.
bool ir_rounds_to_signed(std::string_view xml) {
  struct Layer {
    std::string_view type;
    bool to_i8 = false;
  };
  std::map<std::string_view, Layer> layers;
  for (std::size_t at = 0; (at = xml.find("<layer ", at)) != std::string_view::npos; ++at) {
    const std::string_view tag = tag_at(xml, at);
    Layer layer{attribute(tag, "type")};
    if (layer.type == "Convert") {
      const std::string_view body = xml.substr(at, xml.find("</layer>", at) - at);
      layer.to_i8 = attribute(body, "destination_type") == "i8";
    }
    layers[attribute(tag, "id")] = layer;
  }
  std::map<std::string_view, std::string_view> first_inputs;  ///< layer by layer
  for (std::size_t at = 0; (at = xml.find("<edge ", at)) != std::string_view::npos; ++at) {
    const std::string_view tag = tag_at(xml, at);
    if (attribute(tag, "to-port") == "0") first_inputs[attribute(tag, "to-layer")] = attribute(tag, "from-layer");
  }
  for (const auto& [id, layer] : layers) {
    if (!layer.to_i8) continue;
    const std::string_view rounding = first_inputs[id];
    if (layers[rounding].type == "FakeQuantize" && layers[first_inputs[rounding]].type != "Const") return true;
  }
  return false;
}

}  // namespace

bool rounds_to_signed(const ModelSpec& spec) {
  const GraphStream graph = open_graph(spec);
  if (spec.format == Format::openvino) {
    std::ostringstream text;
    text << graph.stream->rdbuf();
    return ir_rounds_to_signed(text.str());
  }
  try {
    return rounds_activations_to_int8(*graph.stream, graph.size);
  } catch (const ParseError&) {
    return false;
  }
}

}  // namespace yolort::openvino
